"""A database that was copied or restored removes nothing until somebody says that it is the one to keep."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.owner import forget_standings
from filecolumn.ledger.table import State
from filecolumn.maintenance import FindingKind
from tests.maintenance.models import Document
from tests.maintenance.world import WAYS, World, keys, lay, make_old, make_world

pytestmark = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def world(way: str, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """A database in a file."""
    with make_world("sqlite", way, tmp_path) as made:
        yield made


def database_file(world: World) -> Path:
    return Path(world.engine.url.database or "")


def back_up(world: World, path: Path) -> None:
    """Copy the database, as SQLite's own backup does."""
    with closing(sqlite3.connect(database_file(world))) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


def restore_in_place(world: World, backup: Path) -> None:
    """Write yesterday's content into the file, as SQLite's own backup does; processes begin anew."""
    world.engine.dispose()
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(database_file(world))) as target:
        source.backup(target)
    forget_standings()


def opened(world: World, path: Path) -> World:
    return World(world.kind, world.way, create_engine(f"sqlite:///{path}"))


def remove(world: World, number: int) -> None:
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, number))
        session.commit()


async def assert_nothing_is_removed(world: World, what: str) -> None:
    """Delete row 1, drain and sweep with everything that is asked for: all is withheld, and said."""
    before = keys()
    remove(world, 1)
    world.make_due()
    report = await world.maintain("drain")
    assert (report.deleted, report.withheld) == (0, 1)
    [reason] = report.reasons
    assert what in reason
    assert "filecolumn adopt" in reason
    lay("lost/late.txt")
    swept = await world.maintain("sweep", grace=-5, quarantine=0, unreferenced=True, force=True)
    assert (swept.claimed, swept.withheld) == (0, {"docs": reason})
    world.make_due()
    await world.maintain("drain")
    assert keys() == before | {"lost/late.txt"}
    counts = await world.maintain("status")
    assert (counts.withheld, counts.places["docs"]) == ({reason: 1}, reason)
    findings = (await world.maintain("check", repair=True)).findings
    assert [(f.kind, f.detail) for f in findings if f.kind is FindingKind.WITHHELD] == [
        (FindingKind.WITHHELD, reason)
    ]


async def test_a_copy_of_the_file_removes_nothing(world: World, tmp_path: Path) -> None:
    first, second = world.add(b"one", b"two")
    world.engine.dispose()
    shutil.copy(database_file(world), tmp_path / "copy.db")
    copy = opened(world, tmp_path / "copy.db")
    await assert_nothing_is_removed(copy, "is a copy of the one that stores in 'docs'")
    copy.engine.dispose()
    # the original is as it was
    remove(world, 1)
    assert keys() == {second, "lost/late.txt"}
    assert first not in keys()


async def test_a_copy_stores_and_replaces_without_an_error(world: World, tmp_path: Path) -> None:
    [key] = world.add(b"one")
    back_up(world, tmp_path / "copy.db")
    copy = opened(world, tmp_path / "copy.db")
    [added] = copy.add(b"two", start=2)
    with Session(copy.engine) as session:
        document = session.get_one(Document, 1)
        document.file = FileObject("b.txt", content=b"replaced")
        session.commit()
        assert document.file.get_content() == b"replaced"
        replaced = document.file.path
    assert keys() == {key, added, replaced}
    assert storages.get("docs").get_bytes(replaced) == b"replaced"
    with Session(copy.engine) as session:
        session.add(Document(id=3, file=FileObject("c.txt", content=b"withdrawn")))
        session.flush()
        session.rollback()
    assert keys() == {key, added, replaced}, "one's own upload is withdrawn all the same"
    assert (await world.maintain("sweep")).withheld == {}
    copy.engine.dispose()


async def test_adopt_ends_it(world: World, tmp_path: Path) -> None:
    _, second = world.add(b"one", b"two")
    back_up(world, tmp_path / "copy.db")
    copy = opened(world, tmp_path / "copy.db")
    await assert_nothing_is_removed(copy, "is a copy")
    assert await copy.maintain("adopt") == ["docs"]
    copy.make_due()
    assert (await copy.maintain("drain")).deleted == 1
    make_old("lost/late.txt")
    assert (await copy.maintain("sweep", grace=-5, quarantine=0)).claimed == 1
    await copy.maintain("drain")
    assert keys() == {second}
    # now the original is the one that removes nothing
    report = await world.maintain("sweep", grace=-5, quarantine=0, unreferenced=True, force=True)
    assert (report.claimed, list(report.withheld)) == (0, ["docs"])
    copy.engine.dispose()


async def test_a_file_that_was_moved_to_another_device_is_a_copy_until_adopt(
    world: World, tmp_path: Path
) -> None:
    """Its inode number is another, its path need not be."""
    world.add(b"one", b"two")
    world.engine.dispose()
    file = database_file(world)
    shutil.copy(file, tmp_path / "moved.db")
    (tmp_path / "moved.db").replace(file)
    forget_standings()
    await assert_nothing_is_removed(world, "is a copy")
    await world.maintain("adopt")
    world.make_due()
    assert (await world.maintain("drain")).deleted == 1


async def test_a_renamed_file_is_no_copy(world: World, tmp_path: Path) -> None:
    _, second = world.add(b"one", b"two")
    world.engine.dispose()
    renamed = opened(world, database_file(world).rename(tmp_path / "renamed.db"))
    remove(renamed, 1)
    assert keys() == {second}
    assert (await renamed.maintain("sweep")).withheld == {}
    renamed.engine.dispose()


async def test_a_database_restored_to_before_a_sweep_removes_nothing(world: World, tmp_path: Path) -> None:
    first, second = world.add(b"one", b"two")
    back_up(world, tmp_path / "backup.db")
    await world.maintain("sweep")
    [later] = world.add(b"later", start=3)
    restore_in_place(world, tmp_path / "backup.db")
    await assert_nothing_is_removed(world, "was restored from a backup")
    assert {first, second, later} <= keys()
    await world.maintain("adopt")
    world.make_due()
    assert (await world.maintain("drain")).deleted == 1
    assert keys() == {second, later, "lost/late.txt"}


async def test_a_sweep_does_not_make_a_restored_database_catch_up(world: World, tmp_path: Path) -> None:
    world.add(b"one", b"two")
    back_up(world, tmp_path / "backup.db")
    for _ in range(3):
        await world.maintain("sweep")
    restore_in_place(world, tmp_path / "backup.db")
    for _ in range(4):
        assert "was restored" in (await world.maintain("sweep")).withheld["docs"]


async def test_a_database_restored_to_before_the_days_first_removal_removes_nothing(
    world: World, tmp_path: Path
) -> None:
    world.add(b"one", b"two", b"three")
    back_up(world, tmp_path / "backup.db")
    remove(world, 2)
    restore_in_place(world, tmp_path / "backup.db")
    await assert_nothing_is_removed(world, "was restored")
    report = await world.maintain("check")
    assert [f.row.primary_key for f in report.findings if f.row is not None] == [(2,)], "it is missing"


async def test_a_restored_database_goes_on_after_adopt_and_keeps_what_came_later(
    world: World, tmp_path: Path
) -> None:
    """What was stored after the backup is younger than the ledger's newest entry."""
    old = world.add(b"one", b"two")
    back_up(world, tmp_path / "backup.db")
    await world.maintain("sweep")
    later = world.add(b"three", b"four", start=3)
    restore_in_place(world, tmp_path / "backup.db")
    await world.maintain("adopt")
    report = await world.maintain("sweep", grace=-5, quarantine=0, force=True)
    assert (report.found, report.claimed, report.withheld) == (0, 0, {})
    await world.maintain("drain")
    assert keys() == {*old, *later}


async def test_a_database_without_its_meta_table_is_a_copy(world: World) -> None:
    """It was restored without it, or made anew by create_all after a restore of the rest."""
    world.add(b"one", b"two")
    world.sql("DELETE FROM filecolumn_meta")
    world.engine.dispose()
    anew = opened(world, database_file(world))
    await assert_nothing_is_removed(anew, "is a copy")
    await anew.maintain("adopt")
    anew.make_due()
    assert (await anew.maintain("drain")).deleted == 1
    anew.engine.dispose()


async def test_rows_alone_that_were_restored_keep_their_files(world: World, tmp_path: Path) -> None:
    """The ledger knows that they were given up, and their objects are still there."""
    [key] = world.add(b"one")
    world.sql("CREATE TABLE backup AS SELECT * FROM documents")
    world.sql("DELETE FROM documents")
    world.set_entries(state=State.DOOMED.value, due_at=1)
    world.sql("INSERT INTO documents SELECT * FROM backup")
    assert (await world.maintain("drain")).restored == 1
    assert keys() == {key}
