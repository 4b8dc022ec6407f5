"""A save or a copy that is cancelled leaves nothing, and deletes nothing that it did not store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest

from filecolumn import FileObject, SourceConsumedError, storages
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.files import keys, memory, storage

__all__ = ("memory", "storage")


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
        try:
            content = self.received(chunks)
            time.sleep(self.delay)
            return super().put(key, content, content_type=content_type, metadata=metadata, mode=mode)
        finally:
            self.done += 1

    def received(self, chunks: Iterable[bytes]) -> list[bytes]:
        return list(chunks)


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


class Halted(Slow):
    """A put whose thread halts after the first chunk, until it is told to go on."""

    delay = 0.0

    def __init__(self, key: str, url: str) -> None:
        super().__init__(key, url)
        self.has_chunk, self.may_go_on = threading.Event(), threading.Event()

    def received(self, chunks: Iterable[bytes]) -> list[bytes]:
        content = []
        for chunk in chunks:
            content.append(chunk)
            self.has_chunk.set()
            self.may_go_on.wait(10)
        return content


async def one_chunk() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.timeout(30)
async def test_a_save_cancelled_after_its_last_chunk_leaves_nothing(tmp_path: Path) -> None:
    """The thread that stores outlives the cancellation, and asks for the end of the content after it."""
    backend = Halted("docs", f"file://{tmp_path}/d/")
    storages.register_backend(backend)
    task = asyncio.ensure_future(FileObject("a.txt", content=one_chunk()).save_async())
    await asyncio.to_thread(backend.has_chunk.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    backend.may_go_on.set()
    for _ in range(500):
        if backend.done:
            break
        await asyncio.sleep(0.01)
    assert backend.done == 1
    assert keys(backend) == []


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
    started = asyncio.Event()
    task = asyncio.ensure_future(
        FileObject("b.txt", content=slow_chunks(started), to_filename="k").save_async()
    )
    await asyncio.wait_for(started.wait(), 5)
    FileObject("a.txt", content=b"first", to_filename="k").save()
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
    assert backend.refuses_taken_keys()
    task = asyncio.ensure_future(FileObject("b.txt", content=b"second", to_filename="k").save_async())
    await asyncio.sleep(0.1)
    # after the second one's look, and before its put
    ObstoreBackend("same", f"file://{tmp_path}/d/").put("k", [b"first"])
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
