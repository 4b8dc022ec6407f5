"""Facts in SQL are the same on every database, whatever JSON the rows hold, and compared with plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    delete,
    not_,
    select,
    text,
)

from filecolumn import StoredObject
from filecolumn.orm.facts_sql import FIELDS, fact
from tests.orm.facts_oracle import (
    Reader,
    boolean,
    exists,
    filename,
    integer,
    member,
    moment,
    number,
    path_of,
    string,
    write_rows,
)
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database

METADATA = MetaData()
ROWS = Table(
    "facts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("file", StoredObject(backend="docs", ledger=False)),
    Column("pages", StoredObject(backend="docs", multiple=True, ledger=False)),
)
FILE: Any = ROWS.c.file
PAGES: Any = ROWS.c.pages
TEXTS = [
    "a/b", "/", "a/", "/a", "a//b", "ab/ab", "b/b/b", "a/b\nc/d", "a.b/a",
    "", "a", "A", "a ", "ab", "b", "ü", "ü", "😀 x", "50%_a", "50%", "_", "*", "[a]", "?", "\\", "a\\b", 'a"b', "'",
    "1", "true", "null", "[1]", '{"size": 1}', "image/png", "\ud7ff", "\ue000", "\U0010ffff", "a\nb", "$.size", ":x",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 1.5, -1.25, 3.0, 1e3, 1e300, -1e300, 1.7976931348623157e308, 5e-324, -0.0, 2**53, 2**63 - 1, 2**63,
    -(2**63), -(2**63) - 1, 10**400, -(10**400), 1764528000.123457, -62135596800, -62135596801, 253402300799.5,
    253402300800, 0.5,
]  # fmt: skip
VALUES = [*TEXTS, *NUMBERS, True, False, None, [], [1], ["a"], {}, {"a": 1}, [{"size": 1}]]
NAMES = ["k", "a b", "ü", "😀", 'q"\\', "'", "", "a.b", "$", "[0]", "%s", ":x", "size"]


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("facts")
    with own_database(request.param, folder, METADATA) as made:
        yield made


def row_of(value: object) -> dict[str, Any]:
    """Return a row that has *value* in every place."""
    return {name: value for name in FIELDS if name != "metadata"} | {
        "to_filename": value,
        "metadata": dict.fromkeys(NAMES, value) | {"o": {"a": value, "ü": value}, "l": [value, {"x": value}]},
    }


def every_row() -> list[Any]:
    return [row for value in VALUES for row in (row_of(value), {"metadata": value}, value, [value])]


def facts() -> dict[ColumnElement[Any], Reader]:
    """Return each fact of `file`, and what it is of a row."""
    found: dict[ColumnElement[Any], Reader] = {
        fact(FILE, name): lambda row, name=name: string(member(row, name))
        for name in FIELDS
        if name not in {"filename", "path", "size", "last_modified", "metadata"}
    }
    found[FILE.filename] = filename
    found[FILE.path] = path_of
    found[FILE.size] = lambda row: integer(member(row, "size"))
    found[FILE.last_modified] = lambda row: number(member(row, "last_modified"))
    found[FILE.last_modified.as_datetime()] = lambda row: moment(member(row, "last_modified"))
    paths = [
        *((name,) for name in NAMES),
        ("o", "a"),
        ("o", "ü"),
        ("l", 0),
        ("l", 1, "x"),
        ("l", 2),
        ("k", 0),
    ]
    for path in [*paths, ("k", "a"), ("ü", "a"), ("ü", 0), ("none",)]:
        found |= metadata_facts(path)
    return found


def metadata_facts(path: tuple[str | int, ...]) -> dict[ColumnElement[Any], Reader]:
    value = FILE.metadata
    for step in path:
        value = value[step]
    readers: dict[ColumnElement[Any], Reader] = {
        value: string,
        value.as_string(): string,
        value.as_integer(): integer,
        value.as_float(): number,
        value.as_boolean(): boolean,
        value.exists(): exists,
    }
    return {
        column: lambda row, read=read: read(member(row, "metadata", *path))
        for column, read in readers.items()
    }


def refill(engine: Engine, rows: list[Any]) -> None:
    with engine.begin() as connection:
        connection.execute(delete(ROWS))
    if rows:
        write_rows(engine, "facts", [(row, row) for row in rows])


def selected(engine: Engine, value: ColumnElement[Any]) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(value).order_by(ROWS.c.id)).scalars())


def found(engine: Engine, condition: ColumnElement[bool]) -> set[int]:
    statement: Select[Any] = select(ROWS.c.id).where(condition)
    with engine.connect() as connection:
        return set(connection.execute(statement).scalars())


def expected(rows: list[Any], holds: Reader) -> set[int]:
    return {number for number, row in enumerate(rows, 1) if holds(row)}


def agree(engine: Engine, rows: list[Any], values: dict[ColumnElement[Any], Reader]) -> None:
    for value, read in values.items():
        for row, got in zip(rows, selected(engine, value), strict=True):
            wanted = read(row)
            assert (got, type(got)) == (wanted, type(wanted)), f"{value} of {row!r}"


def test_a_fact_is_its_value_or_null_whatever_the_row_holds(engine: Engine) -> None:
    rows = every_row()
    refill(engine, rows)
    agree(engine, rows, facts())


def test_metadata_is_a_dictionary_or_null(engine: Engine) -> None:
    rows = [{"metadata": {"a": ["ü", 1, None, True]}}, {"metadata": [1]}, {"metadata": "a"}, {}, [1], None]
    refill(engine, rows)
    assert selected(engine, FILE.metadata) == [rows[0]["metadata"], None, None, None, None, None]


def test_there_is_no_fact_where_there_is_no_file(engine: Engine) -> None:
    refill(engine, [])
    with engine.begin() as connection:
        connection.execute(ROWS.insert().values(id=1, file=None, pages=None))
    assert {selected(engine, value)[0] for value in facts()} == {None, False}
    assert selected(engine, PAGES.count()) == [0]


TEXT_CONDITIONS: dict[str, Any] = {
    "==": (lambda column, value: column == value, lambda held, value: held == value),
    "!=": (lambda column, value: column != value, lambda held, value: held != value),
    "<": (lambda column, value: column < value, lambda held, value: held < value),
    ">=": (lambda column, value: column >= value, lambda held, value: held >= value),
    "in": (lambda column, value: column.in_([value, "b"]), lambda held, value: held in {value, "b"}),
    "startswith": (
        lambda column, value: column.startswith(value),
        lambda held, value: held.startswith(value),
    ),
    "endswith": (lambda column, value: column.endswith(value), lambda held, value: held.endswith(value)),
    "contains": (lambda column, value: column.contains(value), lambda held, value: value in held),
}


@pytest.mark.parametrize("name", TEXT_CONDITIONS)
def test_texts_are_compared_by_code_point_and_as_they_are(engine: Engine, name: str) -> None:
    condition, holds = TEXT_CONDITIONS[name]
    rows = [{"etag": value, "metadata": {"k": value, "a b": value}} for value in VALUES]
    refill(engine, rows)
    for value in TEXTS:
        for column in (FILE.etag, FILE.metadata["k"], FILE.metadata["a b"]):
            chosen = condition(column, value)
            assert found(engine, chosen) == expected(
                rows,
                lambda row, value=value: isinstance(row["etag"], str) and holds(row["etag"], value),
            ), (name, value)
            assert found(engine, not_(chosen)) == expected(
                rows,
                lambda row, value=value: isinstance(row["etag"], str) and not holds(row["etag"], value),
            ), (name, value)


def test_a_pattern_of_like_is_compared_by_code_point(engine: Engine) -> None:
    rows = [{"etag": value} for value in VALUES]
    refill(engine, rows)
    names = [row["etag"] if isinstance(row["etag"], str) else None for row in rows]
    for pattern, options, holds in (
        ("a%", {}, lambda name: name.startswith("a")),
        ("%b", {}, lambda name: name.endswith("b")),
        ("_", {}, lambda name: len(name) == 1),
        ("[a]", {}, lambda name: name == "[a]"),
        ("*", {}, lambda name: name == "*"),
        ("50!%%", {"escape": "!"}, lambda name: name.startswith("50%")),
        ("50!%!_a", {"escape": "!"}, lambda name: name == "50%_a"),
    ):
        wanted = {number for number, name in enumerate(names, 1) if name is not None and holds(name)}
        assert found(engine, FILE.etag.like(pattern, **options)) == wanted, pattern
        others = {number for number, name in enumerate(names, 1) if name is not None} - wanted
        assert found(engine, FILE.etag.not_like(pattern, **options)) == others, pattern


def test_a_filename_is_compared_without_its_folders(engine: Engine) -> None:
    rows = [{"filename": value} for value in VALUES]
    refill(engine, rows)
    for value in TEXTS:
        assert found(engine, FILE.filename == value) == expected(
            rows, lambda row, value=value: filename(row) == value
        )


def test_startswith_with_an_escape_is_a_pattern(engine: Engine) -> None:
    refill(engine, [{"etag": "50%_a"}, {"etag": "50xya"}])
    assert found(engine, FILE.etag.startswith("50__", escape="!")) == {1, 2}
    assert found(engine, FILE.etag.startswith("50__")) == set()


def test_numbers_are_compared_as_numbers(engine: Engine) -> None:
    rows = [{"size": value, "last_modified": value, "metadata": {"k": value}} for value in VALUES]
    refill(engine, rows)
    for bound in (0, 1, 3, -1, 2**53, 2**63 - 1):
        for column, read in (
            (FILE.size, integer),
            (FILE.metadata["k"].as_integer(), integer),
            (FILE.last_modified, number),
            (FILE.metadata["k"].as_float(), number),
        ):
            held = {number_: read(row["size"]) for number_, row in enumerate(rows, 1)}
            known = {number_: value for number_, value in held.items() if value is not None}
            value = bound if read is integer else float(bound)
            assert found(engine, column > value) == {n for n, each in known.items() if each > value}
            assert found(engine, column == value) == {n for n, each in known.items() if each == value}
            assert found(engine, column.between(0, value)) == {
                n for n, each in known.items() if 0 <= each <= value
            }


def test_times_are_compared_with_datetimes_of_any_zone(engine: Engine) -> None:
    rows = [{"last_modified": value} for value in (*NUMBERS, None, "2026-01-01", True)]
    refill(engine, rows)
    modified = FILE.last_modified.as_datetime()
    for day in (
        datetime(2025, 11, 30, 18, 40, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=2))),
    ):
        seconds = day.timestamp()
        for condition, holds in (
            (modified > day, lambda value, seconds=seconds: value > seconds),
            (modified <= day, lambda value, seconds=seconds: value <= seconds),
            (modified.between(day, day + timedelta(days=1)), lambda v, s=seconds: s <= v <= s + 86_400),
            (modified.in_([day]), lambda value, seconds=seconds: value == seconds),
        ):
            assert found(engine, condition) == expected(
                rows,
                lambda row, holds=holds: (value := number(row["last_modified"])) is not None and holds(value),
            )


def test_a_datetime_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="tzinfo=UTC"):
        _ = FILE.last_modified.as_datetime() > datetime(2026, 1, 1)  # noqa: DTZ001


def test_lists_are_asked_for_some_every_and_their_count(engine: Engine) -> None:
    rows = [
        *every_row(),
        *([{"size": a}, {"size": b}] for a in (1, 20, "x", None) for b in (1, 20)),
        [1, "a", None, {"size": 20}],
        ['{"size": 20}'],
    ]
    refill(engine, rows)

    def sizes(row: object) -> list[int | None] | None:
        if row is None:
            return []
        return [integer(member(each, "size")) for each in row] if isinstance(row, list) else None

    large: Any = lambda file: file.size > 10  # noqa: E731
    assert found(engine, PAGES.some(large)) == expected(
        rows, lambda row: any(size is not None and size > 10 for size in sizes(row) or [])
    )
    assert found(engine, PAGES.every(large)) == expected(
        rows,
        lambda row: (
            sizes(row) is not None and all(size is not None and size > 10 for size in sizes(row) or [])
        ),
    )
    assert selected(engine, PAGES.count()) == [
        None if sizes(row) is None else len(sizes(row) or []) for row in rows
    ]


def test_a_row_that_is_no_json_has_no_facts(tmp_path: Path) -> None:
    """SQLite stores any text in a column for JSON."""
    with own_database("sqlite", tmp_path, METADATA) as engine:
        with engine.begin() as connection:
            for number_, value in enumerate(("no json", "{", "", "1e400", b"\x00\xff", "{}}"), 1):
                connection.execute(
                    text("INSERT INTO facts (id, file, pages) VALUES (:id, :value, :value)"),
                    {"id": number_, "value": value},
                )
        assert {each for value in facts() for each in selected(engine, value)} == {None, False}
        assert set(selected(engine, PAGES.count())) == {None}
        assert (
            found(engine, PAGES.some(lambda file: file.size > 0) | PAGES.every(lambda file: file.size > 0))
            == set()
        )


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False, width=64).filter(
        # between them, databases read a real number in different ways as a whole one
        lambda value: not 2**53 < abs(value) < 2**64
    )
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, *FIELDS]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(JSON_VALUES | st.builds(row_of, JSON_VALUES), min_size=1, max_size=40))
def test_hypothesis_finds_no_row_whose_facts_differ(engine: Engine, rows: list[Any]) -> None:
    refill(engine, rows)
    agree(engine, rows, {value: read for value, read in facts().items() if value is not FILE.metadata})
