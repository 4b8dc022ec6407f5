"""A slow synchronous filesystem never stalls the event loop.

Nothing is timed: each slow call lasts until the loop has come round, which a stalled loop never does.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from filecolumn import FileObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend

ROUNDS = 3
# seconds after which a loop that did not come round is called stalled
LIMIT = 2.0


class Watch:
    """Slow calls beside an event loop: each lasts until the loop has come round, and *at_once* calls have met."""

    def __init__(self, at_once: int) -> None:
        self.calls = self.stalled = 0
        self._at_once = at_once
        self._most = self._running = self._rounds = 0
        self._turned = threading.Condition()

    async def turn(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            with self._turned:
                self._rounds += 1
                self._turned.notify_all()

    def call(self) -> None:
        with self._turned:
            self.calls += 1
            self._running += 1
            self._most = max(self._most, self._running)
            last = self._rounds + ROUNDS
            self.stalled += not self._turned.wait_for(
                lambda: self._rounds >= last and self._most >= self._at_once, LIMIT
            )
            self._running -= 1


watches: list[Watch] = []


def slowly() -> None:
    """Last until the watched loop has come round; no time at all where none is watched."""
    for watch in watches:
        watch.call()


@asynccontextmanager
async def never_stalled(at_once: int = 1) -> AsyncIterator[None]:
    """Fail if a slow call kept the loop from coming round, or if *at_once* calls never ran at the same time."""
    watch = Watch(at_once)
    watches.append(watch)
    turning = asyncio.ensure_future(watch.turn())
    try:
        yield
    finally:
        watches.remove(watch)
        turning.cancel()
    assert watch.calls
    assert not watch.stalled


class SlowMemory(MemoryFileSystem):  # type: ignore[misc]
    """Memory at the end of a long line."""

    protocol = "slowmemory"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        slowly()
        super().pipe_file(path, value, mode=mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> Any:
        slowly()
        return super().cat_file(path, start, end, **options)

    def info(self, path: str, **options: object) -> Any:
        slowly()
        return super().info(path, **options)

    def exists(self, path: str, **options: object) -> bool:
        slowly()
        return bool(super().exists(path, **options))

    def ls(self, path: str, detail: bool = True, **options: object) -> Any:
        slowly()
        return super().ls(path, detail=detail, **options)

    def rm_file(self, path: str) -> None:
        slowly()
        super()._rm(path)


class SlowServer(AbstractFileSystem):  # type: ignore[misc]
    """As an SFTP server: each call takes its time."""

    protocol = "slowserver"
    cachable = False

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    def _open(self, path: str, mode: str = "rb", **options: object) -> Any:
        slowly()
        return self._disk.open(path, mode)

    def info(self, path: str, **options: object) -> Any:
        slowly()
        return self._disk.info(path)

    def ls(self, path: str, detail: bool = True, **options: object) -> Any:
        slowly()
        return self._disk.ls(path, detail=detail)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        slowly()
        self._disk.makedirs(path, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **options: object) -> None:
        slowly()
        self._disk.mv(path1, path2)

    def cp_file(self, path1: str, path2: str, **options: object) -> None:
        slowly()
        self._disk.cp_file(path1, path2)

    def _rm(self, path: str) -> None:
        slowly()
        self._disk.rm_file(path)


fsspec.register_implementation("slowmemory", SlowMemory, clobber=True)
fsspec.register_implementation("slowserver", SlowServer, clobber=True)


@pytest.fixture(params=["slowmemory", "slowserver"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageBackend]:
    yield storages.register_backend(FSSpecBackend("s", request.param, str(tmp_path / "s")))
    SlowMemory.store.clear()


async def slow_chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.01)
        yield b"x" * 100_000


def slow_sync_chunks() -> Iterator[bytes]:
    for _ in range(3):
        slowly()
        yield b"x" * 100_000


@pytest.mark.parametrize(
    "content", [lambda: b"x" * 300_000, slow_chunks, slow_sync_chunks], ids=["bytes", "async", "sync"]
)
async def test_saving_does_not_stall_the_loop(storage: StorageBackend, content: Callable[[], Any]) -> None:
    file = FileObject("a.bin", content=content())
    async with never_stalled():
        await file.save_async()
    assert file.get_content() == b"x" * 300_000


async def drained(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def opened(file: FileObject) -> bytes:
    async with file.open_async() as source:
        return await source.read()


CALLS: dict[str, Callable[[FileObject, Path], Awaitable[object]]] = {
    "get_content": lambda file, _: file.get_content_async(),
    "stream": lambda file, _: drained(file.stream_async()),
    "open": lambda file, _: opened(file),
    "download": lambda file, folder: file.download_async(folder / "out"),
    "exists": lambda file, _: file.exists_async(),
    "refresh": lambda file, _: file.refresh_async(),
    "verify": lambda file, _: file.verify_async(),
    "copy": lambda file, _: file.copy_async(),
    "delete": lambda file, _: file.delete_async(),
    "save again": lambda file, _: file.save_async(b"new"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_no_call_stalls_the_loop(
    storage: StorageBackend, call: Callable[[FileObject, Path], Awaitable[object]], tmp_path: Path
) -> None:
    file = FileObject("a.bin", content=b"x" * 100_000).save()
    async with never_stalled():
        await call(file, tmp_path)


async def test_listing_does_not_stall_the_loop(storage: StorageBackend) -> None:
    storage.put("a/b", [b"x"])
    async with never_stalled():
        listed = [entry.key async for entry in await storage.list_async()]
    assert listed == ["a/b"]


@pytest.fixture(params=["file", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder by obstore or fsspec, on a disk that is slow to synchronize."""
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        slowly()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    storages.register_backend(f"{request.param}://{tmp_path}/f/", "f")


@pytest.mark.usefixtures("folder")
async def test_a_local_folder_with_fsync_does_not_stall_the_loop() -> None:
    file = FileObject("a.bin", content=[b"x" * 1_000_000] * 20)
    async with never_stalled():
        await file.save_async()
        await drained(file.stream_async())


@pytest.mark.usefixtures("folder")
async def test_slow_saves_run_beside_each_other() -> None:
    files = [FileObject(f"{number}.bin", content=b"x") for number in range(8)]
    async with never_stalled(at_once=8):
        await asyncio.gather(*(file.save_async() for file in files))
