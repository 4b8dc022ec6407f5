"""Which keys the rows of a database refer to, asked in SQL: no row is loaded for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    TableValuedAlias,
    case,
    func,
    inspect,
    literal_column,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from filecolumn.backends.parts import batches
from filecolumn.orm.recording import BATCH
from filecolumn.orm.type import StoredObject

__all__ = ("file_columns", "key_queries", "referenced")

_FIELDS = "'$[*]' COLUMNS (to_filename VARCHAR(1024) PATH '$.to_filename', filename VARCHAR(1024) PATH '$.filename')"


def file_columns(connection: Connection, metadatas: Iterable[MetaData]) -> list[Column[object]]:
    """Return the `StoredObject` columns of the tables that are in the database."""
    inspector = inspect(connection)
    return [
        column
        for metadata in metadatas
        for table in metadata.tables.values()
        if (columns := [column for column in table.columns if isinstance(column.type, StoredObject)])
        and inspector.has_table(table.name, schema=table.schema)
        for column in columns
    ]


def referenced(connection: Connection, columns: Collection[Column[object]], keys: Iterable[str]) -> set[str]:
    """Return which of *keys* a row of one of *columns* refers to, under whatever storage."""
    found: set[str] = set()
    if not columns:
        return found
    held = union_all(*key_queries(connection, columns)).subquery()
    for batch in batches(keys, BATCH):
        found.update(connection.scalars(select(held.c.key).where(held.c.key.in_(batch)).distinct()))
    return found


def key_queries(connection: Connection, columns: Iterable[Column[object]]) -> Iterator[Select[str]]:
    """Yield for each column a query for the keys that its rows hold, as the column `key`.

    Rows that cannot be read hold none; in rows of advanced-alchemy the file name is the key.
    """
    for column in columns:
        assert isinstance(column.type, StoredObject)  # noqa: S101 - see `file_columns`
        build = _keys_in_lists if column.type.multiple else _keys
        yield build(column, connection.dialect.name)


def _keys(column: Column[object], dialect: str) -> Select[str]:
    key = _key_of(_readable(column, "{}", dialect))
    return select(key.label("key")).where(key.is_not(None))


def _keys_in_lists(column: Column[object], dialect: str) -> Select[str]:
    key, source = _items(column, dialect)
    return select(key.label("key")).select_from(column.table, source).where(key.is_not(None))


def _items(column: Column[object], dialect: str) -> tuple[ColumnElement[str], TableValuedAlias]:
    match dialect:
        case "sqlite":
            items = func.json_each(_readable(column, "[]", dialect)).table_valued(
                "value", name="file", joins_implicitly=True
            )
            return _key_of(_readable(items.c.value, "{}", dialect)), items
        case "postgresql":
            is_list = func.jsonb_typeof(column) == "array"
            items = func.jsonb_array_elements(
                case((is_list, type_coerce(column, JSONB)), else_=literal_column("'[]'::jsonb", JSONB))
            ).table_valued("value", name="file", joins_implicitly=True)
            return _key_of(type_coerce(items.c.value, JSONB)), items
        case _:
            items = func.json_table(column, text(_FIELDS)).table_valued(
                "to_filename", "filename", name="file", joins_implicitly=True
            )
            return func.coalesce(items.c.to_filename, items.c.filename), items


def _readable(value: ColumnElement[object], otherwise: str, dialect: str) -> ColumnElement[object]:
    """Return what SQLite can read as JSON: a row of it can hold any text, others refuse what is not JSON."""
    if dialect != "sqlite":
        return value
    return case((func.json_valid(value) == 1, value), else_=literal_column(f"'{otherwise}'", value.type))


def _key_of(file: ColumnElement[object]) -> ColumnElement[str]:
    document = type_coerce(file, JSON)
    return func.coalesce(document["to_filename"].as_string(), document["filename"].as_string())
