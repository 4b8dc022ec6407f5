"""Which keys the rows of a database reference, whatever the shape of their values and whatever models say.

A value is read as what it is: an object, a list of objects, or a JSON string of either.  What cannot be
read so references every key whose last segment occurs in its text: a value that nobody can read is
no proof that a key is unreferenced.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Text,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from filecolumn.errors import FileColumnError
from filecolumn.files.facts import JsonObject
from filecolumn.ledger.transitions import BATCH
from filecolumn.orm.catalogue import (
    AnyColumn,
    IncompleteColumnError,
    ReadColumn,
    as_text,
    read_column,
    readable_facts,
)

__all__ = (
    "ReferencedKeys",
    "UndecodableError",
    "is_empty",
    "last_segment",
    "raw_text",
    "referenced",
    "referenced_files",
    "referenced_keys",
)

PAGE = 1000
MAX_ENCODINGS = 2
"""How often a value may have been encoded as a JSON string, on top of the JSON that it is."""


class UndecodableError(FileColumnError, ValueError):
    """A value is not text, so nobody can tell which keys it references."""


# One value


@dataclass(frozen=True, slots=True)
class ReferencedKeys:
    """The keys that a value refers to."""

    keys: frozenset[str] = frozenset()
    text: str | None = None
    """The text of a value that cannot be read, also with its escapes undone: it holds what occurs in it."""

    def holds(self, key: str) -> bool:
        """Return whether the value refers to *key*, or may do so."""
        return key in self.keys or (self.text is not None and last_segment(key) in self.text)


_NOTHING = ReferencedKeys()


def referenced_keys(value: object) -> ReferencedKeys:
    """Return what the raw value of a column holds: text, bytes of text, decoded JSON or None.

    UndecodableError for bytes that are not UTF-8, and for values that JSON cannot be read from.
    """
    decoded = _decoded(value)
    found = _files_in(decoded, MAX_ENCODINGS + isinstance(decoded, str))
    if found is not None:
        return ReferencedKeys(frozenset(found)) if found else _NOTHING
    plain = decoded if isinstance(decoded, str) else json.dumps(decoded, default=str)
    once = _unescaped(plain)
    return ReferencedKeys(text="\n".join(dict.fromkeys((plain, once, _unescaped(once)))))


def referenced_files(value: object) -> dict[str, JsonObject]:
    """Return the JSON of the files that `referenced_keys` can read, by their keys; nothing if it cannot.

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
        raise UndecodableError(f"a value of the type {type(value).__name__} is not JSON")
    content: bytes | bytearray = value.tobytes() if isinstance(value, memoryview) else value
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError("a value is not valid UTF-8") from error


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
        held = referenced_keys(value)
        return held.keys & self.keys if held.text is None else self._in_text(held.text)

    def _in_text(self, plain: str) -> Iterator[str]:
        """Yield the keys whose last segment is in a text; their first characters are looked up all at once."""
        width = self._width
        heads = {plain[start : start + width] for start in range(len(plain) - width + 1)}
        for head in heads & self._by_head.keys():
            yield from (key for key in self._by_head[head] if last_segment(key) in plain)


# All rows


def raw_text(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[str]:
    """Return the SQL for what a column holds, as the database has it, without reading files from it.

    Drivers give text for it; where the column's type is binary they give bytes.
    """
    # PostgreSQL's drivers would decode JSON
    return cast(column, Text) if dialect.name == "postgresql" else type_coerce(column, String())


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
        facts = readable_facts(connection, column)
        full_name = ReadColumn(facts.schema, column.table, column.column)
        if full_name not in read:
            read.add(full_name)
            with _complete(column):
                found.update(_referenced_in(connection, column, facts.type, wanted))
    return found


@contextmanager
def _complete(column: ReadColumn) -> Generator[None]:
    """Name the column in the error if something in it cannot be read."""
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
