"""Regular expressions mean the same on every database, and none that is taken makes a query fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, MetaData, Text, literal, select

from filecolumn.orm.json_values import CodePoints
from filecolumn.query import InvalidConditionError
from filecolumn.query.patterns import matches, portable
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database

TEXTS = [
    "",
    "a",
    "ab",
    "A",
    "b\n",
    "a\nb",
    "[a]",
    "^",
    "-",
    "a-b",
    "]",
    "\\",
    "1",
    "{1}",
    "é",
    "😀",
    "a b",
    "$",
    "aaa",
    "_",
]
PIECES = [
    "[a-c]", "[^a]", "(a|b)", "(?:a)", "a{1,2}", r"\d", r"\W", r"\[", "[]a]", "[a-]", r"[^\]]", "(a*)*",
    "(a|)", r"[\d-]",
    "{2}", "[[:alpha:]]", "[[.a.]]", "[a-b-c]", "*?", "(^a)", "(a$)?", "()", "[+--]", r"\$", "(?i)", "{,2}",
    "{2,}", "x{0}",
    "(a{10}){10}", r"[\s\d]+", r"[a\-b]", ".", "^", "$", "*", "+", "?", "|", r"\b", "a", "😀", "-", "\n",
]  # fmt: skip


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    folder: Path = tmp_path_factory.mktemp("patterns")
    with own_database(request.param, folder, MetaData()) as engine, engine.connect() as connection:
        yield connection


def found(connection: Connection, pattern: str, *, caseless: bool) -> list[bool]:
    columns = [matches(CodePoints(literal(each, Text)), pattern, caseless=caseless) for each in TEXTS]
    row = connection.execute(select(*(each.label(f"c{n}") for n, each in enumerate(columns)))).one()
    return [bool(each) for each in row]


@given(
    pattern=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=2)), max_size=6).map("".join),
    caseless=st.booleans(),
)
@settings(suppress_health_check=list(HealthCheck))
def test_a_pattern_that_is_taken_finds_what_python_finds(
    connection: Connection, pattern: str, caseless: bool
) -> None:
    try:
        for_python = re.compile(portable(pattern), re.IGNORECASE if caseless else 0)
    except InvalidConditionError:
        return
    assert found(connection, pattern, caseless=caseless) == [bool(for_python.search(each)) for each in TEXTS]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a", ["a", "ab", "a\nb", "a-b", "a b", "aaa"]), ("b$", ["ab", "a\nb", "a-b", "a b"]), ("^.$",
        [*"aA^-]\\1é😀$_"]),
        (r"\d", ["1", "{1}"]), (r"^[\]\\]$", ["]", "\\"]), (r"^[]^]", ["^", "]"]), ("a{3}", ["aaa"]), ("^$", [""]),
        (r"\s", ["b\n", "a\nb", "a b"]), (r"^\w$", ["a", "A", "1", "_"]), ("[+--]", ["-", "a-b"]), ("[a-]b",
        ["ab", "a-b"]),
    ],
)  # fmt: skip
def test_a_pattern_finds_what_it_says(connection: Connection, pattern: str, expected: list[str]) -> None:
    assert [
        text
        for text, is_found in zip(TEXTS, found(connection, pattern, caseless=False), strict=True)
        if is_found
    ] == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "*", "a**", "[b-a]", "(?=a)", "(?!a)", "(?<=a)", "(?P<n>a)", "(?i)a", "(a)\\1", r"\bA", r"\Aa",
        r"\Z", r"\x41",
        "a++", "a{256}", "(a{16}){16}", "{", "a}", "]", "a" * 201, "\\", r"[\W]", "\0", "[\0]", "a{1}{2}",
        "(?#a)", "***:a",
    ],
)  # fmt: skip
def test_a_pattern_that_some_database_does_not_take_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError) as raised:
        portable(pattern)
    assert isinstance(raised.value, InvalidConditionError)
