"""Blocking calls off the event loop, with an end to every wait for a storage."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from collections.abc import (
    Set as AbstractSet,
)
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from queue import Full, Queue
from tempfile import TemporaryFile
from threading import Lock, get_ident, main_thread
from typing import Generic, TypeVar, cast

import anyio

from filecolumn._workers import InterpreterEndsError, Workers, running_loop, start
from filecolumn.errors import StorageError

__all__ = (
    "THREADS",
    "Lent",
    "Progress",
    "Pulled",
    "Pushed",
    "aclose",
    "aclosing",
    "close",
    "closing",
    "completed",
    "fed",
    "in_thread",
    "pull",
    "pull_opened",
    "read_in_thread",
    "settled",
    "stopped_in_thread",
    "watched",
)

T = TypeVar("T")

THREADS = 40
"""Calls at a time, of each kind below."""

SPOOLED_CHUNK = 1024 * 1024
"""Bytes read at a time of content that was put aside in a file."""

READ_AHEAD = 64 * 1024
"""Bytes that are read by the call which opens content: what has no more is read and closed by one call."""

LOOK = 1.0
"""Seconds after which a thread that waits for an event loop looks whether there still is one."""

# Whatever waits must not take the place of what it waits for.  The application's own calls, such as the flush of
# a sync session, wait for anything; a put waits for its content, which may be read from a storage; the other calls
# of storages wait for nothing
_applications = Workers(THREADS)
_puts = Workers(THREADS)
_calls = Workers(THREADS)


class _End:
    """Marks the end of an iterator that may yield anything."""


class _Broken:
    """Marks where an iterator raised."""


class Progress:
    """How long a call has waited for its storage; written by a worker thread, read by the event loop.

    The time in which the caller's content is read does not count.
    """

    __slots__ = ("_is_reading", "_moved_at", "has_begun")

    def __init__(self) -> None:
        self.has_begun: bool = False
        """Whether a thread was free for the call."""
        self._is_reading = False
        self._moved_at = time.monotonic()

    def begin(self) -> None:
        """Take note that the call begins."""
        self.has_begun = True
        self.move()

    def move(self) -> None:
        """Take note that the call goes on."""
        self._moved_at = time.monotonic()

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass *chunks* through."""
        iterator = iter(chunks)
        while not isinstance(chunk := self._read(iterator), _End):
            yield chunk

    async def watch_async(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Pass *chunks* through."""
        iterator = aiter(chunks)
        while not isinstance(chunk := await self._read_async(iterator), _End):
            yield chunk

    def idle(self) -> float:
        """Return the seconds since the storage got the last chunk; 0 while the next one is read."""
        return 0.0 if self._is_reading else time.monotonic() - self._moved_at

    def _read(self, iterator: Iterator[bytes]) -> bytes | _End:
        self._is_reading = True
        try:
            return next(iterator, _End())
        finally:
            self._end_reading()

    async def _read_async(self, iterator: AsyncIterator[bytes]) -> bytes | _End:
        self._is_reading = True
        try:
            return await anext(iterator, _End())
        finally:
            self._end_reading()

    def _end_reading(self) -> None:
        self._moved_at = time.monotonic()
        self._is_reading = False


async def in_thread(
    call: Callable[[], T],
    *,
    limit: float,
    doing: str,
    progress: Progress | None = None,
    puts: bool = False,
    unwanted: Callable[[T], object] | None = None,
) -> T:
    """Run *call*, which a storage answers, in a worker thread and return its result; StorageError as for `watched`.

    *puts* says that it reads content, and waits for that too.  A thread cannot be stopped: it is left to end by
    itself, after the limit and when the caller is cancelled; *unwanted* gets what it returns then.
    """
    seen = Progress() if progress is None else progress

    def begun() -> T:
        seen.begin()
        return call()

    work = (_puts if puts else _calls).call(begun, unwanted).future
    try:
        if await _stalls(work, limit, seen):
            raise _no_progress(doing, limit) if seen.has_begun else _no_thread(doing, limit)
        return work.result()
    finally:
        # its error has this frame, and would have itself by it
        del work


async def stopped_in_thread(
    call: Callable[[], T],
    stop: Callable[[], None],
    *,
    limit: float,
    settle_limit: float,
    doing: str,
    progress: Progress,
) -> T:
    """Run *call*, which puts content, as `in_thread` does; a cancellation goes on once it has come to rest.

    *stop* tells the call that its caller has been cancelled, or waits no more; a cancelled one waits *settle_limit*
    seconds at most.
    """

    def begun() -> T:
        progress.begin()
        return call()

    work = _puts.call(begun).future
    try:
        while not work.done() and (left := limit - progress.idle()) > 0:
            await asyncio.wait({work}, timeout=left)
        if not work.done():
            raise _no_progress(doing, limit) if progress.has_begun else _no_thread(doing, limit)
        return work.result()
    except asyncio.CancelledError:
        stop()
        if progress.has_begun:
            await settled({work}, settle_limit)
        raise
    finally:
        if not work.done():
            stop()
            work.cancel()
        # as in `in_thread`
        del work


async def watched(work: Awaitable[T], *, limit: float, doing: str, progress: Progress | None = None) -> T:
    """Return the result of *work*; StorageError when nothing has moved for *limit* seconds.

    *doing* completes "cannot ...", and names the storage and the key.
    """
    task = asyncio.ensure_future(work)
    try:
        if await _stalls(task, limit, Progress() if progress is None else progress):
            raise _no_progress(doing, limit)
        return task.result()
    finally:
        # as in `in_thread`
        del task


async def read_in_thread(call: Callable[[], T]) -> T:
    """Run *call*, which reads the caller's content, in a worker thread; it may take as long as it takes.

    It is left to end by itself when the caller is cancelled.
    """
    return await _puts.call(call).future


async def completed(call: Callable[[], T]) -> T:
    """Run *call*, of the application, in a worker thread; it is waited for also when the caller is cancelled."""
    work = _applications.call(call).future
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await settled({work}, None)
        raise
    finally:
        # as in `in_thread`
        del work


async def settled(tasks: AbstractSet[asyncio.Future[T]], limit: float | None) -> None:
    """Wait until *tasks* have ended, at most *limit* seconds; a cancellation does not end the wait."""
    end = None if limit is None else time.monotonic() + limit
    # a scope of anyio, as web frameworks have them, cancels again and again
    with anyio.CancelScope(shield=True):
        while running := [task for task in tasks if not task.done()]:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait(running, timeout=left)
            except asyncio.CancelledError:
                # the caller raises the first one when the wait is over
                continue
    for task in tasks:
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()


async def _stalls(task: asyncio.Future[T], limit: float, progress: Progress) -> bool:
    """Wait for *task*, and return whether nothing moved for *limit* seconds; then it is cancelled."""
    try:
        while not task.done() and (left := limit - progress.idle()) > 0:
            await asyncio.wait({task}, timeout=left)
        return not task.done()
    finally:
        if not task.done():
            task.cancel()


def _no_progress(doing: str, limit: float) -> StorageError:
    return StorageError(f"cannot {doing}: the storage made no progress for {limit:g} s")


def _no_thread(doing: str, limit: float) -> StorageError:
    return StorageError(
        f"cannot {doing}: no thread was free for {limit:g} s, because {THREADS} calls of storages have not ended"
    )


class Pushed:
    """Asynchronous chunks for a worker thread: each is awaited on the event loop that made this."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._loop = running_loop()
        self._thread = get_ident()
        self._iterator = aiter(chunks)
        self._step: asyncio.Task[object] | None = None
        self._is_stopped = False

    def __iter__(self) -> Iterator[bytes]:
        while not isinstance(chunk := self._next(), _End):
            yield chunk

    def stop(self) -> None:
        """Give no further chunk, and cancel the one that is awaited; called on the event loop."""
        self._is_stopped = True
        if self._step is not None:
            self._step.cancel()

    def _next(self) -> bytes | _End:
        if get_ident() == self._thread:
            raise StorageError(
                "asynchronous content cannot be stored any more: the interpreter is about to end and starts no threads"
            )
        step: Future[bytes | _End] = asyncio.run_coroutine_threadsafe(self._awaited(), self._loop)
        while not step.done():
            wait((step,), timeout=LOOK)
            if self._is_left():
                step.cancel()
        try:
            return step.result()
        except CancelledError as error:
            if self._is_left():
                raise StorageError("the content cannot be read: its event loop has ended") from error
            # raised by the content, or by `stop`, for which nobody waits any more
            raise asyncio.CancelledError from error

    def _is_left(self) -> bool:
        """Return whether the event loop will not go on: it is closed, or the interpreter is about to end without it."""
        return self._loop.is_closed() or not (self._loop.is_running() or main_thread().is_alive())

    async def _awaited(self) -> bytes | _End:
        if self._is_stopped:
            raise StorageError("the upload was cancelled")
        self._step = asyncio.current_task()
        try:
            return await anext(self._iterator, _End())
        finally:
            self._step = None


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

    try:
        consumed = start(partial(consume, received()))
    except InterpreterEndsError:
        return _spooled(chunks, consume)

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
        wait((consumed,))
        raise
    return consumed.result()


def _spooled(chunks: Iterable[bytes], consume: Callable[[Iterator[bytes]], T]) -> T:
    """Return what *consume* makes of *chunks*, all read before, where there is no thread to read them meanwhile."""
    with TemporaryFile() as spool:
        spool.writelines(chunks)
        spool.seek(0)
        return consume(iter(partial(spool.read, SPOOLED_CHUNK), b""))


def pull(items: Iterator[T], *, limit: float, doing: str) -> Pulled[T]:
    """Read blocking *items* on the event loop; each is awaited in a worker thread."""
    return Pulled(items, limit=limit, doing=doing)


async def pull_opened(opening: Callable[[], Iterator[bytes]], *, limit: float, doing: str) -> Pulled[bytes]:
    """Open blocking chunks and read them as `pull` does; those of small content come with the first call."""
    progress = Progress()
    begin = partial(_begin, opening, progress)
    ahead, rest = await in_thread(begin, limit=limit, doing=doing, progress=progress, unwanted=_close_rest)
    return Pulled(rest, limit=limit, doing=doing, ahead=ahead)


_Begun = tuple[list[bytes], Iterator[bytes] | None]
"""Chunks that were read, and those that are left, None if none are."""


def _begin(opening: Callable[[], Iterator[bytes]], progress: Progress) -> _Begun:
    chunks = opening()
    ahead: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            progress.begin()
            ahead.append(chunk)
            size += len(chunk)
            if size >= READ_AHEAD:
                return ahead, chunks
    except BaseException:
        _let_go(chunks)
        raise
    _let_go(chunks)
    return ahead, None


def _let_go(chunks: Iterator[bytes]) -> None:
    """Close chunks of which all was read, or that have failed: an error of that says nothing more."""
    with suppress(Exception):
        close(chunks)


def _close_rest(begun: _Begun) -> None:
    if begun[1] is not None:
        _let_go(begun[1])


class Pulled(AsyncIterator[T]):
    """Blocking items for an event loop; `aclose` closes what gives them, whatever a thread does with it just now.

    Those of *ahead*, which were read before, come first; *items* is None if there are no others.
    """

    def __init__(
        self, items: Iterator[T] | None, *, limit: float, doing: str, ahead: Iterable[T] = ()
    ) -> None:
        self._ahead = deque(ahead)
        self._steps = None if items is None else _Steps(items)
        self._limit = limit
        self._doing = doing

    async def __anext__(self) -> T:
        if self._ahead:
            return self._ahead.popleft()
        if self._steps is None:
            raise StopAsyncIteration
        try:
            item = await in_thread(self._steps.next, limit=self._limit, doing=self._doing)
        except BaseException:
            # cancelled, or given up: the thread closes the items when it has come back
            await self.aclose()
            raise
        if isinstance(item, _End):
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Read no more, and wait until the items are closed, at most as long as for one of them."""
        self._ahead.clear()
        if self._steps is not None:
            await self._steps.aclose(self._limit)


class Lent(Iterator[T]):
    """Blocking items, lent to a thread that reads them; after `aclose` it gets an error in place of the next one."""

    def __init__(self, items: Iterator[T], *, limit: float, doing: str) -> None:
        self._steps = _Steps(items)
        self._limit = limit
        self._doing = doing
        self._is_closed = False

    def __next__(self) -> T:
        item = self._steps.next()
        if not isinstance(item, _End):
            return item
        if self._is_closed:
            # the end would make what there was the whole
            raise StorageError(f"cannot {self._doing}: nobody waits for it any more")
        raise StopIteration

    async def aclose(self) -> None:
        """Close the items as `Pulled.aclose` does; a thread that reads one just now closes them behind it."""
        self._is_closed = True
        await self._steps.aclose(self._limit)


class _Steps(Generic[T]):
    """Items of which each is taken in a thread; whoever is the last to use them closes them."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._lock = Lock()
        self._is_running = False
        self._is_left = False

    def next(self) -> T | _End:
        """Return the next item; the items are closed behind the last one, and when nobody wants another."""
        with self._lock:
            if self._is_left:
                return _End()
            self._is_running = True
        is_over = True
        try:
            item = next(self._items, _End())
            is_over = isinstance(item, _End)
            return item
        finally:
            with self._lock:
                self._is_running = False
                # another thread may have left it meanwhile
                self._is_left |= is_over
                is_closing = self._is_left
            if is_closing:
                self.close()

    def leave(self) -> bool:
        """Want no further item; return whether the items have to be closed by the caller."""
        with self._lock:
            is_first = not self._is_left
            self._is_left = True
            return is_first and not self._is_running

    async def aclose(self, limit: float) -> None:
        """Leave the items, and wait at most *limit* seconds until a thread has closed them."""
        if self.leave():
            closed = asyncio.wrap_future(_calls.submit(self.close))
            # a cancellation ends the wait, and not what is waited for
            await asyncio.wait({closed}, timeout=limit)

    def close(self) -> None:
        """Close the items; what a storage says to that helps nobody any more."""
        with suppress(Exception):
            close(self._items)


def close(items: Iterator[object]) -> None:
    """Close what gives *items*, if it can be closed: a generator, or chunks of a file."""
    closing: object = getattr(items, "close", None)
    if callable(closing):
        closing()


async def aclose(items: AsyncIterator[object] | Lent[bytes]) -> None:
    """Close what gives *items*, as `close` does; also for a caller that is cancelled."""
    closing = getattr(items, "aclose", None)
    if closing is not None:
        with anyio.CancelScope(shield=True):
            await cast("Callable[[], Awaitable[None]]", closing)()


def closing(items: Iterator[T]) -> AbstractContextManager[Iterator[T]]:
    """Close *items* at the end of the block, however it ends."""
    return _Closing(items)


class _Closing(AbstractContextManager[Iterator[T]]):
    """A class: a generator would take longer than the rest of a small read."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items

    def __enter__(self) -> Iterator[T]:
        return self._items

    def __exit__(self, *error: object) -> None:
        close(self._items)


@asynccontextmanager
async def aclosing(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close *items* at the end of the block, however it ends."""
    try:
        yield items
    finally:
        await aclose(items)
