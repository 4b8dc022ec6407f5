"""A drain deletes 100,000 objects in 64 MiB, in batches of 100, and forgets them as well; CI takes fewer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.maintenance.test_million import ALLOWED, FILL, MIB
from tests.maintenance.world import make_world
from tests.profiles import PROFILE

ROOT = Path(__file__).parents[2]
NUMBER = PROFILE.objects // 20

SCRIPT = """
import asyncio, json, sys, time
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from filecolumn import ObjectNotFoundError, storages
from filecolumn.backends.base import Capabilities, StorageBackend
from filecolumn.maintenance import drain, drain_async
from tests.maintenance.models import Base

url, way = sys.argv[1:]

class Counting(StorageBackend):
    "A storage that only counts what it is to delete."
    location = "counting://"
    capabilities = Capabilities(persistent=False)
    deleted = largest = 0
    def put(self, key, chunks, **options): raise NotImplementedError
    def get(self, key, **options): raise ObjectNotFoundError(key)
    def stat(self, key): raise NotImplementedError
    def list(self, prefix="", after=None): return iter(())
    def delete(self, keys):
        self.deleted += len(keys)
        self.largest = max(self.largest, len(keys))
    async def delete_async(self, keys): self.delete(keys)

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

async def drained(**options):
    return drain(engine, Base, **options) if way == "sync" else await drain_async(engine, Base, **options)

async def make_gone_due():
    again = text("UPDATE filecolumn_ledger SET due_at = 1")
    if way == "sync":
        with engine.begin() as connection:
            connection.execute(again)
    else:
        async with engine.begin() as connection:
            await connection.execute(again)

async def main():
    assert (await drained(limit=200)).deleted == 200
    before, started = peak(), time.monotonic()
    deleted = (await drained()).deleted
    await make_gone_due()
    purged = (await drained()).purged
    print(json.dumps([deleted, purged, backend.deleted, backend.largest, peak() - before, time.monotonic() - started]))

backend = storages.register_backend(Counting("docs"))
engine = create_engine(url) if way == "sync" else create_async_engine(url)
asyncio.run(main())
"""

# every other one is to be looked up
DUE = {
    "sqlite": """filecolumn_ledger (backend, key, state, checked, created_at, due_at, attempts)
SELECT 'docs', '20260101/00/' || printf('%032x', i) || '.txt', 2, i % 2, 0, i, 0""",
    "postgresql": """filecolumn_ledger (backend, key, state, checked, created_at, due_at, attempts)
SELECT 'docs', '20260101/00/' || lpad(to_hex(i), 32, '0') || '.txt', 2, i % 2 = 1, 0, i, 0""",
}


@pytest.mark.sized
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the VmHWM of Linux")
@pytest.mark.parametrize(
    ("kind", "way"),
    [("sqlite", "sync"), pytest.param("postgresql", "async", marks=pytest.mark.server)],
)
def test_what_is_due_is_drained_in_bounded_memory(tmp_path: Path, kind: str, way: str) -> None:
    with make_world(kind, way, tmp_path) as world:
        world.sql(FILL[kind].format(into=DUE[kind]), last=NUMBER - 1)
        # as the database does by itself soon after, where it is not a test's
        world.sql("ANALYZE")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, world.url(way), way],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=890,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        deleted, purged, called, largest, growth, seconds = json.loads(done.stdout)
        sys.stdout.write(f"{kind} {way}: {growth / MIB:.1f} MiB, {seconds:.0f} s")
        assert (deleted, purged, called) == (NUMBER - 200, NUMBER, NUMBER)
        assert largest == 100
        assert growth <= ALLOWED
