"""The JSON of a row: what is written is read back, and nothing else gets in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn import ContentRejectedError, CorruptFileMetadataError, FileObject
from filecolumn.files.facts import FileFacts, checked_metadata, facts_from_row, row_from_facts, rows_of
from filecolumn.files.file import file_from_row
from filecolumn.naming import check_content_type, clean_filename

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=10), JSON, max_size=5)
KNOWN = [
    "filename", "to_filename", "backend", "content_type", "size", "checksum",
    "etag", "version_id", "last_modified", "metadata", "v",
]  # fmt: skip
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
FINITE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STORABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STORABLE, inner, max_size=4),
    max_leaves=8,
)
TEXT = st.none() | st.text(max_size=30)
NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=40)
FACTS = st.builds(
    FileFacts,
    # what is written is clean already, and reading cleans again
    filename=NAMES.map(clean_filename),
    key=NAMES,
    backend=TEXT,
    content_type=st.text(min_size=1, max_size=30).map(check_content_type),
    size=st.none() | st.integers(min_value=0, max_value=2**63 - 1),
    checksum=TEXT,
    etag=TEXT,
    version_id=TEXT,
    last_modified=st.none() | st.floats(min_value=0, max_value=2**40),
    metadata=st.dictionaries(st.text(max_size=10), FINITE, max_size=4),
    unknown=st.dictionaries(st.text(max_size=10).filter(lambda name: name not in KNOWN), FINITE, max_size=4),
)

ROW = {
    "filename": "report.pdf",
    "to_filename": "20260101/10/0198.pdf",
    "backend": "docs",
    "content_type": "application/pdf",
    "size": 12,
    "checksum": "sha256:00",
    "etag": "e",
    "version_id": None,
    "last_modified": 1.5,
    "metadata": {"a": [1, {"b": None}]},
    "v": 1,
}
ADVANCED_ALCHEMY_ROW = {
    "filename": "2026/reports/report.pdf",
    "content_type": "application/pdf",
    "size": 12,
    "last_modified": 1700000000.25,
    "checksum": None,
    "etag": "e",
    "version_id": None,
    "metadata": {"a": 1},
    "backend": "docs",
}


def changed(**values: object) -> dict[str, object]:
    return {**ROW, **values}


@given(FACTS)
def test_facts_survive_a_row(facts: FileFacts) -> None:
    assert facts_from_row(row_from_facts(facts)) == facts


@given(FACTS)
def test_facts_survive_a_row_as_text(facts: FileFacts) -> None:
    assert facts_from_row(json.dumps(row_from_facts(facts))) == facts


def test_a_row_has_the_keys_of_section_6() -> None:
    assert row_from_facts(facts_from_row(ROW)) == ROW
    assert list(row_from_facts(facts_from_row(ROW))) == KNOWN


def test_a_new_file_has_the_form_of_a_row() -> None:
    row = FileObject("a.txt", metadata={"k": 1}).to_dict()
    assert list(row) == KNOWN
    assert row["filename"] == "a.txt"
    assert row["metadata"] == {"k": 1}


def test_a_row_of_advanced_alchemy_has_its_filename_for_a_key() -> None:
    facts = facts_from_row(ADVANCED_ALCHEMY_ROW)
    assert facts.foreign
    assert facts.key == "2026/reports/report.pdf"
    assert facts.filename == "report.pdf"
    assert (facts.size, facts.backend, facts.etag, facts.metadata) == (12, "docs", "e", {"a": 1})


@pytest.mark.parametrize(
    "row",
    [
        # sqlalchemy-file
        {
            "filename": "r.txt",
            "file_id": "b2f1",
            "path": "default/b2f1",
            "upload_storage": "default",
            "size": 10,
        },
        # filedepot, whose column is text with JSON in it
        json.dumps({"filename": "r.txt", "file_id": "b2f1", "depot_name": "default", "path": "default/b2f1"}),
        {"filename": "r.txt"},
        {"filename": "r.txt", "backend": None},
    ],
    ids=["sqlalchemy-file", "filedepot", "name only", "no storage"],
)
def test_a_row_of_another_library_is_not_taken_for_one_of_advanced_alchemy(row: object) -> None:
    """Under its file name another object may lie."""
    with pytest.raises(CorruptFileMetadataError, match="convert it first"):
        facts_from_row(row)


def test_a_row_of_advanced_alchemy_is_written_back_as_theirs() -> None:
    row = row_from_facts(facts_from_row(ADVANCED_ALCHEMY_ROW))
    assert {name: row[name] for name in ADVANCED_ALCHEMY_ROW} == ADVANCED_ALCHEMY_ROW
    assert facts_from_row(row) == facts_from_row(ADVANCED_ALCHEMY_ROW)


def test_unknown_keys_are_kept_and_never_used() -> None:
    extra = {"source_path": "/etc/passwd", "content": "x", "_x": [1], "future": {"a": 1}}
    facts = facts_from_row(changed(**extra))
    assert facts.unknown == extra
    assert row_from_facts(facts) == changed(**extra)
    file = file_from_row(changed(**extra))
    assert not file.has_pending_data
    assert file.filename == "report.pdf"


@pytest.mark.parametrize("missing", [name for name in KNOWN if name not in {"filename", "to_filename"}])
def test_a_missing_fact_is_not_known(missing: str) -> None:
    row = {name: value for name, value in ROW.items() if name != missing}
    assert facts_from_row(row).key == ROW["to_filename"]


@pytest.mark.parametrize(
    "row",
    [
        # no object, no JSON, and facts that are missing or of a wrong type
        [],
        [ROW],
        "text",
        '"text"',
        12,
        True,
        None,
        "null",
        "",
        "{",
        b"\xff",
        "[" * 10_000,
        '{"a":' * 10_000,
        {},
        changed(filename=None),
        changed(filename=""),
        changed(filename=1),
        changed(to_filename=["a"]),
        changed(backend={"a": 1}),
        changed(content_type=1),
        changed(checksum=False),
        changed(etag=1),
        changed(version_id=1),
        changed(size=-1),
        changed(size=2**63),
        changed(size="12"),
        changed(size=True),
        changed(size=1.5),
        changed(size=math.nan),
        changed(size=math.inf),
        changed(last_modified=math.nan),
        changed(last_modified=math.inf),
        changed(last_modified=-math.inf),
        changed(last_modified=10**400),
        changed(last_modified="now"),
        changed(last_modified=""),
        changed(last_modified=True),
        changed(metadata=[]),
        changed(metadata="x"),
        changed(metadata=1),
        '{"filename": "a", "size": NaN}',
        '{"filename": "a", "size": 1e999}',
    ],
    ids=lambda row: str(row)[:40],
)
def test_a_row_that_describes_no_file_is_refused_by_name(row: object) -> None:
    with pytest.raises(CorruptFileMetadataError):
        facts_from_row(row)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (1_700_000_000_000, 1_700_000_000_000),
        (1_700_000_000_000_000.5, 1_700_000_000_000_000.5),
        (253_402_300_800, 253_402_300_800),
        (-1, -1),
        (1e300, 1e300),
        # msgspec and orjson write no integer of more than 64 bits
        (10**30, 1e30),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14 23:13:20.5+01:00", 1_700_000_000.5),
        ("2023-11-14T22:13:20", 1_700_000_000),
    ],
)
def test_a_time_that_another_program_wrote_is_read(written: object, read: float) -> None:
    facts = facts_from_row(changed(last_modified=written))
    assert facts.last_modified == read
    assert facts_from_row(json.dumps(row_from_facts(facts))) == facts
    assert type(facts.last_modified) is float or abs(facts.last_modified or 0) < 2**63


def test_a_number_of_thousands_of_digits_is_refused_by_name() -> None:
    with pytest.raises(CorruptFileMetadataError):
        facts_from_row('{"filename": "a", "size": ' + "9" * 10_000 + "}")


@given(JSON)
def test_any_json_is_facts_or_refused_by_name(value: Any) -> None:
    try:
        facts = facts_from_row(value)
    except CorruptFileMetadataError:
        return
    assert facts.filename


@given(st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=5), JSON, min_size=1))
def test_any_values_of_known_names_are_facts_or_refused_by_name(row: dict[str, Any]) -> None:
    try:
        facts = facts_from_row({"filename": "a", **row})
    except CorruptFileMetadataError:
        return
    assert facts_from_row(row_from_facts(facts)) is not None
    assert facts.size is None or type(facts.size) is int
    assert facts.last_modified is None or math.isfinite(facts.last_modified)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_facts_or_refused_by_name(text: str | bytes) -> None:
    for read in (facts_from_row, rows_of):
        try:
            read(text)
        except CorruptFileMetadataError:
            continue


@given(st.text(max_size=300))
def test_any_filename_of_a_row_is_shown_flat(name: str) -> None:
    try:
        facts = facts_from_row({"filename": name, "backend": "docs"})
    except CorruptFileMetadataError:
        assert not name
        return
    assert facts.key == name
    assert "/" not in facts.filename.rstrip("/")


def test_the_error_does_not_show_the_content_of_the_row() -> None:
    with pytest.raises(CorruptFileMetadataError) as caught:
        facts_from_row(changed(size="top-secret"))
    assert "top-secret" not in str(caught.value)


def test_a_list_row_is_read_item_by_item() -> None:
    assert rows_of(json.dumps([ROW, 1])) == [ROW, 1]
    assert rows_of([]) == []


@pytest.mark.parametrize("row", [ROW, "{}", "x", 1, None, "null", b"\xff", "[" * 10_000])
def test_a_row_that_is_no_list_is_one_corrupt_file(row: object) -> None:
    (corrupt,) = rows_of(row)
    with pytest.raises(CorruptFileMetadataError):
        facts_from_row(corrupt)


@given(st.dictionaries(STORABLE, FINITE, max_size=5))
def test_metadata_is_copied(metadata: dict[str, Any]) -> None:
    checked = checked_metadata(metadata)
    assert checked == metadata
    assert checked is not metadata


def test_the_metadata_of_a_file_does_not_follow_the_mapping_it_came_from() -> None:
    metadata: dict[str, Any] = {"a": [1]}
    file = FileObject("a.txt", metadata=metadata)
    metadata["a"].append(2)
    assert file.metadata == {"a": [1]}


@pytest.mark.parametrize(
    "metadata", [{"a": object()}, {"a": {1, 2}}, {"a": b"x"}, {"a": math.nan}, {"a": math.inf}, {("a",): 1}]
)
def test_metadata_that_json_cannot_carry_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="JSON"):
        checked_metadata(metadata)


def test_metadata_that_holds_itself_is_refused() -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    with pytest.raises(TypeError, match="JSON"):
        checked_metadata(metadata)


def test_metadata_may_have_64_kib() -> None:
    fits = {"a": "x" * (64 * 1024 - len('{"a": ""}'))}
    assert checked_metadata(fits) == fits
    with pytest.raises(ValueError, match="at most 65536"):
        checked_metadata({"a": fits["a"] + "x"})


def test_metadata_may_have_8_levels() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {} if levels == 0 else {"a": nested(levels - 1)}

    assert checked_metadata(nested(7)) == nested(7)
    with pytest.raises(ValueError, match="8 levels"):
        checked_metadata({"a": [[[[[[[[1]]]]]]]]})


@pytest.mark.parametrize("levels", [8, 5_000, 500_000])
def test_metadata_is_refused_before_it_is_walked_to_its_end(levels: int) -> None:
    class Counted(list[Any]):
        looked_at = 0

        def __iter__(self) -> Iterator[Any]:
            Counted.looked_at += 1
            return super().__iter__()

    deep: list[Any] = []
    for _ in range(levels):
        deep = Counted([deep])
    with pytest.raises(ContentRejectedError) as refused:
        checked_metadata({"a": deep})
    assert (refused.value.field, refused.value.code) == ("metadata", "metadata_too_deep")
    assert Counted.looked_at < 10
    while deep:
        # as Python would, with a level of its own for each
        deep = deep.pop()


@pytest.mark.parametrize(
    "value",
    [[None] * 100_000, "x" * 10_000_000, 1 << 10_000_000, {"x": [1] * 40_000}],
    ids=["list", "text", "number", "within"],
)
def test_metadata_is_refused_before_it_is_written(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "dumps", None)
    with pytest.raises(ContentRejectedError, match="at most 65536") as refused:
        checked_metadata({"a": value})
    assert refused.value.code == "metadata_too_large"


@pytest.mark.parametrize("metadata", [[1], "text", 5])
def test_metadata_that_is_no_mapping_is_refused(metadata: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="mapping"):
        checked_metadata(metadata)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_metadata_of_great_depth_is_refused(depth: int) -> None:
    metadata: dict[str, Any] = {}
    for _ in range(depth):
        metadata = {"a": metadata}
    with pytest.raises((TypeError, ValueError)):
        checked_metadata(metadata)


@pytest.mark.parametrize(
    "metadata", [{"a": "x\0"}, {"\0": 1}, {"a": ["\ud800"]}, {"a": {"b": "\udc00"}}, {"a": "\\\0"}], ids=ascii
)
def test_metadata_with_characters_that_databases_refuse_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(ContentRejectedError, match="unpaired surrogates") as refused:
        FileObject("a.txt", content=b"x", metadata=metadata)
    assert refused.value.code == "metadata_not_text"


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\\ud800", "é😀\n\x01", "\ud83d\ude00"], ids=ascii)
def test_metadata_that_only_looks_like_these_is_kept(text: str) -> None:
    kept = FileObject("a.txt", content=b"x", metadata={"a": text, text: 1}).metadata["a"]
    assert kept == text.encode("utf-16", "surrogatepass").decode("utf-16")
