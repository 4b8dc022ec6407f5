"""Backends around a backend: `WrappedBackend` passes calls on, `SlowBackend` takes its time, `FaultyBackend` fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal, Unpack, get_args

from filecolumn._threads import aclose, close
from filecolumn.backends.base import Capabilities, PutOptions, SignMethod, Stat, StorageBackend
from filecolumn.errors import StorageError

__all__ = (
    "Fault",
    "FaultKind",
    "FaultyBackend",
    "Operation",
    "Passage",
    "SlowBackend",
    "WrappedBackend",
)

Operation = Literal["put", "get", "stat", "delete", "list", "copy", "sign"]
"""The name of a method of a backend; its asynchronous twin counts as the same."""


class Passage:
    """What a wrapper does around one call; this class does nothing."""

    def before(self) -> None:
        """Run before the call is passed on; what it raises, the caller gets."""

    async def before_async(self) -> None:
        """Call `before` asynchronously."""
        self.before()

    def after(self) -> None:
        """Run after the call had its effect; what it raises, the caller gets."""

    def alter(self, chunk: bytes) -> bytes:
        """Return the chunk that is passed on instead of *chunk*, in a `put` or a `get`."""
        return chunk

    def passed(self) -> None:
        """Run after a chunk was passed on; what it raises counts as an error of the storage."""

    def ended(self) -> None:
        """Run after all content was passed on; what it raises counts as an error of the storage."""


class WrappedBackend(StorageBackend):
    """Passes every call on to *backend*, sync to sync and async to async, and counts it.

    Subclass it and override `passage`, or any call.
    """

    def __init__(self, backend: StorageBackend) -> None:
        super().__init__(
            backend.key,
            timeout=backend.timeout,
            total_timeout=backend.total_timeout,
            max_retries=backend.max_retries,
            concurrency=backend.concurrency,
        )
        self.backend = backend
        self.capabilities: Capabilities = backend.capabilities
        self.protocol: str = backend.protocol
        self.calls: Counter[Operation] = Counter()
        """How often each operation was begun, whichever twin."""
        self._lock = Lock()

    @property
    def location(self) -> str:
        return self.backend.location

    def passage(self, operation: Operation, number: int) -> Passage:
        """Return the `Passage` for the call of *operation* with this *number*, counted from 1."""
        return Passage()

    def put(self, key: str, chunks: Iterable[bytes], **options: Unpack[PutOptions]) -> Stat:
        with self._passed("put") as passage:
            return self.backend.put(key, _altered(chunks, passage), **options)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._passed("get") as passage:
            return _AlteredChunks(self.backend.get(key, start=start, length=length), passage)

    def stat(self, key: str) -> Stat:
        with self._passed("stat"):
            return self.backend.stat(key)

    def delete(self, keys: Iterable[str]) -> None:
        with self._passed("delete"):
            self.backend.delete(keys)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        with self._passed("list"):
            return self.backend.list(prefix, after=after)

    def list_unfinished(self) -> Iterator[Stat]:
        with self._passed("list"):
            return self.backend.list_unfinished()

    def delete_unfinished(self, keys: Iterable[str]) -> None:
        with self._passed("delete"):
            self.backend.delete_unfinished(keys)

    def copy(self, source: str, target: str) -> Stat:
        with self._passed("copy"):
            return self.backend.copy(source, target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        with self._passed("sign"):
            return self.backend.sign(key, expires_in=expires_in, method=method)

    def close(self) -> None:
        self.backend.close()

    async def put_async(
        self, key: str, chunks: Iterable[bytes] | AsyncIterable[bytes], **options: Unpack[PutOptions]
    ) -> Stat:
        async with self._passed_async("put") as passage:
            if isinstance(chunks, AsyncIterable):
                return await self.backend.put_async(key, _altered_async(chunks, passage), **options)
            return await self.backend.put_async(key, _altered(chunks, passage), **options)

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        async with self._passed_async("get") as passage:
            return _AlteredAsyncChunks(await self.backend.get_async(key, start=start, length=length), passage)

    async def stat_async(self, key: str) -> Stat:
        async with self._passed_async("stat"):
            return await self.backend.stat_async(key)

    async def delete_async(self, keys: Iterable[str]) -> None:
        async with self._passed_async("delete"):
            await self.backend.delete_async(keys)

    async def list_async(self, prefix: str = "", *, after: str | None = None) -> AsyncIterator[Stat]:
        async with self._passed_async("list"):
            return await self.backend.list_async(prefix, after=after)

    async def copy_async(self, source: str, target: str) -> Stat:
        async with self._passed_async("copy"):
            return await self.backend.copy_async(source, target)

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        async with self._passed_async("sign"):
            return await self.backend.sign_async(key, expires_in=expires_in, method=method)

    async def close_async(self) -> None:
        await self.backend.close_async()

    def _begun(self, operation: Operation) -> Passage:
        with self._lock:
            self.calls[operation] += 1
            return self.passage(operation, self.calls[operation])

    @contextmanager
    def _passed(self, operation: Operation) -> Generator[Passage]:
        passage = self._begun(operation)
        passage.before()
        yield passage
        passage.after()

    @asynccontextmanager
    async def _passed_async(self, operation: Operation) -> AsyncGenerator[Passage]:
        passage = self._begun(operation)
        await passage.before_async()
        yield passage
        passage.after()


def _altered(chunks: Iterable[bytes], passage: Passage) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            yield passage.alter(chunk)
            passage.passed()
        passage.ended()
    finally:
        if isinstance(chunks, Iterator):
            close(chunks)


async def _altered_async(chunks: AsyncIterable[bytes], passage: Passage) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield passage.alter(chunk)
            passage.passed()
        passage.ended()
    finally:
        if isinstance(chunks, AsyncIterator):
            await aclose(chunks)


class _AlteredChunks(Iterator[bytes]):
    """Chunks that are altered; `close` closes what gives them also before the first one, unlike a generator's."""

    def __init__(self, chunks: Iterator[bytes], passage: Passage) -> None:
        self._chunks = chunks
        self._altered = _altered(chunks, passage)

    def __next__(self) -> bytes:
        return next(self._altered)

    def close(self) -> None:
        close(self._altered)
        close(self._chunks)


class _AlteredAsyncChunks(AsyncIterator[bytes]):
    """Chunks that are altered; `aclose` closes what gives them also before the first one, unlike a generator's."""

    def __init__(self, chunks: AsyncIterator[bytes], passage: Passage) -> None:
        self._chunks = chunks
        self._altered = _altered_async(chunks, passage)

    async def __anext__(self) -> bytes:
        return await anext(self._altered)

    async def aclose(self) -> None:
        await aclose(self._altered)
        await aclose(self._chunks)


class SlowBackend(WrappedBackend):
    """A backend that waits for *latency* seconds before each call, as a distant storage does."""

    def __init__(self, backend: StorageBackend, latency: float) -> None:
        super().__init__(backend)
        self.latency = latency

    def passage(self, operation: Operation, number: int) -> Passage:
        return _Wait(self.latency)


class _Wait(Passage):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def before(self) -> None:
        time.sleep(self._seconds)

    async def before_async(self) -> None:
        await asyncio.sleep(self._seconds)


FaultKind = Literal["fail_before", "fail_inside", "fail_after", "hang", "short", "corrupt", "stale"]
"""What goes wrong, see `Fault`."""


def _refusal() -> Exception:
    return StorageError("a scheduled fault: the storage failed")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a storage: which call it hits, and what goes wrong.

    `Fault("put", "fail_after", call=2)` lets the second `put` raise after it has stored the content.  The kinds are
    in the table below.  Raises ValueError for an unknown operation or kind.
    """

    operation: Operation
    """The call that is hit, sync or async."""
    kind: FaultKind
    """What goes wrong."""
    call: int = 1
    """The first call that is hit, counted from when the fault was scheduled; 1 is the next."""
    times: int | None = 1
    """How many calls are hit; None for every call from the first one on."""
    error: Callable[[], BaseException] = _refusal
    """A function that makes the error to raise."""
    seconds: float = 30.0
    """Seconds that `hang` waits at most."""
    chunks: int = 1
    """How many chunks pass before `fail_inside`."""

    def __post_init__(self) -> None:
        """Refuse what can never happen, with ValueError."""
        for what, given, known in (
            ("operation", self.operation, get_args(Operation)),
            ("kind of fault", self.kind, get_args(FaultKind)),
        ):
            if given not in known:
                raise ValueError(f"there is no {what} {given!r}; there are {', '.join(known)}")
        allowed = {"stale": ("list",), **dict.fromkeys(("fail_inside", "short", "corrupt"), ("put", "get"))}
        if self.operation not in allowed.get(self.kind, (self.operation,)):
            raise ValueError(f"{self.operation!r} cannot be {self.kind!r}")
        if self.call < 1 or (self.times is not None and self.times < 1):
            raise ValueError("calls are counted from 1, and a fault hits at least one")
        if self.chunks < 1:
            raise ValueError("a call that fails inside passes at least one chunk; else it fails before")


@dataclass(frozen=True, slots=True)
class _Scheduled:
    fault: Fault
    before: int
    """Calls of the operation that had begun when it was scheduled."""
    listing: Sequence[Stat] = ()

    def hits(self, operation: Operation, number: int) -> bool:
        first = self.before + self.fault.call
        last = None if self.fault.times is None else first + self.fault.times - 1
        return operation == self.fault.operation and first <= number and (last is None or number <= last)


class FaultyBackend(WrappedBackend):
    """A backend that fails as its *faults* say; without faults it works as the backend that it wraps.

    If several faults hit a call, the one that was scheduled first counts.
    """

    def __init__(self, backend: StorageBackend, *faults: Fault) -> None:
        super().__init__(backend)
        self._schedule: list[_Scheduled] = []
        self._released = threading.Event()
        self.schedule(*faults)

    def schedule(self, *faults: Fault) -> None:
        """Add *faults*, which count calls from now on; `stale` ones list the storage now."""
        for fault in faults:
            listing = [*self.backend.list()] if fault.kind == "stale" else ()
            with self._lock:
                self._schedule.append(_Scheduled(fault, self.calls[fault.operation], listing))

    def clear(self) -> None:
        """Remove all faults: new calls work, and calls that hang fail."""
        with self._lock:
            self._schedule.clear()
        self.let_go()

    def let_go(self) -> None:
        """End the wait of every call that hangs now or later; each then raises."""
        self._released.set()

    def passage(self, operation: Operation, number: int) -> Passage:
        for scheduled in self._schedule:
            if scheduled.hits(operation, number):
                return _Faulty(scheduled, self._released)
        return Passage()

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        with self._passed("list") as passage:
            if isinstance(passage, _Faulty) and passage.fault.kind == "stale":
                return iter(passage.listed(prefix, after))
            return self.backend.list(prefix, after=after)

    async def list_async(self, prefix: str = "", *, after: str | None = None) -> AsyncIterator[Stat]:
        async with self._passed_async("list") as passage:
            if isinstance(passage, _Faulty) and passage.fault.kind == "stale":
                return _each(passage.listed(prefix, after))
            return await self.backend.list_async(prefix, after=after)


class _Faulty(Passage):
    """The passage of a call that a fault hits."""

    def __init__(self, scheduled: _Scheduled, released: threading.Event) -> None:
        self.fault = scheduled.fault
        self._listing = scheduled.listing
        self._released = released
        self._altered = False
        self._chunks = 0

    def before(self) -> None:
        if self.fault.kind == "hang":
            self._released.wait(self.fault.seconds)
        self._fail_if("fail_before", "hang")

    async def before_async(self) -> None:
        if self.fault.kind == "hang":
            end = time.monotonic() + self.fault.seconds
            # an event of threads, since any of them may let go
            while not self._released.is_set() and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        self._fail_if("fail_before", "hang")

    def after(self) -> None:
        self._fail_if("fail_after")

    def passed(self) -> None:
        self._chunks += 1
        if self._chunks >= self.fault.chunks:
            self._fail_if("fail_inside")

    def ended(self) -> None:
        self._fail_if("fail_inside")

    def alter(self, chunk: bytes) -> bytes:
        if self.fault.kind == "short":
            kept = b"" if self._altered else chunk[: len(chunk) // 2]
            self._altered = True
            return kept
        if self.fault.kind == "corrupt" and chunk and not self._altered:
            self._altered = True
            return bytes([chunk[0] ^ 1]) + chunk[1:]
        return chunk

    def listed(self, prefix: str, after: str | None) -> Sequence[Stat]:
        folder = f"{prefix.strip('/')}/" if prefix else ""
        return [
            stat
            for stat in self._listing
            if stat.key.startswith(folder) and (after is None or stat.key > after)
        ]

    def _fail_if(self, *kinds: FaultKind) -> None:
        if self.fault.kind in kinds:
            raise self.fault.error()


async def _each(stats: Sequence[Stat]) -> AsyncIterator[Stat]:
    for stat in stats:
        yield stat
