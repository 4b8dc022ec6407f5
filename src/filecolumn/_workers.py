"""Worker threads that end with the process, and never keep it from ending.

The executors of `concurrent.futures` take no work once the main thread has ended, and the threads of
anyio keep a process alive whose event loop was stopped by Ctrl-C.  These are daemons: they work as long
as the interpreter does, in `atexit` too, and an interpreter that ends waits a moment for what they do.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import count
from threading import Lock, Thread, main_thread
from typing import Generic, TypeVar
from weakref import WeakSet

from filecolumn.errors import NotSupportedError

__all__ = (
    "InterpreterEndsError",
    "LoopCall",
    "Workers",
    "running_loop",
    "start",
)

T = TypeVar("T")

IDLE = 10.0
"""Seconds after which a thread without work ends."""

LEAVE = 2.0
"""Seconds that an interpreter which ends waits for calls that have begun.

One that returns to a thread while the interpreter goes down ends the process with a crash, if the call is to
code in Rust.
"""

Told = Callable[[], object]
"""Tells whoever waits for a job of its result; quick, and raises nothing."""

Job = Callable[[], Told]
"""Work for a thread; raises nothing."""

Line = Callable[[], Job | None]
"""Gives a thread that has done a job the one that waits for its turn; None if there is none."""


class _Thread:
    """A daemon thread for one job after another."""

    _number = count(1)

    def __init__(self, job: Job, line: Line) -> None:
        self._job: Job | None = job
        self._line = line
        self._turn = Lock()
        self._turn.acquire()
        _busy.add(self)
        try:
            self._start()
        except RuntimeError:
            _busy.discard(self)
            raise

    def _start(self) -> None:
        Thread(target=self._run, name=f"filecolumn-{next(self._number)}", daemon=True).start()

    def give(self, job: Job, line: Line) -> None:
        """Let it go on with *job*; only for one that was idle."""
        self._job, self._line = job, line
        _busy.add(self)
        self._turn.release()

    def _run(self) -> None:
        # of what it has done it keeps nothing: an error has this frame, and would have itself by it
        while (job := self._job) is not None:
            self._job = None
            while job is not None:
                told = job()
                job = self._line()
                if job is None:
                    _busy.discard(self)
                    # before the result is told, so that whoever waits for it finds this thread for what comes next
                    _idle.append(self)
                told()
                del told
            self._wait()

    def _wait(self) -> None:
        if not self._turn.acquire(timeout=IDLE):
            try:
                _idle.remove(self)
            except ValueError:
                # taken in this moment, by somebody who is about to give it a job
                self._turn.acquire()


_idle: list[_Thread] = []
_busy: set[_Thread] = set()


class InterpreterEndsError(RuntimeError):
    """No thread is idle, and the interpreter is about to end and starts no more."""


def _give(job: Job, line: Line) -> None:
    """Run *job* in a thread that is idle, or in a new one; RuntimeError if none can be started."""
    try:
        # the last one, so that those that are not needed end
        idle = _idle.pop()
    except IndexError:
        try:
            _Thread(job, line)
        except RuntimeError as error:
            if main_thread().is_alive():
                raise
            raise InterpreterEndsError(str(error)) from error
    else:
        idle.give(job, line)


def start(call: Callable[[], T]) -> Future[T]:
    """Run *call* in a thread; InterpreterEndsError where none can be started any more, as late in `atexit`."""
    future: Future[T] = Future()
    _give(partial(_run, call, future), _no_line)
    return future


class LoopCall(Generic[T]):
    """A blocking call in a thread, for which an event loop waits."""

    __slots__ = ("_call", "_context", "_loop", "_unwanted", "future")

    def __init__(
        self,
        call: Callable[[], T],
        loop: asyncio.AbstractEventLoop,
        unwanted: Callable[[T], object] | None = None,
    ) -> None:
        self._call = call
        self._unwanted = unwanted
        self._context = copy_context()
        self._loop = loop
        self.future: asyncio.Future[T] = loop.create_future()
        """Its result; cancelled, it gives the call up: a thread cannot be stopped, and ends by itself."""

    def run(self) -> Told:
        """Call, unless it was given up, and return what tells the loop; for the thread."""
        if self.future.cancelled():
            return _nothing
        try:
            result = self._context.run(self._call)
            return partial(self._tell, partial(self.future.set_result, result), partial(self._drop, result))
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
            return partial(self._tell, partial(self.future.set_exception, _holdable(error)), _nothing)
        finally:
            # the error has this frame, which is not to have the error
            del self

    def _tell(self, settle: Callable[[], None], drop: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, settle, drop)
        except RuntimeError:
            # the loop is closed: nobody waits any more
            drop()

    def _settle(self, settle: Callable[[], None], drop: Callable[[], None]) -> None:
        if not self.future.done():
            settle()
        elif self._unwanted is not None:
            with suppress(RuntimeError):
                # raised by a system that starts no more threads
                start(drop)

    def _drop(self, result: T) -> None:
        if self._unwanted is not None:
            self._unwanted(result)


def _holdable(error: BaseException) -> BaseException:
    """Return what a future of asyncio can hold: not StopIteration, which coroutines end with."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("a blocking call raised StopIteration")
    failure.__cause__ = error
    return failure


class Workers:
    """Runs calls in threads, at most *most* at a time; the others wait for their turn.

    A call that was given up counts until its thread has ended it, so that a storage that hangs does not take
    threads without limit.
    """

    def __init__(self, most: int) -> None:
        self.most: int = most
        self.reset()
        _all.add(self)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run *call* in a thread; the future's `cancel` takes it out of the line."""
        future: Future[T] = Future()
        self._add(partial(_run, call, future))
        return future

    def call(self, call: Callable[[], T], unwanted: Callable[[T], object] | None = None) -> LoopCall[T]:
        """Run *call* in a thread, for the running event loop, with the caller's context variables.

        *unwanted* gets its result, in a thread too, when nobody waits for it any more; it raises nothing.
        """
        called = LoopCall(call, running_loop(), unwanted)
        self._add(called.run)
        return called

    def reset(self) -> None:
        """Forget what runs and what waits: all threads are free."""
        self._lock = Lock()
        self._free = self.most
        self._line: deque[Job] = deque()

    def _add(self, job: Job) -> None:
        # held while a thread starts: a call that lines up meanwhile would wait for ever if it does not
        with self._lock:
            if not self._free:
                self._line.append(job)
                return
            try:
                _give(job, self._next)
                is_given = True
            except InterpreterEndsError:
                is_given = False
            self._free -= 1
        if not is_given:
            self._run_here(job)

    def _run_here(self, job: Job) -> None:
        following: Job | None = job
        while following is not None:
            following()()
            following = self._next()

    def _next(self) -> Job | None:
        with self._lock:
            if self._line:
                return self._line.popleft()
            self._free += 1
            return None


_all: WeakSet[Workers] = WeakSet()


def _run(call: Callable[[], T], future: Future[T]) -> Told:
    if not future.set_running_or_notify_cancel():
        return _nothing
    try:
        return partial(future.set_result, call())
    except BaseException as error:  # noqa: BLE001 - it is raised where the future is waited for
        return partial(future.set_exception, error)
    finally:
        # the error has this frame, which is not to have the error
        del call, future


def _nothing() -> None:
    """Tell nobody."""


def _no_line() -> None:
    """Let nobody wait for a turn."""


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of the caller; NotSupportedError if it is not one of asyncio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise NotSupportedError(
            "the asynchronous calls of filecolumn need a running event loop of asyncio; under trio run the "
            "synchronous ones in a thread: await trio.to_thread.run_sync(file.save)"
        ) from error


def _forget_threads() -> None:
    """In a child that was forked: it has none of its parent's threads."""
    _idle.clear()
    _busy.clear()
    for workers in list(_all):
        workers.reset()


@atexit.register
def _leave() -> None:
    end = time.monotonic() + LEAVE
    while _busy and time.monotonic() < end:
        time.sleep(0.01)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
