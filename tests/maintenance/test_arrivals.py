"""Triggers see rows come to hold keys: the first time it is the key's own row, then there are two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import event, insert, inspect, text
from sqlalchemy.orm import Session

import filecolumn.alembic.operations  # noqa: F401 - adds the operations
from filecolumn import FileObject, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import META, State, ledger_of
from filecolumn.ledger.triggers import column_of_fact, is_older
from filecolumn.maintenance import drain, install_triggers, remove_triggers
from filecolumn.maintenance.triggers import missing_triggers
from tests.maintenance.models import Base, Document, Item
from tests.maintenance.world import TABLE, World, keys, make_world
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database


@pytest.fixture
def watched(database: World) -> World:
    """A database with triggers."""
    install_triggers(database.engine, Base)
    return database


def enter(world: World, key: str, *, fresh: bool | None, state: State = State.LIVE) -> None:
    """Write what a flush writes into the ledger before its row."""
    row = {
        "backend": "docs",
        "key": key,
        "state": state.value,
        "checked": True,
        "created_at": 1,
        "attempts": 0,
    }
    with world.engine.begin() as connection:
        connection.execute(insert(TABLE).values(**row, fresh=fresh))


def row_of(*names: str) -> str:
    return json.dumps([{"filename": "a.txt", "backend": "docs", "to_filename": name} for name in names])


def doubt(world: World, key: str) -> tuple[bool, bool]:
    """Return whether a key is fresh, and whether it is checked."""
    entry = world.entry(key)
    return bool(entry.fresh), bool(entry.checked)


def add_raw(world: World, number: int, *names: str) -> None:
    world.sql("INSERT INTO documents (id, pages) VALUES (:id, :row)", id=number, row=row_of(*names))


def test_the_first_arrival_is_the_keys_own_row_and_the_next_one_is_another(watched: World) -> None:
    for key in ("a", "b", "c"):
        enter(watched, key, fresh=True)
    add_raw(watched, 1, "a", "b", "unknown")
    assert [doubt(watched, key) for key in "abc"] == [(False, True), (False, True), (True, True)]
    add_raw(watched, 2, "b", "c")
    assert [doubt(watched, key) for key in "abc"] == [(False, True), (False, False), (False, True)]
    assert set(watched.states()) == {"a", "b", "c"}


def test_only_what_a_row_did_not_hold_before_arrives(watched: World) -> None:
    for key in ("a", "A", "c"):
        enter(watched, key, fresh=False)
    add_raw(watched, 1)
    for row in (row_of("a"), row_of("a").replace('"a.txt"', '"renamed.txt"')):
        watched.set_entries(checked=True)
        watched.sql("UPDATE documents SET pages = :row", row=row)
    assert [doubt(watched, key) for key in "aAc"] == [(False, True)] * 3
    watched.sql("UPDATE documents SET pages = :row", row=row_of("A"))
    assert [doubt(watched, key) for key in "aAc"] == [(False, False), (False, False), (False, True)]


def test_keys_from_before_there_were_arrivals_are_not_taken_for_new_ones(watched: World) -> None:
    enter(watched, "a", fresh=None)
    add_raw(watched, 1, "a")
    assert doubt(watched, "a") == (False, False)


def test_a_doomed_key_that_is_put_back_is_looked_up(watched: World) -> None:
    enter(watched, "a", fresh=False, state=State.DOOMED)
    add_raw(watched, 1, "a")
    assert doubt(watched, "a") == (False, False)
    assert watched.states() == {"a": State.DOOMED}


def test_values_of_any_shape_arrive_and_what_is_none_does_not_matter(watched: World) -> None:
    enter(watched, "a", fresh=True)
    single = json.dumps(json.loads(row_of("a"))[0])
    for number, row in enumerate(("null", "[]", "{}", '[1, "x", null]', '"a"'), 1):
        watched.sql("INSERT INTO documents (id, pages) VALUES (:id, :row)", id=number, row=row)
    assert doubt(watched, "a") == (True, True)
    watched.sql("INSERT INTO documents (id, pages, file) VALUES (9, :row, NULL)", row=single)
    assert doubt(watched, "a") == (False, True)
    watched.sql("UPDATE documents SET file = pages WHERE id = 9")
    assert doubt(watched, "a") == (False, False)


def test_a_session_that_stores_a_file_leaves_it_checked(watched: World, storage: StorageBackend) -> None:
    [key] = watched.add(b"one")
    assert doubt(watched, key) == (False, True)
    with Session(watched.engine) as session:
        session.get_one(Document, 1).file = FileObject("b.txt", content=b"two")
        session.commit()
        new = session.get_one(Document, 1).file
        assert doubt(watched, new.path) == (False, True)
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert keys() == set()


def test_a_row_that_was_copied_by_sql_keeps_its_content(watched: World, storage: StorageBackend) -> None:
    [key] = watched.add(b"one")
    watched.sql("INSERT INTO items (region, number, file) SELECT 'a', id, file FROM documents")
    with Session(watched.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
        assert session.get_one(Item, ("a", 1)).file.get_content() == b"one"
    assert drain(watched.engine, Base).restored == 1
    assert keys() == {key}
    watched.sql("DELETE FROM items")
    assert drain(watched.engine, Base).deleted == 1


def test_rows_that_were_there_before_the_triggers_have_arrived(
    database: World, storage: StorageBackend
) -> None:
    [key] = database.add(b"one")
    assert doubt(database, key) == (True, True)
    install_triggers(database.engine, Base)
    assert doubt(database, key) == (False, True)
    database.sql("INSERT INTO items (region, number, file) SELECT 'a', id, file FROM documents")
    assert doubt(database, key) == (False, False)


def test_an_older_ledger_is_named_before_a_trigger_fails_on_it(database: World) -> None:
    database.sql("ALTER TABLE filecolumn_ledger DROP COLUMN fresh")
    with pytest.raises(Exception, match="filecolumn migrate"):
        install_triggers(database.engine, Base)


# Which triggers are there


def missing(world: World, *metadatas: sa.MetaData) -> list[str]:
    with world.engine.connect() as connection:
        return missing_triggers(connection, metadatas or [Base.metadata])


def facts(world: World) -> set[str]:
    with world.engine.connect() as connection:
        return set(connection.scalars(text(f"SELECT value FROM {META} WHERE name LIKE 'triggers:%'")))


COLUMNS = ["documents.file", "documents.pages", "items.file"]


def drop_one(world: World, name: str, table: str) -> None:
    on = f" ON {table}" if world.kind == "postgresql" else ""
    world.sql(f"DROP TRIGGER {name}{on}")


def test_nothing_is_missed_that_was_not_installed(database: World) -> None:
    assert missing(database) == []
    install_triggers(database.engine, Base)
    install_triggers(database.engine, Base)
    assert missing(database) == []
    assert set(map(column_of_fact, facts(database))) == set(COLUMNS)
    remove_triggers(database.engine, Base)
    assert (missing(database), facts(database)) == ([], set())


def test_triggers_that_are_gone_are_missed(watched: World) -> None:
    drop_one(watched, "filecolumn_documents_pages_arrival", "documents")
    assert missing(watched) == ["documents.pages"]
    for event_name in ("delete", "update", "insert", "arrival"):
        drop_one(watched, f"filecolumn_items_file_{event_name}", "items")
    assert missing(watched) == ["documents.pages", "items.file"]
    install_triggers(watched.engine, Base)
    assert missing(watched) == []


def test_triggers_of_an_older_release_are_missed(watched: World) -> None:
    """It left no fact, and created none for arrivals."""
    watched.sql(f"DELETE FROM {META} WHERE name LIKE 'triggers:%'")
    assert missing(watched) == []
    for event_name in ("insert", "arrival"):
        drop_one(watched, f"filecolumn_items_file_{event_name}", "items")
    assert missing(watched) == ["items.file"]


def test_triggers_that_do_less_than_those_of_this_release_are_missed(watched: World) -> None:
    """The fact of the release before names the column only."""
    watched.sql(f"UPDATE {META} SET value = 'items.file' WHERE value LIKE 'items.file%'")
    assert missing(watched) == ["items.file"]
    install_triggers(watched.engine, Base)
    assert missing(watched) == []


def test_a_fact_names_its_column_and_its_version() -> None:
    assert column_of_fact("my videos.file v2") == "my videos.file"
    assert not is_older("my videos.file v2")
    assert not is_older("my videos.file v3"), "of a newer release"
    for value in ("my videos.file", "items.file", "items.file v1"):
        assert is_older(value)
        assert column_of_fact(value) == value.removesuffix(" v1")


@pytest.mark.server
def test_a_disabled_trigger_is_missed(tmp_path: Path) -> None:
    with make_world("postgresql", "sync", tmp_path) as world:
        install_triggers(world.engine, Base)
        world.sql("ALTER TABLE items DISABLE TRIGGER USER")
        assert missing(world) == ["items.file"]


def test_the_batch_mode_of_alembic_drops_them(tmp_path: Path, storage: StorageBackend) -> None:
    with make_world("sqlite", "sync", tmp_path) as world:
        install_triggers(world.engine, Base)
        with world.engine.begin() as connection:
            operations = Operations(MigrationContext.configure(connection))
            with operations.batch_alter_table("items", recreate="always") as batch:
                batch.add_column(sa.Column("note", sa.String(10)))
        assert missing(world) == ["items.file"]


# Other schemas, and Alembic


class Metadata:
    """A table with a percent sign in its name, in the schema that a tenant's connection puts it."""

    def __init__(self) -> None:
        self.metadata: sa.MetaData = sa.MetaData()
        self.table: sa.Table = sa.Table(
            "100% docs",
            self.metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("file", StoredObject("docs")),
        )
        ledger = ledger_of(self.metadata)
        assert ledger is not None
        self.ledger: sa.Table = ledger.table


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)])
def tenant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database in which a connection's tables are in another schema than the default one."""
    with own_database(request.param, tmp_path, sa.MetaData()) as engine:
        name = f"{engine.url.database}_tenant" if request.param == "mariadb" else "tenant"
        if request.param == "sqlite":
            event.listen(
                engine, "connect", lambda raw, _: raw.execute(f"ATTACH '{tmp_path}/tenant.db' AS tenant")
            )
            engine.dispose()
        else:
            with engine.begin() as connection:
                connection.execute(sa.text(f"CREATE SCHEMA {name}"))
        yield engine.execution_options(schema_translate_map={None: name})
        if request.param == "mariadb":
            with engine.begin() as connection:
                connection.execute(sa.text(f"DROP SCHEMA {name}"))


def observe(engine: sa.Engine, made: Metadata) -> list[tuple[str, int, bool | None, bool]]:
    """Add a row and delete it by Core with plain JSON, and return what the ledger says of its key."""
    plain = sa.column("file", sa.JSON)
    rows = sa.table(made.table.name, sa.column("id"), plain, schema=made.table.schema)
    value = {"filename": "a.txt", "backend": "docs", "to_filename": "a"}
    entry: dict[str, Any] = {"backend": "docs", "key": "a", "state": 1, "checked": True, "created_at": 1}
    columns = made.ledger.c
    with engine.begin() as connection:
        connection.execute(made.ledger.delete())
        connection.execute(made.ledger.insert().values(**entry, attempts=0, fresh=True))
        schema = connection.schema_for_object(made.table)
        rows.schema = schema
        untranslated = {"schema_translate_map": {}}
        connection.execute(rows.insert().values({"id": 1, plain: value}), execution_options=untranslated)
        seen = connection.execute(sa.select(columns.key, columns.state, columns.fresh, columns.checked)).all()
        connection.execute(rows.delete(), execution_options=untranslated)
        seen += connection.execute(
            sa.select(columns.key, columns.state, columns.fresh, columns.checked)
        ).all()
    return [(key, state, fresh, checked) for key, state, fresh, checked in seen]


SEEN = [("a", State.LIVE, False, True), ("a", State.DOOMED, False, False)]


def test_triggers_lie_where_the_connection_puts_their_tables(
    tenant: sa.Engine, storage: StorageBackend
) -> None:
    made = Metadata()
    made.metadata.create_all(tenant)
    install_triggers(tenant, made.metadata)
    assert observe(tenant, made) == SEEN
    with tenant.connect() as connection:
        assert missing_triggers(connection, [made.metadata]) == []
    remove_triggers(tenant, made.metadata)
    assert observe(tenant, made)[1][1] == State.LIVE


def test_alembic_puts_them_there_too(tenant: sa.Engine, storage: StorageBackend) -> None:
    made = Metadata()
    made.metadata.create_all(tenant)
    with tenant.begin() as connection:
        operations: Any = Operations(MigrationContext.configure(connection))
        operations.create_file_triggers("100% docs", ["file"], backend="50% of docs")
    assert observe(tenant, made) == SEEN
    with tenant.connect() as connection:
        assert missing_triggers(connection, [made.metadata]) == []
    with tenant.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        operations.drop_file_triggers("100% docs", ["file"])
    assert observe(tenant, made)[1][1] == State.LIVE


@pytest.mark.parametrize("kind", ["sqlite", *on_servers(SERVERS)])
def test_offline_sql_is_right_as_it_stands(kind: str, tmp_path: Path, storage: StorageBackend) -> None:
    made = Metadata()
    with own_database(kind, tmp_path, made.metadata) as engine:
        printed = offline(engine, lambda op: op.create_file_triggers("100% docs", ["file"], backend="50%"))
        assert "%%" not in printed
        run_as_it_stands(engine, printed)
        assert observe(engine, made) == SEEN
        if kind == "postgresql":
            run_as_it_stands(engine, 'INSERT INTO "100% docs" VALUES (1, \'{"to_filename": "x"}\')')
            run_as_it_stands(engine, 'TRUNCATE "100% docs"')
            with engine.connect() as connection:
                found = connection.execute(sa.select(made.ledger.c.backend).where(made.ledger.c.key == "x"))
                assert found.scalars().all() == ["50%"]
        run_as_it_stands(engine, offline(engine, lambda op: op.drop_file_triggers("100% docs", ["file"])))
        assert observe(engine, made)[1][1] == State.LIVE
        assert inspect(engine).has_table("100% docs")


def test_alembic_puts_them_beside_a_ledger_in_another_schema(tmp_path: Path, storage: StorageBackend) -> None:
    printed = offline(
        sa.create_engine("postgresql+psycopg://"),
        lambda op: op.create_file_triggers(
            "docs", ["file"], backend="docs", schema="tenant", ledger_schema="files"
        ),
    )
    assert "ON tenant.docs" in printed
    assert "EXECUTE FUNCTION files.filecolumn_doom" in printed
    assert "INSERT INTO files.filecolumn_ledger" in printed
    assert "tenant.filecolumn" not in printed


def offline(engine: sa.Engine, migrate: Any) -> str:
    out = StringIO()
    options = {"as_sql": True, "output_buffer": out}
    migrate(Operations(MigrationContext.configure(dialect_name=engine.dialect.name, opts=options)))
    return out.getvalue()


def run_as_it_stands(engine: sa.Engine, printed: str) -> None:
    """Run a script without any formatting by a driver, as a database's own shell does."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        match engine.dialect.name:
            case "sqlite":
                raw.driver_connection.executescript(printed)
            case "postgresql":
                cursor.execute(printed)
            case _:
                for statement in printed.split(";\n"):
                    if statement.strip():
                        cursor.execute(statement)
        raw.commit()
    finally:
        raw.close()
