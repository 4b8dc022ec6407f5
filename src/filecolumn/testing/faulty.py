"""`FaultyBackend`: a backend that fails by a schedule, so that a test of a failure repeats exactly."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.errors import StorageError
from filecolumn.testing.wrapping import Operation, Passage, WrappedBackend

__all__ = ("Fault", "FaultKind", "FaultyBackend")

FaultKind = Literal["fail_before", "fail_inside", "fail_after", "hang", "short", "corrupt", "stale"]
"""What goes wrong, see `Fault`."""


def _refusal() -> Exception:
    return StorageError("a scheduled fault: the storage failed")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and when.

    `fail_before`: the call raises and has no effect.  `fail_after`: it has its effect, then raises.
    `fail_inside`: a put raises in the middle, when it has taken *chunks* of the content, and has no
    effect; a get gives *chunks*, then raises.  Content that has fewer fails at its end.
    `hang`: it waits for `FaultyBackend.let_go`, at most *seconds*, and fails as `fail_before`.
    `short`: of the content only half of the first chunk passes.  `corrupt`: one bit of it is another.
    `stale`: a list shows what was there when the fault was scheduled.
    """

    operation: Operation
    """The call that is hit, sync or async."""
    kind: FaultKind
    """What goes wrong."""
    call: int = 1
    """The first call that is hit, counted from when the fault was scheduled; 1 is the next."""
    times: int | None = 1
    """How many calls are hit; None is every one from then on."""
    error: Callable[[], BaseException] = _refusal
    """Makes what is raised."""
    seconds: float = 30.0
    """The longest wait of `hang`."""
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
    """A backend with *faults*; without any it is the one that it wraps.

    The first scheduled fault that hits a call decides.
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
        """Forget every fault: all calls work from now on, and those that hang fail."""
        with self._lock:
            self._schedule.clear()
        self.let_go()

    def let_go(self) -> None:
        """End the wait of every call that hangs, and of those to come."""
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
