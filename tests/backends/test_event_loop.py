"""A slow synchronous filesystem never stalls the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import time
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

DELAY = 0.16
ALLOWED = 0.08

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(60)]


class SlowMemory(MemoryFileSystem):  # type: ignore[misc]
    """Memory at the end of a long line."""

    protocol = "slowmemory"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        time.sleep(DELAY)
        super().pipe_file(path, value, mode=mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> Any:
        time.sleep(DELAY)
        return super().cat_file(path, start, end, **options)

    def info(self, path: str, **options: object) -> Any:
        time.sleep(DELAY)
        return super().info(path, **options)

    def exists(self, path: str, **options: object) -> bool:
        time.sleep(DELAY)
        return bool(super().exists(path, **options))

    def rm_file(self, path: str) -> None:
        time.sleep(DELAY)
        super()._rm(path)


class SlowServer(AbstractFileSystem):  # type: ignore[misc]
    """As an SFTP server: each call takes its time."""

    protocol = "slowserver"
    cachable = False

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    def _open(self, path: str, mode: str = "rb", **options: object) -> Any:
        time.sleep(DELAY)
        return self._disk.open(path, mode)

    def info(self, path: str, **options: object) -> Any:
        time.sleep(DELAY)
        return self._disk.info(path)

    def ls(self, path: str, detail: bool = True, **options: object) -> Any:
        time.sleep(DELAY)
        return self._disk.ls(path, detail=detail)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        time.sleep(DELAY)
        self._disk.makedirs(path, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **options: object) -> None:
        time.sleep(DELAY)
        self._disk.mv(path1, path2)

    def cp_file(self, path1: str, path2: str, **options: object) -> None:
        time.sleep(DELAY)
        self._disk.cp_file(path1, path2)

    def _rm(self, path: str) -> None:
        time.sleep(DELAY)
        self._disk.rm_file(path)


fsspec.register_implementation("slowmemory", SlowMemory, clobber=True)
fsspec.register_implementation("slowserver", SlowServer, clobber=True)


@pytest.fixture(params=["slowmemory", "slowserver"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageBackend]:
    yield storages.register_backend(FSSpecBackend("s", request.param, str(tmp_path / "s")))
    SlowMemory.store.clear()


@asynccontextmanager
async def never_stalled() -> AsyncIterator[None]:
    """Fail if the loop did not come round for longer than `ALLOWED`."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.005), now

    gc.collect()
    # it may stop everything for as long as a call that stalls
    gc.disable()
    ticker = asyncio.ensure_future(tick())
    await asyncio.sleep(0.02)
    try:
        yield
    finally:
        await asyncio.sleep(0.02)
        ticker.cancel()
        gc.enable()
    assert longest < ALLOWED


async def slow_chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.01)
        yield b"x" * 100_000


def slow_sync_chunks() -> Iterator[bytes]:
    for _ in range(3):
        time.sleep(DELAY)
        yield b"x" * 100_000


@pytest.mark.parametrize(
    "content", [lambda: b"x" * 300_000, slow_chunks, slow_sync_chunks], ids=["bytes", "async", "sync"]
)
async def test_saving_does_not_stall_the_loop(storage: StorageBackend, content: Callable[[], Any]) -> None:
    file = FileObject("a.bin", content=content())
    start = time.monotonic()
    async with never_stalled():
        await file.save_async()
    assert time.monotonic() - start > DELAY
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
    start = time.monotonic()
    async with never_stalled():
        await call(file, tmp_path)
    assert time.monotonic() - start > DELAY


async def test_listing_does_not_stall_the_loop(storage: StorageBackend) -> None:
    storage.put("a/b", [b"x"])
    async with never_stalled():
        listed = [entry.key async for entry in await storage.list_async()]
    assert listed == ["a/b"]


async def test_slow_saves_run_beside_each_other(storage: StorageBackend) -> None:
    files = [FileObject(f"{number}.bin", content=b"x") for number in range(8)]
    start = time.monotonic()
    await FileObject("one.bin", content=b"x").save_async()
    one = time.monotonic() - start
    async with never_stalled():
        start = time.monotonic()
        await asyncio.gather(*(file.save_async() for file in files))
    if storage.protocol == "slowserver":
        assert time.monotonic() - start < 4 * one


async def test_a_local_folder_with_fsync_does_not_stall_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        time.sleep(DELAY)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    for key, url in (("o", f"file://{tmp_path}/o/"), ("f", f"local://{tmp_path}/f/")):
        storages.register_backend(url, key)
        file = FileObject("a.bin", backend=key, content=[b"x" * 1_000_000] * 20)
        async with never_stalled():
            await file.save_async()
            await drained(file.stream_async())
