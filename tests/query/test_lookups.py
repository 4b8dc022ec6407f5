"""Each lookup finds what plain Python finds, and its complement all the rest, on every database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, case, select
from sqlalchemy.orm import Session

from filecolumn.query import FileQuery, FileStore, InvalidConditionError
from tests.orm.facts_oracle import moment
from tests.query.models import MOMENTS, NAMES, NUMBERS, ROWS, SECONDS, TEXTS, Base, Paper, write_papers
from tests.query.oracle import finds, value_of
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database

PATTERNS = [
    "a", "^a", "b$", "^a$", "[aA]b", "a.b", r"^\[", r"50\%", "^(a|b)+$", "a{1,2}", "^.$", r"\d+", r"^\w+$", "%", "_",
    "[^a-z]", "ü", "😀", r"[\]\\]", "", "a|", r"\{", "[a-]",
]  # fmt: skip
Asked = tuple[str, str, object]


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("query")
    with own_database(request.param, folder, Base.metadata) as made:
        write_papers(made)
        yield made


@pytest.fixture
def store(engine: Engine) -> Iterator[FileStore[Any]]:
    with Session(engine) as session:
        yield FileStore(session, Paper.file)


def ordered(name: str, values: Sequence[object]) -> Iterator[Asked]:
    """Yield what can be asked with values that have an order."""
    for value in values:
        for lookup in ("equals", "gt", "gte", "lt", "lte"):
            yield name, lookup, value
    for pair in zip(values, values[3:], strict=False):
        yield name, "between", list(pair)
    yield name, "in", list(values)
    yield from ((name, "in", list(values[::2])), (name, "in", []), (name, "equals", None))
    yield from ((name, "exists", True), (name, "exists", False))


def of_text(name: str) -> Iterator[Asked]:
    """Yield what can be asked of text without its order."""
    for part in TEXTS:
        for lookup in ("contains", "startswith", "endswith"):
            yield name, lookup, part
    yield from (
        (name, "contains", ["a", "b"]),
        (name, "contains", []),
        (name, "contains_any", ["%", "\\", "b"]),
    )
    yield name, "contains_any", []
    for pattern in PATTERNS:
        yield name, "matches", pattern
    yield from ((name, "matches_caseless", pattern) for pattern in ("A", "^aB$", "IMAGE/", "[A]"))


def of_time(name: str) -> Iterator[Asked]:
    for year in (1, 1999, 2000, 2024, 9999, 0, -1, 10_000, 10**30):
        yield name, "year", year
    yield from ((name, "month", month) for month in (1, 2, 12, 13))
    yield from ((name, "day", day) for day in (1, 29, 31, 0))


def of_metadata(name: str) -> Iterator[Asked]:
    yield from ordered(name, TEXTS[::3])
    yield from ordered(name, [*NUMBERS, 2.5, float(2**60), -(10**400), 10**18 + 1])
    yield from ((name, "equals", value) for value in (True, False))
    yield from ((name, "in", value) for value in ([1, "a", True, None], [None], [1.5, False, "50%"]))
    yield from ((name, "contains", value) for value in (1, 2, True, ["a", 2], ["a", True], 10**30, 1.5))
    yield from ((name, "contains_any", value) for value in ([1, "50%"], [True], ["b", 7]))
    yield from of_text(name)


def everything() -> Iterator[Asked]:
    for name in ("filename", "content_type", "title"):
        yield from ordered(name, TEXTS)
    for name in ("filename", "title", "label", "path"):
        yield from of_text(name)
    for name in ("size", "pages_read", "price"):
        yield from ordered(name, [*NUMBERS, 2.5, -20.5, 10, float("inf"), float("-inf")])
    yield from ordered(
        "last_modified", [*SECONDS, *MOMENTS, datetime(2000, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))]
    )
    yield from ordered("at", MOMENTS)
    yield from ordered("noted", [each.replace(tzinfo=None) for each in MOMENTS])
    yield from ordered("day", [date(2000, 1, 1), date(2000, 1, 2), date(2024, 3, 1), date(1, 1, 2)])
    for name in ("last_modified", "at", "noted", "day"):
        yield from of_time(name)
    yield from of_metadata("metadata__k")
    for name in (*NAMES, "o__a", "nothing", "k__a"):
        yield from ordered(f"metadata__{name}", ["a", 1])
        yield f"metadata__{name}", "contains", "a"
    yield from (("is_open", lookup, value) for lookup in ("equals", "exists") for value in (True, False))


def asked_by(name: str, lookup: str) -> str:
    return f"{name}__{lookup}"


def test_each_lookup_and_its_complement_find_what_python_finds(store: FileStore[Any]) -> None:
    conditions = list(everything())
    wrong: list[tuple[Asked, list[Any], list[Any]]] = []
    for start in range(0, len(conditions), 100):
        some = conditions[start : start + 100]
        columns = []
        for name, lookup, value in some:
            (found,) = store.find(**{asked_by(name, lookup): value}).criteria
            (rest,) = store.find().where_not(**{asked_by(name, lookup): value}).criteria
            columns += [case((found, 1), else_=0), case((rest, 1), else_=0)]
        for row in store.session.execute(
            select(Paper.id, *(each.label(f"c{n}") for n, each in enumerate(columns)))
        ):
            record = ROWS[row[0] - 1]
            for number, asked in enumerate(some):
                expected = finds(record, *asked)
                if (row[1 + 2 * number], row[2 + 2 * number]) != (expected, not expected):
                    wrong.append((asked, value_of(record, asked[0]), [expected, *row[1 + 2 * number :][:2]]))
    assert wrong == []


def the_year(seconds: object) -> int | None:
    """Return the year of a number of seconds."""
    at = moment(seconds)
    return at.year if at else None


@given(data=st.data())
@settings(suppress_health_check=list(HealthCheck))
def test_conditions_together_find_what_python_finds(store: FileStore[Any], data: st.DataObject) -> None:
    some = data.draw(
        st.lists(st.sampled_from(list(EVERYTHING)), min_size=1, max_size=4, unique_by=lambda each: each[:2])
    )
    excluded = data.draw(
        st.lists(st.sampled_from(list(EVERYTHING)), max_size=2, unique_by=lambda each: each[:2])
    )
    query = store.find(**{asked_by(name, lookup): value for name, lookup, value in some})
    other = store.find().where_not(**{asked_by(name, lookup): value for name, lookup, value in excluded})
    mine = {row["id"] for row in ROWS if all(finds(row, *asked) for asked in some)}
    its = {row["id"] for row in ROWS if not any(finds(row, *asked) for asked in excluded)}
    assert ids(query) == sorted(mine)
    assert ids(other) == sorted(its)
    assert ids(query | other) == sorted(mine | its)
    assert ids(other - query) == sorted(its - mine)
    assert query.count() == len(mine)
    assert bool(query) == bool(mine)


EVERYTHING = tuple(everything())


def ids(query: FileQuery[Any]) -> list[int]:
    return list(query.storage.session.scalars(query.statement().with_only_columns(Paper.id)))


@given(
    name=st.text(max_size=8), value=st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none())
)
@settings(suppress_health_check=list(HealthCheck))
def test_any_name_and_value_of_metadata_can_be_asked_for(
    store: FileStore[Any], name: str, value: object
) -> None:
    for lookup in ("equals", "lt", "contains", "startswith", "in", "matches"):
        asked = [value] if lookup == "in" else value
        try:
            query = store.find(**{f"metadata__{name}__{lookup}": asked})
        except (InvalidConditionError, LookupError):
            continue
        assert query.count() + store.find().where_not(
            **{f"metadata__{name}__{lookup}": asked}
        ).count() == len(ROWS)


@pytest.mark.parametrize("lookup", ["equals", "gt", "in", "contains", "startswith", "exists", "matches"])
def test_what_is_asked_of_a_list_holds_for_some_file_of_it(store: FileStore[Any], lookup: str) -> None:
    name, value = {
        "equals": ("size", 1), "gt": ("size", 0), "in": ("size", [2, 7]), "contains": ("filename", "a"),
        "startswith": ("filename", "50%"), "exists": ("content_type", True), "matches": ("filename", "^[ab]"),
    }[lookup]  # fmt: skip
    asked = {f"pages__{name}__{lookup}": value}
    expected = [
        row["id"]
        for row in ROWS
        if isinstance(row["pages"], list)
        and any(finds({"file": file}, name, lookup, value) for file in row["pages"])
    ]
    assert expected
    assert ids(store.find(**asked)) == expected
    assert ids(store.find().where_not(**asked)) == [row["id"] for row in ROWS if row["id"] not in expected]


def test_that_no_file_of_a_list_has_a_fact_is_the_complement(store: FileStore[Any]) -> None:
    having = ids(store.find(pages__content_type__exists=True))
    lacking = ids(store.find(pages__content_type__exists=False))
    assert (
        lacking
        == ids(store.find(pages__content_type=None))
        == [row["id"] for row in ROWS if row["id"] not in having]
    )


def test_whether_there_is_a_file_can_be_asked(store: FileStore[Any]) -> None:
    with_file = [row["id"] for row in ROWS if value_of(row, "path") is not None]
    with_pages = [row["id"] for row in ROWS if isinstance(row["pages"], list) and row["pages"]]
    assert ids(store.find(file__exists=True)) == with_file
    assert ids(store.find(file=None)) == [row["id"] for row in ROWS if row["id"] not in with_file]
    assert ids(store.find(pages__exists=True)) == with_pages


ORDERED = [
    "size",
    "filename",
    "last_modified",
    "title",
    "price",
    "at",
    "is_open",
    "last_modified__year",
    "metadata__k",
]


def rank(value: object) -> tuple[int, Any]:
    """Return what databases sort by: what is missing, then true and false, numbers, text, and the rest."""
    match value:
        case None:
            return 0, 0
        case bool():
            return 1, value
        case int() | float():
            return 2, value
        case str():
            return 3, value
        case datetime():
            return 4, value
        case _:
            return 5, 0


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_are_sorted_and_those_without_the_value_come_first(
    store: FileStore[Any], name: str, reverse: bool
) -> None:
    def key(row: Any) -> tuple[int, Any]:
        base, part, _ = name.partition("__year")
        value = value_of(row, base)
        if part:
            value = the_year(value)
        ranked = rank(value)
        if ranked[0] == 2 and isinstance(value, int) and abs(value) > 10**308:
            return 5, 0
        return (ranked[0], float(ranked[1])) if name == "metadata__k" and ranked[0] == 2 else ranked

    expected = [row["id"] for row in sorted(ROWS, key=lambda row: (key(row), row["id"]), reverse=reverse)]
    assert ids(store.find().order_by(name, reverse)) == expected


def test_rows_are_sorted_by_the_first_name_before_the_others(store: FileStore[Any]) -> None:
    by_both = sorted(ROWS, key=lambda row: (rank(row["is_open"]), rank(value_of(row, "filename")), row["id"]))
    query = store.find().order_by(["is_open", "filename"])
    assert ids(query) == [row["id"] for row in by_both]
    assert ids(query.order_by(["is_open", "filename"], reverse=True)) == [
        row["id"] for row in reversed(by_both)
    ]


@pytest.mark.parametrize("name", ["size", "filename", "content_type", "title", "is_open", "price", "day"])
def test_values_are_listed_once_without_none(store: FileStore[Any], name: str) -> None:
    expected = {value_of(row, name) for row in ROWS} - {None}
    assert store.find().values(name) == sorted(expected)  # type: ignore[type-var]


def test_values_of_metadata_have_their_types(store: FileStore[Any]) -> None:
    found = store.find().values("metadata__k")
    expected = [value_of(row, "metadata__k") for row in ROWS]
    texts = {value for value in expected if isinstance(value, str)}
    assert {value for value in found if isinstance(value, str)} == texts
    assert {value for value in found if isinstance(value, bool)} == {True, False}
    whole = {value for value in expected if type(value) is int and -(2**63) <= value < 2**63} | {3}
    assert {value for value in found if type(value) is int} == whole
    assert {1.5, -1.25, 0.5, 1e300, 1e30} <= {value for value in found if type(value) is float}


def test_values_of_parts_of_times_are_whole_numbers(store: FileStore[Any]) -> None:
    years = store.find().values("last_modified__year")
    assert years == [1, 1970, 1999, 2000, 2025, 9999]
    assert {type(year) for year in years} == {int}
    assert store.find(at__exists=True).values("at__month") == [1, 2, 12]


def test_times_are_utc_whatever_the_zone_of_the_session(engine: Engine) -> None:
    zones = {"postgresql": "SET TIME ZONE 'Pacific/Auckland'", "mysql": "SET time_zone = '+13:00'"}
    zones["mariadb"] = zones["mysql"]
    with Session(engine) as session:
        if engine.dialect.name in zones:
            session.connection().exec_driver_sql(zones[engine.dialect.name])
        store = FileStore(session, Paper.file)
        for name in ("at", "last_modified"):
            for lookup, value in (("year", 1999), ("month", 12), ("day", 31)):
                expected = [row["id"] for row in ROWS if finds(row, name, lookup, value)]
                assert ids(store.find(**{asked_by(name, lookup): value})) == expected
