"""What SQL has copied is said to the ledger: no commit removes content that two rows share."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text
from sqlalchemy.orm import Session

import filecolumn.alembic.operations  # noqa: F401 - adds the operations
from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.columns import recorded_columns
from filecolumn.ledger.table import META, ledger_of
from filecolumn.maintenance import drain
from filecolumn.maintenance.columns import copy_files
from filecolumn.orm.catalogue import IncompleteColumnError
from tests.maintenance.models import Base, Document, Item
from tests.maintenance.world import World, keys

COPIED = "INSERT INTO items (region, number, file) SELECT 'a', id, file FROM documents WHERE id < 3"
WAYS = ("function", "operation", "printed")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tell(world: World, way: str, source: str, target: str) -> None:
    match way:
        case "function":
            copy_files(world.engine, Base, source=source, target=target)
        case "operation":
            with world.engine.begin() as connection:
                operations: Any = Operations(MigrationContext.configure(connection))
                operations.copy_files(source, target)
        case _:
            out = StringIO()
            options = {"as_sql": True, "output_buffer": out}
            context = MigrationContext.configure(dialect_name=world.engine.dialect.name, opts=options)
            printing: Any = Operations(context)
            printing.copy_files(source, target)
            for statement in out.getvalue().split(";\n"):
                if statement.strip():
                    world.sql(statement.replace(":", r"\:"))


def checked(world: World, *names: str) -> list[bool]:
    return [bool(world.entry(name).checked) for name in names]


def test_rows_copied_to_another_table_keep_their_content(
    database: World, storage: StorageBackend, way: str
) -> None:
    first, second, third = database.add(b"one", b"two", b"three")
    database.sql(COPIED)
    database.sql("UPDATE items SET region = 'b'")
    tell(database, way, "documents.file", "items.file")
    tell(database, way, "documents.file", "items.file")
    assert checked(database, first, second, third) == [False, False, True]
    assert not database.entry(first).fresh
    with Session(database.engine) as session:
        for number in (1, 2, 3):
            session.delete(session.get_one(Document, number))
        session.commit()
        assert session.get_one(Item, ("b", 1)).file.get_content() == b"one"
    drain(database.engine, Base)
    assert keys() == {first, second}


def test_rows_of_one_table_are_filled_where_they_hold_nothing(
    database: World, storage: StorageBackend, way: str
) -> None:
    with Session(database.engine) as session:
        session.add_all(
            Document(id=number, file=FileObject("a.txt", content=b"%d" % number)) for number in (1, 2)
        )
        session.commit()
        first, second = (session.get_one(Document, number).file.path for number in (1, 2))
    database.sql("DELETE FROM documents WHERE id > 2")
    make_pages_nullable(database)
    database.sql("UPDATE documents SET pages = NULL WHERE id = 1")
    tell(database, way, "documents.file", "documents.pages")
    assert checked(database, first, second) == [False, True]
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT file, pages FROM documents ORDER BY id")).all()
    assert [decoded(value) for value in rows[0]] == [decoded(rows[0][0])] * 2
    assert decoded(rows[1][1]) == []


def make_pages_nullable(world: World) -> None:
    match world.kind:
        case "postgresql":
            world.sql("ALTER TABLE documents ALTER COLUMN pages DROP NOT NULL")
        case "mariadb":
            world.sql("ALTER TABLE documents MODIFY pages JSON NULL")
        case _:
            world.sql("CREATE TABLE new (id INTEGER PRIMARY KEY, file JSON, pages JSON)")
            world.sql("INSERT INTO new SELECT id, file, pages FROM documents")
            world.sql("DROP TABLE documents")
            world.sql("ALTER TABLE new RENAME TO documents")


def decoded(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def test_values_of_any_shape_are_read(database: World, storage: StorageBackend, way: str) -> None:
    first, second, third = database.add(b"one", b"two", b"three")
    one, two = ({"filename": "a.txt", "backend": "docs", "to_filename": name} for name in (first, second))
    for number, value in enumerate((one, [two, None], None, []), 10):
        row = json.dumps(value)
        database.sql("INSERT INTO documents (id, pages) VALUES (:id, :row)", id=number, row=row)
    tell(database, way, "documents.file", "documents.pages")
    assert checked(database, first, second, third) == [False, False, True]


@pytest.mark.parametrize("value", ["text", {"v": 2, "name": "?"}, [["?"]], 1, {"to_filename": {"a": 1}}])
def test_a_value_that_is_not_read_may_hold_any_key(
    database: World, storage: StorageBackend, way: str, value: object
) -> None:
    [key] = database.add(b"one")
    if value == {"to_filename": {"a": 1}} and database.kind != "mariadb":
        pytest.skip("read as a key that no entry has")
    database.sql("INSERT INTO documents (id, pages) VALUES (10, :row)", row=json.dumps(value))
    tell(database, way, "documents.file", "documents.pages")
    assert checked(database, key) == [False]


def test_the_target_is_recorded_once(database: World, way: str) -> None:
    database.sql(f"DELETE FROM {META} WHERE name LIKE 'column:%'")
    for _ in range(2):
        tell(database, way, "documents.file", "items.file")
    ledger = ledger_of(Base.metadata)
    assert ledger is not None
    with database.engine.connect() as connection:
        assert [str(column.name) for column in recorded_columns(connection, ledger)] == ["items.file"]


def test_the_function_counts_keys(database: World, storage: StorageBackend) -> None:
    database.add(b"one", b"two", b"three")
    assert copy_files(database.engine, Base, source="documents.file", target="items.file") == 0
    database.sql(COPIED)
    assert copy_files(database.engine, Base, source="documents.file", target="items.file") == 2


def test_names_of_schemas(database: World, storage: StorageBackend) -> None:
    [key] = database.add(b"one")
    schema = {"sqlite": "main", "postgresql": "public"}.get(database.kind, database.engine.url.database)
    source, target = f"{schema}.documents.file", f"{schema}.documents.pages"
    assert copy_files(database.engine, Base, source=source, target=target) == 0
    assert copy_files(database.engine, Base, source=target, target=source) == 1
    assert checked(database, key) == [False]


@pytest.mark.parametrize("name", ["file", "a.b.c.d"])
def test_what_names_no_column_is_refused(database: World, name: str) -> None:
    with pytest.raises(ValueError, match=r"write table\.column"):
        copy_files(database.engine, Base, source="documents.file", target=name)


def test_a_column_that_is_not_there_is_named(database: World) -> None:
    with pytest.raises(IncompleteColumnError, match=r"documents\.nothing"):
        copy_files(database.engine, Base, source="documents.nothing", target="items.file")
