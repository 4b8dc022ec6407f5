"""Blocking calls off the event loop, with an end to every wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Full, Queue
from types import GeneratorType
from typing import ClassVar, TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, from_thread, to_thread

from filecolumn.errors import StorageError

__all__ = ("Progress", "fed", "in_thread", "pull", "pushed", "watched")

T = TypeVar("T")

THREADS = 40
"""Calls of storages that one event loop waits for at a time; anyio's own number."""


class Progress:
    """When a transfer last moved; written by a worker thread, read by the event loop."""

    __slots__ = ("_moved_at",)

    def __init__(self) -> None:
        self._moved_at = time.monotonic()

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass *chunks* through."""
        for chunk in chunks:
            self._moved_at = time.monotonic()
            yield chunk

    async def watch_async(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Pass *chunks* through."""
        async for chunk in chunks:
            self._moved_at = time.monotonic()
            yield chunk

    def idle(self) -> float:
        """Return the seconds since the last chunk."""
        return time.monotonic() - self._moved_at


class Threads:
    """The worker threads of one event loop, apart from those that the application uses."""

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Threads]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.leaves: CapacityLimiter = CapacityLimiter(THREADS)
        # A thread that waits for content of the event loop must not take the place of one that
        # this content needs: a copy between two storages would wait for itself
        self.waiting: CapacityLimiter = CapacityLimiter(THREADS)

    @classmethod
    def of_running_loop(cls) -> Threads:
        """Return those of the running loop."""
        loop = asyncio.get_running_loop()
        threads = cls._of_loops.get(loop)
        if threads is None:
            threads = cls._of_loops[loop] = cls()
        return threads


async def in_thread(
    call: Callable[[], T], *, limit: float, progress: Progress | None = None, waits: bool = False
) -> T:
    """Run *call* in a worker thread and return its result; StorageError as for `watched`.

    *waits* says that the call itself waits for the event loop (see `pushed`).  A thread cannot be
    stopped: it is left to end by itself, after the limit and when the caller is cancelled.
    """
    threads = Threads.of_running_loop()
    limiter = threads.waiting if waits else threads.leaves
    work = to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
    return await watched(work, limit=limit, progress=progress)


async def watched(work: Coroutine[object, object, T], *, limit: float, progress: Progress | None = None) -> T:
    """Return the result of *work*; StorageError when nothing has moved for *limit* seconds."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            wait = limit if progress is None else max(limit - progress.idle(), 0.01)
            await asyncio.wait({task}, timeout=wait)
            if not task.done() and (progress is None or progress.idle() >= limit):
                raise StorageError(f"the storage made no progress for {limit:g} s")
    finally:
        if not task.done():
            task.cancel()
    return task.result()


class _End:
    """Marks the end of an iterator that may yield anything."""


class _Broken:
    """Marks where an iterator raised."""


def pushed(chunks: AsyncIterable[bytes]) -> Iterator[bytes]:
    """Read asynchronous *chunks* from a worker thread; each is awaited on the event loop."""
    iterator = aiter(chunks)

    async def step() -> bytes | _End:
        return await anext(iterator, _End())

    while not isinstance(chunk := from_thread.run(step), _End):
        yield chunk


def fed(chunks: Iterable[bytes], consume: Callable[[Iterator[bytes]], T]) -> T:
    """Return what *consume* makes of *chunks*: it runs in a thread, and they are read in this one.

    For a consumer in which the chunks must not be made: obstore panics when content that it is
    sending comes from obstore.
    """
    queue: Queue[bytes | _End | _Broken] = Queue(maxsize=2)

    def received() -> Iterator[bytes]:
        while not isinstance(item := queue.get(), _End):
            if isinstance(item, _Broken):
                raise StorageError("the content could not be read")
            yield item

    with ThreadPoolExecutor(1, thread_name_prefix="filecolumn") as pool:
        consumed = pool.submit(consume, received())

        def give(item: bytes | _End | _Broken) -> None:
            while not consumed.done():
                with suppress(Full):
                    queue.put(item, timeout=0.1)
                    return

        try:
            for chunk in chunks:
                give(chunk)
                if consumed.done():
                    break
            give(_End())
        except BaseException:
            give(_Broken())
            raise
        return consumed.result()


async def pull(items: Iterator[T], *, limit: float) -> AsyncIterator[T]:
    """Read blocking *items* on the event loop; each is awaited in a worker thread."""

    def step() -> T | _End:
        return next(items, _End())

    try:
        while not isinstance(item := await in_thread(step, limit=limit), _End):
            yield item
    finally:
        await in_thread(partial(_close, items), limit=limit)


def _close(items: Iterator[T]) -> None:
    # A generator in an abandoned step is still running: it is closed when that step has ended
    if isinstance(items, GeneratorType) and not items.gi_running:
        items.close()
