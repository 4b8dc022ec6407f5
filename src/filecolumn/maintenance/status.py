"""Status: how much waits, for how long, and what does not get on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from filecolumn.maintenance.models import Models, known_ledger
from filecolumn.orm.ledger import State, now_ms
from filecolumn.orm.recording import speaking

__all__ = ("STUCK", "StatusReport", "status")

STUCK = 20
"""Attempts after which a key is stuck: for about 17 hours its storage has refused to delete it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The ledger in numbers of keys."""

    live: int
    """Owned by rows."""
    doomed: int
    """To be deleted, now or later."""
    due: int
    """To be deleted now."""
    gone: int
    """Deleted, and remembered so that they are not used again."""
    oldest_due_seconds: float
    """How long the one that waits longest is due; 0 if none is."""
    retried: int
    """Doomed, and refused at least once."""
    most_attempts: int
    """Refusals of one key, at most."""
    stuck: int
    """Refused 20 times or more."""
    restored: int
    """Found to be referred to when they were to be deleted: somebody writes rows past the sessions."""
    by_storage: Mapping[str, Mapping[str, int]]
    """Keys by storage, then by state."""


def status(engine: Engine, *models: Models) -> StatusReport:
    """Return what the ledger says; *models* are the declarative bases (or `MetaData`) of the models."""
    ledger, _ = known_ledger(models)
    columns = ledger.table.c
    doomed = columns.state == State.DOOMED.value
    by_state = select(columns.backend, columns.state, func.count()).group_by(columns.backend, columns.state)
    waiting = select(
        func.count(),
        func.min(columns.due_at),
    ).where(ledger.is_waiting, doomed, columns.due_at <= now_ms())
    refused = select(func.count(), func.max(columns.attempts)).where(doomed, columns.attempts > 0)
    stuck = select(func.count()).where(doomed, columns.attempts >= STUCK)
    restored = select(func.count()).where(columns.state == State.LIVE.value, columns.last_error.is_not(None))
    with speaking(ledger), engine.connect() as connection:
        by_storage: dict[str, dict[str, int]] = {}
        for backend, state, count in connection.execute(by_state):
            by_storage.setdefault(backend, {})[State(state).name.lower()] = count
        due, oldest = connection.execute(waiting).one()
        now = connection.scalar(select(now_ms())) or 0
        retried, most_attempts = connection.execute(refused).one()
        return StatusReport(
            live=_total(by_storage, State.LIVE),
            doomed=_total(by_storage, State.DOOMED),
            due=due,
            gone=_total(by_storage, State.GONE),
            oldest_due_seconds=0.0 if oldest is None else max(now - oldest, 0) / 1000,
            retried=retried,
            most_attempts=most_attempts or 0,
            stuck=connection.scalar(stuck) or 0,
            restored=connection.scalar(restored) or 0,
            by_storage=by_storage,
        )


def _total(by_storage: Mapping[str, Mapping[str, int]], state: State) -> int:
    return sum(counts.get(state.name.lower(), 0) for counts in by_storage.values())
