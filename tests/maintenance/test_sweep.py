"""A sweep claims what no row refers to, and nothing else; what is doubtful it refuses."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import (
    FileObject,
    MaintenanceRefusedError,
    StaleUploadError,
    StoredObject,
    maintenance,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.ledger.owner import forget_standings
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import FindingKind, SweepReport, adopt, check, drain, status, sweep
from tests.maintenance.models import Base, Document
from tests.maintenance.world import TABLE, World, keys, lay, make_old, make_world


async def sweep_now(world: World, **options: Any) -> SweepReport:
    report: SweepReport = await world.maintain("sweep", **{"grace": -5, "quarantine": 0, **options})
    return report


async def test_an_orphan_is_claimed_and_drained(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    lay("lost/a.txt")
    assert (await sweep_now(world, grace=3600)).found == 0, "it is young"
    assert (await sweep_now(world, dry_run=True)).orphans == 1
    assert world.states() == {key: State.LIVE}
    report = await sweep_now(world)
    assert (report.listed, report.orphans, report.claimed, report.left) == (2, 1, 1, 0)
    assert report.withheld == {}
    entry = world.entry("lost/a.txt")
    assert (entry.state, entry.checked, entry.held_in) == (State.DOOMED, False, None)
    assert entry.unreferenced_since is not None
    assert (await world.maintain("drain")).deleted == 1
    assert keys() == {key}
    assert (await world.maintain("check", grace=-5)).findings == []


async def test_an_orphan_waits_in_quarantine(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    lay("lost/a.txt")
    assert (await sweep_now(world, quarantine=maintenance.QUARANTINE)).claimed == 1
    entry = world.entry("lost/a.txt")
    assert entry.due_at - entry.unreferenced_since == pytest.approx(7 * 24 * 3600 * 1000, abs=1000)
    assert (await world.maintain("status")).quarantined == 1
    assert (await world.maintain("drain")).deleted == 0
    assert keys() == {key, "lost/a.txt"}
    world.make_due()
    assert (await world.maintain("drain")).deleted == 1
    assert keys() == {key}


async def test_the_quarantine_is_never_shorter_than_the_retention(
    world: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(b"one")
    lay("lost/a.txt")
    monkeypatch.setattr(storages, "retention", 3600.0)
    assert (await sweep_now(world)).claimed == 1
    assert (await world.maintain("drain")).deleted == 0
    assert "lost/a.txt" in keys()


async def test_a_row_that_comes_in_the_quarantine_keeps_its_object(
    world: World, storage: StorageBackend
) -> None:
    """As a data migration by SQL does, or a restore of single rows."""
    world.add(b"one")
    lay("lost/a.txt")
    await sweep_now(world)
    row = json.dumps({"filename": "a.txt", "to_filename": "lost/a.txt", "backend": "docs", "size": 1, "v": 1})
    world.sql("INSERT INTO documents (id, file, pages) VALUES (2, :row, '[]')", row=row)
    report = await world.maintain("drain")
    assert (report.deleted, report.restored) == (0, 1)
    assert "lost/a.txt" in keys()
    assert world.states()["lost/a.txt"] is State.LIVE


async def test_what_is_younger_than_the_ledgers_newest_entry_is_left_out(
    world: World, storage: StorageBackend
) -> None:
    """A database that was restored knows nothing of what was stored since."""
    world.add(b"one")
    lay("lost/a.txt", age=-60)
    report = await sweep_now(world, grace=-3600)
    assert (report.listed, report.found, report.claimed) == (2, 0, 0)
    world.set_entries(created_at=now_ms() + 120_000)
    assert (await sweep_now(world, grace=-3600)).claimed == 1


async def test_what_lay_there_before_is_left(world: World, storage: StorageBackend) -> None:
    lay("theirs/a.txt")
    [key] = world.add(b"one")
    lay("lost/b.txt")
    report = await sweep_now(world)
    assert (report.listed, report.found, report.claimed) == (3, 0, 0)
    assert "before this database came" in report.withheld["docs"]
    check_report = await world.maintain("check", grace=-5)
    assert check_report.findings == []
    assert await world.maintain("adopt", sole=True) == ["docs"]
    assert (await sweep_now(world)).claimed == 2
    assert (await world.maintain("drain")).deleted == 2
    assert keys() == {key}


async def test_a_staged_file_that_was_swept_cannot_be_attached(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    staged = FileObject("s.txt", content=b"staged").save()
    make_old(staged.path)
    assert (await sweep_now(world)).claimed == 1
    with Session(world.engine) as session:
        session.add(Document(id=2, file=staged))
        with pytest.raises(StaleUploadError):
            session.commit()
    await world.maintain("drain")
    assert keys() == {key}


async def test_what_a_running_transaction_holds_is_left(database: World, storage: StorageBackend) -> None:
    """The object is there, its row and its entry are not committed."""
    if database.kind == "sqlite":
        database.sql("PRAGMA journal_mode = WAL")
    [known] = database.add(b"known")
    await sweep_now(database)  # the first one takes notes, which needs the write lock
    with Session(database.engine) as session:
        session.add(Document(id=2, file=FileObject("a.txt", content=b"one")))
        session.flush()
        [key] = keys() - {known}
        make_old(key)
        report = await sweep_now(database)
        assert (report.orphans, report.claimed, report.left) == (1, 0, 1)
        session.commit()
    assert (await sweep_now(database)).found == 0
    assert len(keys()) == 2
    assert check(database.engine, Base, grace=-5).findings == []


async def test_rows_without_entries_are_no_orphans(world: World, storage: StorageBackend) -> None:
    world.add(b"one", b"two")
    with world.engine.begin() as connection:
        connection.execute(delete(TABLE))
    report = await sweep_now(world)
    assert report.found == 0
    assert len(keys()) == 2


@pytest.mark.usefixtures("recorded_at_once")
async def test_a_live_key_without_a_row_and_an_object_that_came_back(
    world: World, storage: StorageBackend
) -> None:
    first, second, third = world.add(b"one", b"two", b"three")
    with world.engine.begin() as connection:
        connection.execute(delete(Document).where(Document.id == 1))
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 2))
        session.commit()
    lay(second, body=b"late")
    report = await sweep_now(world)
    assert (report.orphans, report.returned, report.unreferenced) == (0, 1, 1)
    assert (report.claimed, report.left, report.by_column) == (1, 1, {"documents.file": 1})
    await world.maintain("drain")
    assert keys() == {first, third}, "a live key is not condemned by absence alone"
    assert world.states() == {first: State.LIVE, second: State.GONE, third: State.LIVE}
    assert (await sweep_now(world, unreferenced=True)).claimed == 1
    await world.maintain("drain")
    assert keys() == {third}
    assert world.states() == {first: State.GONE, second: State.GONE, third: State.LIVE}


async def test_too_much_is_refused_without_force(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    lay(*(f"x/{number}" for number in range(101)))
    with pytest.raises(MaintenanceRefusedError, match="101 of 102"):
        await sweep_now(world)
    assert world.states() == {key: State.LIVE}
    assert (await sweep_now(world, force=True)).claimed == 101


async def test_storages_that_nest_are_refused(world: World, tmp_path: Path) -> None:
    storages.register_backend(f"file://{tmp_path}/docs/inner/", key="inner")
    with pytest.raises(MaintenanceRefusedError, match="'inner' lies inside storage 'docs'"):
        await sweep_now(world)


async def test_two_names_of_one_place_are_one_storage(world: World, tmp_path: Path) -> None:
    [key] = world.add(b"one")
    storages.register_backend(f"file://{tmp_path}/docs/", key="again")
    storages.alias("older", to="docs")
    world.set_entries(backend="older")
    report = await sweep_now(world)
    assert (report.listed, report.found) == (1, 0)
    assert (await world.maintain("check", grace=-5)).findings == []
    assert keys() == {key}


@pytest.mark.parametrize("library", ["obstore", "fsspec"])
async def test_left_overs_of_uploads_go(world: World, tmp_path: Path, library: str) -> None:
    if library == "fsspec":
        storages.register_backend(
            FSSpecBackend("docs", "file", prefix=str(tmp_path / "docs"), fsync=False), replace=True
        )
    folder = tmp_path / "docs" / "20260101" / "00"
    stage = tmp_path / "docs" / ".filecolumn" / "stage"
    for path in (folder / "abc.txt#1", stage / "0123"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert (await sweep_now(world, grace=3600)).unfinished == 0
    assert (await sweep_now(world, dry_run=True)).unfinished == 2
    assert (await sweep_now(world)).unfinished == 2
    assert not list(folder.iterdir())
    assert not list(stage.iterdir())


async def test_a_rate_slows_the_listing(database: World, storage: StorageBackend) -> None:
    for number in range(20):
        storage.put(f"x/{number}", [b"x"])
    started = time.monotonic()
    await sweep_now(database, dry_run=True, rate=50)
    assert time.monotonic() - started >= 0.35


# Whose a storage is


def clone(world: World, tmp_path: Path) -> World:
    """Return a copy of the database, elsewhere, on the same storage."""
    shutil.copy(world.engine.url.database or "", tmp_path / "clone.db")
    return World(world.kind, world.way, create_engine(f"sqlite:///{tmp_path}/clone.db"))


@pytest.fixture
def original(tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    with make_world("sqlite", "sync", tmp_path) as made:
        yield made


@pytest.mark.usefixtures("recorded_at_once")
def test_a_staging_clone_deletes_nothing_of_production(original: World, tmp_path: Path) -> None:
    first, second = original.add(b"one", b"two")
    original.add(b"three", start=3)
    with Session(original.engine) as session:
        session.delete(session.get_one(Document, 3))
        session.commit()
    staging = clone(original, tmp_path)
    with Session(staging.engine) as session:
        session.get_one(Document, 1).file = FileObject("new.txt", content=b"staging")
        session.delete(session.get_one(Document, 2))
        session.commit()
    assert {first, second} <= keys(), "production's files are there"
    staging.make_due()
    report = drain(staging.engine, Base)
    assert (report.deleted, report.withheld) == (0, 2)
    [(reason, count)] = report.reasons.items()
    assert ("is a copy of the one" in reason, "filecolumn adopt" in reason, count) == (True, True, 2)
    lay("lost/a.txt")
    swept = sweep(staging.engine, Base, grace=-5, quarantine=0, unreferenced=True, force=True)
    assert (swept.claimed, list(swept.withheld)) == (0, ["docs"])
    staging.make_due()
    assert drain(staging.engine, Base).deleted == 0
    assert {first, second, "lost/a.txt"} <= keys()
    assert staging.entry(first).last_error.startswith("withheld: this database is a copy")
    counts = status(staging.engine, Base)
    assert (list(counts.withheld.values()), list(counts.places)) == ([2], ["docs"])
    assert [f.kind for f in check(staging.engine, Base).findings] == [FindingKind.WITHHELD]
    assert check(original.engine, Base, verify=True).is_clean
    # what the clone has stored is an orphan for it, and so is what lies there lost
    assert sweep(original.engine, Base, dry_run=True, grace=-5).orphans <= 2
    assert drain(original.engine, Base).deleted == 0
    staging.engine.dispose()


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.server)], indirect=True)
def test_a_copy_on_the_same_server_is_told_apart(database: World) -> None:
    database.add(b"one")
    assert sweep(database.engine, Base).found == 0
    database.engine.dispose()
    url = database.engine.url
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {url.database}_copy TEMPLATE {url.database}")
    copy = create_engine(url.set(database=f"{url.database}_copy"))
    try:
        with Session(copy) as session:
            session.delete(session.get_one(Document, 1))
            session.commit()
        assert list(sweep(copy, Base).withheld) == ["docs"]
        database.make_due()
        assert drain(copy, Base).deleted == 0
    finally:
        copy.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {url.database}_copy WITH (FORCE)")
        admin.dispose()
    assert check(database.engine, Base, grace=-5, verify=True).findings == []


def test_without_a_ledger_a_sweep_deletes_by_age(storage: StorageBackend, tmp_path: Path) -> None:
    class Plain(DeclarativeBase):
        pass

    class Note(Plain):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject("docs", ledger=False))

    engine = create_engine(f"sqlite:///{tmp_path}/plain.db")
    Plain.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Note(id=1, file=FileObject("a.txt", content=b"one")))
        session.commit()
        key = session.get_one(Note, 1).file.path
    for name in ("old", "young"):
        storage.put(name, [b"x"])
    for name in ("old", str(key)):
        os.utime(tmp_path / "docs" / name, (1, 1))
    with pytest.raises(ValueError, match="21600 seconds or more"):
        sweep(engine, Plain, grace=0)
    assert sweep(engine, Plain).claimed == 1
    assert keys() == {key, "young"}
    assert check(engine, Plain).is_clean
    engine.dispose()


def test_after_adopt_the_copy_owns_the_storage(original: World, tmp_path: Path) -> None:
    original.add(b"one", b"two")
    sweep(original.engine, Base)
    moved = clone(original, tmp_path)
    assert adopt(moved.engine, Base) == ["docs"]
    with Session(moved.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert len(keys()) == 1
    lay("lost/a.txt")
    assert sweep(moved.engine, Base, grace=-5, quarantine=0).claimed == 1
    report = sweep(original.engine, Base, grace=-5, quarantine=0)
    assert (report.claimed, "is a copy of the one" in report.withheld["docs"]) == (0, True)
    assert drain(moved.engine, Base).deleted == 1
    assert len(keys()) == 1
    moved.engine.dispose()


def test_marks_are_read_once_in_a_process(
    database: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    get_bytes, exists = type(storage).get_bytes, type(storage).exists

    def read(self: StorageBackend, key: str) -> bytes:
        reads.append(key)
        return get_bytes(self, key)

    def ask(self: StorageBackend, key: str) -> bool:
        reads.append(key)
        return exists(self, key)

    monkeypatch.setattr(type(storage), "get_bytes", read)
    monkeypatch.setattr(type(storage), "exists", ask)
    database.add(*(b"%d" % number for number in range(5)))
    with Session(database.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
        reads.clear()
        for number in range(2, 6):
            session.delete(session.get_one(Document, number))
            session.commit()
    assert reads == []
    assert keys() == set()
    forget_standings()  # as a process does that begins
    database.add(b"one")
    assert reads == [".filecolumn/place"]
    reads.clear()
    with Session(database.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    names = [name.rsplit("/", 1)[1] for name in reads]
    assert names == ["place", "seen", "2"], "the place, the database when last seen, and a later state of it"


# A backup is restored


def test_a_restored_backup_is_reported_and_nothing_deleted(database: World, storage: StorageBackend) -> None:
    """Rows go back to yesterday: what was deleted since is missing, what was added since has no row."""
    old = database.add(*(b"old %d" % number for number in range(5)))
    for table in ("documents", "filecolumn_ledger"):
        database.sql(f"CREATE TABLE {table}_backup AS SELECT * FROM {table}")
    new = database.add(*(b"new %d" % number for number in range(150)), start=100)
    with Session(database.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    for table in ("documents", "filecolumn_ledger"):
        database.sql(f"DELETE FROM {table}")
        database.sql(f"INSERT INTO {table} SELECT * FROM {table}_backup")
    report = check(database.engine, Base, grace=-5)
    assert {f.key for f in report.findings if f.kind == "missing"} == {old[0]}
    assert {f.key for f in report.findings if f.kind == "orphan"} == set(new)
    assert len(report.findings) == 151
    swept = sweep(database.engine, Base, grace=-5, quarantine=0, force=True)
    assert (swept.found, swept.claimed) == (0, 0), "they are younger than what the ledger knows"
    assert check(database.engine, Base, grace=-5, repair=True).repaired == 0
    database.make_due()
    assert drain(database.engine, Base).deleted == 0
    assert keys() == {*old[1:], *new}
    # the restored state is the one to keep: it goes on, and a day later they are orphans like any other
    [later] = database.add(b"later", start=1000)
    make_old(*new)
    database.set_entries(created_at=now_ms())
    with pytest.raises(MaintenanceRefusedError, match="150 of 155"):
        sweep(database.engine, Base, grace=-5)
    assert sweep(database.engine, Base, grace=-5, quarantine=0, force=True).claimed == 150
    assert drain(database.engine, Base).deleted == 150
    assert keys() == {*old[1:], later}


async def test_status_counts(world: World, storage: StorageBackend) -> None:
    world.add(*(b"%d" % number for number in range(4)))
    with world.engine.begin() as connection:
        rows = [
            {
                "backend": "docs",
                "key": f"k{number}",
                "state": state,
                "checked": False,
                "attempts": attempts,
                "due": due,
            }
            for number, (state, attempts, due) in enumerate(
                [(2, 0, 1), (2, 3, 2**50), (2, 25, 1), (3, 0, 2**50)]
            )
        ]
        for row in rows:
            due = row.pop("due")
            connection.execute(insert(TABLE).values(**row, created_at=now_ms(), due_at=due))
    report = await world.maintain("status")
    assert (report.live, report.doomed, report.due, report.gone) == (4, 3, 2, 1)
    assert (report.retried, report.most_attempts, report.stuck, report.restored) == (2, 25, 1, 0)
    assert report.oldest_due_seconds == pytest.approx(time.time(), abs=100)
    assert report.by_storage == {"docs": {"live": 4, "doomed": 3, "gone": 1}}
    world.set_entries(state=State.DOOMED.value, due_at=1)
    report = await world.maintain("drain")
    assert (report.deleted, report.restored) == (4, 4), "what was checked is looked for as well"
    assert status(world.engine, Base).restored == 4
    assert len(keys()) == 4
