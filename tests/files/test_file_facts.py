"""Names, types and metadata of a file, and an owner that hears of each change."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from filecolumn import FileObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.files.file import file_from_row, file_state
from tests.scenarios.files import Call, call, memory, owned, stored

__all__ = ("call", "memory")


def test_a_new_file_has_no_facts_yet() -> None:
    file = FileObject("dir/A.txt", content=b"x")
    assert (file.filename, file.content_type) == ("A.txt", "text/plain")
    assert [
        file.path,
        file.backend_key,
        file.size,
        file.checksum,
        file.etag,
        file.version_id,
        file.last_modified,
    ] == [None] * 7
    assert file.metadata == {}
    assert not file.is_saved


def test_a_file_without_a_name_has_the_default_one() -> None:
    assert FileObject(None).filename == FileObject("").filename == "file"


def test_a_file_is_shown_by_its_name() -> None:
    file = FileObject("Report (1).pdf", content=b"x")
    assert str(file) == f"{file}" == "Report (1).pdf"
    corrupt = file_from_row("{")
    assert str(corrupt) == repr(corrupt)


@pytest.mark.parametrize("name", [Path("a.txt"), b"a.txt", 1])
def test_a_name_that_is_no_str_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="a file name is a str"):
        FileObject(name)


def test_a_declared_content_type_wins() -> None:
    assert FileObject("a.txt", content_type="Image/PNG").content_type == "image/png"
    assert FileObject("a.txt", content_type="evil\r\n").content_type == "application/octet-stream"


def test_the_protocol_is_that_of_the_storage(memory: StorageBackend) -> None:
    assert FileObject("a.txt").protocol == "memory"


def test_metadata_reads_as_a_mapping_that_cannot_be_changed() -> None:
    file = FileObject("a.txt", metadata={"a": 1})
    assert dict(file.metadata) == {"a": 1}
    with pytest.raises(TypeError):
        file.metadata["b"] = 2  # type: ignore[index]


def test_metadata_reads_and_is_written_as_plain_json_is() -> None:
    metadata: dict[str, Any] = {"tags": ["a", {"b": [1]}], "size": {"x": None}}
    file = FileObject("a.txt", metadata=metadata)
    assert file.metadata == metadata
    assert json.dumps(file.metadata) == json.dumps(metadata)
    for made in (copy.deepcopy(file.metadata), pickle.loads(pickle.dumps(file.metadata))):
        made["tags"][1]["b"].append(2)
        assert made["tags"] == ["a", {"b": [1, 2]}]
    file.metadata = {**file.metadata, "more": True}
    assert file.metadata == {**metadata, "more": True}


def test_metadata_cannot_be_changed_in_its_depth() -> None:
    file = FileObject("a.txt", metadata={"list": [1, 2], "dict": {"a": 1}})
    inner: Any = file.metadata
    changes: list[Callable[[], object]] = [
        lambda: inner.update(x=1),
        lambda: inner["dict"].setdefault("b", 2),
        lambda: inner["dict"].__ior__({"b": 2}),
        inner["dict"].popitem,
        lambda: inner["list"].append(3),
        lambda: inner["list"].__iadd__([3]),
        lambda: inner["list"].__setitem__(0, 3),
        inner["list"].sort,
        lambda: inner["list"].__delitem__(0),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert file.metadata == inner == {"list": [1, 2], "dict": {"a": 1}}


def test_metadata_is_added_and_replaced() -> None:
    file = FileObject("a.txt", metadata={"a": 1})
    file.update_metadata({"b": [1]})
    assert file.metadata == {"a": 1, "b": [1]}
    file.metadata = {"c": 3}
    assert file.metadata == {"c": 3}
    assert file.to_dict()["metadata"] == {"c": 3}


def test_metadata_that_json_cannot_carry_changes_nothing() -> None:
    file = FileObject("a.txt", metadata={"a": 1})
    with pytest.raises(TypeError):
        file.update_metadata({"b": object()})  # type: ignore[dict-item]
    assert file.metadata == {"a": 1}


class Noted:
    """An owner that notes what it is told."""

    is_gone = False
    has_expired = False

    def __init__(self) -> None:
        self.told: list[object] = []

    def changed(self, value: object, /) -> None:
        self.told.append(value)


def test_an_owner_hears_of_each_change_of_the_facts(memory: StorageBackend) -> None:
    file = owned(stored())
    owner = file_state(file).parent = Noted()
    file.update_metadata({"a": 1})
    assert owner.told == [file]
    file.update_metadata({"a": 1})
    assert owner.told == [file]
    file.metadata = {}
    assert owner.told == [file, file]


async def test_an_owner_hears_of_a_refresh_that_found_something_new(
    memory: StorageBackend, call: Call
) -> None:
    file = owned(stored())
    assert file.path is not None
    await call(file, "refresh")
    owner = file_state(file).parent = Noted()
    await call(file, "refresh")
    assert owner.told == []
    memory.put(file.path, [b"new"], mode="overwrite")
    await call(file, "refresh")
    assert owner.told == [file]


def test_metadata_goes_along_with_the_object_only_as_far_as_headers_can_carry_it(
    memory: StorageBackend,
) -> None:
    metadata: dict[str, Any] = {
        "title": "naïve\r\nX-Evil: 1",
        "nested": {"a": 1},
        "bad name": "x",
        "n": 3,
        "long": "y" * 5000,
    }
    file = FileObject("a.txt", content=b"x", metadata=metadata).save()
    assert file.metadata == metadata
    assert file.get_content() == b"x"


def test_files_have_no_other_attributes() -> None:
    file = FileObject("a.txt")
    with pytest.raises(AttributeError):
        file.contents = b"x"  # type: ignore[attr-defined]


class OddClock(MemoryFileSystem):
    """Tells a time that is none."""

    cachable = False
    time: object = None

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {**super().info(path, **options), "mtime": self.time, "created": None}


@pytest.mark.parametrize("time", ["yesterday", "", float("nan"), float("inf"), [1], None])
def test_a_storage_that_tells_no_time_is_refreshed_all_the_same(time: object) -> None:
    fs = OddClock()
    storages.register_backend(FSSpecBackend("odd", fs, "odd-clock"))
    file = FileObject("a.txt", content=b"text", backend="odd").save()
    before = file.last_modified
    fs.time = time
    file.refresh()
    assert (file.last_modified, file.size) == (before, 4)


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        (1767225600, datetime(2026, 1, 1, tzinfo=UTC)),
        (1767225600.5, datetime(2026, 1, 1, microsecond=500000, tzinfo=UTC)),
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (1767225600000, None),  # milliseconds, by another program
        (1e300, None),
        (None, None),
    ],
)
def test_the_time_of_a_file_is_a_datetime_in_utc(seconds: object, moment: datetime | None) -> None:
    row = {"filename": "a", "to_filename": "k", "backend": "docs", "last_modified": seconds}
    assert file_from_row(row).modified_at == moment


def test_a_saved_file_was_modified_just_now(memory: StorageBackend) -> None:
    file = FileObject("a.txt", backend=memory, content=b"x").save()
    assert file.last_modified is not None
    assert file.modified_at == datetime.fromtimestamp(file.last_modified, UTC)
