"""When the ledger learns that the object of a committed removal is gone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger import deletion
from filecolumn.ledger.table import State, ledger_of
from filecolumn.maintenance import status, status_async
from tests.scenarios.drivers import Driver, stored
from tests.scenarios.models import Base, Document
from tests.scenarios.records import agree, file, insert_files

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table


async def states(driver: Driver) -> list[State]:
    """Return the states of all keys."""
    async with driver.session() as session:
        rows = await session.execute(select(TABLE.c.key, TABLE.c.state))
        return sorted(State(state) for _, state in rows)


async def replace(driver: Driver, count: int) -> None:
    """Replace the first *count* files in one transaction."""
    async with driver.session() as session:
        for number in range(1, count + 1):
            (await session.one(Document, number)).file = file(b"new")
        await session.commit()


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test with nothing that waits since an earlier one, and let no time pass."""
    monkeypatch.setattr(deletion, "_deleted", type(deletion._deleted)())
    monkeypatch.setattr(deletion, "RECORDED_WITHIN", 1000.0)


async def test_an_object_goes_with_the_commit_and_the_ledger_learns_it_with_many_others(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, *(b"%d" % number for number in range(64)))
    await replace(driver, 10)
    assert len(stored()) == 64, "the objects are gone"
    assert await states(driver) == [State.LIVE] * 64 + [State.DOOMED] * 10
    await replace(driver, 54)
    assert await states(driver) == [State.LIVE] * 64 + [State.GONE] * 64
    assert len(stored()) == 64


async def test_the_ledger_learns_it_after_some_seconds_at_the_next_removal(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_files(driver, b"one", b"two")
    await replace(driver, 1)
    monkeypatch.setattr(deletion, "RECORDED_WITHIN", 0.0)
    await replace(driver, 2)
    assert await states(driver) == [State.LIVE] * 2 + [State.GONE] * 3


async def test_maintenance_of_the_process_counts_nothing_as_due_that_is_gone(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    await replace(driver, 1)
    engine = driver.engine  # type: ignore[attr-defined]
    report = await status_async(engine, Base) if driver.is_async else status(engine, Base)
    assert (report.due, report.gone) == (0, 1)


async def test_closing_the_storages_records_what_waits(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    await replace(driver, 1)
    if driver.is_async:
        await storages.aclose()
    else:
        storages.close()
    assert await states(driver) == [State.LIVE, State.GONE]


async def test_what_is_lost_with_the_process_is_done_again_by_a_drain(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_files(driver, b"one")
    await replace(driver, 1)
    monkeypatch.setattr(deletion, "_deleted", type(deletion._deleted)())
    assert (await driver.drain()).deleted == 1
    assert await states(driver) == [State.LIVE, State.GONE]
    await agree(driver, {1: b"new"})


PROGRAM = """
import sys
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from filecolumn import FileObject, StoredObject, storages

class Base(DeclarativeBase): ...

class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

folder = Path(sys.argv[1])
storages.register_backend((folder / "files").as_uri(), key="docs")
engine = create_engine(f"sqlite:///{folder}/app.db")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Document(file=FileObject("a.txt", content=b"a")))
    session.commit()
    session.get_one(Document, 1).file = None
    session.commit()
"""


def test_a_process_records_what_waits_when_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONWARNINGS": "error"})
    with sqlite3.connect(tmp_path / "app.db") as database:
        found = database.execute("SELECT state FROM filecolumn_ledger").fetchall()
    database.close()
    assert found == [(State.GONE.value,)]
