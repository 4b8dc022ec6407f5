"""A row's text is read by whatever reads it fastest, and what comes of it is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filecolumn import CorruptFileMetadataError
from filecolumn.files._msgspec import facts_by_msgspec
from filecolumn.files.facts import FileFacts, facts_by_pattern, facts_from_row, row_from_facts

READERS = [facts_by_pattern, facts_by_msgspec]
ROW: dict[str, object] = {
    "filename": "report.pdf",
    "to_filename": "20260101/10/0198.pdf",
    "backend": "docs",
    "content_type": "application/pdf",
    "size": 12,
    "checksum": "sha256:00",
    "etag": '"1a"',
    "version_id": None,
    "last_modified": 1767225600.25,
    "metadata": {"album": "x", "tags": [1, 2.5, None]},
    "v": 1,
}
PLAIN: dict[str, object] = {**ROW, "etag": "1a-2b"}
WITHOUT_METADATA: dict[str, object] = {**PLAIN, "metadata": {}}
THEIRS: dict[str, object] = {name: value for name, value in PLAIN.items() if name not in {"to_filename", "v"}}
VARIANTS: list[dict[str, object]] = [
    PLAIN,
    WITHOUT_METADATA,
    {**PLAIN, "size": 0, "last_modified": 0.5, "backend": None},
    {**PLAIN, "size": None, "checksum": None, "etag": None, "version_id": "v", "last_modified": None},
    {**PLAIN, "filename": "Report (1) - a_b+c.tar.gz", "content_type": "application/vnd.ms-excel"},
]
NUMBERS = [
    "0", "-0", "-0.0", "1", "-1", "1.0", "1e3", "01", "1.", ".5", "1e400", "-1e400", "1e-400", "NaN", "Infinity",
    "true", "9007199254740993.0", "1.7976931348623159e308", "0.1000000000000000055511151231257827", str(2**63 - 1),
    str(2**63), str(2**64), str(-(2**63) - 1), "9" * 30, "9" * 30 + ".5", "9" * 5_000, "1" * 18, "1" * 19,
]  # fmt: skip
STRINGS = [
    '""', '"a.txt"', '" a.txt"', '"a/b.txt"', '"a\\\\b"', '"a\\"b"', '"a\\u0000b"', '"a\\ud800"', '"\ud800"',
    '"\\ud83d\\ude00"', '"\\ude00\\ud83d"', '"\\ud83dx"', '"Ü.txt"', '"U\\u0308.txt"', '"a\x01b"', '"a\nb"', '"a\x7fb"',
    '"a\x85b"', '"a\\x"', '"\\/"', '"unfinished', "'a'", '"text/plain"', '"TEXT/Plain"', '"text/plain; a=\\"b\\""',
    '"text"', '" text/plain "', '"2026-01-01"', '"a" "b"', '"' + "n" * 300 + '"', '"a.txt\u200b"', '"."', '"CON"',
]  # fmt: skip
PARTS = [
    "null", "{}", "[]", "{ }", '{"a": 1}', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e400}', '{"a": "}"}', '{"a": {}}',
    '{"\\ud800": 1}', '{"a": [1, [2]]}', '{"a":1,}', '{"a" 1}', "{]", '{"a": ' + "[" * 90 + "]" * 90 + "}",
    '{"a": ' + "[" * 110 + "]" * 110 + "}", '{"a": ' + "[" * 3_000 + "]" * 3_000 + "}", "[" * 100_000,
    '{"a": ' + "9" * 5_000 + "}", '{"a": 123456789012345678901234567890, "b": -0.0}', '{"a": "\\u0000\\/"}',
]  # fmt: skip
WORDS = (st.text(max_size=8) | st.text("ab /._-1", min_size=1, max_size=8) | st.none()).map(json.dumps)
TIMES = (st.integers() | st.floats() | st.none()).map(json.dumps)
MAPS = st.dictionaries(
    st.text(max_size=3), st.integers() | st.floats() | st.text(max_size=3), max_size=3
).map(json.dumps)
VALUES = st.sampled_from([*NUMBERS, *STRINGS, *PARTS]) | st.text(max_size=8) | WORDS | TIMES | MAPS
LIKELY = {"size": TIMES, "last_modified": TIMES, "metadata": MAPS, "v": st.just("1")}
"""Values that a fact may have; the others are words."""
SPACES = st.sampled_from(["", " ", "\n\t", "\x0b", "\ufeff"])
COMMAS = st.sampled_from([", ", ",", " ,\n", ",,"])
COLONS = st.sampled_from([": ", ":", " : ", "="])


def by_length(row: dict[str, object]) -> dict[str, object]:
    """Return a row in the order of PostgreSQL's JSONB."""
    return {name: row[name] for name in sorted(row, key=lambda name: (len(name), name))}


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return the text of a row in which something may be wrong, twice, in another order or unknown."""
    row = draw(st.sampled_from([PLAIN, WITHOUT_METADATA, ROW, THEIRS]))
    pairs = [(json.dumps(name), json.dumps(value)) for name, value in row.items()]
    if draw(st.booleans()):
        pairs = [(json.dumps(name), json.dumps(value)) for name, value in by_length(dict(row)).items()]
    names = st.sampled_from([*map(json.dumps, ROW), '"\\u0076"', '"other"', '"V"', "v", '""'])
    for _ in range(draw(st.integers(0, 3))):
        is_likely = draw(st.booleans())
        index, name, value = draw(st.integers(0, len(pairs) - 1)), draw(names), draw(VALUES)
        match draw(st.sampled_from(["change", "change", "change", "rename", "add", "remove", "move"])):
            case "change":
                name = pairs[index][0]
                pairs[index] = name, draw(LIKELY.get(name.strip('"'), WORDS)) if is_likely else value
            case "rename":
                pairs[index] = name, pairs[index][1]
            case "add":
                pairs.insert(index, (name, value))
            case "remove" if len(pairs) > 1:
                del pairs[index]
            case _:
                pairs.append(pairs.pop(index))
    comma, colon, before, after = ", ", ": ", "", ""
    if draw(st.booleans()):
        comma, colon, before = draw(COMMAS), draw(COLONS), draw(SPACES)
        after = draw(SPACES | st.sampled_from(["x", "\0", "{}", "}"]))
    return f"{before}{{{comma.join(f'{name}{colon}{value}' for name, value in pairs)}}}{after}"


def refuse(name: str) -> NoReturn:
    raise ValueError(name)


def read_plainly(text: str) -> FileFacts | None:
    """Return what Python's own decoder reads; None for what is refused."""
    try:
        return facts_from_row(json.loads(text, parse_constant=refuse))
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("read", READERS)
@given(text=texts())
@example(text="")
@example(text="[]")
@example(text="null")
@example(text='"{}"')
def test_a_fast_reader_reads_what_json_reads_or_leaves_it(
    read: Callable[[str], FileFacts | None], text: str
) -> None:
    facts = read(text)
    if facts is not None:
        plain = read_plainly(text)
        assert plain is not None
        assert facts == plain
        # 1 == 1.0 == True, and a row is written back as it was read
        assert json.dumps(row_from_facts(facts)) == json.dumps(row_from_facts(plain))


@given(text=texts())
def test_a_text_is_facts_or_an_error_whoever_reads_it(text: str) -> None:
    plain = read_plainly(text)
    try:
        facts = facts_from_row(text)
    except CorruptFileMetadataError:
        assert plain is None
    else:
        assert facts == plain


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("row", [*VARIANTS, *map(by_length, VARIANTS)])
def test_each_fast_reader_reads_the_rows_that_are_written(
    read: Callable[[str], FileFacts | None], row: dict[str, object]
) -> None:
    assert read(json.dumps(row)) == facts_from_row(row)


def test_each_value_alone_is_read_alike() -> None:
    for name in ROW:
        for value in (*NUMBERS, *STRINGS, *PARTS):
            for row in (PLAIN, by_length(PLAIN)):
                text = json.dumps(row).replace(f'"{name}": {json.dumps(row[name])}', f'"{name}": {value}')
                for read in READERS:
                    facts = read(text)
                    assert facts is None or repr(facts) == repr(read_plainly(text)), (read, name, value)


@pytest.mark.parametrize(
    "row",
    [
        THEIRS,
        {**ROW, "filename": "Übersicht.pdf"},
        {**ROW, "metadata": {"a": {"b": [{"c": 1}]}}},
    ],
)
def test_msgspec_reads_rows_that_the_patterns_leave(row: dict[str, object]) -> None:
    for text in (json.dumps(row), json.dumps(row, separators=(",", ":"), ensure_ascii=False)):
        assert facts_by_pattern(text) is None
        assert facts_by_msgspec(text) == facts_from_row(row)


def test_rows_are_read_where_msgspec_is_not_installed() -> None:
    program = (
        "import json, sys\n"
        "sys.modules['msgspec'] = None\n"
        "from filecolumn import FileObject\n"
        "from filecolumn.files.file import file_from_row\n"
        "for text in map(json.loads, sys.stdin):\n"
        "    print(json.dumps(file_from_row(text).to_dict()))\n"
        "assert 'filecolumn.files._msgspec' not in sys.modules\n"
    )
    rows = [ROW, PLAIN, by_length(PLAIN), {**ROW, "filename": "Übersicht.pdf"}]
    given_lines = "\n".join(json.dumps(json.dumps(row)) for row in rows)
    ran = subprocess.run(
        [sys.executable, "-c", program], input=given_lines, capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in ran.stdout.splitlines()] == rows


def test_msgspec_is_imported_with_the_first_row() -> None:
    program = (
        "import sys\n"
        "import filecolumn\n"
        "from filecolumn.files.file import file_from_row\n"
        "assert 'msgspec' not in sys.modules\n"
        'assert file_from_row(\'{"filename": "a", "to_filename": "k"}\').filename == \'a\'\n'
        "assert 'filecolumn.files._msgspec' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
