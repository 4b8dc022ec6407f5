"""Status: how much waits, for how long, and what does not get on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import Connection, Engine, MetaData, and_, func, select, true

from filecolumn.ledger.columns import ColumnName
from filecolumn.ledger.table import Ledger, State, now_ms
from filecolumn.ledger.transitions import WITHHELD, speaking
from filecolumn.maintenance.ground import survey_ground
from filecolumn.maintenance.required import (
    Models,
    known_ledger,
    ledger_names,
    refuse_autocommit,
    require_ledger,
    unregistered_in_ledger,
)
from filecolumn.maintenance.triggers import missing_triggers
from filecolumn.maintenance.unreferenced import by_column

__all__ = ("STUCK", "ColumnStatus", "StatusReport", "status")

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
    forgettable: int
    """Gone for so long that the next drain forgets them."""
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
    by_column: Mapping[str, ColumnStatus]
    """Live keys by the column that took them; under an empty name those of which none is recorded."""
    quarantined: int
    """Found without a row, and to be deleted after the quarantine."""
    withheld: Mapping[str, int]
    """Doomed, and not deleted because something is in doubt: why, and how many."""
    places: Mapping[str, str]
    """The storages in which less may be removed or concluded, and why."""
    hidden: Mapping[str, str]
    """Columns that cannot be read completely, and why: then nothing is concluded from what is not found."""
    missing_triggers: Sequence[str]
    """Columns whose triggers were installed, and are not all there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatus:
    """The live keys of one file column."""

    live: int
    """How many there are."""
    live_bytes: int
    """Bytes of all of them."""
    unreferenced: int
    """Noted by a sweep: no row refers to them."""
    unreferenced_bytes: int
    """Bytes of those."""
    unreferenced_since: float | None
    """Epoch seconds of the oldest note."""
    is_judged: bool
    """Whether a sweep can judge them: not while no column is recorded for them, or it cannot be read."""


def status(engine: Engine, *models: Models, only: Collection[str] | None = None) -> StatusReport:
    """Return what the ledger says; *models* are the declarative bases (or `MetaData`) of the models.

    *only* names the storages whose keys are counted; the numbers by column are of all.  Storages need
    not be registered: `places` names those that are not.  MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    columns = ledger.table.c
    is_chosen = true() if only is None else columns.backend.in_(_ledger_names(engine, ledger, only))
    doomed = and_(columns.state == State.DOOMED.value, is_chosen)
    by_state = (
        select(columns.backend, columns.state, func.count())
        .where(is_chosen)
        .group_by(columns.backend, columns.state)
    )
    waiting = select(
        func.count(),
        func.min(columns.due_at),
    ).where(ledger.is_waiting, doomed, columns.due_at <= now_ms())
    refused = select(func.count(), func.max(columns.attempts)).where(doomed, columns.attempts > 0)
    stuck = select(func.count()).where(doomed, columns.attempts >= STUCK)
    quarantined = select(func.count()).where(doomed, columns.unreferenced_since.is_not(None))
    withheld = (
        select(columns.last_error, func.count())
        .where(doomed, columns.last_error.startswith(WITHHELD))
        .group_by(columns.last_error)
    )
    restored = select(func.count()).where(
        columns.state == State.LIVE.value, columns.last_error.is_not(None), is_chosen
    )
    forgettable = select(func.count()).where(
        ledger.is_waiting, columns.state == State.GONE.value, columns.due_at <= now_ms(), is_chosen
    )
    with speaking(ledger), engine.connect() as connection:
        by_storage: dict[str, dict[str, int]] = {}
        for backend, state, count in connection.execute(by_state):
            by_storage.setdefault(backend, {})[_name(state)] = count
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
            forgettable=connection.scalar(forgettable) or 0,
            by_storage=by_storage,
            quarantined=connection.scalar(quarantined) or 0,
            withheld={
                note.removeprefix(WITHHELD): count for note, count in connection.execute(withheld) if note
            },
            **_ground(connection, engine, ledger, metadatas),
        )


class _GroundFacts(TypedDict):
    by_column: Mapping[str, ColumnStatus]
    places: Mapping[str, str]
    hidden: Mapping[str, str]
    missing_triggers: Sequence[str]


def _ground(
    connection: Connection, engine: Engine, ledger: Ledger, metadatas: Sequence[MetaData]
) -> _GroundFacts:
    ground = survey_ground(engine, ledger, metadatas, claim=False)
    names = {each.id: each.name for each in ground.view.recorded}
    hidden = {
        name
        for name in names.values()
        if str(ground.view.read_name(connection, ledger, name)) in ground.view.hidden
    }
    doubts = {name: ground.why_not(name) for name in ground.standings}
    doubts |= dict.fromkeys(unregistered_in_ledger(engine, ledger), "it is not registered in this process")
    return _GroundFacts(
        by_column=_by_column(connection, ledger, names, hidden),
        places={name: why for name, why in doubts.items() if why},
        hidden=dict(ground.view.hidden),
        missing_triggers=missing_triggers(connection, metadatas),
    )


def _ledger_names(engine: Engine, ledger: Ledger, only: Collection[str]) -> set[str]:
    with engine.connect() as connection:
        return ledger_names(connection, ledger, only)


def _by_column(
    connection: Connection,
    ledger: Ledger,
    names: Mapping[str, ColumnName],
    hidden: Collection[ColumnName],
) -> dict[str, ColumnStatus]:
    counts: dict[str, ColumnStatus] = {}
    for held_in, live, size, noted, noted_size, since in connection.execute(by_column(ledger)):
        name = str(names.get(held_in, ""))
        found = ColumnStatus(
            live=live,
            live_bytes=int(size or 0),
            unreferenced=noted,
            unreferenced_bytes=int(noted_size or 0),
            unreferenced_since=None if since is None else since / 1000,
            # the keys of a column that was forgotten are judged, those of older releases are not
            is_judged=held_in is not None and names.get(held_in) not in hidden,
        )
        counts[name] = found if name not in counts else _sum(counts[name], found)
    return counts


def _sum(one: ColumnStatus, other: ColumnStatus) -> ColumnStatus:
    return ColumnStatus(
        live=one.live + other.live,
        live_bytes=one.live_bytes + other.live_bytes,
        unreferenced=one.unreferenced + other.unreferenced,
        unreferenced_bytes=one.unreferenced_bytes + other.unreferenced_bytes,
        unreferenced_since=min(
            (each.unreferenced_since for each in (one, other) if each.unreferenced_since is not None),
            default=None,
        ),
        is_judged=one.is_judged and other.is_judged,
    )


def _name(state: int) -> str:
    """Return what a state is called; one that a newer release wrote has its number."""
    return State(state).name.lower() if state in _STATES else f"state {state}"


_STATES = frozenset(state.value for state in State)


def _total(by_storage: Mapping[str, Mapping[str, int]], state: State) -> int:
    return sum(counts.get(state.name.lower(), 0) for counts in by_storage.values())
