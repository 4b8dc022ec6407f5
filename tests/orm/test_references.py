"""What the raw value of a column holds, and which keys the rows of a table do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BLOB, Column, Integer, MetaData, Table, create_engine, event, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.pool import StaticPool

from filecolumn import StoredObject
from filecolumn.maintenance.lookup import FEW
from filecolumn.orm.catalogue import (
    IncompleteColumnError,
    ReadColumn,
    column_type,
    file_columns,
    read_columns,
    why_incomplete,
)
from filecolumn.orm.references import (
    ReferencedKeys,
    UndecodableError,
    is_empty,
    raw_text,
    referenced_files,
    referenced_keys,
)
from tests.maintenance.looking import referenced

KEY = "20260101/00/0198.pdf"
OTHER = "20260101/00/é\U0001f600.pdf"
FILE = {"filename": "report.pdf", "to_filename": KEY, "backend": "docs", "metadata": {}, "v": 1}
FOREIGN = {"filename": OTHER, "to_filename": None}


def encoded(value: object, times: int = 1) -> str:
    """JSON, and JSON strings of it."""
    return encoded(json.dumps(value), times - 1) if times else str(value)


NOTHING = [
    None, b"", "", " ", "null", "[]", "{}", '""', '"null"', '"[]"', '"{}"', "[null]", "[{}, []]", '["", "null", "[]"]',
    encoded("[]", 2), {}, [],
]  # fmt: skip


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_what_holds_nothing(value: object) -> None:
    assert referenced_keys(value) == ReferencedKeys()
    assert referenced_files(value) == {}


HOLDING = {
    "an object": (encoded(FILE), {KEY}),
    "bytes": (encoded(FILE).encode(), {KEY}),
    "a buffer": (memoryview(encoded(FILE).encode()), {KEY}),
    "decoded": (FILE, {KEY}),
    "without a version": (encoded({"to_filename": KEY}), {KEY}),
    "of advanced-alchemy": (encoded(FOREIGN), {OTHER}),
    "a list": (encoded([FILE, None, FOREIGN]), {KEY, OTHER}),
    "a decoded list": ([FILE, FOREIGN], {KEY, OTHER}),
    "encoded once more": (encoded(FILE, 2), {KEY}),
    "encoded twice more": (encoded([FILE, FOREIGN], 3), {KEY, OTHER}),
    "encoded items": (encoded([encoded(FILE), encoded(FOREIGN)]), {KEY, OTHER}),
    "the last of two members": (f'{{"to_filename": "x", "to_filename": "{KEY}"}}', {KEY}),
}


@pytest.mark.parametrize("name", HOLDING)
def test_what_holds_keys(name: str) -> None:
    value, keys = HOLDING[name]
    assert referenced_keys(value) == ReferencedKeys(frozenset(keys))
    assert referenced_files(value).keys() == keys
    assert referenced_keys(value).holds(KEY) is (KEY in keys)
    assert not referenced_keys(value).holds("elsewhere/0198.pdf")


UNREADABLE = {
    "cut off": encoded(FILE)[:-5],
    "of a later version": encoded({**FILE, "v": 2}),
    "of a version that is none": encoded({**FILE, "v": True}),
    "a number for a key": encoded({"to_filename": 5, "filename": KEY}),
    "an empty key": encoded({"to_filename": "", "filename": KEY}),
    "an object of something else": encoded({"path": KEY}),
    "a list in a list": encoded([[FILE]]),
    "an item that is no file": encoded([FILE, 5]),
    "Python's form": str(FILE),
    "a bare key": KEY,
    "slashes with escapes": encoded({"path": KEY}).replace("/", "\\/"),
    "encoded three times more": encoded(FILE, 4),
    "decoded": {"path": [KEY]},
    "a bottomless list": f'{"[" * 100_000}"{KEY}"',
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_holds_what_occurs_in_it(name: str) -> None:
    held = referenced_keys(UNREADABLE[name])
    assert held.keys == frozenset()
    assert held.holds(KEY)
    assert held.holds("elsewhere/0198.pdf")
    assert not held.holds("20260101/00/0199.pdf")
    assert referenced_files(UNREADABLE[name]) == {}


@pytest.mark.parametrize("times", [1, 2])
def test_escapes_are_undone_in_what_cannot_be_read(times: int) -> None:
    assert referenced_keys(encoded({"path": OTHER}, times)).holds(OTHER)
    assert referenced_keys(encoded(OTHER, times)[1:]).holds(OTHER)


@pytest.mark.parametrize("value", [5, 1.5, True])
def test_numbers_hold_what_occurs_in_them(value: object) -> None:
    assert referenced_keys(value).holds("a/1") is ("1" in json.dumps(value))


@pytest.mark.parametrize("value", [b"\xff", memoryview(b"\xc3"), object()])
def test_what_is_no_text_is_an_error(value: object) -> None:
    with pytest.raises(UndecodableError):
        referenced_keys(value)
    with pytest.raises(UndecodableError):
        referenced_files(value)


def test_raw_text_is_not_read_as_files() -> None:
    column = Table("t", MetaData(), Column("f", StoredObject())).c.f
    for dialect, sql in (
        (sqlite.dialect(), "SELECT t.f"),
        (mysql.dialect(), "SELECT t.f"),
        (postgresql.dialect(), "SELECT CAST(t.f AS TEXT)"),
    ):
        query = select(raw_text(column, dialect))
        assert str(query.compile(dialect=dialect)).startswith(sql)
        assert not isinstance(query.selected_columns[0].type, StoredObject)


# Rows

ENGINE = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
METADATA = MetaData()
FILES = Table("files", METADATA, Column("id", Integer, primary_key=True), Column("f", StoredObject()))
NAMES = [KEY, OTHER, "a", "b/a", "b/c", "filename", "to_filename", 'q"uote', "back\\slash", "%_", "null"]

texts = st.sampled_from(["", *NAMES, "\ud800"]) | st.text(max_size=3)
scalars = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from([1.0, 1.5, 2**70]) | texts
members = st.dictionaries(
    st.sampled_from(["to_filename", "filename", "v", "metadata", "path"]),
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["v", "filename"]), scalars),
    max_size=4,
)
files = st.builds(lambda key, v: {"to_filename": key, **v}, texts, st.sampled_from([{}, {"v": 1}, {"v": 2}]))
values = st.recursive(
    scalars | members | files, lambda items: st.lists(items, max_size=3) | items.map(json.dumps), max_leaves=5
)
ESCAPED = json.dumps(FILE).replace("to_filename", "\\u0074o_filename")
TWICE = '{"to_filename": "a", "to_filename": "b/c", "v": 1, "v": 2}'
raw = st.one_of(
    values.map(json.dumps),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")), files),
    st.builds(lambda value, cut: json.dumps(value)[:cut], values, st.integers(0, 40)),
    st.builds(
        lambda value, end: json.dumps(value) + end, files, st.sampled_from([" ", "x", "\x00", "\x00x"])
    ),
    st.sampled_from(
        [ESCAPED, TWICE, f"[{ESCAPED}]", f"[{TWICE}]", f" {json.dumps(FILE)}", 5, 1.5, b"{}", b"a"]
    ),
).filter(lambda value: not isinstance(value, str) or value.isprintable() or "\ud800" not in value)


def fill(rows: list[Any]) -> list[object]:
    """Make these the values of all rows, and return how the database has them: text that is a number becomes one."""
    METADATA.create_all(ENGINE)
    with ENGINE.begin() as connection:
        connection.exec_driver_sql("DELETE FROM files")
        for row in rows:
            connection.exec_driver_sql("INSERT INTO files (f) VALUES (?)", (row,))
        return list(connection.exec_driver_sql("SELECT f FROM files").scalars())


def look(keys: list[str]) -> set[str]:
    with ENGINE.connect() as connection:
        return referenced(connection, [FILES.c.f], keys)


@given(st.lists(raw, max_size=5))
def test_rows_hold_what_their_values_hold(rows: list[Any]) -> None:
    held = list(map(referenced_keys, fill(rows)))
    for keys in (NAMES, [*NAMES, *(f"no/such/key/{number}" for number in range(FEW))]):
        assert look(keys) == {key for key in keys if any(each.holds(key) for each in held)}


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("kind", [str, bytes])
def test_rows_of_each_shape_are_found(name: str, kind: type) -> None:
    value, keys = HOLDING[name]
    raw_value = bytes(value) if isinstance(value, memoryview) else value
    if isinstance(raw_value, dict | list):
        raw_value = json.dumps(raw_value)
    if isinstance(raw_value, str) and kind is bytes:
        raw_value = raw_value.encode()
    fill([raw_value])
    assert look([KEY, OTHER, "x"]) == keys


@pytest.mark.parametrize("keys", [[KEY], [KEY, *map(str, range(2000))]])
def test_a_column_is_read_once(keys: list[str]) -> None:
    statements: list[str] = []
    fill([json.dumps(FILE)])
    with ENGINE.connect() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
        assert referenced(connection, [FILES.c.f, ReadColumn("main", "files", "f")], keys) == {KEY}
    assert sum("FROM main.files" in each or "FROM files" in each for each in statements) == 1


def test_what_is_no_text_makes_a_column_incomplete() -> None:
    for value in (b"\xff", b"\xc3{}"):
        fill([json.dumps(FILE), value])
        with pytest.raises(IncompleteColumnError, match=r"files\.f cannot be read completely") as raised:
            look(["b/c"])
        assert raised.value.column == "files.f"
    with ENGINE.begin() as connection:
        connection.exec_driver_sql("UPDATE files SET f = CAST(x'ff' AS TEXT)")
    with pytest.raises(IncompleteColumnError, match="UTF-8"):
        look(["b/c"])


def test_nothing_is_read_for_no_keys() -> None:
    with ENGINE.connect() as connection:
        assert referenced(connection, [ReadColumn(None, "no", "f")], []) == set()


@pytest.mark.parametrize("missing", [ReadColumn(None, "no", "f"), ReadColumn(None, "files", "g")])
def test_a_column_that_is_not_there_is_incomplete(missing: ReadColumn) -> None:
    fill([])
    with ENGINE.connect() as connection:
        assert why_incomplete(connection, missing) == "it is not in the database"
        assert why_incomplete(connection, FILES.c.f) is None
        assert column_type(connection, FILES.c.f) == "json"
        with pytest.raises(IncompleteColumnError, match="it is not in the database"):
            referenced(connection, [missing], ["a"])


def test_an_empty_table() -> None:
    column = ReadColumn(None, "files", "f")
    for rows, empty in (([], True), ([None], False)):
        fill(rows)
        with ENGINE.connect() as connection:
            assert is_empty(connection, column) is empty


def test_columns_of_models_that_are_there_each_once() -> None:
    METADATA.create_all(ENGINE)
    other = MetaData()
    same = Table(
        "files",
        other,
        Column("f", StoredObject(multiple=True)),
        Column("later", StoredObject()),
        Column("b", BLOB),
        schema="main",
    )
    Table("no", other, Column("f", StoredObject()))
    with ENGINE.connect() as connection:
        assert file_columns(connection, [METADATA, other, METADATA]) == [FILES.c.f]
        assert file_columns(connection, [other]) == [same.c.f]
        assert read_columns(connection, [METADATA, other]) == [ReadColumn(None, "files", "f")]
        connection.exec_driver_sql("CREATE TEMP VIEW only_files AS SELECT f FROM files")
        assert why_incomplete(connection, ReadColumn(None, "only_files", "f")) is None


def test_columns_of_a_view() -> None:
    METADATA.create_all(ENGINE)
    views = MetaData()
    Table("some_files", views, Column("f", StoredObject()))
    with ENGINE.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW IF NOT EXISTS some_files AS SELECT f FROM files")
        [column] = read_columns(connection, [views])
    assert column == ReadColumn(None, "some_files", "f", is_view=True)


def test_the_connection_translates_schemas() -> None:
    fill([json.dumps(FILE)])
    metadata = MetaData()
    table = Table("files", metadata, Column("f", StoredObject()), schema="tenant")
    with ENGINE.connect() as plain:
        assert file_columns(plain, [metadata]) == []
    with ENGINE.connect() as connection:
        translated = connection.execution_options(schema_translate_map={"tenant": "main", "main": "no"})
        assert file_columns(translated, [metadata]) == [table.c.f]
        assert read_columns(translated, [metadata]) == [ReadColumn("main", "files", "f")]
        assert referenced(translated, [table.c.f], [KEY]) == {KEY}
        assert referenced(translated, read_columns(translated, [metadata]), [KEY]) == {KEY}
