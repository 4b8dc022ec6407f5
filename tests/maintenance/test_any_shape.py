"""References are seen in rows of any shape, on each kind of database, whatever the models say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, Table, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State
from filecolumn.maintenance import check, drain, sweep
from filecolumn.maintenance.ground import find_file_columns
from filecolumn.maintenance.lookup import FEW
from filecolumn.orm import references
from filecolumn.orm.catalogue import (
    IncompleteColumnError,
    ReadColumn,
    column_type,
    file_columns,
    read_columns,
    why_incomplete,
)
from filecolumn.orm.references import is_empty, referenced_keys
from tests.maintenance.looking import referenced
from tests.maintenance.models import Base, Document
from tests.maintenance.world import World, keys
from tests.orm.test_references import (
    FILE,
    FOREIGN,
    HOLDING,
    KEY,
    NAMES,
    NOTHING,
    OTHER,
    UNREADABLE,
    encoded,
    raw,
)

COLUMN = ReadColumn(None, "documents", "file")
LOOKED_FOR = [*NAMES, "elsewhere/0198.pdf", "20260101/00/0199.pdf"]


def raw_values() -> list[str]:
    values = [value for value, _ in HOLDING.values()] + list(UNREADABLE.values()) + NOTHING
    plain = (bytes(value).decode() if isinstance(value, bytes | memoryview) else value for value in values)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in plain if value is not None]
    return [
        *texts,
        *(
            "5",
            "true",
            '"x"',
            '["a"]',
            '{"to_filename": "\\u0061"}',
            '{"to_filename": "a", "v": 1.0}',
            "[[]]",
        ),
        *('{"to_filename": "a", "v": "1"}', '{"to_filename": "a", "v": null}', '{"to_filename": ["a"]}'),
        *('{"to_filename": "a", "v": 1, "v": 2}', '{"to_filename": "a", "to_filename": "b/c"}'),
        *(
            '[{"to_filename": "a"}, {"to_filename": "b/c", "v": 3}]',
            ' {"to_filename": "a"}',
            "[ ]",
            '{"v": 1}',
        ),
        *('{"metadata": {"to_filename": "a"}, "to_filename": "b/c"}', '{"filename": "q\\"uote"}'),
    ]


@pytest.fixture
def textual(database: World) -> World:
    """A database whose column takes what is no JSON, too, as one does that a migration has made text."""
    match database.kind:
        case "postgresql":
            database.sql("ALTER TABLE documents ALTER file TYPE text USING file::text")
        case "mariadb":
            database.sql("ALTER TABLE documents MODIFY file LONGTEXT CHARACTER SET utf8mb4")
        case _:
            pass
    return database


def put(world: World, *values: str | bytes | None) -> list[object]:
    """Make these the values of the only rows, and return how the database has them."""
    world.sql("DELETE FROM documents")
    is_jsonb = world.kind == "postgresql" and kind_of(world) == "jsonb"
    for number, value in enumerate(values, 1):
        cast = "CAST(:value AS jsonb)" if is_jsonb else ":value"
        statement = f"INSERT INTO documents (id, file, pages) VALUES (:id, {cast}, '[]')"
        try:
            world.sql(statement, id=number, value=value)
        except DBAPIError:
            assert is_jsonb, value
    with world.engine.connect() as connection:
        shown = "file::text" if world.kind == "postgresql" else "file"
        return list(connection.scalars(text(f"SELECT {shown} FROM documents")))


def kind_of(world: World) -> str:
    with world.engine.connect() as connection:
        return column_type(connection, COLUMN)


def look(world: World, wanted: list[str], column: Any = COLUMN) -> set[str]:
    with world.engine.connect() as connection:
        return referenced(connection, [column], wanted)


def agree(world: World) -> None:
    for value in raw_values():
        stored = put(world, value)
        expected = {key for key in LOOKED_FOR for raw in stored if referenced_keys(raw).holds(key)}
        assert look(world, LOOKED_FOR) == expected, value
    stored = list(map(referenced_keys, put(world, None, *raw_values())))
    many = [*LOOKED_FOR, *(f"no/such/key/{number}" for number in range(FEW))]
    assert look(world, many) == {key for key in many if any(each.holds(key) for each in stored)}


def test_rows_hold_what_their_values_hold(database: World) -> None:
    if database.kind == "mariadb":
        # else a constraint refuses what is no JSON
        database.sql("ALTER TABLE documents MODIFY file LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    agree(database)


def test_text_holds_what_its_values_hold(textual: World) -> None:
    agree(textual)


def test_keys_differ_in_case(textual: World) -> None:
    put(textual, encoded({"to_filename": "Dir/A"}), encoded({"to_filename": "dir/a"}))
    assert look(textual, ["Dir/A"]) == {"Dir/A"}
    assert look(textual, ["dir/a", "DIR/A"]) == {"dir/a"}


def test_bytes(database: World) -> None:
    """Text in a binary column is read; what is no text makes it incomplete."""
    match database.kind:
        case "postgresql":
            database.sql("ALTER TABLE documents ALTER file TYPE bytea USING NULL")
        case "mariadb":
            database.sql("ALTER TABLE documents MODIFY file LONGBLOB")
        case _:
            pass
    put(database, encoded(FILE).encode(), encoded([FOREIGN], 2).encode(), encoded({**FILE, "v": 2}).encode())
    assert look(database, [KEY, OTHER, "b/no"]) == {KEY, OTHER}
    put(database, encoded(FILE).encode(), b"\xff\xfe")
    with pytest.raises(IncompleteColumnError, match=r"documents\.file.*UTF-8"):
        look(database, ["b/no"])


def test_what_is_missing_is_incomplete(database: World) -> None:
    for column in (
        ReadColumn(None, "no", "file"),
        ReadColumn(None, "documents", "no"),
        ReadColumn("no", "no", "no"),
    ):
        with database.engine.connect() as connection:
            assert why_incomplete(connection, column) == "it is not in the database"
        with pytest.raises(IncompleteColumnError, match="it is not in the database"):
            look(database, ["a"], column)
    with database.engine.connect() as connection:
        assert why_incomplete(connection, Document.__table__.c.file) is None
        assert is_empty(connection, COLUMN)


def test_a_view_is_known_as_one(database: World) -> None:
    database.sql("CREATE VIEW some_documents AS SELECT * FROM documents")
    view = Table("some_documents", MetaData(), *(column._copy() for column in Document.__table__.columns))
    with database.engine.connect() as connection:
        found = {column.column: column.is_view for column in read_columns(connection, [view.metadata])}
    assert found == {"file": True, "pages": True}


def test_the_columns_of_the_table_behind_a_view_are_read_too(database: World) -> None:
    database.sql("CREATE VIEW some_documents AS SELECT * FROM documents WHERE id < 10")
    database.sql("CREATE VIEW few_documents AS SELECT id, file FROM some_documents")
    columns = (column._copy() for column in Document.__table__.columns if column.name != "pages")
    view = Table("few_documents", MetaData(), *columns)
    with database.engine.connect() as connection:
        seen = find_file_columns(connection, None, [view.metadata])
    assert {(column.table, column.column) for column in seen.columns} == {
        ("few_documents", "file"),
        ("documents", "file"),
        ("documents", "pages"),
    }
    assert seen.is_complete


def test_a_view_of_no_table_is_incomplete(database: World) -> None:
    database.sql("CREATE VIEW some_documents AS SELECT 1 AS id, NULL AS file")
    view = Table("some_documents", MetaData(), *(column._copy() for column in Document.__table__.columns))
    with database.engine.connect() as connection:
        seen = find_file_columns(connection, None, [view.metadata])
    assert not seen.is_complete
    assert "the database does not say of which table" in seen.reason


class Later(DeclarativeBase):
    """The models of a later release, and of one that has not migrated yet."""


class LaterDocument(Later):
    """What was one file is a list, and what was a list is one file."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObjectList] = mapped_column(StoredObject(backend="docs", multiple=True))
    pages: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    preview: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


def test_columns_of_two_releases_are_read_once(database: World) -> None:
    with database.engine.connect() as connection:
        columns = file_columns(connection, [Base.metadata, Later.metadata])
        names = [f"{column.table.name}.{column.name}" for column in columns]
        assert names == ["documents.file", "documents.pages", "items.file"]
        assert len(read_columns(connection, [Later.metadata, Base.metadata])) == 3


def shapes(key: str) -> list[str]:
    row = {**FILE, "to_filename": key, "size": 3, "checksum": None}
    return [
        encoded([row]),
        encoded(row, 2),
        encoded([row], 3),
        encoded({**row, "v": 2}),
        encoded({**row, "size": "three"}),
        encoded({**row, "backend": "elsewhere"}),
        encoded([[row]]),
        encoded(row)[:-9],
    ]


@pytest.mark.parametrize("shape", range(len(shapes(""))))
def test_a_file_of_any_shape_is_kept(textual: World, storage: StorageBackend, shape: int) -> None:
    [key] = textual.add(b"one")
    storage.put("lost/a.txt", [b"x"])
    sweep(textual.engine, Base, grace=-5)  # it records whose storage it is
    textual.sql("UPDATE documents SET file = :value", value=shapes(key)[shape])
    report = sweep(textual.engine, Base, grace=-5)
    assert report.unreferenced == 0
    found = check(textual.engine, Base, grace=-5, repair=True).findings
    assert key not in {each.key for each in found if each.kind.value in {"orphan", "ledger"}}
    drain(textual.engine, Base)
    assert key in keys()
    assert textual.states()[key] is State.LIVE


async def test_rows_of_an_earlier_release_keep_their_files(database: World, storage: StorageBackend) -> None:
    [key] = database.add(b"one")
    assert sweep(database.engine, Later, grace=-5).unreferenced == 0
    found = check(database.engine, Later, grace=-5, repair=True).findings
    assert {each.kind.value for each in found} == {"corrupt"}
    drain(database.engine, Later)
    assert key in keys()


# PostgreSQL, which reads JSONB by SQL

POSTGRESQL = pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.server)], indirect=True
)


@POSTGRESQL
def test_readable_rows_are_compared_by_the_database(database: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(
        references, "referenced_keys", lambda value: seen.append(value) or referenced_keys(value)
    )
    put(database, encoded(FILE), encoded([FILE, {**FILE, "to_filename": "b/c"}]), "[]", "null", None)
    assert look(database, [KEY, "b/c", "b/a"]) == {KEY, "b/c"}
    assert seen == []


@POSTGRESQL
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(raw.filter(lambda value: isinstance(value, str)), min_size=1, max_size=5))
def test_sql_reads_rows_as_python_does(database: World, rows: list[str]) -> None:
    held = list(map(referenced_keys, put(database, *rows)))
    for wanted in (
        LOOKED_FOR,
        [*LOOKED_FOR, *(f"no/such/key/{number}" for number in range(FEW))],
    ):
        assert look(database, wanted) == {key for key in wanted if any(each.holds(key) for each in held)}


@POSTGRESQL
def test_a_translated_schema(database: World) -> None:
    database.sql("CREATE SCHEMA tenant")
    engine = database.engine.execution_options(schema_translate_map={None: "tenant"})
    with engine.connect() as connection:
        assert file_columns(connection, [Base.metadata]) == []
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO tenant.documents VALUES (1, '{encoded(FILE)}', '[]')"))
    with engine.connect() as connection:
        columns = read_columns(connection, [Base.metadata])
        assert columns[0] == ReadColumn("tenant", "documents", "file")
        assert referenced(connection, columns, [KEY]) == {KEY}
        assert referenced(connection, file_columns(connection, [Base.metadata]), [KEY]) == {KEY}
        assert referenced(connection, [ReadColumn("public", "documents", "file")], [KEY]) == set()


@POSTGRESQL
def test_tables_are_where_the_search_path_finds_them(database: World) -> None:
    put(database, encoded(FILE))
    database.sql("CREATE SCHEMA tenant")
    database.sql("CREATE TABLE tenant.documents (file jsonb)")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET search_path = tenant, public")
        assert referenced(connection, [COLUMN], [KEY]) == set()
        assert referenced(connection, [COLUMN, ReadColumn("public", "documents", "file")], [KEY]) == {KEY}


@POSTGRESQL
def test_rows_that_a_policy_hides_make_a_column_incomplete(database: World) -> None:
    put(database, encoded(FILE))
    database.sql("ALTER TABLE documents ENABLE ROW LEVEL SECURITY")
    assert look(database, [KEY]) == {KEY}, "a superuser sees all rows"
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE any_shape_{database.engine.url.database}")
        connection.exec_driver_sql(f"SET ROLE any_shape_{database.engine.url.database}")
        try:
            assert "may not select" in str(why_incomplete(connection, COLUMN))
            connection.exec_driver_sql("RESET ROLE")
            connection.exec_driver_sql(
                f"GRANT SELECT ON documents TO any_shape_{database.engine.url.database}"
            )
            connection.exec_driver_sql(f"SET ROLE any_shape_{database.engine.url.database}")
            assert "row-level security" in str(why_incomplete(connection, COLUMN))
            with pytest.raises(IncompleteColumnError, match="row-level security"):
                referenced(connection, [COLUMN], [KEY])
        finally:
            connection.rollback()


MARIADB = pytest.mark.parametrize(
    "database", [pytest.param("mariadb", marks=pytest.mark.server)], indirect=True
)


@MARIADB
def test_what_a_user_may_not_select_is_incomplete(database: World) -> None:
    user = f"u{database.engine.url.database[-12:]}"
    database.sql(f"CREATE USER {user}@'%'")
    try:
        database.sql(f"GRANT SELECT ON items TO {user}@'%'")
        database.sql(f"GRANT SELECT (id), UPDATE (file) ON documents TO {user}@'%'")
        engine = create_engine(database.engine.url.set(username=user))
        with engine.connect() as connection:
            assert "may not select" in str(why_incomplete(connection, COLUMN))
            assert why_incomplete(connection, ReadColumn(None, "items", "file")) is None
            with pytest.raises(IncompleteColumnError):
                referenced(connection, [COLUMN], [KEY])
        engine.dispose()
    finally:
        database.sql(f"DROP USER {user}@'%'")
