"""Which keys the rows of a database reference, whatever the shape of their values and whatever models say.

A value is read as what it is: an object, a list of objects, or a JSON string of either.  What cannot be
read so references every key whose last segment occurs in its text: a value that nobody can read is
no proof that a key is unreferenced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Generator, Iterable, Sequence
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
from filecolumn.orm.catalogue import (
    IncompleteColumnError,
    ReadColumn,
    as_text,
)

__all__ = (
    "UNTRANSLATED",
    "HeldKeys",
    "ReferencedKeys",
    "UndecodableError",
    "complete",
    "held_keys",
    "is_empty",
    "key_query",
    "last_segment",
    "raw_text",
    "referenced_files",
    "referenced_keys",
)

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


# All rows


def raw_text(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[str]:
    """Return the SQL for what a column holds, as the database has it, without reading files from it.

    Drivers give text for it; where the column's type is binary they give bytes.
    """
    # PostgreSQL's drivers would decode JSON
    return cast(column, Text) if dialect.name == "postgresql" else type_coerce(column, String())


@contextmanager
def complete(column: ReadColumn) -> Generator[None]:
    """Raise IncompleteColumnError, with the name of the column, if something in it cannot be read.

    On PostgreSQL the transaction may then be one that has failed.
    """
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise IncompleteColumnError(str(column), str(error.orig)) from error
    except (UndecodableError, UnicodeError) as error:
        raise IncompleteColumnError(str(column), str(error)) from error


UNTRANSLATED: dict[str, object] = {"schema_translate_map": {}}
"""The names in a statement are those in the database."""


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """What some rows refer to."""

    keys: Sequence[str]
    texts: Sequence[str]
    """The texts of values that cannot be read: see `ReferencedKeys`."""


def held_keys(rows: Iterable[Sequence[Any]]) -> HeldKeys:
    """Return what the rows of a `key_query` refer to; UndecodableError as `referenced_keys` does."""
    keys: list[str] = []
    texts: list[str] = []
    for key, value in rows:
        if value is not None:
            held = referenced_keys(value)
            keys += held.keys
            if held.text is not None:
                texts.append(held.text)
        elif key is not None:
            keys.append(as_text(key))
    return HeldKeys(keys, texts)


def key_query(
    name: ReadColumn, dialect: Dialect, kind: str, keys: Collection[str] | None
) -> Select[*tuple[Any, ...]]:
    """Return a query for the keys that rows hold, as far as SQL can tell, and for the values of all other rows.

    With *keys*, at most 1,000, SQL leaves out the rows that hold none of them, where it can tell.

    Only PostgreSQL's JSONB is read by SQL.  Where JSON is text, two members may have one name, and names
    may have escapes; and there SQL takes longer than Python does for all rows.
    """
    table, column = name.in_sql()
    if dialect.name != "postgresql" or kind != "jsonb":
        # of bytes PostgreSQL would make a text of digits
        value = column if kind == "bytea" else raw_text(column, dialect)
        query = select(null().label("key"), value.label("text"))
        # SQLite is read in pages, which are to be short where few rows have a file
        return query if dialect.name == "sqlite" else query.where(column.is_not(None))
    plain = raw_text(column, dialect)
    is_array = func.jsonb_typeof(column) == "array"
    array = case((is_array, type_coerce(column, JSONB)), else_=func.jsonb_build_array(column))
    items = func.jsonb_array_elements(array).table_valued("value", name="item", joins_implicitly=True)
    key = _key_in_sql(type_coerce(items.c.value, JSONB))
    is_wanted = true() if keys is None else or_(key.is_(None), key.in_(keys))
    return (
        select(key.label("key"), case((key.is_(None), plain)).label("text"))
        .select_from(table, items)
        .where(column.is_not(None), is_wanted, plain.not_in(_EMPTY))
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
    return connection.execute(query, execution_options=UNTRANSLATED).first() is None
