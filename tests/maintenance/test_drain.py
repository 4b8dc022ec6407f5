"""Drains: any number at a time, killed anywhere, on storages that refuse."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, insert, update
from sqlalchemy.orm import Session

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import DrainReport, check, drain
from tests.maintenance.models import Base, Document
from tests.maintenance.world import TABLE, World, keys

ROOT = Path(__file__).parents[2]


def doom(world: World, *names: str, checked: bool = True) -> None:
    """Put keys into the ledger as due."""
    rows = [
        {"backend": "docs", "key": name, "state": State.DOOMED.value, "checked": checked, "attempts": 0}
        for name in names
    ]
    with world.engine.begin() as connection:
        connection.execute(insert(TABLE).values(created_at=now_ms(), due_at=1), rows)


def test_eight_drains_at_once_delete_each_object_once(
    database: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"x/{number:04}" for number in range(400)]
    for name in names:
        storage.put(name, [b"x"])
    doom(database, *names, checked=False)
    deleted: list[str] = []
    remove = type(storage).delete

    def note(self: StorageBackend, batch: list[str]) -> None:
        deleted.extend(batch)
        remove(self, batch)

    monkeypatch.setattr(type(storage), "delete", note)

    def work(_: int) -> DrainReport:
        engine = create_engine(database.url())
        try:
            return drain(engine, Base, batch=10)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(work, range(8)))
    assert sum(report.deleted for report in reports) == 400
    assert sorted(deleted) == names
    assert keys() == set()
    assert set(database.states().values()) == {State.GONE}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_drain_looks_at_what_is_due_only(database: World) -> None:
    """Counted in steps of SQLite's virtual machine."""

    def steps() -> int:
        counted: list[None] = []
        engine = create_engine(database.url())

        def count(raw: sqlite3.Connection, _: object) -> None:
            raw.set_progress_handler(lambda: counted.append(None), 10)

        event.listen(engine, "connect", count)
        drain(engine, Base)
        engine.dispose()
        return len(counted)

    few = steps()
    rows = [
        {"backend": "docs", "key": f"x/{number}", "state": State.LIVE.value, "checked": True, "attempts": 0}
        for number in range(20_000)
    ]
    with database.engine.begin() as connection:
        connection.execute(insert(TABLE).values(created_at=now_ms()), rows)
    assert steps() <= 2 * few


KILLED = """
import os, signal, sys
from sqlalchemy import create_engine
from filecolumn import _failpoints as failpoints, storages
from filecolumn.maintenance import drain
from tests.maintenance.models import Base

url, folder, place = sys.argv[1:]
storages.register_backend(f"file://{folder}/", key="docs", fsync=False)
failpoints.set_hook(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == place else None)
drain(create_engine(url), Base)
"""


@pytest.mark.parametrize("place", ["drain.after_claim", "drain.after_delete", "drain.before_gone"])
def test_a_killed_drain_leaves_work_that_another_finishes_after_the_lease(
    database: World, storage: StorageBackend, tmp_path: Path, place: str
) -> None:
    [kept] = database.add(b"one")
    storage.put("x", [b"x"])
    doom(database, "x")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, database.url(), str(tmp_path / "docs"), place],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=50,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert drain(database.engine, Base).deleted == 0, "it is leased"
    with database.engine.begin() as connection:
        connection.execute(update(TABLE).where(TABLE.c.state == State.DOOMED.value).values(due_at=1))
    assert drain(database.engine, Base).deleted == 1
    assert keys() == {kept}
    assert check(database.engine, Base, grace=-5).findings == []


async def test_one_object_that_cannot_be_deleted_holds_up_no_other(
    world: World, storage: StorageBackend, tmp_path: Path
) -> None:
    names = [f"x/{number}" for number in range(9)]
    for name in names:
        storage.put(name, [b"x"])
    os.remove(tmp_path / "docs" / "x" / "4")
    os.symlink("/nowhere", tmp_path / "docs" / "x" / "4")
    doom(world, *names, "../outside")
    report = await world.maintain("drain")
    assert (report.deleted, report.refused) == (8, 2)
    assert "symbolic link" in world.entry("x/4").last_error
    assert world.entry("../outside").attempts == 1


async def test_a_run_ends_on_a_storage_that_refuses(
    world: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def refuse(self: StorageBackend, batch: list[str]) -> None:
        calls.append(len(list(batch)))
        raise StorageError("not now")

    async def refuse_async(self: StorageBackend, batch: list[str]) -> None:
        refuse(self, batch)

    monkeypatch.setattr(type(storage), "delete", refuse)
    monkeypatch.setattr(type(storage), "delete_async", refuse_async)
    doom(world, *(f"x/{number:03}" for number in range(200)))
    assert (await world.maintain("drain")).refused == 200
    assert len(calls) <= 6


async def test_a_doomed_key_that_a_row_refers_to_is_restored(
    world: World, storage: StorageBackend, caplog: pytest.LogCaptureFixture
) -> None:
    [key] = world.add(b"one")
    world.set_entries(state=State.DOOMED.value, checked=False, due_at=1)
    assert (await world.maintain("drain")).restored == 1
    assert keys() == {key}
    assert key in caplog.text
    assert (await world.maintain("status")).restored == 1


async def test_limit_and_purge(world: World, storage: StorageBackend) -> None:
    doom(world, "a", "b", "c")
    assert (await world.maintain("drain", limit=2)).deleted == 2
    world.make_due()
    assert (await world.maintain("drain")).purged == 2
    assert list(world.states().values()) == [State.GONE]


def test_a_storage_that_is_not_registered_is_refused_not_lost(database: World) -> None:
    [key] = database.add(b"one")
    with Session(database.engine) as session:
        storages.get("docs")
        document = session.get_one(Document, 1)
        document.file = FileObject("b.txt", content=b"two")
        session.flush()
        backend = storages.get("docs")
        storages.unregister_backend("docs")
        session.commit()
    storages.register_backend(backend)
    assert database.entry(key).attempts == 1
    database.make_due()
    assert drain(database.engine, Base).deleted == 1
