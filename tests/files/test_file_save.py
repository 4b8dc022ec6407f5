"""Saving a file: the key it gets, the facts it learns, and what a failed save leaves."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filecolumn import (
    BackendNotRegisteredError,
    FileObject,
    InvalidKeyError,
    ObjectExistsError,
    PendingContentError,
    SourceConsumedError,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.content.sources import Content
from tests.scenarios.files import DATA, Call, call, failing, keys, memory, storage, stored

__all__ = ("call", "memory", "storage")


async def test_save_stores_and_fills_the_facts(storage: StorageBackend, call: Call) -> None:
    file = FileObject("Report.PDF", content=DATA)
    before = time.time()
    assert await call(file, "save") is file
    assert file.is_saved
    assert not file.has_pending_data
    assert file.size == len(DATA)
    assert file.checksum == f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert file.content_type == "application/pdf"
    assert file.backend_key == "docs"
    assert file.backend is storage
    assert file.path is not None
    assert file.path.endswith(".pdf")
    assert file.last_modified is not None
    assert before - 2 <= file.last_modified <= time.time() + 2
    assert storage.get_bytes(file.path) == DATA
    assert keys(storage) == [file.path]


async def test_empty_content_is_stored(storage: StorageBackend, call: Call) -> None:
    file = FileObject("a.txt", content=b"")
    await call(file, "save")
    assert file.size == 0
    assert file.checksum == f"sha256:{hashlib.sha256(b'').hexdigest()}"
    assert await call(file, "get_content") == b""
    assert await call(file, "stream") == []
    await call(file, "verify")


async def test_saving_again_without_content_does_nothing(storage: StorageBackend, call: Call) -> None:
    file = stored()
    key = file.path
    await call(file, "save")
    assert file.path == key
    assert keys(storage) == [key]


async def test_saving_data_again_replaces_the_staged_object(storage: StorageBackend, call: Call) -> None:
    file = stored(b"one")
    first = file.path
    await call(file, "save", b"two!")
    assert file.path != first
    assert file.size == 4
    assert file.checksum == f"sha256:{hashlib.sha256(b'two!').hexdigest()}"
    assert keys(storage) == [file.path]
    assert file.get_content() == b"two!"


async def test_data_takes_the_place_of_pending_content(memory: StorageBackend, call: Call) -> None:
    file = FileObject("a.txt", content=b"one")
    await call(file, "save", b"two")
    assert await call(file, "get_content") == b"two"
    assert len(keys(memory)) == 1


async def test_saving_without_any_content_is_refused(memory: StorageBackend, call: Call) -> None:
    with pytest.raises(PendingContentError, match="no content"):
        await call(FileObject("a.txt"), "save")


async def test_a_given_key_is_used_exactly(storage: StorageBackend, call: Call) -> None:
    file = FileObject("a.txt", content=b"x", to_filename="some/where/a b.txt")
    assert file.path == "some/where/a b.txt"
    await call(file, "save")
    assert file.path == "some/where/a b.txt"
    assert keys(storage) == ["some/where/a b.txt"]


async def test_a_taken_key_is_never_overwritten(storage: StorageBackend, call: Call) -> None:
    FileObject("a.txt", content=b"first", to_filename="k/x").save()
    second = FileObject("b.txt", content=b"second", to_filename="k/x")
    with pytest.raises(ObjectExistsError):
        await call(second, "save")
    assert not second.is_saved
    assert second.has_pending_data
    assert storage.get_bytes("k/x") == b"first"
    assert keys(storage) == ["k/x"]


async def test_a_large_content_never_overwrites_a_taken_key(storage: StorageBackend, call: Call) -> None:
    FileObject("a.txt", content=b"first", to_filename="k").save()
    with pytest.raises(ObjectExistsError):
        await call(FileObject("b.txt", content=bytes(20_000_000), to_filename="k"), "save")
    assert storage.get_bytes("k") == b"first"


async def test_saving_data_again_under_a_given_key_never_loses_the_content(
    memory: StorageBackend, call: Call
) -> None:
    """The key is used once: the first content stays, whatever is said about the second."""
    file = FileObject("a.txt", content=b"one", to_filename="k")
    await call(file, "save")
    with pytest.raises(ObjectExistsError):
        await call(file, "save", b"two")
    assert file.is_saved
    assert memory.get_bytes("k") == b"one"
    assert file.get_content() == b"one"


@pytest.mark.parametrize("key", ["../x", "/x", "a//b", "a/./b", "CON", ""])
def test_a_bad_key_is_refused_when_the_file_is_made(key: str) -> None:
    with pytest.raises(InvalidKeyError):
        FileObject("a.txt", content=b"x", to_filename=key)


class FailsOnce(io.RawIOBase):
    """A seekable file whose first pass fails."""

    def __init__(self) -> None:
        self._failed = False
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        if self._at >= 3:
            return b""
        self._at += 1
        if self._at == 2 and not self._failed:
            self._failed = True
            raise ZeroDivisionError("mine")
        return b"x"


@pytest.mark.parametrize("after", [0, 1, 20])
async def test_a_failed_save_leaves_nothing_and_consumes_a_one_shot_source(
    storage: StorageBackend, call: Call, after: int
) -> None:
    file = FileObject("a.txt", content=failing(after))
    with pytest.raises(ZeroDivisionError, match="mine"):
        await call(file, "save")
    assert keys(storage) == []
    assert not file.is_saved
    assert not file.has_pending_data
    with pytest.raises(SourceConsumedError):
        await call(file, "save")
    with pytest.raises(SourceConsumedError):
        await call(file, "get_content")


async def test_after_a_failed_save_a_replayable_source_may_be_tried_again(
    storage: StorageBackend, call: Call
) -> None:
    file = FileObject("a.txt", content=FailsOnce())
    with pytest.raises(ZeroDivisionError):
        await call(file, "save")
    assert file.has_pending_data
    assert keys(storage) == []
    await call(file, "save")
    assert await call(file, "get_content") == b"xxx"


async def test_a_failed_replacement_keeps_what_was_staged(storage: StorageBackend, call: Call) -> None:
    file = stored(b"one")
    with pytest.raises(ZeroDivisionError):
        await call(file, "save", failing(1))
    assert file.is_saved
    assert file.get_content() == b"one"
    assert keys(storage) == [file.path]


async def test_a_consumed_file_may_be_given_new_data(memory: StorageBackend, call: Call) -> None:
    file = FileObject("a.txt", content=failing(0))
    with pytest.raises(ZeroDivisionError):
        await call(file, "save")
    await call(file, "save", b"new")
    assert file.get_content() == b"new"


def test_asynchronous_content_in_a_sync_save_stays_pending(memory: StorageBackend) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    file = FileObject("a.txt", content=chunks())
    with pytest.raises(TypeError, match="save_async"):
        file.save()
    assert keys(memory) == []


async def test_asynchronous_content_is_stored(storage: StorageBackend) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1_000_000
            await asyncio.sleep(0)

    file = await FileObject("a.txt", content=chunks()).save_async()
    assert file.size == 20_000_000
    await file.verify_async()


async def test_content_of_the_wrong_kind_is_refused_by_save(memory: StorageBackend, call: Call) -> None:
    with pytest.raises(TypeError, match="encode"):
        await call(FileObject("a.txt"), "save", "text")


async def test_a_path_that_is_gone_by_the_save_is_refused(
    memory: StorageBackend, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    file = FileObject("a.txt", source_path=path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await call(file, "save")
    assert file.has_pending_data


async def test_a_save_without_any_storage_says_so(call: Call) -> None:
    file = FileObject("a.txt", content=b"x")
    with pytest.raises(BackendNotRegisteredError):
        await call(file, "save")
    assert file.has_pending_data


def test_a_backend_object_names_its_key(memory: StorageBackend) -> None:
    assert FileObject("a.txt", backend=memory, content=b"x").backend_key == "docs"


def test_a_backend_object_must_be_registered(memory: StorageBackend) -> None:
    with pytest.raises(BackendNotRegisteredError):
        FileObject("a.txt", backend=ObstoreBackend("other", "memory://"), content=b"x")
    with pytest.raises(BackendNotRegisteredError):
        FileObject("a.txt", backend=ObstoreBackend("docs", "memory://"), content=b"x")


def test_the_published_arguments_work(memory: StorageBackend) -> None:
    file = FileObject(backend="docs", filename="test.txt", content=b"Test content")
    assert file.save().get_content() == b"Test content"


def content_kinds() -> list[Content]:
    return [b"abc", bytearray(b"abc"), memoryview(b"abc"), io.BytesIO(b"abc"), [b"a", b"bc"], iter([b"abc"])]


@pytest.mark.parametrize("index", range(len(content_kinds())))
async def test_each_kind_of_content_is_saved(storage: StorageBackend, call: Call, index: int) -> None:
    file = FileObject("a.txt", content=content_kinds()[index])
    await call(file, "save")
    assert await call(file, "get_content") == b"abc"
