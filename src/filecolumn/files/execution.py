"""Runs transfers: directly in a sync session, awaited in an async one.

SQLAlchemy runs the hooks of an `AsyncSession` in a greenlet, from which a coroutine can be
awaited in the caller's own task: nothing runs in the background, and cancellation and errors
arrive where the caller is.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from functools import partial
from threading import BoundedSemaphore
from typing import TypeVar

from sqlalchemy.util import concurrency

from filecolumn._threads import in_thread, settled
from filecolumn._workers import Workers
from filecolumn.backends.base import StorageBackend
from filecolumn.errors import FileColumnError, StorageError
from filecolumn.files.facts import FileFacts
from filecolumn.files.steps import Steps, run, run_async
from filecolumn.files.taking import Take, take
from filecolumn.files.transfer import (
    CLEANUP_LIMIT,
    Copy,
    Inspect,
    Operation,
    Put,
    PutGroup,
    copy,
    grouped,
    inspect,
    put,
    put_async,
)
from filecolumn.redaction import reason_of

__all__ = (
    "Done",
    "asked",
    "blocking",
    "delete",
    "in_async",
    "pause",
    "transfer",
)

try:
    from greenlet import getcurrent
except ImportError:
    # SQLAlchemy needs greenlet for async sessions only

    def in_async() -> bool:
        """Return whether the session that called is one of an event loop."""
        return False
else:

    def in_async() -> bool:
        """Return whether the session that called is one of an event loop."""
        return getattr(getcurrent(), "__sqlalchemy_greenlet_provider__", False)


Done = Callable[[Operation, FileFacts], None]
"""Told of each transfer when it is complete, in the session's own thread or task."""

Deletions = Mapping[StorageBackend, Sequence[str]]
"""The keys to delete, by storage."""

Refusals = Mapping[StorageBackend, FileColumnError]
"""Why objects may still be there, by storage."""

T = TypeVar("T")


def transfer(ops: Sequence[Operation], done: Done) -> None:
    """Carry out *ops*, several at a time; the first error is raised when all have come to rest."""
    if not ops:
        return
    if in_async():
        _await(_transfer_async(ops, done))
    else:
        _transfer(ops, done)


def delete(deletions: Deletions, *, limit: float = CLEANUP_LIMIT) -> Refusals:
    """Delete objects, and return the errors of the storages that refused.

    An event loop waits for *limit* seconds, and a moment for what is under way.
    """
    if not deletions:
        return {}
    if in_async():
        return _await(_delete_async(deletions, limit))
    refusals: dict[StorageBackend, FileColumnError] = {}
    for backend, keys in deletions.items():
        try:
            backend.delete(keys)
        except Exception as error:  # noqa: BLE001 - see `_refusal`
            refusals[backend] = _refusal(backend, error)
    return refusals


def blocking(call: Callable[[], T], *, limit: float, doing: str) -> T:
    """Return the result of a blocking call, which an event loop awaits in a worker thread.

    There StorageError is raised after *limit* seconds, in which *doing* completes "cannot ..."; a sync call
    lasts as long as it lasts.
    """
    return _await(in_thread(call, limit=limit, doing=doing)) if in_async() else call()


def asked(backend: StorageBackend, call: Callable[[], T], doing: str) -> T:
    """Call `blocking` for a call of a storage, as long as it may take."""
    return blocking(call, limit=backend.total_timeout, doing=f"{doing} in storage {backend.key!r}")


def pause(seconds: float) -> None:
    """Wait."""
    if in_async():
        _await(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def _await(coroutine: Coroutine[object, object, T]) -> T:
    # named await_ since SQLAlchemy 2.1
    run: Callable[[Coroutine[object, object, T]], T] = getattr(concurrency, "await_", concurrency.await_only)
    return run(coroutine)


def _perform(op: Operation) -> FileFacts:
    return put(op) if isinstance(op, Put) else run(_steps(op))


async def _perform_async(op: Operation) -> FileFacts:
    return await (put_async(op) if isinstance(op, Put) else run_async(_steps(op)))


def _steps(op: Copy | Inspect) -> Steps[FileFacts]:
    match op:
        case Take():
            return take(op)
        case Copy():
            return copy(op)
        case Inspect():
            return inspect(op)


def _transfer(ops: Sequence[Operation], done: Done) -> None:
    """Bytes, paths and what is stored go to threads; a caller's own iterators and files are read in its own.

    So is small content for a storage on this machine: a thread would cost more than the put.
    """
    if len(ops) == 1:
        done(ops[0], _perform(ops[0]))
        return
    groups, singles = grouped(ops)
    for group in groups:
        _put_group(group, done)
    apart = [op for op in singles if _is_for_a_thread(op)]
    if len(apart) > 1:
        _transfer_apart(apart, [op for op in singles if op not in apart], done)
        return
    for op in singles:
        done(op, _perform(op))


def _transfer_apart(apart: Sequence[Operation], here: Sequence[Operation], done: Done) -> None:
    slots = {op.backend: BoundedSemaphore(op.backend.concurrency) for op in (*apart, *here)}

    def limited(op: Operation) -> FileFacts:
        with slots[op.backend]:
            return _perform(op)

    workers = min(len(apart), sum(backend.concurrency for backend in slots))
    # threads of its own: the flush may be in one of those that event loops wait for
    pool = Workers(workers)
    futures = {pool.submit(partial(limited, op)): op for op in apart}
    try:
        for op in here:
            done(op, limited(op))
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        ended = [future for future in futures if not future.cancel()]
        wait(ended)
        for future in ended:
            if future.exception() is None:
                done(futures[future], future.result())
    for future in ended:
        future.result()


def _is_for_a_thread(op: Operation) -> bool:
    return not isinstance(op, Put) or (op.source.any_thread and not op.goes_at_once)


def _put_group(group: PutGroup, done: Done) -> None:
    try:
        group.run()
    finally:
        for op, facts in group.stored.items():
            done(op, facts)


async def _put_group_async(group: PutGroup, done: Done) -> None:
    try:
        await group.run_async()
    finally:
        # a thread that was given up may go on
        for op, facts in list(group.stored.items()):
            done(op, facts)


async def _transfer_async(ops: Sequence[Operation], done: Done) -> None:
    if len(ops) == 1:
        done(ops[0], await _perform_async(ops[0]))
        return
    groups, singles = grouped(ops)
    if len(groups) == 1 and not singles:
        await _put_group_async(groups[0], done)
        return
    slots = {op.backend: asyncio.Semaphore(op.backend.concurrency) for op in ops}
    # two passes along one open file would each get a part of it
    turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
    failed: list[BaseException] = []

    async def limited(op: Operation) -> None:
        moves = op.source.moves if isinstance(op, Put) else None
        async with turns[id(op if moves is None else moves)], slots[op.backend]:
            done(op, await _perform_async(op))

    async def limited_group(group: PutGroup) -> None:
        async with slots[group.backend]:
            await _put_group_async(group, done)

    async def noted(work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except BaseException as error:
            failed.append(error)
            raise

    works = [*map(limited_group, groups), *map(limited, singles)]
    tasks = {asyncio.ensure_future(noted(work)) for work in works}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await settled(tasks, CLEANUP_LIMIT)
    if failed:
        raise failed[0]


async def _delete_async(deletions: Deletions, limit: float) -> Refusals:
    """Delete, not to be cut short by a cancellation: that is raised when the deletions are done."""
    refusals: dict[StorageBackend, FileColumnError] = {}
    task = asyncio.ensure_future(_delete_all_async(deletions, refusals))
    try:
        await asyncio.wait({task}, timeout=limit)
    finally:
        if not task.done():
            await settled({task}, CLEANUP_LIMIT)
    if task.cancelled():
        late = StorageError(f"deleting took more than {limit + CLEANUP_LIMIT:g} s")
        return {**dict.fromkeys(deletions, late), **refusals}
    return refusals


async def _delete_all_async(deletions: Deletions, refusals: dict[StorageBackend, FileColumnError]) -> None:
    for backend, keys in deletions.items():
        try:
            await backend.delete_async(keys)
        except Exception as error:  # noqa: BLE001 - see `_refusal`
            refusals[backend] = _refusal(backend, error)


def _refusal(backend: StorageBackend, error: Exception) -> FileColumnError:
    """Return ours for whatever somebody's own storage raises: after COMMIT nobody can do anything about it."""
    if isinstance(error, FileColumnError):
        return error
    return StorageError(
        f"storage {backend.key!r} does not delete: {type(error).__name__}: {reason_of(error)}"
    )
