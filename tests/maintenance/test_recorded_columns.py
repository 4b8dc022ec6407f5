"""The columns that have ever taken a key are recorded, and read whatever the models of a run say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, delete, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, MaintenanceRefusedError, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import (
    ColumnReport,
    FindingKind,
    forget_file_column,
    list_file_columns,
    rename_file_column,
    sweep,
)
from tests.maintenance.models import Base, Document
from tests.maintenance.world import LEDGER, TABLE, WAYS, World, keys, lay, make_world


class OlderBase(DeclarativeBase):
    """The models of a release that knows of fewer columns."""


class OlderDocument(OlderBase):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


@pytest.fixture(params=WAYS)
def sqlite(request: pytest.FixtureRequest, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """A database that can be migrated by SQL in the way that SQLite has it."""
    with make_world("sqlite", request.param, tmp_path) as made:
        yield made


ALL = ["documents.file", "documents.pages", "items.file"]


def recorded(world: World, *models: Any) -> dict[str, tuple[int, str]]:
    return {
        each.name: (each.live, each.problem) for each in list_file_columns(world.engine, *models or (Base,))
    }


def add_page(world: World, number: int) -> str:
    with Session(world.engine) as session:
        document = Document(id=number, pages=[FileObject("p.txt", content=b"page")])
        session.add(document)
        session.commit()
        path: str = document.pages[0].path
        return path


def forget_meta(world: World) -> None:
    """Let the database be one whose tables an older release has made."""
    assert LEDGER is not None
    with world.engine.begin() as connection:
        connection.execute(delete(LEDGER.meta).where(LEDGER.meta.c.name.startswith("column:")))
    world.engine.dispose()


async def sweep_now(world: World, *models: Any, **options: Any) -> Any:
    return await world.maintain("sweep", *models, **{"grace": -5, "quarantine": 0, **options})


# Recorded


def test_create_all_records_the_columns(database: World) -> None:
    assert recorded(database) == dict.fromkeys(ALL, (0, ""))
    Base.metadata.create_all(database.engine)
    assert list(recorded(database)) == ALL, "once"


def test_create_all_of_one_table_records_its_columns_only(tmp_path: Path, storage: StorageBackend) -> None:
    with make_world("sqlite", "sync", tmp_path) as world:
        world.sql("DROP TABLE documents")
        world.sql("DROP TABLE items")
        forget_meta(world)
        Base.metadata.create_all(world.engine, tables=[Base.metadata.tables["items"]])
        assert list(recorded(world)) == ["items.file"]
        Base.metadata.create_all(world.engine)
        assert list(recorded(world)) == ALL


def test_a_flush_records_the_columns_of_its_table(database: World) -> None:
    forget_meta(database)
    [key] = database.add(b"one")
    assert recorded(database) == {"documents.file": (1, ""), "documents.pages": (0, "")}
    page = add_page(database, 2)
    assert recorded(database) == {"documents.file": (1, ""), "documents.pages": (1, "")}
    assert database.entry(key).held_in != database.entry(page).held_in


def test_a_flush_that_is_rolled_back_records_them_the_next_time(database: World) -> None:
    forget_meta(database)
    with Session(database.engine) as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one")))
        session.flush()
        session.rollback()
    assert recorded(database) == {}
    [key] = database.add(b"one")
    assert recorded(database)["documents.file"] == (1, "")
    assert database.entry(key).held_in is not None


def test_columns_keep_their_ids_in_every_process(database: World) -> None:
    [first] = database.add(b"one")
    database.engine.dispose()
    forget_meta(database)
    Base.metadata.create_all(database.engine)
    [second] = database.add(b"two", start=2)
    assert database.entry(first).held_in == database.entry(second).held_in


# Read


async def test_a_column_that_no_model_names_is_read(world: World) -> None:
    """An older release sweeps and drains while a newer one has stored."""
    page = add_page(world, 1)
    [key] = world.add(b"one", start=2)
    lay("lost/a.txt")
    report = await sweep_now(world, OlderBase, unreferenced=True)
    assert (report.orphans, report.claimed) == (1, 1)
    await world.maintain("drain", OlderBase)
    assert {page, key} <= keys()
    assert world.states()[page] is State.LIVE
    world.set_entries(state=State.DOOMED.value, due_at=1, checked=True)
    restored = await world.maintain("drain", OlderBase)
    assert restored.restored == 2
    assert {page, key} <= keys()


async def test_what_a_column_holds_that_no_model_names_is_not_unreferenced(world: World) -> None:
    page = add_page(world, 1)
    report = await sweep_now(world, OlderBase, unreferenced=True)
    assert report.claimed == 0
    assert world.entry(page).unreferenced_since is None
    assert report.by_column == {}
    checked = await world.maintain("check", OlderBase, grace=-5)
    assert [f.kind for f in checked.findings] == []


@pytest.mark.usefixtures("recorded_at_once")
async def test_a_dropped_column_withholds_all_deletion_and_says_so(sqlite: World) -> None:
    first, second = sqlite.add(b"one", b"two")
    page = add_page(sqlite, 3)
    lay("lost/a.txt")
    assert (await sweep_now(sqlite)).claimed == 1
    sqlite.sql("ALTER TABLE documents DROP COLUMN pages")
    with Session(sqlite.engine) as session:
        session.delete(session.get_one(OlderDocument, 2))
        session.commit()
    assert second not in keys(), "its own transaction says that the row gave it up"
    sqlite.make_due()
    report = await sqlite.maintain("drain", OlderBase)
    assert (report.deleted, report.withheld) == (0, 1)
    reason = "documents.pages cannot be read: it is not in the database"
    assert report.reasons == {reason: 1}
    swept = await sweep_now(sqlite, OlderBase, unreferenced=True, force=True)
    assert (swept.claimed, swept.withheld[""]) == (0, reason)
    assert keys() == {first, page, "lost/a.txt"}
    counts = await sqlite.maintain("status", OlderBase)
    assert counts.hidden == {"documents.pages": "it is not in the database"}
    assert counts.withheld == {reason: 1}
    assert counts.by_column["documents.pages"].live == 1
    assert not counts.by_column["documents.pages"].is_judged
    findings = (await sqlite.maintain("check", OlderBase)).findings
    assert [(f.kind, f.detail) for f in findings if f.kind is FindingKind.HIDDEN] == [
        (FindingKind.HIDDEN, reason)
    ]
    assert recorded(sqlite, OlderBase)["documents.pages"] == (1, "it is not in the database")


async def test_a_row_keeps_its_file_though_another_column_cannot_be_read(sqlite: World) -> None:
    """What was found is restored all the same."""
    [key] = sqlite.add(b"one")
    sqlite.sql("DROP TABLE items")
    sqlite.set_entries(state=State.DOOMED.value, due_at=1, checked=False)
    report = await sqlite.maintain("drain")
    assert report.deleted == 0
    assert keys() == {key}


async def test_a_forgotten_column_lets_deletion_go_on(sqlite: World) -> None:
    sqlite.add(b"one")
    page = add_page(sqlite, 2)
    lay("lost/a.txt")
    await sweep_now(sqlite)
    sqlite.sql("ALTER TABLE documents DROP COLUMN pages")
    await sqlite.maintain("drain", OlderBase)
    await sqlite.maintain("forget_file_column", OlderBase, name="documents.pages")
    assert list(recorded(sqlite, OlderBase)) == ["documents.file", "items.file"]
    sqlite.make_due()
    assert (await sqlite.maintain("drain", OlderBase)).deleted == 1
    report = await sweep_now(sqlite, OlderBase, force=True)
    assert (report.claimed, report.by_column) == (0, {"": 1}), "of no column that is recorded"
    with sqlite.engine.begin() as connection:
        older = {"backend": "docs", "key": "older", "state": 1, "checked": False, "attempts": 0, "size": 5}
        connection.execute(insert(TABLE).values(created_at=now_ms(), unreferenced_since=1, **older))
    counts = (await sqlite.maintain("status", OlderBase)).by_column[""]
    assert (counts.live, counts.live_bytes, counts.unreferenced, counts.is_judged) == (2, 9, 2, False)
    assert page in keys()
    with pytest.raises(MaintenanceRefusedError, match="1 live keys are of a column that was forgotten"):
        await sweep_now(sqlite, OlderBase, unreferenced=True)
    assert (await sweep_now(sqlite, OlderBase, unreferenced=True, force=True)).claimed == 1
    assert (await sqlite.maintain("drain", OlderBase)).deleted == 1
    assert page not in keys()
    assert sqlite.states()["older"] is State.LIVE


def test_a_column_that_is_there_is_not_forgotten(database: World) -> None:
    with pytest.raises(MaintenanceRefusedError, match=r"documents\.pages is still there"):
        forget_file_column(database.engine, OlderBase, name="documents.pages")
    with pytest.raises(MaintenanceRefusedError, match=r"no column documents\.film is recorded; recorded: "):
        forget_file_column(database.engine, Base, name="documents.film")
    with pytest.raises(ValueError, match=r"write table\.column"):
        forget_file_column(database.engine, Base, name="pages")
    assert list(recorded(database)) == ALL


# Renamed


async def test_a_renamed_column_is_followed(sqlite: World) -> None:
    page = add_page(sqlite, 1)
    sqlite.add(b"one", start=2)
    sqlite.sql("ALTER TABLE documents RENAME COLUMN pages TO sheets")
    assert (await sweep_now(sqlite, OlderBase)).withheld[""]
    await sqlite.maintain("rename_file_column", OlderBase, old="documents.pages", new="documents.sheets")
    assert recorded(sqlite, OlderBase) == {
        "documents.file": (1, ""),
        "documents.sheets": (1, ""),
        "items.file": (0, ""),
    }
    report = await sweep_now(sqlite, OlderBase, unreferenced=True)
    assert (report.claimed, report.withheld) == (0, {})
    assert page in keys()
    sqlite.sql("UPDATE documents SET sheets = '[]' WHERE id = 1")
    assert (await sweep_now(sqlite, OlderBase, unreferenced=True)).claimed == 1
    await sqlite.maintain("drain", OlderBase)
    assert page not in keys()


async def test_a_renamed_column_that_has_taken_keys_under_both_names_is_one(sqlite: World) -> None:
    class NewBase(DeclarativeBase):
        pass

    class NewDocument(NewBase):
        __tablename__ = "documents"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
        sheets: Mapped[FileObjectList] = mapped_column(
            StoredObject(backend="docs", multiple=True), default=list
        )

    page = add_page(sqlite, 1)
    sqlite.sql("ALTER TABLE documents RENAME COLUMN pages TO sheets")
    with Session(sqlite.engine) as session:
        document = NewDocument(id=2, sheets=[FileObject("s.txt", content=b"sheet")])
        session.add(document)
        session.commit()
        sheet = document.sheets[0].path
    assert recorded(sqlite, NewBase)["documents.sheets"] == (1, "")
    await sqlite.maintain("rename_file_column", NewBase, old="documents.pages", new="documents.sheets")
    assert recorded(sqlite, NewBase) == {
        "documents.file": (0, ""),
        "documents.sheets": (2, ""),
        "items.file": (0, ""),
    }
    assert sqlite.entry(page).held_in == sqlite.entry(sheet).held_in
    # processes that know the old id go on
    with Session(sqlite.engine) as session:
        session.add(NewDocument(id=3, sheets=[FileObject("s.txt", content=b"more")]))
        session.commit()
    assert recorded(sqlite, NewBase)["documents.sheets"] == (3, "")


def test_a_renaming_that_is_not_one_is_refused(sqlite: World) -> None:
    with pytest.raises(MaintenanceRefusedError, match=r"documents\.pages is still there"):
        rename_file_column(sqlite.engine, Base, old="documents.pages", new="documents.sheets")
    sqlite.sql("ALTER TABLE documents DROP COLUMN pages")
    with pytest.raises(MaintenanceRefusedError, match=r"documents\.sheets cannot be read"):
        rename_file_column(sqlite.engine, OlderBase, old="documents.pages", new="documents.sheets")
    with pytest.raises(MaintenanceRefusedError, match=r"no column documents\.film"):
        rename_file_column(sqlite.engine, OlderBase, old="documents.film", new="documents.file")


async def test_columns_are_listed_with_what_keeps_them_from_being_read(sqlite: World) -> None:
    sqlite.add(b"one")
    sqlite.sql("DROP TABLE items")
    assert await sqlite.maintain("list_file_columns") == [
        ColumnReport(name="documents.file", live=1),
        ColumnReport(name="documents.pages", live=0),
        ColumnReport(name="items.file", live=0, problem="it is not in the database"),
    ]


# Entries of older releases


async def test_entries_of_older_releases_are_not_judged_until_a_repair_has_recorded_them(
    world: World,
) -> None:
    lost, kept = world.add(b"one", b"two")
    page = add_page(world, 3)
    world.set_entries(held_in=None)
    world.sql("DELETE FROM documents WHERE id = 1")
    report = await sweep_now(world, unreferenced=True, force=True)
    assert (report.unreferenced, report.claimed) == (1, 0)
    assert not (await world.maintain("status")).by_column[""].is_judged
    await world.maintain("check", repair=True)
    assert world.entry(kept).held_in is not None
    assert world.entry(page).held_in not in {None, world.entry(kept).held_in}
    assert world.entry(lost).held_in is None, "nobody knows which column it was in"
    assert recorded(world) == {"documents.file": (1, ""), "documents.pages": (1, ""), "items.file": (0, "")}
    assert (await sweep_now(world, unreferenced=True, force=True)).claimed == 0
    assert keys() == {lost, kept, page}
    # what is recorded now is judged from now on
    world.sql("DELETE FROM documents WHERE id = 2")
    assert (await sweep_now(world, unreferenced=True)).claimed == 1
    await world.maintain("drain")
    assert keys() == {lost, page}


@pytest.mark.usefixtures("recorded_at_once")
async def test_an_entry_of_an_older_release_that_is_doomed_is_deleted(world: World) -> None:
    """A tombstone is evidence, whichever column had it."""
    first, second = world.add(b"one", b"two")
    world.set_entries(held_in=None)
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert keys() == {second}
    with world.engine.begin() as connection:
        connection.execute(TABLE.update().where(TABLE.c.key == second).values(state=2, due_at=1))
    world.sql("DELETE FROM documents")
    assert (await world.maintain("drain")).deleted == 1
    assert keys() == set()
    assert world.states()[first] is State.GONE


def test_metadata_without_models_is_enough(database: World) -> None:
    """The recorded columns are read without any model of them."""
    [key] = database.add(b"one")
    bare = MetaData()
    for name in ("filecolumn_ledger", "filecolumn_meta"):
        Base.metadata.tables[name].to_metadata(bare)
    report = sweep(database.engine, bare, grace=-5, quarantine=0, unreferenced=True)
    assert (report.claimed, report.withheld) == (0, {})
    assert keys() == {key}
