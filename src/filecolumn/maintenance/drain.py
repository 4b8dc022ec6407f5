"""Drain: delete the objects that transactions have doomed, whatever became of their processes.

Any number of drains may run at a time.  One that is killed leaves work that another takes up when
its lease has ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Column, Connection, Engine, delete, false, select, update

from filecolumn.errors import FileColumnError, InvalidKeyError, MaintenanceRefusedError
from filecolumn.failpoints import failpoint
from filecolumn.maintenance.claims import insist
from filecolumn.maintenance.models import Models, known_ledger
from filecolumn.naming import check_key
from filecolumn.orm import bridge
from filecolumn.orm.draining import delete_objects, mark_gone, mark_refused
from filecolumn.orm.ledger import Ledger, State, now_ms
from filecolumn.orm.ownership import Identity, Owner, claim, identity_of
from filecolumn.orm.recording import is_one_of, speaking
from filecolumn.orm.references import file_columns, referenced
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("DrainReport", "drain")

_log = logging.getLogger("filecolumn")

BATCH = 100
DELETE_LIMIT = 120.0
"""Seconds that an event loop waits for a storage to delete a batch; well below the lease."""
LEASE = 300.0
"""Seconds after which another drain may take up what one has claimed."""
LOOKS = (0.0, 0.02, 0.1, 0.5)
"""Seconds before each look at keys that others have locked: MariaDB's claims lock keys of their neighbours."""
PURGE_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """What a drain did, in numbers of keys."""

    deleted: int = 0
    """Objects deleted, or found to be deleted."""
    refused: int = 0
    """Objects that their storage did not delete; they are tried again later."""
    restored: int = 0
    """Keys that a row refers to after all; their objects stay."""
    purged: int = 0
    """Keys that the ledger has forgotten, long after their objects were deleted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that this drain has to itself until the lease ends."""

    place: Place
    attempts: int
    checked: bool


def drain(
    engine: Engine,
    *models: Models,
    limit: int | None = None,
    batch: int = BATCH,
    lease: float = LEASE,
    rate: float | None = None,
) -> DrainReport:
    """Delete what is due, at most *limit* objects, and return what was done.

    *models* are the declarative bases (or `MetaData`) of **all** models in the database.  *lease* is
    in seconds and longer than a batch takes; *rate* is the number of objects to delete in a second
    at most.  A storage that refuses is no error here: the key is tried again later, at growing
    intervals.  Raises MaintenanceRefusedError, when the others are done, for objects in a storage
    that belongs to another database.
    """
    ledger, metadatas = known_ledger(models)
    with speaking(ledger), engine.connect() as connection:
        columns = file_columns(connection, metadatas)
        # what fails meanwhile is not taken up by this run again
        until = connection.scalar(select(now_ms())) or 0
    run = _Drain(engine, ledger, columns, until, lease)
    left = limit
    while claims := run.claim(batch if left is None else min(batch, left)):
        started = time.monotonic()
        failpoint("drain.after_claim")
        run.delete(claims)
        if left is not None:
            left -= len(claims)
        if rate is not None:
            bridge.pause(max(len(claims) / rate - (time.monotonic() - started), 0.0))
    purged = _purge(engine, ledger)
    if run.foreign:
        raise MaintenanceRefusedError(
            f"objects in the storages {', '.join(sorted(run.foreign))} were not deleted, which belong to another "
            "database. If that database is gone, run 'filecolumn adopt'; a copy needs storages of its own"
        )
    return replace(run.report, purged=purged)


class _Drain:
    """One run of a drain."""

    def __init__(
        self, engine: Engine, ledger: Ledger, columns: Sequence[Column[object]], until: int, lease: float
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._columns = columns
        self._until = until
        self._lease = lease
        self._owners: dict[str, str] = {}
        self._identity: Identity | None = None
        self.report: DrainReport = DrainReport()
        self.foreign: set[str] = set()

    def claim(self, size: int) -> list[Claim]:
        """Take *size* keys at most for this drain alone, until the lease ends."""
        return insist(self._engine, lambda connection: self._claim(connection, size))

    def _claim(self, connection: Connection, size: int) -> list[Claim]:
        columns = self._ledger.table.c
        due = (
            select(columns.backend, columns.key, columns.attempts, columns.checked)
            .where(
                self._ledger.is_waiting, columns.state == State.DOOMED.value, columns.due_at <= self._until
            )
            .order_by(columns.due_at)
            .limit(size)
            .with_for_update(skip_locked=True)
        )
        lock_sqlite(connection, self._ledger)
        claims = [
            Claim((backend, key), attempts, checked)
            for backend, key, attempts, checked in connection.execute(due)
        ]
        if claims:
            connection.execute(
                update(self._ledger.table)
                .where(is_one_of(self._ledger, [claim.place for claim in claims]))
                .values(due_at=now_ms() + int(self._lease * 1000))
            )
        return claims

    def delete(self, claims: Sequence[Claim]) -> None:
        """Delete what no row refers to after all, and note what became of each key."""
        restored, busy = self._settle({claim.place for claim in claims if not claim.checked})
        doomed = {claim.place: claim.attempts for claim in claims if claim.place not in restored | busy}
        refused = {place: why for place in doomed if (why := self._reason_against(place))}
        refused |= _delete_apart([place for place in doomed if place not in refused])
        failpoint("drain.after_delete")

        def note(connection: Connection) -> None:
            mark_gone(connection, self._ledger, doomed.keys() - refused.keys())
            mark_refused(
                connection, self._ledger, {place: (doomed[place], why) for place, why in refused.items()}
            )
            failpoint("drain.before_gone")

        insist(self._engine, note)
        self.report = replace(
            self.report,
            deleted=self.report.deleted + len(doomed) - len(refused),
            refused=self.report.refused + len(refused),
            restored=self.report.restored + len(restored),
        )

    def _settle(self, unchecked: set[Place]) -> tuple[set[Place], set[Place]]:
        """Look up what nobody has checked; return what lives, and what is in use until the lease ends."""
        restored, busy = set[Place](), unchecked
        for pause in LOOKS:
            if not busy:
                break
            bridge.pause(pause)
            found, busy = insist(self._engine, partial(self._look_up, places=busy))
            restored |= found
        return restored, busy

    def _look_up(self, connection: Connection, places: Collection[Place]) -> tuple[set[Place], set[Place]]:
        """Let live what a row refers to; return that, and what a transaction is about to take from a row.

        The keys are locked while they are looked up: else a row could let go of one in between, and
        it would live until a sweep.
        """
        columns = self._ledger.table.c
        is_ours = is_one_of(self._ledger, places), columns.state == State.DOOMED.value
        locked = (
            select(columns.backend, columns.key)
            .where(*is_ours)
            .order_by(columns.backend, columns.key)
            .with_for_update(skip_locked=True)
        )
        lock_sqlite(connection, self._ledger)
        ours = {(backend, key) for backend, key in connection.execute(locked)}
        keys = referenced(connection, self._columns, {key for _, key in ours})
        restored = {place for place in ours if place[1] in keys}
        if restored:
            _log.warning("rows refer to doomed keys, which stay: %s", sorted(restored))
            connection.execute(
                update(self._ledger.table)
                .where(is_one_of(self._ledger, restored))
                .values(
                    state=State.LIVE.value, due_at=None, attempts=0, last_error="restored: a row refers to it"
                )
            )
        return restored, set(places) - ours

    def _reason_against(self, place: Place) -> str:
        """Return why an object is not to be deleted, empty if nothing speaks against it."""
        name, key = place
        try:
            check_key(key)
        except InvalidKeyError as error:
            return str(error)
        if name not in self._owners:
            self._owners[name] = self._find_reason(name)
        return self._owners[name]

    def _find_reason(self, name: str) -> str:
        if not storages.is_registered(name):
            return ""  # deleting says so
        if self._identity is None:
            self._identity = identity_of(self._engine, self._ledger)
        try:
            owner = claim(self._identity, storages.get(name))
        except FileColumnError as error:
            return f"whose storage {name!r} is cannot be told: {error}"
        if owner not in {Owner.ORIGINAL, Owner.ANOTHER}:
            return ""
        self.foreign.add(repr(name))
        return f"storage {name!r} belongs to another database; see 'filecolumn adopt'"


def _delete_apart(places: Sequence[Place]) -> dict[Place, str]:
    """Delete objects; of a batch that is refused try each half, so that one object does not hold up others.

    When both halves are refused, the storage is: it is not asked for each object.
    """
    refused = delete_objects(places, limit=DELETE_LIMIT)
    if len(refused) < 2 or len(refused) < len(places):
        return refused
    middle = len(places) // 2
    first = delete_objects(places[:middle], limit=DELETE_LIMIT)
    second = delete_objects(places[middle:], limit=DELETE_LIMIT)
    if first and not second:
        return _delete_apart(places[:middle]) if middle > 1 else first
    if second and not first:
        return _delete_apart(places[middle:]) if len(places) - middle > 1 else second
    return {**first, **second}


def lock_sqlite(connection: Connection, ledger: Ledger) -> None:
    """Take SQLite's write lock before reading, in place of FOR UPDATE: any UPDATE does, also of no row."""
    if connection.dialect.name == "sqlite":
        connection.execute(update(ledger.table).where(false()).values(attempts=0))


def _purge(engine: Engine, ledger: Ledger) -> int:
    """Forget keys whose time as a fence is over."""
    columns = ledger.table.c
    is_over = ledger.is_waiting, columns.state == State.GONE.value, columns.due_at <= now_ms()
    over = select(columns.backend, columns.key).where(*is_over).limit(PURGE_BATCH)

    def forget(connection: Connection) -> int:
        places = [(backend, key) for backend, key in connection.execute(over)]
        if places:
            connection.execute(delete(ledger.table).where(is_one_of(ledger, places), *is_over))
        return len(places)

    purged = 0
    while count := insist(engine, forget):
        purged += count
    return purged
