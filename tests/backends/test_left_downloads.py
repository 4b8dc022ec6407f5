"""Whoever leaves a download in its midst leaves no file and no connection open; nobody waits for the collector."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from filecolumn import FileObject, storages
from filecolumn._threads import aclose
from filecolumn.backends._local import FileChunks
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.http.sending import exactly, send_all
from filecolumn.testing import FaultyBackend

SIZE = 5_000_000


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["obstore", "fsspec", "wrapped"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    folder = str(tmp_path / "files")
    made: StorageBackend = (
        FSSpecBackend("files", "file", folder, fsync=False)
        if request.param == "fsspec"
        else ObstoreBackend("files", f"file://{folder}/", fsync=False)
    )
    return storages.register_backend(FaultyBackend(made) if request.param == "wrapped" else made)


@pytest.fixture
def file(backend: StorageBackend) -> FileObject:
    return FileObject("a.bin", content=b"x" * SIZE, backend="files").save()


def open_files(folder: Path) -> int:
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder / "files"))
    return found


def all_closed(folder: Path) -> bool:
    end = time.monotonic() + 5
    while open_files(folder) and time.monotonic() < end:
        time.sleep(0.01)
    return not open_files(folder)


def key_of(file: FileObject) -> str:
    assert file.path is not None
    return file.path


def test_synchronous_readers_close_what_they_leave(
    file: FileObject, backend: StorageBackend, tmp_path: Path
) -> None:
    kept: list[object] = []
    for take in (0, 1):
        for opened in (file.stream, lambda: backend.get(key_of(file))):
            chunks = opened()
            for _ in range(take):
                next(chunks)
            chunks.close()  # type: ignore[attr-defined]
            # still referred to, as by the traceback of an error
            kept.append(chunks)
            assert open_files(tmp_path) == 0


async def test_asynchronous_readers_close_what_they_leave(
    file: FileObject, backend: StorageBackend, tmp_path: Path
) -> None:
    kept: list[object] = []
    for take in (0, 1, 2):
        for reader in ("file", "backend", "response"):
            content = await backend.get_async(key_of(file)) if reader != "file" else file.stream_async()
            chunks = exactly(content, SIZE) if reader == "response" else content
            for _ in range(take):
                await anext(chunks)
            await aclose(chunks)
            # a generator that has not begun has nothing to end
            await aclose(content)
            # still referred to, as by the traceback of an error
            kept += [chunks, content]
            assert open_files(tmp_path) == 0


class Gate:
    """Holds up each read of a file, so that a cancellation comes in its midst."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def wait(self) -> None:
        self.reading.set()
        assert self.go_on.wait(10)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate, real = Gate(), FileChunks.__next__

    def held(chunks: FileChunks) -> bytes:
        gate.wait()
        return real(chunks)

    monkeypatch.setattr(FileChunks, "__next__", held)
    return gate


@pytest.mark.parametrize("moment", ["opening", "reading"])
@pytest.mark.parametrize("scope", ["task", "anyio"])
async def test_a_cancellation_in_the_midst_of_a_call_closes_the_file_when_it_has_ended(
    file: FileObject,
    backend: StorageBackend,
    tmp_path: Path,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    scope: str,
) -> None:
    if moment == "opening":
        patched = getattr(backend, "backend", backend)
        opened = patched.get

        def held(key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
            chunks = opened(key, start=start, length=length)
            gate.wait()
            return chunks

        monkeypatch.setattr(patched, "get", held)
    kept: list[AsyncIterator[bytes]] = []

    async def read() -> None:
        chunks = await backend.get_async(key_of(file))
        kept.append(chunks)
        try:
            await anext(chunks)
        finally:
            await aclose(chunks)

    errors: list[BaseException] = []
    if scope == "task":
        task = asyncio.ensure_future(read())
        await asyncio.to_thread(gate.reading.wait, 10)
        task.cancel()
        errors += await asyncio.gather(task, return_exceptions=True)
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await asyncio.to_thread(gate.reading.wait, 10)
            group.cancel_scope.cancel()
    assert open_files(tmp_path) == 1, "the thread is in its call"
    gate.go_on.set()
    assert await asyncio.to_thread(all_closed, tmp_path)


async def test_a_copy_that_is_cancelled_closes_the_file_that_it_reads(
    file: FileObject, backend: StorageBackend, tmp_path: Path, gate: Gate
) -> None:
    before = sorted(backend.list())
    task = asyncio.ensure_future(file.copy_async())
    await asyncio.to_thread(gate.reading.wait, 10)
    assert open_files(tmp_path)
    task.cancel()
    gate.go_on.set()
    # its traceback refers to what was read
    errors = await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(all_closed, tmp_path), errors
    assert sorted(backend.list()) == before


async def test_clients_that_hang_up_at_any_moment_leave_no_file_open(
    file: FileObject, backend: StorageBackend, tmp_path: Path
) -> None:
    failures: list[BaseException] = []
    for number in range(60):
        gone = asyncio.Event()

        async def receive(gone: asyncio.Event = gone):
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message, number: int = number, gone: asyncio.Event = gone) -> None:
            if number % 3 == 1:
                gone.set()
            if number % 3 == 2:
                raise OSError("the connection is gone")
            await asyncio.sleep(0)

        asyncio.get_running_loop().call_later(number / 20_000, gone.set)
        content = await backend.get_async(key_of(file))
        chunks = exactly(content, SIZE)
        try:
            await send_all(await anext(chunks), chunks, receive, send)
        except OSError as error:
            failures.append(error)
        finally:
            await aclose(chunks)
            await aclose(content)
    assert await asyncio.to_thread(all_closed, tmp_path)
    assert len(failures) == 20


async def test_small_content_is_read_and_closed_by_the_call_that_opens_it(
    backend: StorageBackend, tmp_path: Path
) -> None:
    small = FileObject("b.bin", content=b"abc" * 1000, backend="files").save()
    for ranges in ({}, {"start": 2}, {"start": 2, "length": 4}, {"start": 4000}):
        content = await backend.get_async(key_of(small), **ranges)
        assert open_files(tmp_path) == 0
        start = ranges.get("start", 0)
        end = start + ranges.get("length", 3000)
        assert b"".join([chunk async for chunk in content]) == (b"abc" * 1000)[start:end]


class InParts(FaultyBackend):
    """A storage without asynchronous calls of its own, which notes what is read in which thread."""

    def __init__(self, real: StorageBackend, size: int, error: Exception | None = None) -> None:
        super().__init__(real)
        self.threads: list[str] = []
        self.closed = False
        self._size = size
        self._error = error

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            for _ in range(20):
                self.threads.append(threading.current_thread().name)
                yield b"x" * self._size
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return await StorageBackend.get_async(self, key, start=start, length=length)


def in_parts(folder: Path, size: int, error: Exception | None = None) -> InParts:
    return InParts(ObstoreBackend("files", f"file://{folder}/files/"), size, error)


async def test_content_is_read_ahead_in_another_thread_as_far_as_it_is_small(tmp_path: Path) -> None:
    small = in_parts(tmp_path, 100)
    content = await small.get_async("a")
    assert small.closed
    assert len(small.threads) == 20
    assert threading.current_thread().name not in small.threads
    assert [chunk async for chunk in content] == [b"x" * 100] * 20
    large = in_parts(tmp_path, 50_000)
    content = await large.get_async("a")
    assert len(large.threads) == 2
    assert len([chunk async for chunk in content]) == 20
    assert large.closed


async def test_what_was_read_ahead_is_not_given_after_a_reader_has_left(tmp_path: Path) -> None:
    for size in (100, 50_000):
        backend = in_parts(tmp_path, size)
        content = await backend.get_async("a")
        assert await anext(content) == b"x" * size
        await aclose(content)
        assert backend.closed
        assert [chunk async for chunk in content] == []


async def test_an_error_in_small_content_is_raised_when_it_is_opened(tmp_path: Path) -> None:
    backend = in_parts(tmp_path, 100, OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await backend.get_async("a")
    assert backend.closed
