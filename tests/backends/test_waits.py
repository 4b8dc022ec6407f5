"""Every wait of a backend has an end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from filecolumn import FileObject, ObjectNotFoundError, StorageError, storages
from filecolumn._threads import THREADS
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend


@pytest.fixture(params=["obstore-local", "obstore-memory", "fsspec-local", "fsspec-memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    match request.param:
        case "obstore-local":
            return ObstoreBackend("s", f"file://{tmp_path}/s/", fsync=False)
        case "obstore-memory":
            return ObstoreBackend("s", "memory://")
        case "fsspec-local":
            return FSSpecBackend("s", "file", str(tmp_path / "s"), fsync=False)
        case _:
            return FSSpecBackend("s", "memory", f"waits-{uuid4().hex}")


class Hanging(StorageBackend):
    """A synchronous storage of which each call hangs, until it is let go."""

    def __init__(self) -> None:
        super().__init__("s", timeout=0.1, total_timeout=0.2)
        self.let_go = threading.Event()

    @property
    def location(self) -> str:
        return "hanging://"

    def _hang(self) -> None:
        self.let_go.wait(20)

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        self._hang()
        return Stat(key=key, size=0)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if key == "at once":
            self._hang()
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        # more than what is read ahead
        yield b"x" * 100_000
        self._hang()

    def stat(self, key: str) -> Stat:
        self._hang()
        raise ObjectNotFoundError(key)

    def delete(self, keys: Iterable[str]) -> None:
        self._hang()

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        yield Stat(key="a", size=0)
        self._hang()

    def close(self) -> None:
        self._hang()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    backend = Hanging()
    yield backend
    backend.let_go.set()


async def all_of(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


async def never() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.sleep(30)


WAITS: dict[str, tuple[Callable[[Hanging], Any], str]] = {
    "put": (lambda backend: backend.put_async("a", [b"x"]), "store 'a'"),
    "get": (lambda backend: backend.get_async("at once"), "read 'at once'"),
    "stat": (lambda backend: backend.stat_async("a"), "describe 'a'"),
    "exists": (lambda backend: backend.exists_async("a"), "describe 'a'"),
    "delete": (lambda backend: backend.delete_async(["a", "b"]), "delete 2 objects, the first 'a'"),
    "copy": (lambda backend: backend.copy_async("a", "b"), "copy 'a' to 'b'"),
    "close": (lambda backend: backend.close_async(), "close the connections"),
    "get bytes": (lambda backend: backend.get_bytes_async("a"), "read 'a'"),
    "list": (lambda backend: listed(backend, "folder"), "list 'folder'"),
}


async def listed(backend: StorageBackend, prefix: str) -> list[object]:
    return await all_of(await backend.list_async(prefix))


@pytest.mark.timeout(15)
@pytest.mark.parametrize(("call", "doing"), WAITS.values(), ids=WAITS)
async def test_a_call_that_hangs_ends_within_total_timeout_and_says_what_it_was(
    hanging: Hanging, call: Callable[[Hanging], Any], doing: str
) -> None:
    start = time.monotonic()
    with pytest.raises(StorageError) as caught:
        await call(hanging)
    assert 0.15 <= time.monotonic() - start < 2
    assert str(caught.value) == f"cannot {doing} in storage 's': the storage made no progress for 0.2 s"


@pytest.mark.timeout(15)
async def test_a_storage_that_hangs_takes_no_more_threads_than_are_allowed(hanging: Hanging) -> None:
    before = threading.active_count()
    calls = [hanging.stat_async("a") for _ in range(THREADS + 5)]
    errors = [str(error) for error in await asyncio.gather(*calls, return_exceptions=True)]
    assert threading.active_count() - before <= THREADS
    assert sum("no progress" in error for error in errors) == THREADS
    assert sum("no thread was free for 0.2 s" in error for error in errors) == 5
    # what waits for content has threads of its own
    backend = FSSpecBackend("other", "memory", f"waits-{uuid4().hex}")
    assert (await backend.put_async("a", [b"x"])).size == 1
    hanging.let_go.set()
    with pytest.raises(ObjectNotFoundError):
        await hanging.stat_async("a")


@pytest.mark.timeout(15)
async def test_a_stream_that_hangs_ends_within_total_timeout(hanging: Hanging) -> None:
    stream = await hanging.get_async("a")
    assert await anext(stream) == b"x" * 100_000
    start = time.monotonic()
    with pytest.raises(StorageError, match="progress"):
        await anext(stream)
    assert time.monotonic() - start < 2


@pytest.mark.timeout(15)
async def test_a_put_that_makes_progress_may_take_longer_than_total_timeout(tmp_path: Path) -> None:
    backend = FSSpecBackend("s", "file", str(tmp_path), total_timeout=0.3)

    def slow() -> Iterator[bytes]:
        for _ in range(6):
            time.sleep(0.1)
            yield b"x"

    assert (await backend.put_async("a", slow())).size == 6


def pausing() -> Iterator[bytes]:
    yield b"x" * 300_000
    time.sleep(0.3)
    yield b"y"


async def pausing_async() -> AsyncIterator[bytes]:
    yield b"x" * 300_000
    await asyncio.sleep(0.3)
    yield b"y"


@pytest.mark.timeout(15)
@pytest.mark.parametrize("content", [pausing, pausing_async])
async def test_content_that_pauses_is_not_the_fault_of_the_storage(
    backend: StorageBackend, content: Callable[[], Any]
) -> None:
    backend.total_timeout = 0.1
    storages.register_backend(backend)
    file = await FileObject("a", content=content()).save_async()
    assert file.size == 300_001


@pytest.mark.timeout(15)
async def test_content_that_never_goes_on_ends_with_the_time_of_the_caller(backend: StorageBackend) -> None:
    """No wait without an end: how long content may take is the caller's to say."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.put_async("a", never()), 0.3)
    assert [stat.key for stat in backend.list()] == []


@pytest.mark.timeout(15)
async def test_a_cancelled_call_that_hangs_ends_at_once(hanging: Hanging) -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging.stat_async("a"), 0.05)
    assert time.monotonic() - start < 1


def test_a_prefix_confines_and_may_be_nested() -> None:
    """Row 15 of the security table."""
    outer = FSSpecBackend("o", "memory", "up")
    twin = FSSpecBackend("t", "memory", "up-secret")
    twin.put("x", [b"x"], mode="overwrite")
    assert [stat.key for stat in outer.list()] == []
    assert not outer.exists("x")
