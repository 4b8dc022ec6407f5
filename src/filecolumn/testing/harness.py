"""What the cases of `BackendSuite` stand on: what an author gives, and each way to call a backend.

The names that an author uses are methods and attributes of `SuiteHarness`; the functions are for the cases, and
for tests of backends that need more than the suite.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import ClassVar, TypeVar, Unpack

import pytest

from filecolumn.backends.base import PutOptions, SignMethod, Stat, StorageBackend
from filecolumn.testing.stateful import MODEL_KEYS
from filecolumn.testing.wrappers import WrappedBackend

__all__ = ("PIECE", "UNUSUAL_KEYS", "SuiteHarness", "called", "failing", "in_threads", "whole")

T = TypeVar("T")

UNUSUAL_KEYS = ("a b/c d.txt", "ü/ß.txt", "%2e%2e%2fx", "a?b#c", "x" * 240, "a..b", ".hidden", "a+b&c=d;e")
LISTED_KEYS = ("a", "b/1", "b/2", "b/c/3", "bb/4", "b.5", "c*/6", "c/7", "é/8")
DISTINCT_KEYS = ("a.txt", "A.txt", "\u00e9", "e\u0301")
PIECE = bytes(range(256)) * 4096


class SuiteHarness:
    """What you override and set in a subclass of `BackendSuite`: the fixture `backend`, and the rest where needed.

    For a storage that allows few characters in keys, replace the four attributes that end in `keys`.  All other
    keys in the tests have lowercase ASCII letters, digits and slashes only.
    """

    large: ClassVar[int] = 17 * 1024 * 1024 + 12345
    """Bytes of large content; more than the backend sends in one request."""
    many: ClassVar[int] = 1100
    """How many keys to delete at once; more than one request accepts."""
    examples: ClassVar[int] = 20
    """How many random sequences of calls are compared with a dictionary."""
    exhaustive: ClassVar[bool] = True
    """Whether every error is tried with every size of content; False tries one per size, for slow storages."""
    unusual_keys: ClassVar[Sequence[str]] = UNUSUAL_KEYS
    """Keys that must be kept exactly or refused; leave out those that the server itself gets wrong."""
    listed_keys: ClassVar[Sequence[str]] = LISTED_KEYS
    """Keys to store and to list, with and without folders; replace those that the storage cannot keep."""
    distinct_keys: ClassVar[Sequence[str]] = DISTINCT_KEYS
    """Keys that a storage could confuse with each other; empty if the storage refuses all of them."""
    model_keys: ClassVar[Sequence[str]] = MODEL_KEYS
    """A few keys for the random sequences; none may be a folder of another."""
    proves_signatures: ClassVar[bool] = True
    """Whether the server refuses wrong and expired signatures; some emulators do not."""
    upload_headers: ClassVar[Mapping[str, str]] = {}
    """What a PUT to a signed URL must have."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """Return a backend for an empty place; override this one."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `backend`: a backend over nothing")

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        """Return all objects in the place, remains of uploads too, without calling *backend*.

        Override it if you can, because a backend should not be the only evidence for its own work.
        """
        pytest.skip("the suite cannot look behind this backend's back: override `look`")

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        """Put an object into the place as another program would, without calling *backend*."""
        pytest.skip("the suite cannot act behind this backend's back: override `place`")

    def another(self, backend: StorageBackend) -> StorageBackend:
        """Return a second backend for the same place, as another process would make it."""
        pytest.skip("the suite cannot make a second backend: override `another`")

    @pytest.fixture(params=["sync", "async"])
    def storage(self, request: pytest.FixtureRequest, backend: StorageBackend) -> Iterator[StorageBackend]:
        """Give the backend, called sync and async."""
        with called(backend, request.param) as storage:
            yield storage

    @pytest.fixture(params=["sync", "async", "async content"])
    def writer(self, request: pytest.FixtureRequest, backend: StorageBackend) -> Iterator[StorageBackend]:
        """Give the backend, called in each of the ways to give it content."""
        with called(backend, request.param) as storage:
            yield storage

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield *size* bytes in chunks of 1 MiB."""
        while size > 0:
            yield PIECE[:size]
            size -= len(PIECE)

    def keys(self, storage: StorageBackend, prefix: str = "", *, after: str | None = None) -> list[str]:
        """Return the keys of a listing, sorted."""
        return sorted(stat.key for stat in storage.list(prefix, after=after))


@contextmanager
def called(backend: StorageBackend, way: str) -> Generator[StorageBackend]:
    """Give *backend* as one to be called sync: its *way* is "sync", "async" or "async content"."""
    if way == "sync":
        yield backend
        return
    with asyncio.Runner() as runner:
        yield _ThroughAsync(backend, runner, feeds=way == "async content")


class _ThroughAsync(WrappedBackend):
    """Calls the asynchronous twins of *backend*, on the event loop of *runner*.

    With *feeds* content comes from an asynchronous source.  For one thread, outside of any loop.
    """

    def __init__(self, backend: StorageBackend, runner: asyncio.Runner, *, feeds: bool) -> None:
        super().__init__(backend)
        self._runner = runner
        self._feeds = feeds

    def put(self, key: str, chunks: Iterable[bytes], **options: Unpack[PutOptions]) -> Stat:
        content = _feed(chunks) if self._feeds else chunks
        return self._runner.run(self.backend.put_async(key, content, **options))

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        return self._each(self._runner.run(self.backend.get_async(key, start=start, length=length)))

    def stat(self, key: str) -> Stat:
        return self._runner.run(self.backend.stat_async(key))

    def delete(self, keys: Iterable[str]) -> None:
        self._runner.run(self.backend.delete_async(keys))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        return self._each(self._runner.run(self.backend.list_async(prefix, after=after)))

    def exists(self, key: str) -> bool:
        return self._runner.run(self.backend.exists_async(key))

    def get_bytes(self, key: str) -> bytes:
        return self._runner.run(self.backend.get_bytes_async(key))

    def copy(self, source: str, target: str) -> Stat:
        return self._runner.run(self.backend.copy_async(source, target))

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        return self._runner.run(self.backend.sign_async(key, expires_in=expires_in, method=method))

    def close(self) -> None:
        self._runner.run(self.backend.close_async())

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        while (item := self._runner.run(_next(items))) is not None:
            yield item


async def _feed(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


def whole(chunks: Iterator[bytes]) -> bytes:
    """Return the content of *chunks*, each of which must be `bytes`."""
    read = [*chunks]
    assert all(type(chunk) is bytes for chunk in read)
    return b"".join(read)


def failing(items: Iterator[T], error: BaseException) -> Iterator[T]:
    """Yield *items*, then raise *error*."""
    yield from items
    raise error


def in_threads(count: int, call: Callable[[int], T], *, limit: float = 30) -> list[T]:
    """Return what *call* makes of 0 to *count* - 1, each in a thread; TimeoutError after *limit* seconds.

    The threads are daemons: an executor waits for ever, also at the end of the tests, for a call
    that never ends.
    """
    outcomes: SimpleQueue[T | BaseException] = SimpleQueue()

    def run(number: int) -> None:
        try:
            outcomes.put(call(number))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            outcomes.put(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    if waiting := sum(thread.is_alive() for thread in threads):
        raise TimeoutError(f"{waiting} of {count} threads got no answer within {limit:g} s")
    results: list[T] = []
    for _ in threads:
        outcome = outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
