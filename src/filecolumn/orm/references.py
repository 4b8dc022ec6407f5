"""Which keys the rows of a database refer to, whatever the shape of their values and whatever models say.

A value is read as what it is: an object, a list of objects, or a JSON string of either.  What cannot be
read so holds every key whose last segment occurs in its text: only who knows what a value says may
conclude that it does not refer to a key.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from sqlalchemy import (
    Column,
    ColumnClause,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    String,
    Table,
    TableClause,
    Text,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    type_coerce,
)
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from filecolumn.errors import FileColumnError
from filecolumn.files.facts import JsonObject
from filecolumn.ledger.transitions import BATCH
from filecolumn.orm.column import StoredObject

__all__ = (
    "HeldKeys",
    "IncompleteColumnError",
    "ReadColumn",
    "UndecodableError",
    "as_text",
    "column_type",
    "file_columns",
    "held_files",
    "held_keys",
    "is_empty",
    "is_view",
    "last_segment",
    "raw_text",
    "read_column",
    "read_columns",
    "referenced",
    "why_incomplete",
)

PAGE = 1000
MAX_ENCODINGS = 2
"""How often a value may have been encoded as a JSON string, on top of the JSON that it is."""


class UndecodableError(FileColumnError, ValueError):
    """A value is no text, so nobody can tell which keys it holds."""


class IncompleteColumnError(FileColumnError, RuntimeError):
    """A column cannot be read completely, so nothing may be concluded from what was not found in it."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f"{column} cannot be read completely: {why}")
        self.column: str = column
        self.why: str = why


# One value


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """The keys that a value refers to."""

    keys: frozenset[str] = frozenset()
    text: str | None = None
    """The text of a value that cannot be read, also with its escapes undone: it holds what occurs in it."""

    def holds(self, key: str) -> bool:
        """Return whether the value refers to *key*, or may do so."""
        return key in self.keys or (self.text is not None and last_segment(key) in self.text)


_NOTHING = HeldKeys()


def held_keys(value: object) -> HeldKeys:
    """Return what the raw value of a column holds: text, bytes of text, decoded JSON or None.

    UndecodableError for bytes that are no UTF-8, and for what no JSON is read from.
    """
    decoded = _decoded(value)
    found = _files_in(decoded, MAX_ENCODINGS + isinstance(decoded, str))
    if found is not None:
        return HeldKeys(frozenset(found)) if found else _NOTHING
    plain = decoded if isinstance(decoded, str) else json.dumps(decoded, default=str)
    once = _unescaped(plain)
    return HeldKeys(text="\n".join(dict.fromkeys((plain, once, _unescaped(once)))))


def held_files(value: object) -> dict[str, JsonObject]:
    """Return the JSON of the files that `held_keys` can read, by their keys; nothing if it cannot.

    UndecodableError as there.
    """
    decoded = _decoded(value)
    return _files_in(decoded, MAX_ENCODINGS + isinstance(decoded, str)) or {}


def last_segment(key: str) -> str:
    """Return what follows the last slash of a key."""
    return key.rpartition("/")[2]


def _files_in(value: object, encodings: int) -> dict[str, JsonObject] | None:
    """Return the files in decoded JSON, whose strings may be JSON *encodings* times; None if it cannot be read."""
    if isinstance(value, str):
        return _files_in_text(value, encodings)
    if _is_list(value):
        return _files_in_list(value, encodings)
    if value is None or value == {}:
        return {}
    if _is_object(value) and (key := _key_of(value)) is not None:
        return {key: value}
    return None


def _files_in_text(value: str, encodings: int) -> dict[str, JsonObject] | None:
    if not value.strip():
        return {}
    if encodings == 0:
        return None
    try:
        decoded: object = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return _files_in(decoded, encodings - 1)


def _files_in_list(items: list[object], encodings: int) -> dict[str, JsonObject] | None:
    found: dict[str, JsonObject] = {}
    for item in items:
        # a list in a list is none of files
        files = None if item and isinstance(item, list) else _files_in(item, encodings)
        if files is None:
            return None
        found |= files
    return found


def _key_of(file: JsonObject) -> str | None:
    version = file.get("v")
    if version is not None and (version != 1 or isinstance(version, bool)):
        return None
    key = file.get("to_filename")
    if key is None:
        # advanced-alchemy writes no other name
        key = file.get("filename")
    return key if key and isinstance(key, str) else None


def _is_object(value: object) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _decoded(value: object) -> object:
    """Return text, or decoded JSON, as it is, and bytes as text."""
    if value is None or isinstance(value, str | int | float) or _is_object(value) or _is_list(value):
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        raise UndecodableError(f"a value of the type {type(value).__name__} is no JSON")
    content: bytes | bytearray = value.tobytes() if isinstance(value, memoryview) else value
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError("a value is bytes that are no UTF-8") from error


_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescaped(value: str) -> str:
    """Undo JSON's escapes once, wherever they are."""
    if "\\" not in value:
        return value
    undone = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _SHORT[found[2]], value)
    # two escapes may be the halves of one character
    return undone.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class _Wanted:
    """The keys that are looked for."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys: frozenset[str] = frozenset(keys)
        self._width = min((len(last_segment(key)) for key in self.keys), default=0)
        self._by_head: defaultdict[str, list[str]] = defaultdict(list)
        for key in self.keys:
            self._by_head[last_segment(key)[: self._width]].append(key)

    def held_by(self, value: object) -> Iterable[str]:
        """Return those that a raw value holds."""
        held = held_keys(value)
        return held.keys & self.keys if held.text is None else self._in_text(held.text)

    def _in_text(self, plain: str) -> Iterator[str]:
        """Yield the keys whose last segment is in a text; their first characters are looked up all at once."""
        width = self._width
        heads = {plain[start : start + width] for start in range(len(plain) - width + 1)}
        for head in heads & self._by_head.keys():
            yield from (key for key in self._by_head[head] if last_segment(key) in plain)


# One column


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column to be read, by the names that it has in the database."""

    schema: str | None
    """None: where the connection looks for a table without one."""
    table: str
    column: str
    is_view: bool = False

    def __str__(self) -> str:
        return ".".join(filter(None, (self.schema, self.table, self.column)))

    def in_sql(self) -> tuple[TableClause, ColumnClause[Any]]:
        """Return the table and the column, for SQL that is not to be translated to another schema."""
        column: ColumnClause[Any] = bare_column(self.column)
        return bare_table(self.table, column, schema=self.schema), column


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database says of a column without reading it."""

    schema: str | None
    """Where its table was found."""
    type: str
    """Its type's name, in lower case."""
    is_view: bool = False
    problem: str | None = None
    """Why not all of its rows can be read."""


AnyColumn = Column[Any] | ReadColumn


def read_column(connection: Connection, column: AnyColumn) -> ReadColumn:
    """Return a model's column by its names in the database, as the connection translates schemas."""
    if isinstance(column, ReadColumn):
        return column
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - a mapped column's table
    return ReadColumn(connection.schema_for_object(table), table.name, column.name)


def read_columns(connection: Connection, metadatas: Iterable[MetaData]) -> list[ReadColumn]:
    """Return the file columns of models that are in the database, each once however many models have it."""
    return [
        replace(read_column(connection, column), is_view=facts.is_view)
        for column, facts in _file_columns(connection, metadatas)
    ]


def file_columns(connection: Connection, metadatas: Iterable[MetaData]) -> list[Column[object]]:
    """Return the `StoredObject` columns that are in the database, each once however many models have it."""
    return [column for column, _ in _file_columns(connection, metadatas)]


def why_incomplete(connection: Connection, column: AnyColumn) -> str | None:
    """Return why not all rows of a column can be read, as far as it shows before they are; None if nothing does."""
    return _facts_of(connection, read_column(connection, column)).problem


def is_view(connection: Connection, column: AnyColumn) -> bool:
    """Return whether a column is a view's: then its files are those of a table."""
    return _facts_of(connection, read_column(connection, column)).is_view


def column_type(connection: Connection, column: AnyColumn) -> str:
    """Return the name of the type that a column has in the database, in lower case; IncompleteColumnError if none."""
    return _readable_facts(connection, read_column(connection, column)).type


def _file_columns(
    connection: Connection, metadatas: Iterable[MetaData]
) -> Iterator[tuple[Column[object], _Facts]]:
    found: set[ReadColumn] = set()
    for metadata in metadatas:
        for table in metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, StoredObject):
                    name = read_column(connection, column)
                    facts = _look_up(connection, name)
                    if facts is not None and (full_name := replace(name, schema=facts.schema)) not in found:
                        found.add(full_name)
                        yield column, facts


def _facts_of(connection: Connection, column: ReadColumn) -> _Facts:
    try:
        facts = _look_up(connection, column)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return _Facts(column.schema, "", problem=f"the database does not describe it: {error.orig}")
    return facts or _Facts(column.schema, "", problem="it is not in the database")


def _readable_facts(connection: Connection, column: ReadColumn) -> _Facts:
    facts = _facts_of(connection, column)
    if facts.problem is not None:
        raise IncompleteColumnError(str(column), facts.problem)
    return facts


def _look_up(connection: Connection, column: ReadColumn) -> _Facts | None:
    """Ask the database's catalogue: SQLAlchemy's inspector warns of each type in the table that it does not know."""
    match connection.dialect.name:
        case "sqlite":
            return _look_up_sqlite(connection, column)
        case "postgresql":
            return _look_up_postgresql(connection, column)
        case _:
            return _look_up_mysql(connection, column)


def _look_up_sqlite(connection: Connection, column: ReadColumn) -> _Facts | None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    attached = {str(row[1]).lower() for row in connection.exec_driver_sql("PRAGMA database_list")}
    if column.schema and column.schema.lower() not in attached:
        return None
    schema = f"{quote(column.schema)}." if column.schema else ""
    rows = connection.exec_driver_sql(f"PRAGMA {schema}table_xinfo({quote(column.table)})")
    types = {str(row[1]).lower(): str(row[2]).lower() for row in rows}
    if (found := types.get(column.column.lower())) is None:
        return None
    views = text(f"SELECT name FROM {schema}sqlite_master WHERE type = 'view' AND lower(name) = lower(:name)")  # noqa: S608
    is_view = connection.scalar(views, {"name": column.table}) is not None
    return _Facts(column.schema or "main", found, is_view)


_POSTGRESQL = """
SELECT n.nspname, t.typname, c.relkind IN ('v', 'm'), row_security_active(c.oid),
  has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = :table AND a.attname = :column AND
"""


def _look_up_postgresql(connection: Connection, column: ReadColumn) -> _Facts | None:
    is_there = "n.nspname = :schema" if column.schema else "pg_catalog.pg_table_is_visible(c.oid)"
    names = {"table": column.table, "column": column.column}
    if column.schema:
        names["schema"] = column.schema
    row = connection.execute(text(_POSTGRESQL + is_there), names).one_or_none()
    if row is None:
        return None
    schema, kind, is_view, is_filtered, is_allowed = row
    problem = None
    if not is_allowed:
        problem = "this role may not select it"
    elif is_filtered:
        problem = "row-level security hides rows of the table from this role; run as one with BYPASSRLS"
    return _Facts(str(schema), str(kind).lower(), bool(is_view), problem)


_MYSQL = """
SELECT c.table_schema, c.data_type, t.table_type = 'VIEW', c.privileges
FROM information_schema.columns c
JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = coalesce(:schema, database()) AND c.table_name = :table AND c.column_name = :column
"""


def _look_up_mysql(connection: Connection, column: ReadColumn) -> _Facts | None:
    names = {"schema": column.schema, "table": column.table, "column": column.column}
    row = connection.execute(text(_MYSQL), names).first()
    if row is None:
        return None
    schema, kind, is_view, privileges = row
    problem = None if "select" in str(privileges).lower() else "this user may not select it"
    return _Facts(as_text(schema), as_text(kind).lower(), bool(is_view), problem)


def as_text(value: object) -> str:
    """Return what the catalogue of MariaDB or MySQL says, which some drivers give as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def raw_text(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[str]:
    """Return the SQL for what a column holds, as the database has it, without reading files from it.

    Drivers give text for it; where the column's type is binary they give bytes.
    """
    # PostgreSQL's drivers would decode JSON
    return cast(column, Text) if dialect.name == "postgresql" else type_coerce(column, String())


# All rows


def referenced(connection: Connection, columns: Iterable[AnyColumn], keys: Iterable[str]) -> set[str]:
    """Return which of *keys* a row of one of *columns* refers to, or may refer to, under whatever storage.

    Each column's table is read once, whatever the number of keys.  IncompleteColumnError if a column
    cannot be read completely; on PostgreSQL the transaction may then be one that has failed.
    """
    wanted = _Wanted(keys)
    found: set[str] = set()
    read: set[ReadColumn] = set()
    for each in columns if wanted.keys else ():
        column = read_column(connection, each)
        facts = _readable_facts(connection, column)
        full_name = ReadColumn(facts.schema, column.table, column.column)
        if full_name not in read:
            read.add(full_name)
            with _complete(column):
                found.update(_referenced_in(connection, column, facts.type, wanted))
    return found


@contextmanager
def _complete(column: ReadColumn) -> Generator[None]:
    """Say of which column it is that something cannot be read."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise IncompleteColumnError(str(column), str(error.orig)) from error
    except (UndecodableError, UnicodeError) as error:
        raise IncompleteColumnError(str(column), str(error)) from error


_UNTRANSLATED: dict[str, object] = {"schema_translate_map": {}}
"""The names in a statement are those in the database."""
_STREAMED: dict[str, object] = {**_UNTRANSLATED, "yield_per": PAGE}


def _referenced_in(connection: Connection, column: ReadColumn, kind: str, wanted: _Wanted) -> Iterator[str]:
    for query in _queries(column, connection.dialect, kind, wanted.keys):
        with connection.execute(query, execution_options=_STREAMED) as rows:
            key: object
            unread: object
            for key, unread in rows:
                if unread is not None:
                    yield from wanted.held_by(unread)
                elif (name := as_text(key)) in wanted.keys:
                    yield name


def _queries(
    name: ReadColumn, dialect: Dialect, kind: str, keys: Collection[str]
) -> Iterator[Select[*tuple[Any, ...]]]:
    """Yield queries for keys that rows hold, as far as SQL can tell, and for the values of all other rows.

    Only PostgreSQL's JSONB is read by SQL.  Where JSON is text, two members may have one name, and names
    may have escapes; and there SQL takes longer than Python does for all rows.
    """
    table, column = name.in_sql()
    if dialect.name != "postgresql" or kind != "jsonb":
        # of bytes PostgreSQL would make a text of digits
        value = column if kind == "bytea" else raw_text(column, dialect)
        yield select(null().label("key"), value.label("text")).where(column.is_not(None))
        return
    plain = raw_text(column, dialect)
    is_array = func.jsonb_typeof(column) == "array"
    array = case((is_array, type_coerce(column, JSONB)), else_=literal_column("'[]'::jsonb", JSONB))
    items = func.jsonb_array_elements(array).table_valued("value", name="item", joins_implicitly=True)
    for file, source in ((column, table), (items.c.value, items)):
        key = _key_in_sql(type_coerce(file, JSONB))
        is_wanted = or_(key.is_(None), key.in_(keys)) if len(keys) <= BATCH else true()
        yield (
            select(key.label("key"), case((key.is_(None), plain)).label("text"))
            .select_from(*dict.fromkeys((table, source)))
            .where(is_wanted, true() if source is items else ~is_array, plain.not_in(_EMPTY))
        )


_EMPTY = ("null", "{}", "[]", '""')


def _key_in_sql(file: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the key of what is certainly a file, else NULL."""
    version, key, name = (file[member] for member in ("v", "to_filename", "filename"))
    kind_of = func.jsonb_typeof
    return case(
        (kind_of(file) != "object", null()),
        (version.is_distinct_from(literal_column("'1'::jsonb", JSONB)) & _is_given(version), null()),
        (kind_of(key) == "string", func.nullif(func.jsonb_extract_path_text(file, "to_filename"), "")),
        (
            ~_is_given(key) & (kind_of(name) == "string"),
            func.nullif(func.jsonb_extract_path_text(file, "filename"), ""),
        ),
    )


def _is_given(member: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.coalesce(func.jsonb_typeof(member), "null") != "null"


def is_empty(connection: Connection, column: ReadColumn) -> bool:
    """Return whether the table of a column has no row."""
    table, _ = column.in_sql()
    query = select(literal(1)).select_from(table).limit(1)
    return connection.execute(query, execution_options=_UNTRANSLATED).first() is None
