"""Triggers note what no session sees, and get along with what a session writes itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    MetaData,
    Table,
    column,
    create_engine,
    delete,
    select,
    table,
    update,
)
from sqlalchemy.orm import Session

from filecolumn import FileObject, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, ledger_of
from filecolumn.maintenance import (
    attach_triggers,
    check,
    drain,
    install_triggers,
    remove_triggers,
)
from tests.maintenance.models import Base, Document, Folder, Item
from tests.maintenance.world import World, keys


@pytest.fixture
def watched(database: World) -> World:
    """A database with triggers."""
    install_triggers(database.engine, Base)
    install_triggers(database.engine, Base)
    return database


def is_consistent(world: World) -> None:
    assert check(world.engine, Base, grace=-5, verify=True).findings == []


def test_raw_delete_and_update(watched: World, storage: StorageBackend) -> None:
    first, second, third = watched.add(b"one", b"two", b"three")
    watched.sql("DELETE FROM documents WHERE id = 1")
    watched.sql("UPDATE documents SET file = NULL WHERE id = 2")
    entry = watched.entry(first)
    assert (entry.state, entry.checked) == (State.DOOMED, False)
    assert watched.states() == {first: State.DOOMED, second: State.DOOMED, third: State.LIVE}
    assert drain(watched.engine, Base).deleted == 2
    assert keys() == {third}
    is_consistent(watched)


def test_lists_lose_only_what_they_lose(watched: World, storage: StorageBackend) -> None:
    with Session(watched.engine) as session:
        session.add(Document(id=1, pages=[FileObject("p.txt", content=b"%d" % n) for n in range(3)]))
        session.add(Document(id=2))
        session.commit()
        pages = [page.path for page in session.get_one(Document, 1).pages]
        held = [page.to_dict() for page in session.get_one(Document, 1).pages]
    watched.sql("UPDATE documents SET pages = :pages WHERE id = 1", pages=json.dumps([held[2], held[0]]))
    assert watched.states() == {pages[0]: State.LIVE, pages[1]: State.DOOMED, pages[2]: State.LIVE}
    watched.sql("DELETE FROM documents")
    assert drain(watched.engine, Base).deleted == 3
    assert keys() == set()
    is_consistent(watched)


def test_cascades_of_the_database(watched: World, storage: StorageBackend) -> None:
    with Session(watched.engine) as session:
        session.add(Folder(id=1))
        session.flush()
        session.add(Item(region="a", number=1, folder_id=1, file=FileObject("i.txt", content=b"item")))
        session.commit()
    watched.sql("DELETE FROM folders")
    assert drain(watched.engine, Base).deleted == (0 if watched.kind == "mariadb" else 1)
    if watched.kind == "mariadb":
        [warning] = install_triggers(watched.engine, Base)
        assert "items: the foreign key to folders" in warning
    else:
        assert keys() == set()


def test_truncate(watched: World, storage: StorageBackend) -> None:
    if watched.kind != "postgresql":
        pytest.skip("TRUNCATE fires no trigger, or is not there")
    watched.add(b"one", b"two")
    watched.sql("TRUNCATE documents, items")
    assert drain(watched.engine, Base).deleted == 2
    is_consistent(watched)


@pytest.mark.usefixtures("recorded_at_once")
def test_what_a_session_dooms_stays_checked_and_goes_at_the_commit(
    watched: World, storage: StorageBackend
) -> None:
    first, second = watched.add(b"one", b"two")
    with Session(watched.engine) as session:
        session.get_one(Document, 1).file = FileObject("b.txt", content=b"new")
        session.delete(session.get_one(Document, 2))
        session.commit()
    assert watched.states()[first] is State.GONE
    assert watched.states()[second] is State.GONE
    assert watched.entry(first).checked
    assert len(keys()) == 1
    is_consistent(watched)


async def test_what_a_statement_takes_away_goes_once_and_nothing_else(
    world: World, storage: StorageBackend, statement: str
) -> None:
    """Both the statement's session and the triggers doom its keys."""
    install_triggers(world.engine, Base)
    world.add(b"one", b"two")
    [kept] = world.add(b"kept", start=3)
    with Session(world.engine) as session:
        document = session.get_one(Document, 3)
        document.pages.append(FileObject("p.txt", content=b"page"))
        session.add(Document(id=4, pages=[FileObject("p.txt", content=b"four")]))
        session.commit()
        page = document.pages[0].path
    share_with_advanced_alchemy(world, storage)
    rows = delete(Document) if statement == "delete" else update(Document).values(file=None, pages=[])
    await world.execute(rows.where(Document.id.not_in([3, 6])))
    await world.maintain("drain")
    assert keys() == {kept, page, "shared.txt"}
    assert (await world.maintain("check", grace=-5, verify=True)).faults == 0
    await world.execute(delete(Document).where(Document.id != 3))
    world.make_due()
    await world.maintain("drain")
    assert keys() == {kept, page}
    assert (await world.maintain("status")).doomed == 0
    assert (await world.maintain("check", grace=-5, verify=True)).findings == []


@pytest.fixture(params=["delete", "update"])
def statement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def share_with_advanced_alchemy(world: World, storage: StorageBackend) -> None:
    """Commit rows 5 and 6, which share an object that the ledger does not know."""
    storage.put("shared.txt", [b"shared"])
    row = '{"filename": "shared.txt", "backend": "docs"}'
    for number in (5, 6):
        world.sql("INSERT INTO documents (id, file, pages) VALUES (:id, :row, '[]')", id=number, row=row)


def test_moves_and_swaps_keep_their_keys(watched: World, storage: StorageBackend) -> None:
    first, second = watched.add(b"one", b"two")
    with Session(watched.engine) as session:
        one, two = session.get_one(Document, 1), session.get_one(Document, 2)
        one.file, two.file = two.file, one.file
        session.commit()
        one.pages = [one.file]
        one.file = None
        session.commit()
    with Session(watched.engine) as session:
        new = Document(id=3, file=FileObject("c.txt", content=b"new"))
        session.add(new)
        session.flush()
        third = new.file.path
        session.add(Document(id=4, file=new.file))
        new.file = None
        session.commit()
    assert watched.states() == dict.fromkeys((first, second, third), State.LIVE)
    assert drain(watched.engine, Base).restored == 0
    is_consistent(watched)


def test_a_rollback_takes_back_what_triggers_wrote(watched: World) -> None:
    [key] = watched.add(b"one")
    with Session(watched.engine) as session:
        session.connection().exec_driver_sql("DELETE FROM documents")
        session.rollback()
    assert watched.states() == {key: State.LIVE}


def test_keys_that_rows_share_and_rows_that_nobody_can_read(watched: World, storage: StorageBackend) -> None:
    storage.put("a.txt", [b"shared"])
    for number in (1, 2):
        watched.sql(
            "INSERT INTO documents (id, file, pages) VALUES (:id, :row, '[]')",
            id=number,
            row='{"filename": "a.txt", "backend": "docs"}',
        )
    watched.sql("INSERT INTO documents (id, file, pages) VALUES (3, '[1, \"x\", null]', '{}')")
    watched.sql("DELETE FROM documents WHERE id IN (1, 3)")
    assert drain(watched.engine, Base).restored == 1
    assert keys() == {"a.txt"}
    watched.sql("DELETE FROM documents")
    assert drain(watched.engine, Base).deleted == 1


def test_removed_triggers_note_nothing(watched: World) -> None:
    [key] = watched.add(b"one")
    remove_triggers(watched.engine, Base)
    watched.sql("DELETE FROM documents")
    assert watched.states() == {key: State.LIVE}


def test_create_all_creates_them(storage: StorageBackend, tmp_path: Path) -> None:
    metadata = MetaData()
    documents = Table(
        "a table's name",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("its file " + "x" * 40, StoredObject("docs")),
    )
    attach_triggers(metadata)
    ledger = ledger_of(metadata)
    assert ledger is not None
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    metadata.create_all(engine)
    metadata.create_all(engine)
    staged = FileObject("a.txt", content=b"one").save()
    with engine.begin() as connection:
        plain = column(documents.columns[1].name, JSON)
        rows = table(documents.name, column("id"), plain)
        connection.execute(rows.insert().values({"id": 1, plain: staged.to_dict()}))
        connection.execute(documents.delete())
    with engine.connect() as connection:
        states = dict(connection.execute(select(ledger.table.c.key, ledger.table.c.state)).all())
    assert states == {staged.path: State.DOOMED}
    engine.dispose()
