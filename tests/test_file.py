"""The calls of a file, each in both ways."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import inspect
import io
import json
import os
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filecolumn import (
    BackendMismatchError,
    BackendNotRegisteredError,
    ChecksumMismatchError,
    FileObject,
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
    StorageError,
    storages,
)
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.content import Content

DATA = bytes(range(256)) * 5000  # 1.28 MB
Call = Callable[..., Awaitable[Any]]


async def _sync_call(file: FileObject, name: str, *args: object, **options: object) -> Any:
    result = getattr(file, name)(*args, **options)
    return list(result) if isinstance(result, Iterator) else result


async def _async_call(file: FileObject, name: str, *args: object, **options: object) -> Any:
    result = getattr(file, f"{name}_async")(*args, **options)
    return [item async for item in result] if isinstance(result, AsyncIterator) else await result


@pytest.fixture(params=[_sync_call, _async_call], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    made: Call = request.param
    return made


def obstore_local(folder: Path) -> StorageBackend:
    return ObstoreBackend("docs", f"file://{folder}/docs/", fsync=False)


def fsspec_local(folder: Path) -> StorageBackend:
    return FSSpecBackend("docs", "file", str(folder / "docs"), fsync=False)


def obstore_memory(folder: Path) -> StorageBackend:
    return ObstoreBackend("docs", "memory://")


@pytest.fixture(params=[obstore_local, fsspec_local, obstore_memory], ids=lambda make: make.__name__)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    return storages.register_backend(request.param(tmp_path))


@pytest.fixture
def memory() -> StorageBackend:
    return storages.register_backend("memory://", "docs")


def keys(backend: StorageBackend) -> list[str]:
    return [stat.key for stat in backend.list()]


def stored(data: bytes = DATA, name: str = "a.bin") -> FileObject:
    return FileObject(name, content=data).save()


def owned(file: FileObject) -> FileObject:
    """Return the file as a row gives it."""
    return FileObject._from_row(file.to_dict(), None)


class Slow(ObstoreBackend):
    """A put that takes its content, then time, and only then appears."""

    delay = 0.3
    done = 0

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        content = list(chunks)
        time.sleep(self.delay)
        try:
            return super().put(key, content, content_type=content_type, metadata=metadata, mode=mode)
        finally:
            self.done += 1


# ---- twins


def public_calls() -> list[str]:
    return [
        name
        for name, member in inspect.getmembers(FileObject, inspect.isfunction)
        if not name.startswith("_") and not name.endswith("_async")
    ]


@pytest.mark.parametrize(
    "name", [name for name in public_calls() if name not in {"to_dict", "update_metadata"}]
)
def test_each_call_has_a_twin_with_its_parameters(name: str) -> None:
    twin = getattr(FileObject, f"{name}_async")
    assert inspect.signature(twin).parameters == inspect.signature(getattr(FileObject, name)).parameters
    assert twin.__doc__


def test_each_async_call_has_a_sync_twin() -> None:
    twins = [name for name, _ in inspect.getmembers(FileObject) if name.endswith("_async") and name[0] != "_"]
    assert [name for name in twins if not hasattr(FileObject, name.removesuffix("_async"))] == []


@pytest.mark.parametrize(
    "name",
    [name for name, _ in inspect.getmembers(StorageBackend) if name[0] != "_" and name.endswith("_async")],
)
def test_each_call_of_a_storage_has_a_twin_with_its_parameters(name: str) -> None:
    ours = list(inspect.signature(getattr(StorageBackend, name)).parameters)
    assert ours == list(inspect.signature(getattr(StorageBackend, name.removesuffix("_async"))).parameters)


# ---- save


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


def failing(after: int) -> Iterator[bytes]:
    for _ in range(after):
        yield b"x" * 1_000_000
    raise ZeroDivisionError("mine")


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


def test_the_arguments_of_seed_004_work(memory: StorageBackend) -> None:
    file = FileObject(backend="docs", filename="test.txt", content=b"Test content")
    assert file.save().get_content() == b"Test content"


# ---- cancelled saves


async def slow_chunks(started: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"x" * 1000
    started.set()
    await asyncio.sleep(30)
    yield b"y"


@pytest.mark.timeout(30)
async def test_a_save_cancelled_while_it_reads_leaves_nothing(storage: StorageBackend) -> None:
    started = asyncio.Event()
    file = FileObject("a.txt", content=slow_chunks(started))
    task = asyncio.ensure_future(file.save_async())
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert keys(storage) == []
    assert not file.is_saved
    with pytest.raises(SourceConsumedError):
        file.get_content()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_a_save_cancelled_at_any_time_leaves_nothing_or_a_file(
    storage: StorageBackend, delay: float
) -> None:
    file = FileObject("a.txt", content=[b"x" * 1_000_000] * 20)
    task = asyncio.ensure_future(file.save_async())
    await asyncio.sleep(delay)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await asyncio.sleep(0.2)
        assert keys(storage) == []
        assert not file.is_saved
    else:
        assert file.is_saved
        await file.verify_async()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", ["file", "memory"])
async def test_a_save_cancelled_while_a_slow_storage_works_leaves_nothing(tmp_path: Path, make: str) -> None:
    backend = Slow("docs", f"file://{tmp_path}/d/" if make == "file" else "memory://")
    storages.register_backend(backend)
    file = FileObject("a.txt", content=b"x")
    task = asyncio.ensure_future(file.save_async())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.done == 1
    await asyncio.sleep(0.05)
    assert keys(backend) == []
    assert file.has_pending_data
    assert (await file.save_async()).get_content() == b"x"


@pytest.mark.timeout(30)
async def test_a_save_under_a_given_key_that_is_cancelled_never_deletes_what_was_there(
    memory: StorageBackend,
) -> None:
    FileObject("a.txt", content=b"first", to_filename="k").save()
    started = asyncio.Event()
    task = asyncio.ensure_future(
        FileObject("b.txt", content=slow_chunks(started), to_filename="k").save_async()
    )
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory.get_bytes("k") == b"first"


@pytest.mark.timeout(30)
async def test_a_cancelled_save_under_a_given_key_may_be_repeated(tmp_path: Path) -> None:
    backend = storages.register_backend(Slow("docs", f"file://{tmp_path}/d/"))
    file = FileObject("a.txt", content=b"x", to_filename="k")
    task = asyncio.ensure_future(file.save_async())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert keys(backend) == []
    assert (await file.save_async()).path == "k"


@pytest.mark.timeout(30)
async def test_a_cancelled_save_deletes_nothing_that_it_did_not_store(tmp_path: Path) -> None:
    backend = storages.register_backend(Slow("docs", f"file://{tmp_path}/d/"))
    FileObject("a.txt", content=b"first", to_filename="k").save()
    task = asyncio.ensure_future(FileObject("b.txt", content=b"second", to_filename="k").save_async())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.get_bytes("k") == b"first"


@pytest.mark.timeout(30)
async def test_a_cancelled_copy_leaves_nothing(tmp_path: Path) -> None:
    storages.register_backend("memory://", "origin")
    target = storages.register_backend(Slow("docs", f"file://{tmp_path}/d/"))
    file = FileObject("a.txt", backend="origin", content=b"x").save()
    task = asyncio.ensure_future(file.copy_async(backend="docs"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert keys(target) == []
    assert file.get_content() == b"x"


# ---- reading


async def test_content_is_read_whole(storage: StorageBackend, call: Call) -> None:
    assert await call(stored(), "get_content") == DATA


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, None),
        (1, None),
        (0, 0),
        (0, 1),
        (100, 5000),
        (len(DATA) - 1, None),
        (len(DATA), None),
        (10**9, 5),
        (5, 10**9),
    ],
)
async def test_a_range_is_streamed(
    storage: StorageBackend, call: Call, start: int, length: int | None
) -> None:
    pieces = await call(stored(), "stream", start, length, 7000)
    assert b"".join(pieces) == DATA[start:][:length]
    assert all(len(piece) == 7000 for piece in pieces[:-1])


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1)])
async def test_a_negative_range_is_refused(
    storage: StorageBackend, call: Call, start: int, length: int | None
) -> None:
    with pytest.raises(ValueError):
        await call(stored(b"x"), "stream", start, length)


async def test_a_stream_ends_early_without_harm(storage: StorageBackend) -> None:
    file = stored(bytes(5_000_000))
    for _ in file.stream(chunk_size=1000):
        break
    stream = file.stream_async(chunk_size=1000)
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    assert file.get_content() == bytes(5_000_000)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
async def test_a_stream_that_is_left_holds_no_file_open(tmp_path: Path) -> None:
    storages.register_backend(fsspec_local(tmp_path))
    file = FileObject("a.bin", content=b"x" * 3_000_000).save()
    before = len(os.listdir("/proc/self/fd"))
    stream = file.stream_async()
    await anext(stream)
    await stream.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_opened_file_seeks_and_reads(storage: StorageBackend) -> None:
    with stored().open() as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.read(10) == DATA[:10]
        assert file.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert file.read() == DATA[-5:]
        assert file.read() == b""
        assert file.seek(1000) == 1000
        assert file.tell() == 1000
        assert file.read(70_000) == DATA[1000:71_000]
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)


async def test_a_file_opened_asynchronously_seeks_and_reads(storage: StorageBackend) -> None:
    async with stored().open_async() as file:
        assert await file.read(10) == DATA[:10]
        assert await file.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert await file.read() == DATA[-5:]
        assert await file.read() == b""
        assert await file.seek(1000) == 1000
        assert await file.tell() == 1000
        assert await file.seek(1, io.SEEK_CUR) == 1001
        assert await file.read(70_000) == DATA[1001:71_001]
        with pytest.raises(ValueError):
            await file.seek(-1)


STEPS = st.lists(
    st.tuples(st.just("read"), st.integers(-1, 400), st.just(0))
    | st.tuples(st.just("seek"), st.integers(-50, 400), st.sampled_from([0, 1, 2])),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS)
async def test_opened_files_behave_as_a_file_on_disk(
    memory: StorageBackend, steps: list[tuple[str, int, int]]
) -> None:
    memory.put("model", [DATA[:300]], mode="overwrite")
    file = FileObject._from_row({"filename": "m", "to_filename": "model", "backend": "docs"}, None)
    model = io.BytesIO(DATA[:300])
    async with file.open_async() as ours:
        with file.open() as other:
            for step, number, whence in steps:
                if step == "read":
                    expected = model.read(number)
                    assert await ours.read(number) == expected
                    assert other.read(number) == expected
                    continue
                position = number + (0, model.tell(), 300)[whence]
                if position >= 0:
                    model.seek(position)
                    assert await ours.seek(number, whence) == position
                    assert other.seek(number, whence) == position


@pytest.mark.parametrize(
    "name", ["get_content", "stream", "verify", "refresh", "delete", "copy", "sign", "download"]
)
async def test_a_pending_file_says_that_it_is_not_stored(
    memory: StorageBackend, call: Call, name: str
) -> None:
    file = FileObject("a.txt", content=b"x")
    with pytest.raises(PendingContentError, match="not stored yet"):
        await call(file, name, *([Path("x")] if name == "download" else []))


async def test_opening_a_pending_file_says_that_it_is_not_stored(memory: StorageBackend) -> None:
    file = FileObject("a.txt", content=b"x")
    with pytest.raises(PendingContentError):
        file.open()
    with pytest.raises(PendingContentError):
        async with file.open_async():
            pass


async def test_content_that_is_gone_is_not_found(storage: StorageBackend, call: Call) -> None:
    file = stored()
    assert file.path is not None
    storage.delete([file.path])
    for name in ("get_content", "stream", "verify", "refresh", "copy"):
        with pytest.raises(ObjectNotFoundError):
            await call(file, name)
    assert await call(file, "exists") is False


async def test_exists_tells(storage: StorageBackend, call: Call) -> None:
    assert await call(FileObject("a.txt", content=b"x"), "exists") is False
    assert await call(stored(), "exists") is True


# ---- download


async def test_a_download_is_whole(storage: StorageBackend, call: Call, tmp_path: Path) -> None:
    await call(stored(), "download", tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == DATA
    await call(stored(b"new"), "download", str(tmp_path / "out.bin"))
    assert (tmp_path / "out.bin").read_bytes() == b"new"


async def test_a_failed_download_keeps_the_old_file_and_leaves_no_part(
    storage: StorageBackend, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "out.bin").write_bytes(b"old")
    file = stored()
    assert file.path is not None
    storage.delete([file.path])
    with pytest.raises(ObjectNotFoundError):
        await call(file, "download", folder / "out.bin")
    assert [path.name for path in folder.iterdir()] == ["out.bin"]
    assert (folder / "out.bin").read_bytes() == b"old"


async def test_a_download_into_a_missing_folder_is_refused(
    memory: StorageBackend, call: Call, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await call(stored(), "download", tmp_path / "missing" / "out.bin")


# ---- verify and refresh


async def test_verify_accepts_what_was_stored(storage: StorageBackend, call: Call) -> None:
    await call(stored(), "verify")


@pytest.mark.parametrize("changed", [DATA[:-1], DATA + b"x", b"y" + DATA[1:], b""])
async def test_verify_finds_other_bytes(storage: StorageBackend, call: Call, changed: bytes) -> None:
    file = stored()
    assert file.path is not None
    storage.put(file.path, [changed], mode="overwrite")
    with pytest.raises(ChecksumMismatchError):
        await call(file, "verify")


async def test_verify_without_a_checksum_is_not_supported(memory: StorageBackend, call: Call) -> None:
    memory.put("a.txt", [b"x"])
    file = FileObject._from_row({"filename": "a.txt", "backend": "docs"}, None)
    with pytest.raises(NotSupportedError, match="no checksum"):
        await call(file, "verify")


async def test_refresh_takes_the_facts_of_the_storage(storage: StorageBackend, call: Call) -> None:
    file = stored()
    assert file.path is not None
    storage.put(file.path, [b"shorter"], mode="overwrite")
    checksum = file.checksum
    await call(file, "refresh")
    assert file.size == 7
    assert file.etag == storage.stat(file.path).etag or storage.stat(file.path).etag is None
    assert file.checksum == checksum
    with pytest.raises(ChecksumMismatchError):
        await call(file, "verify")


# ---- copy


async def test_a_copy_has_its_own_key_and_the_same_facts(storage: StorageBackend, call: Call) -> None:
    file = FileObject("a.pdf", content=DATA, metadata={"k": [1]}).save()
    made = await call(file, "copy")
    assert made != file
    assert made.path != file.path
    assert (made.filename, made.size, made.checksum, made.content_type) == (
        "a.pdf",
        len(DATA),
        file.checksum,
        file.content_type,
    )
    assert made.metadata == {"k": [1]}
    assert made.is_saved
    file.delete()
    await call(made, "verify")
    assert keys(storage) == [made.path]


async def test_a_copy_may_have_another_name(memory: StorageBackend, call: Call) -> None:
    made = await call(stored(name="a.bin"), "copy", filename="../b.txt")
    assert made.filename == "b.txt"
    assert made.path.endswith(".txt")


async def test_a_copy_may_go_to_another_storage(storage: StorageBackend, call: Call, tmp_path: Path) -> None:
    other = storages.register_backend(FSSpecBackend("other", "file", str(tmp_path / "other"), fsync=False))
    made = await call(FileObject("a.bin", backend="docs", content=DATA).save(), "copy", backend="other")
    assert made.backend is other
    assert made.backend_key == "other"
    await call(made, "verify")
    assert len(keys(storage)) == len(keys(other)) == 1


@pytest.mark.parametrize("origin", ["memory", "file"])
@pytest.mark.parametrize("target", ["memory", "file"])
async def test_a_large_copy_may_go_from_obstore_to_obstore(
    call: Call, tmp_path: Path, origin: str, target: str
) -> None:
    for key, scheme in (("origin", origin), ("target", target)):
        storages.register_backend("memory://" if scheme == "memory" else f"file://{tmp_path}/{key}/", key)
    file = FileObject("a.bin", backend="origin", content=bytes(20_000_000)).save()
    made = await call(file, "copy", backend="target")
    await call(made, "verify")


async def test_the_stream_of_a_large_file_is_content_for_another(storage: StorageBackend, call: Call) -> None:
    file = stored(bytes(20_000_000))
    made = FileObject("b.bin", content=file.stream())
    await call(made, "save")
    assert made.checksum == file.checksum


async def test_a_copy_to_another_storage_checks_that_the_bytes_are_those_of_the_row(
    memory: StorageBackend, call: Call
) -> None:
    storages.register_backend("memory://", "other")
    file = FileObject("a.bin", backend="docs", content=b"one").save()
    assert file.path is not None
    memory.put(file.path, [b"two!"], mode="overwrite")
    made = await call(file, "copy", backend="other")
    await call(made, "verify")
    assert made.size == 4


async def test_a_file_owned_by_a_row_may_be_copied(memory: StorageBackend, call: Call) -> None:
    file = owned(stored())
    made = await call(file, "copy")
    assert await call(made, "get_content") == DATA


async def test_a_copy_of_a_row_without_a_size_has_one(memory: StorageBackend, call: Call) -> None:
    memory.put("a.txt", [b"abc"])
    made = await call(FileObject._from_row({"filename": "a.txt", "backend": "docs"}, None), "copy")
    assert made.size == 3
    assert made.path != "a.txt"
    assert made.to_dict()["to_filename"] == made.path


async def test_a_copy_to_an_unknown_storage_is_refused(memory: StorageBackend, call: Call) -> None:
    with pytest.raises(BackendNotRegisteredError):
        await call(stored(), "copy", backend="nope")
    assert len(keys(memory)) == 1


# ---- delete, ownership


async def test_delete_removes_the_content(storage: StorageBackend, call: Call) -> None:
    file = stored()
    await call(file, "delete")
    assert keys(storage) == []
    assert not file.is_saved
    with pytest.raises(ObjectNotFoundError, match="was deleted"):
        await call(file, "get_content")
    with pytest.raises(ObjectNotFoundError):
        await call(file, "delete")


@pytest.mark.parametrize("name", ["delete", "save"])
async def test_a_file_owned_by_a_row_is_neither_deleted_nor_saved(
    memory: StorageBackend, call: Call, name: str
) -> None:
    file = owned(stored())
    with pytest.raises(OwnedFileError, match="assign"):
        await call(file, name, *([b"x"] if name == "save" else []))
    assert file.get_content() == DATA


@pytest.mark.parametrize("name", ["get_content", "exists", "verify", "copy"])
@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", ".filecolumn/stage/x", "x#1", "a//b"])
async def test_a_row_with_a_key_outside_reaches_nothing(
    memory: StorageBackend, call: Call, name: str, key: str
) -> None:
    """Row 78 of the security table."""
    row = {"filename": "x", "to_filename": key, "backend": "docs", "checksum": "sha256:0"}
    with pytest.raises(InvalidKeyError):
        await call(FileObject._from_row(row, None), name)


async def test_a_row_with_a_storage_that_its_column_does_not_use_reaches_nothing(
    memory: StorageBackend, call: Call
) -> None:
    storages.register_backend("memory://", "secret").put("k", [b"x"])
    row = {"filename": "x", "to_filename": "k", "backend": "secret"}
    with pytest.raises(BackendMismatchError, match="reads="):
        await call(FileObject._from_row(row, ("docs",)), "get_content")
    assert await call(FileObject._from_row(row, ("docs", "secret")), "get_content") == b"x"


# ---- sign


@pytest.mark.parametrize("for_upload", [False, True])
async def test_a_storage_that_cannot_sign_says_so(
    storage: StorageBackend, call: Call, for_upload: bool
) -> None:
    with pytest.raises(NotImplementedError, match="sign"):
        await call(stored(b"x"), "sign", for_upload=for_upload)


SECRET = "s3cr3t-of-the-storage"
ACCESS = "AKIAFAKEFAKEFAKEFAKE"


@pytest.fixture
def s3() -> StorageBackend:
    return storages.register_backend(
        ObstoreBackend(
            "s3",
            "s3://bucket/prefix/",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            aws_region="eu-west-1",
        )
    )


def s3_file() -> FileObject:
    return FileObject._from_row(
        {"filename": "a.txt", "to_filename": "k/a.txt", "backend": "s3", "size": 1}, None
    )


async def test_a_storage_signs_a_url(s3: StorageBackend, call: Call) -> None:
    url = await call(s3_file(), "sign", expires_in=60)
    assert "/prefix/k/a.txt?" in url
    assert "X-Amz-Expires=60" in url
    assert SECRET not in url


def test_a_panic_of_obstore_is_an_error_of_the_storage(s3: StorageBackend) -> None:
    """A header's name that HTTP does not allow, which no call of a file gives it: no request is made."""
    with pytest.raises(StorageError, match="cannot store 'k'") as caught:
        s3.put("k", [b"x"], metadata={"no name": "x"})
    assert type(caught.value.__cause__).__name__ == "PanicException"
    assert not isinstance(caught.value.__cause__, Exception)


async def test_a_panic_in_an_awaited_call_of_obstore_is_an_error_of_the_storage(s3: StorageBackend) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(StorageError, match="cannot store 'k'") as caught:
        await s3.put_async("k", content(), metadata={"no name": "x"})
    assert type(caught.value.__cause__).__name__ == "RustPanic"


async def test_an_upload_url_is_made_for_a_given_key_before_the_file_is_saved(
    s3: StorageBackend, call: Call
) -> None:
    file = FileObject("a.txt", backend="s3", to_filename="up/a.txt")
    assert "/prefix/up/a.txt?" in await call(file, "sign", for_upload=True)
    with pytest.raises(PendingContentError):
        await call(file, "sign")


# ---- facts, metadata


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
    owner = file._owner = Noted()
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
    owner = file._owner = Noted()
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


# ---- equality, hash, repr, copies


def test_saved_files_are_equal_by_storage_and_key(memory: StorageBackend) -> None:
    file = stored()
    assert file == owned(file)
    assert hash(file) == hash(owned(file))
    assert file != stored()
    assert len({file, owned(file)}) == 1


def test_files_are_equal_under_the_old_and_the_new_name_of_a_storage(memory: StorageBackend) -> None:
    file = stored()
    renamed = copy.deepcopy(file)
    before = hash(file)
    storages.unregister_backend("docs")
    storages.register_backend("memory://", "new")
    storages.alias("docs", to="new")
    moved = FileObject._from_row({**renamed.to_dict(), "backend": "new"}, None)
    assert file == moved
    assert hash(file) == hash(moved) == before


def test_a_file_that_was_deleted_stays_what_it_is_in_a_set(memory: StorageBackend) -> None:
    file = stored()
    known = {file}
    file.delete()
    assert file in known


def test_pending_files_are_equal_only_to_themselves() -> None:
    one, other = FileObject("a.txt", content=b"x"), FileObject("a.txt", content=b"x")
    assert one == one  # noqa: PLR0124 - identity is the point
    assert one != other
    assert one != "a.txt"
    with pytest.raises(TypeError, match="hashable once it is saved"):
        hash(one)


COPIES: list[Callable[[FileObject], FileObject]] = [
    lambda file: pickle.loads(pickle.dumps(file)),
    copy.deepcopy,
    copy.copy,
]


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_saved_file_is_equal_and_needs_no_registered_backend(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    file = FileObject("a.txt", content=DATA, metadata={"k": 1}).save()
    _ = file.backend, repr(file)
    storages.clear_backends()
    other = made(file)
    assert other == file
    assert hash(other) == hash(file)
    assert other.to_dict() == file.to_dict()
    assert other.metadata == {"k": 1}
    storages.register_backend(memory)
    assert other.get_content() == DATA


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_staged_file_is_not_ours_to_delete(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    with pytest.raises(OwnedFileError):
        made(stored()).delete()


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_pending_file_is_consumed(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    file = FileObject("a.txt", content=b"content-of-mine")
    other = made(file)
    assert not other.has_pending_data
    with pytest.raises(SourceConsumedError):
        other.save()
    assert file.has_pending_data


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_file_in_each_phase_answers_every_question(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    removed = stored()
    removed.delete()
    for file in (removed, owned(stored()), FileObject("a.txt"), stored()):
        other = made(file)
        assert other.filename == file.filename
        assert repr(other)
        assert made(other).to_dict() == file.to_dict()


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_file_with_a_source_that_cannot_be_copied_works(
    made: Callable[[FileObject], FileObject],
) -> None:
    assert made(FileObject("a.txt", content=failing(1))).filename == "a.txt"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_carries_no_content_no_credentials_and_no_backend(s3: StorageBackend, protocol: int) -> None:
    content = b"content-of-mine"
    pending = FileObject("a.txt", backend=s3, content=content)
    loaded = s3_file()
    for file in (pending, loaded):
        _ = file.backend, file.protocol
        text = pickle.dumps(file, protocol=protocol)
        for secret in (SECRET.encode(), ACCESS.encode(), content, b"ObstoreBackend", b"S3Store"):
            assert secret not in text
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_a_repr_shows_what_helps_and_no_secret(s3: StorageBackend) -> None:
    pending = FileObject("a.txt", backend=s3, content=b"content-of-mine")
    assert repr(pending) == "<FileObject 'a.txt' pending None bytes text/plain>"
    assert repr(s3_file()) == "<FileObject 'a.txt' s3:k/a.txt 1 bytes application/octet-stream>"
    assert SECRET not in repr(pending) + repr(s3_file()) + repr(s3)


def test_a_corrupt_file_has_a_repr() -> None:
    assert "corrupt" in repr(FileObject._from_row("{", None))


def test_a_corrupt_file_survives_a_pickle() -> None:
    assert "corrupt" in repr(pickle.loads(pickle.dumps(FileObject._from_row("{", None))))


# ---- storages that lie or fail


class Short(ObstoreBackend):
    """Answers with another size than it was given."""

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:  # type: ignore[override]
        return super().put(key, list(chunks)[:-1], **options)


async def test_a_storage_that_stored_less_is_not_believed(call: Call) -> None:
    storages.register_backend(Short("docs", "memory://"))
    file = FileObject("a.txt", content=[b"a", b"b"])
    with pytest.raises(StorageError, match="of 2"):
        await call(file, "save")
    assert not file.is_saved


async def test_what_a_storage_stored_short_is_removed_again(call: Call) -> None:
    backend = storages.register_backend(Short("docs", "memory://"))
    with pytest.raises(StorageError):
        await call(FileObject("a.txt", content=[b"a", b"b"]), "save")
    assert keys(backend) == []


class NoDelete(ObstoreBackend):
    def delete(self, keys: Iterable[str]) -> None:
        raise StorageError("no")


async def test_a_replacement_that_cannot_remove_the_old_object_is_still_a_save(call: Call) -> None:
    """The new content is stored and named: the file must say so even if the old object could not be removed."""
    storages.register_backend(NoDelete("docs", "memory://"))
    file = stored(b"one")
    with suppress(StorageError):
        await call(file, "save", b"two")
    assert file.is_saved
    assert file.get_content() == b"two"


def content_kinds() -> list[Content]:
    return [b"abc", bytearray(b"abc"), memoryview(b"abc"), io.BytesIO(b"abc"), [b"a", b"bc"], iter([b"abc"])]


@pytest.mark.parametrize("index", range(len(content_kinds())))
async def test_each_kind_of_content_is_saved(storage: StorageBackend, call: Call, index: int) -> None:
    file = FileObject("a.txt", content=content_kinds()[index])
    await call(file, "save")
    assert await call(file, "get_content") == b"abc"
