"""Drain: delete the objects that transactions have doomed, whatever became of their processes.

Any number of drains may run at a time.  One that is killed leaves work that another takes up when
its lease has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Column, Connection, Engine, delete, false, select, update

from filecolumn.failpoints import failpoint
from filecolumn.maintenance.models import Models, known_ledger
from filecolumn.orm.draining import delete_objects, mark_gone, mark_refused
from filecolumn.orm.ledger import Ledger, State, now_ms
from filecolumn.orm.recording import is_one_of, speaking
from filecolumn.orm.references import file_columns, referenced
from filecolumn.orm.unit import Place

__all__ = ("DrainReport", "drain")

_log = logging.getLogger("filecolumn")

BATCH = 100
LEASE = 300.0
"""Seconds after which another drain may take up what one has claimed."""
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
    engine: Engine, *models: Models, limit: int | None = None, batch: int = BATCH, lease: float = LEASE
) -> DrainReport:
    """Delete what is due, at most *limit* objects, and return what was done.

    *models* are the declarative bases (or `MetaData`) of **all** models in the database.  A
    storage that refuses is no error here: the key is tried again later, at growing intervals.
    """
    ledger, metadatas = known_ledger(models)
    report = DrainReport()
    with speaking(ledger), engine.connect() as connection:
        columns = file_columns(connection, metadatas)
    left = limit
    while claims := _claim(engine, ledger, batch if left is None else min(batch, left), lease):
        failpoint("drain.after_claim")
        report = _delete(engine, ledger, columns, claims, report)
        if left is not None:
            left -= len(claims)
    return replace(report, purged=_purge(engine, ledger))


def _claim(engine: Engine, ledger: Ledger, size: int, lease: float) -> list[Claim]:
    columns = ledger.table.c
    due = (
        select(columns.backend, columns.key, columns.attempts, columns.checked)
        .where(columns.state == State.DOOMED.value, columns.due_at <= now_ms())
        .order_by(columns.due_at)
        .limit(size)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        lock_sqlite(connection, ledger)
        claims = [
            Claim((backend, key), attempts, checked)
            for backend, key, attempts, checked in connection.execute(due)
        ]
        if claims:
            connection.execute(
                update(ledger.table)
                .where(is_one_of(ledger, [claim.place for claim in claims]))
                .values(due_at=now_ms() + int(lease * 1000))
            )
    return claims


def lock_sqlite(connection: Connection, ledger: Ledger) -> None:
    """Take SQLite's write lock before reading, in place of FOR UPDATE: any UPDATE does, also of no row."""
    if connection.dialect.name == "sqlite":
        connection.execute(update(ledger.table).where(false()).values(attempts=0))


def _delete(
    engine: Engine,
    ledger: Ledger,
    columns: Sequence[Column[object]],
    claims: Sequence[Claim],
    report: DrainReport,
) -> DrainReport:
    unchecked = [claim.place for claim in claims if not claim.checked]
    restored, busy = set[Place](), set[Place]()
    if unchecked:
        restored, busy = _look_up(engine, ledger, columns, unchecked)
    doomed = {claim.place: claim.attempts for claim in claims if claim.place not in restored | busy}
    refused = delete_objects(doomed)
    failpoint("drain.after_delete")
    with engine.begin() as connection:
        mark_gone(connection, ledger, doomed.keys() - refused.keys())
        mark_refused(connection, ledger, {place: (doomed[place], why) for place, why in refused.items()})
        failpoint("drain.before_gone")
    return replace(
        report,
        deleted=report.deleted + len(doomed) - len(refused),
        refused=report.refused + len(refused),
        restored=report.restored + len(restored),
    )


def _look_up(
    engine: Engine, ledger: Ledger, columns: Sequence[Column[object]], places: Collection[Place]
) -> tuple[set[Place], set[Place]]:
    """Let live what a row refers to; return that, and what a transaction is about to take away from a row.

    The keys are locked while they are looked up: else a row could let go of one in between, and it
    would live for ever.
    """
    columns_of_ledger = ledger.table.c
    locked = (
        select(columns_of_ledger.backend, columns_of_ledger.key)
        .where(is_one_of(ledger, places), columns_of_ledger.state == State.DOOMED.value)
        .order_by(columns_of_ledger.backend, columns_of_ledger.key)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        lock_sqlite(connection, ledger)
        ours = {(backend, key) for backend, key in connection.execute(locked)}
        keys = referenced(connection, columns, {key for _, key in ours})
        restored = {place for place in ours if place[1] in keys}
        if restored:
            _log.warning("rows refer to doomed keys, which stay: %s", sorted(restored))
            connection.execute(
                update(ledger.table)
                .where(is_one_of(ledger, restored), columns_of_ledger.state == State.DOOMED.value)
                .values(state=State.LIVE.value, due_at=None, last_error="restored: a row refers to it")
            )
    return restored, set(places) - ours


def _purge(engine: Engine, ledger: Ledger) -> int:
    """Forget keys whose time as a fence is over."""
    columns = ledger.table.c
    over = select(columns.backend, columns.key).where(
        columns.state == State.GONE.value, columns.due_at <= now_ms()
    )
    purged = 0
    while True:
        with engine.begin() as connection:
            places = [(backend, key) for backend, key in connection.execute(over.limit(PURGE_BATCH))]
            if not places:
                return purged
            connection.execute(
                delete(ledger.table).where(is_one_of(ledger, places), columns.state == State.GONE.value)
            )
            purged += len(places)
