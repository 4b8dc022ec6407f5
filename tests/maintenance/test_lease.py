"""A drain that is killed with keys in its hands: nobody takes them before its lease ends, then another drain does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import check
from tests.maintenance.models import Base
from tests.maintenance.test_drain import doom
from tests.maintenance.world import TABLE, World, keys

ROOT = Path(__file__).parents[2]
LEASE = 3.0
LIMIT = 20.0

HOLDING = """
import sys, time
from sqlalchemy import create_engine
from filecolumn import storages
from filecolumn.maintenance import drain
from filecolumn.testing.failpoints import failing
from tests.maintenance.models import Base

def hold():
    print("claimed", flush=True)
    time.sleep(60)

url, folder, lease = sys.argv[1:]
storages.register_backend(f"file://{folder}/", key="docs", fsync=False)
with failing("drain.after_claim", hold):
    drain(create_engine(url), Base, lease=float(lease))
"""


def kill_a_drain_that_has_claimed(world: World, folder: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLDING, world.url(), str(folder), str(LEASE)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )
    assert worker.stdout is not None
    said = worker.stdout.readline()
    worker.kill()
    worker.communicate(timeout=30)
    assert (said, worker.returncode) == ("claimed\n", -signal.SIGKILL)


def leases_and_now(world: World) -> tuple[int, int, int]:
    """Return the first and the last end of a lease, and the time, as the database has them."""
    with world.engine.connect() as connection:
        query = select(func.min(TABLE.c.due_at), func.max(TABLE.c.due_at), now_ms())
        first, last, now = connection.execute(query.where(TABLE.c.state == State.DOOMED.value)).one()
        return first, last, now


@pytest.mark.parametrize(
    "world",
    ["sqlite-sync", "sqlite-async", pytest.param("postgresql-async", marks=pytest.mark.server)],
    indirect=True,
)
async def test_another_drain_waits_out_the_lease(
    world: World, storage: StorageBackend, tmp_path: Path
) -> None:
    [kept] = world.add(b"one")
    names = {f"x/{number}" for number in range(5)}
    for name in names:
        storage.put(name, [b"x"])
    doom(world, *sorted(names)[:3])
    doom(world, *sorted(names)[3:], checked=False)
    kill_a_drain_that_has_claimed(world, tmp_path / "docs")
    first, last, now = leases_and_now(world)
    assert now < last <= now + LEASE * 1000
    refusals, end = 0, time.monotonic() + LIMIT
    while (report := await world.maintain("drain", lease=LEASE)).deleted == 0:
        assert keys() == {kept, *names}
        assert leases_and_now(world)[:2] == (first, last), "nobody has claimed them"
        refusals += 1
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    with world.engine.connect() as connection:
        assert connection.scalar(select(now_ms())) >= first, "it was not before the lease's end"
    assert refusals > 0
    assert report.deleted == 5
    assert keys() == {kept}
    assert check(world.engine, Base, grace=-5).findings == []
