"""Status: how many deletions are pending, how old they are, and which are stuck."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import ColumnElement, Connection, Engine, MetaData, and_, func, select, true

from filecolumn.ledger.columns import ColumnName
from filecolumn.ledger.table import Ledger, State, now_ms, time_of
from filecolumn.ledger.transitions import WITHHELD, speaking
from filecolumn.maintenance.ground import read_name, survey_ground
from filecolumn.maintenance.required import (
    Models,
    ledger_names,
    require_tables,
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
    """The storages with restrictions on deletions and sweeps, and why."""
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


def status(engine: Engine, *models: Models, storages: Collection[str] | None = None) -> StatusReport:
    """Return what the ledger says; *models* are the declarative bases (or `MetaData`) of the models.

    *storages* names the storages whose keys are counted; the numbers by column are of all.  Storages need
    not be registered: `places` names those that are not.  MissingLedgerError without the ledger's tables.
    """
    ledger, metadatas = require_tables(engine, models)
    with speaking(ledger), engine.connect() as connection:
        is_chosen = true() if storages is None else _is_in(connection, ledger, storages)
        by_storage = _by_storage(connection, ledger, is_chosen)
        return StatusReport(
            live=_total(by_storage, State.LIVE),
            doomed=_total(by_storage, State.DOOMED),
            gone=_total(by_storage, State.GONE),
            by_storage=by_storage,
            **_due(connection, ledger, is_chosen),
            **_troubled(connection, ledger, is_chosen),
            **_ground(connection, engine, ledger, metadatas),
        )


def _is_in(connection: Connection, ledger: Ledger, chosen: Collection[str]) -> ColumnElement[bool]:
    """Match the keys of the chosen storages, under each name that they have in the ledger."""
    return ledger.table.c.backend.in_(ledger_names(connection, ledger, chosen))


def _by_storage(
    connection: Connection, ledger: Ledger, is_chosen: ColumnElement[bool]
) -> dict[str, dict[str, int]]:
    columns = ledger.table.c
    query = (
        select(columns.backend, columns.state, func.count())
        .where(is_chosen)
        .group_by(columns.backend, columns.state)
    )
    found: dict[str, dict[str, int]] = {}
    for backend, state, count in connection.execute(query):
        found.setdefault(backend, {})[_name(state)] = count
    return found


class _Due(TypedDict):
    due: int
    oldest_due_seconds: float
    forgettable: int


def _due(connection: Connection, ledger: Ledger, is_chosen: ColumnElement[bool]) -> _Due:
    """Return what the next drain would do, and for how long it has been due."""
    columns = ledger.table.c
    is_due = and_(ledger.is_waiting, columns.due_at <= now_ms(), is_chosen)
    waiting = select(func.count(), func.min(columns.due_at)).where(
        is_due, columns.state == State.DOOMED.value
    )
    due, oldest = connection.execute(waiting).one()
    forgettable = select(func.count()).where(is_due, columns.state == State.GONE.value)
    return _Due(
        due=due,
        oldest_due_seconds=0.0 if oldest is None else max(time_of(connection) - oldest, 0) / 1000,
        forgettable=connection.scalar(forgettable) or 0,
    )


class _Troubled(TypedDict):
    retried: int
    most_attempts: int
    stuck: int
    restored: int
    quarantined: int
    withheld: Mapping[str, int]


def _troubled(connection: Connection, ledger: Ledger, is_chosen: ColumnElement[bool]) -> _Troubled:
    """Return the keys that were refused, withheld, quarantined, or restored."""
    columns = ledger.table.c

    def count(*conditions: ColumnElement[bool]) -> int:
        return connection.scalar(select(func.count()).where(*conditions)) or 0

    doomed = and_(columns.state == State.DOOMED.value, is_chosen)
    refused = select(func.count(), func.max(columns.attempts)).where(doomed, columns.attempts > 0)
    withheld = (
        select(columns.last_error, func.count())
        .where(doomed, columns.last_error.startswith(WITHHELD))
        .group_by(columns.last_error)
    )
    retried, most_attempts = connection.execute(refused).one()
    return _Troubled(
        retried=retried,
        most_attempts=most_attempts or 0,
        stuck=count(doomed, columns.attempts >= STUCK),
        restored=count(columns.state == State.LIVE.value, columns.last_error.is_not(None), is_chosen),
        quarantined=count(doomed, columns.unreferenced_since.is_not(None)),
        withheld={
            note.removeprefix(WITHHELD): number for note, number in connection.execute(withheld) if note
        },
    )


class _GroundFacts(TypedDict):
    by_column: Mapping[str, ColumnStatus]
    places: Mapping[str, str]
    hidden: Mapping[str, str]
    missing_triggers: Sequence[str]


def _ground(
    connection: Connection, engine: Engine, ledger: Ledger, metadatas: Sequence[MetaData]
) -> _GroundFacts:
    ground = survey_ground(engine, ledger, metadatas, register=False)
    names = {each.id: each.name for each in ground.file_columns.recorded}
    hidden = {
        name
        for name in names.values()
        if str(read_name(connection, ledger, name)) in ground.file_columns.hidden
    }
    doubts = {name: ground.why_not(name) for name in ground.standings}
    doubts |= dict.fromkeys(unregistered_in_ledger(engine, ledger), "it is not registered in this process")
    return _GroundFacts(
        by_column=_by_column(connection, ledger, names, hidden),
        places={name: why for name, why in doubts.items() if why},
        hidden=dict(ground.file_columns.hidden),
        missing_triggers=missing_triggers(connection, metadatas),
    )


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
