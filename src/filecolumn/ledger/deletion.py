"""Deletes objects after a commit, and records in the ledger what became of each; never raises.

The delete comes first, outside any transaction, and is repeated until the ledger has it as GONE:
whoever is killed in between leaves work that another finishes.  With what it records it lets the ledger
forget a few keys that were GONE for their time.
"""

from __future__ import annotations

import atexit
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, before_closing, storages
from filecolumn.errors import BackendNotRegisteredError
from filecolumn.files import execution
from filecolumn.files.transfer import CLEANUP_LIMIT
from filecolumn.ledger.locks import brief
from filecolumn.ledger.owner import standing_to_remove
from filecolumn.ledger.table import Ledger, State
from filecolumn.ledger.transitions import LedgerAt, mark_gone, mark_refused, mark_withheld, purge_some
from filecolumn.logs import warn

__all__ = (
    "conclude",
    "delete_objects",
    "record_deleted",
)

RECORDED_AT_ONCE = 64
"""Keys that wait at most to be recorded as GONE."""
RECORDED_WITHIN = 5.0
"""Seconds after which the next commit that deletes something records them."""
PURGED_FOR_EACH = 2
"""Keys to forget at most for each that is recorded: more than come, so that fewer and fewer are past their time."""
PURGED_AT_ONCE = 100
"""Keys to forget at most when fewer are recorded."""
PURGED_AGAIN = 60.0
"""Seconds without a look for keys that are past their time, once there was none, or the look has failed."""


def delete_objects(refs: Iterable[ObjectRef], *, limit: float = CLEANUP_LIMIT) -> dict[ObjectRef, str]:
    """Delete the objects *refs*, in one request where the storage can; return why some are still there.

    An event loop waits for *limit* seconds.
    """
    by_backend: defaultdict[StorageBackend, list[ObjectRef]] = defaultdict(list)
    refused: dict[ObjectRef, str] = {}
    for ref in sorted(refs):
        try:
            by_backend[storages.get(ref[0])].append(ref)
        except BackendNotRegisteredError as error:
            refused[ref] = str(error)
    keys = {backend: [key for _, key in group] for backend, group in by_backend.items()}
    for backend, refusal in execution.delete(keys, limit=limit).items():
        refused.update(dict.fromkeys(by_backend[backend], str(refusal)))
    return refused


def conclude(
    at: LedgerAt, refs: Collection[ObjectRef], generation: int | None = None, *, are_doomed: bool = False
) -> None:
    """Delete what a committed transaction took away; what fails is left to the next drain.

    *generation* is that of the database, as the transaction has read it.  With *are_doomed* the ledger has
    all as DOOMED, so that it may learn a little later that they are gone: see `record_deleted`.
    Never raises for the storage or the database: the transaction has committed.
    """
    failpoint("drain.before_delete")
    withheld = _withheld(at, refs, generation)
    refused = delete_objects(ref for ref in refs if ref not in withheld)
    failpoint("drain.after_delete")
    if refused:
        warn("objects that no row references stay until the next drain: %s", refused)
    deleted = set(refs) - refused.keys() - withheld.keys()
    if are_doomed:
        if deleted:
            deleted = _deleted.add(at, deleted)
        if not (deleted or withheld or refused):
            return
    try:
        with brief(at.engine) as connection:
            if are_doomed:
                mark_gone(connection, at.ledger, deleted, only_due=True)
            else:
                mark_gone(connection, at.ledger, deleted, of=(State.LIVE, State.DOOMED))
            mark_withheld(connection, at.ledger, withheld)
            mark_refused(connection, at.ledger, {ref: (0, why) for ref, why in refused.items()})
            failpoint("drain.before_gone")
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        # as text: a record that is kept would keep the connection, with its locks
        warn("the ledger is not up to date until the next drain: %s", error)
    else:
        _purges.follow(at, len(deleted))


# What the ledger is still to learn


class _Deleted:
    """Keys whose objects this process has deleted, and that its ledgers have as DOOMED.

    One UPDATE for many of them costs hardly more than one for each, and each would be a second commit of
    the caller.  Whatever is lost with the process a drain does again: it deletes what is gone already.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all: in a process that was forked, as the first one records it."""
        self._of: WeakKeyDictionary[Engine, dict[Ledger, set[ObjectRef]]] = WeakKeyDictionary()
        self._since = time.monotonic()
        self._lock = Lock()

    def add(self, at: LedgerAt, refs: set[ObjectRef]) -> set[ObjectRef]:
        """Add keys; return all of the ledger if they are to be recorded now, or none."""
        now = time.monotonic()
        with self._lock:
            if not self._of:
                self._since = now
            waiting = self._of.setdefault(at.engine, {}).setdefault(at.ledger, set())
            waiting |= refs
            if len(waiting) < RECORDED_AT_ONCE and now - self._since < RECORDED_WITHIN:
                return set()
            return self._take(at)

    def take(self, pool: Pool | None) -> list[tuple[LedgerAt, set[ObjectRef]]]:
        """Return what is to be recorded in the database of a pool, or in all that are connected and can be asked."""
        with self._lock:
            engines = [
                engine
                for engine in self._of
                if (_is_connected(engine) if pool is None else engine.pool is pool)
            ]
            ledgers = [LedgerAt(engine, ledger) for engine in engines for ledger in self._of[engine]]
            return [(at, self._take(at)) for at in ledgers]

    def _take(self, at: LedgerAt) -> set[ObjectRef]:
        of_engine = self._of[at.engine]
        refs = of_engine.pop(at.ledger)
        if not of_engine:
            del self._of[at.engine]
        return refs


def _is_connected(engine: Engine) -> bool:
    """Return whether an engine has a connection that is free, and may be used from here.

    One that was disposed of is not to connect again, and a database in memory is gone with its connection.
    """
    pool = engine.pool
    is_free = isinstance(pool, QueuePool) and pool.checkedin() > 0
    return is_free and (execution.in_async() or not engine.dialect.is_async)


_deleted = _Deleted()


def record_deleted(engine: Engine | None = None) -> None:
    """Record as GONE what this process has deleted after commits: in the database of *engine*, or in all.

    A commit does so once `RECORDED_AT_ONCE` keys wait, or the first one has waited for `RECORDED_WITHIN`
    seconds; maintenance does so before it looks at the ledger, and the process when it closes its storages
    or ends.  Never raises for a database: what cannot be recorded is left to the next drain.
    """
    for at, refs in _deleted.take(None if engine is None else engine.pool):
        try:
            _record(at, refs)
        except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
            warn("the ledger is not up to date until the next drain: %s", error)


def _record(at: LedgerAt, refs: Collection[ObjectRef]) -> None:
    with brief(at.engine) as connection:
        mark_gone(connection, at.ledger, refs, only_due=True)
    _purges.follow(at, len(refs))


def _record_at_exit() -> None:
    """Record in files what waits: a server may keep a process from ending, and a drain does it as well."""
    for at, refs in _deleted.take(None):
        if at.engine.dialect.name == "sqlite":
            # the file may be gone, as after a test
            with suppress(Exception):
                _record(at, refs)


async def _record_deleted_async() -> None:
    await greenlet_spawn(record_deleted)


# What the ledger is to forget


@dataclass(slots=True)
class _Purge:
    """How far the keys of a ledger that are past their time have been forgotten."""

    since: int = 0
    """Where to go on, as `purge_some` says."""
    rests_until: float = 0.0
    """When to look again; set while one looks, as one is enough."""


class _Purges:
    """Forgets a few keys with those that are recorded, so that a ledger is bounded that nobody drains."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Engine, dict[str, _Purge]] = WeakKeyDictionary()

    def follow(self, at: LedgerAt, recorded: int) -> None:
        """Forget what is past its time, after so many keys were recorded; never raises.

        In transactions of its own: whatever becomes of it, the others are recorded.
        """
        purge = self._of.setdefault(at.engine, {}).setdefault(at.ledger.table.fullname, _Purge())
        now = time.monotonic()
        if now < purge.rests_until:
            return
        purge.rests_until = now + PURGED_AGAIN
        most = max(PURGED_FOR_EACH * recorded, PURGED_AT_ONCE)
        try:
            since = purge_some(at.engine, at.ledger, most=most, since=purge.since)
        except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
            warn("the ledger forgets deleted keys later: %s", error)
            return
        purge.since = since or 0
        if since is not None:
            purge.rests_until = 0.0


_purges = _Purges()


before_closing(record_deleted, _record_deleted_async)
atexit.register(_record_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_deleted.forget)


def _withheld(at: LedgerAt, refs: Collection[ObjectRef], generation: int | None) -> dict[ObjectRef, str]:
    """Return which objects a commit may not delete, and why: their storage is not the place that has them."""
    reasons: dict[str, str] = {}
    for name in {name for name, _ in refs}:
        if storages.is_registered(name):
            backend = storages.get(name)
            standing = standing_to_remove(at.engine, at.ledger, backend, generation=generation)
            reasons[name] = standing.withheld
    return {ref: why for ref in refs if (why := reasons.get(ref[0]))}
