"""Status: how many deletions are pending, how old they are, and which are stuck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection, Engine, MetaData, case, func, select

from filecolumn.ledger.columns import ColumnName
from filecolumn.ledger.keys import slices
from filecolumn.ledger.table import Ledger, State, time_of
from filecolumn.ledger.transitions import WITHHELD, speaking
from filecolumn.maintenance.ground import read_name, survey_ground
from filecolumn.maintenance.required import (
    Models,
    ledger_names,
    require_tables,
    unregistered_in_ledger,
)
from filecolumn.maintenance.triggers import missing_triggers

__all__ = ("STUCK", "ColumnStatus", "StatusReport", "status")

STUCK = 20
"""Attempts after which a key is stuck: for about 17 hours its storage has refused to delete it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What the ledger says; each number is of keys, unless it says otherwise."""

    live: int
    """Keys that rows own."""
    doomed: int
    """Keys whose objects are to be deleted, now or later."""
    due: int
    """Keys whose objects are to be deleted now."""
    gone: int
    """Keys whose objects are deleted; they are remembered for 7 days, so that they are not used again."""
    forgettable: int
    """Gone keys that the next drain removes from the ledger."""
    oldest_due_seconds: float
    """Seconds since the oldest due key became due; 0 if none is due."""
    retried: int
    """Doomed keys that their storage refused to delete at least once."""
    most_attempts: int
    """The largest number of refusals of one key."""
    stuck: int
    """Doomed keys that their storage refused to delete 20 times or more."""
    restored: int
    """Doomed keys that are live again because a row still references them: something writes rows past the sessions."""
    by_storage: Mapping[str, Mapping[str, int]]
    """Keys by storage, then by state."""
    by_column: Mapping[str, ColumnStatus]
    """Live keys by file column; an empty name stands for those of no known column."""
    quarantined: int
    """Keys that a sweep found without a row; they are deleted after the quarantine."""
    withheld: Mapping[str, int]
    """Doomed keys that are kept because of a doubt, by reason."""
    places: Mapping[str, str]
    """The storages with restrictions on deletions and sweeps, with the reason."""
    hidden: Mapping[str, str]
    """The file columns that cannot be read completely, with the reason."""
    missing_triggers: Sequence[str]
    """The file columns whose installed triggers are missing, or of an older release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatus:
    """The live keys of one file column."""

    live: int
    """How many live keys the column took."""
    live_bytes: int
    """Bytes of their objects."""
    unreferenced: int
    """Keys for which a sweep found no row."""
    unreferenced_bytes: int
    """Bytes of the objects of those."""
    unreferenced_since: float | None
    """When the oldest of those was noted, in seconds since the epoch, UTC; None if there is none."""
    is_judged: bool
    """Whether a sweep can tell which keys have no row; not if the column is unknown or cannot be read."""


def status(engine: Engine, *models: Models, storages: Collection[str] | None = None) -> StatusReport:
    """Return what the ledger says; *models* are the declarative bases (or `MetaData`) of the models.

    *storages* has the keys of the storages to count, by default all; `by_column` always counts all.  Storages need
    not be registered: `places` names those that are not.

    Raises MissingLedgerError without the ledger's tables.
    """
    ledger, metadatas = require_tables(engine, models)
    with speaking(ledger), engine.connect() as connection:
        names = None if storages is None else ledger_names(connection, ledger, storages)
        now = time_of(connection)
        groups = _read_groups(connection, ledger, now)
        chosen = [group for group in groups if names is None or group.backend in names]
        doomed = [group for group in chosen if group.state == State.DOOMED]
        by_storage = _by_storage(chosen)
        return StatusReport(
            live=_total(by_storage, State.LIVE),
            doomed=_total(by_storage, State.DOOMED),
            gone=_total(by_storage, State.GONE),
            due=sum(group.due for group in doomed),
            forgettable=sum(group.due for group in chosen if group.state == State.GONE),
            oldest_due_seconds=max((now - group.first_due for group in doomed if group.due), default=0)
            / 1000,
            by_storage=by_storage,
            retried=sum(group.retried for group in doomed),
            most_attempts=max((group.most_attempts for group in doomed), default=0),
            stuck=sum(group.stuck for group in doomed),
            restored=sum(group.with_note for group in chosen if group.state == State.LIVE),
            quarantined=sum(group.noted for group in doomed),
            withheld=_withheld(doomed),
            **_ground(connection, engine, ledger, metadatas, groups),
        )


class _Group(NamedTuple):
    """Numbers of keys that the ledger has alike."""

    backend: str
    state: int
    held_in: str | None
    withheld: str | None
    """Why they are not deleted, if they are not because of a doubt."""
    number: int
    size: int
    """Bytes of all of them."""
    noted: int
    """Found without a row."""
    noted_size: int
    noted_since: int | None
    due: int
    first_due: int
    """When the first of them was, or will be, due; 0 if none ever is."""
    retried: int
    stuck: int
    most_attempts: int
    with_note: int
    """With something said of them."""


def _read_groups(connection: Connection, ledger: Ledger, now: int) -> list[_Group]:
    """Return what the ledger says of all keys, read once; *now* is the database's time, in milliseconds."""
    columns = ledger.table.c
    noted = columns.unreferenced_since
    is_withheld = (columns.state == State.DOOMED.value) & columns.last_error.startswith(WITHHELD)
    withheld = case((is_withheld, columns.last_error)).label("withheld")
    query = select(
        columns.backend,
        columns.state,
        columns.held_in,
        withheld,
        func.count(),
        func.coalesce(func.sum(columns.size), 0),
        func.count(noted),
        func.coalesce(func.sum(case((noted.is_not(None), columns.size))), 0),
        func.min(noted),
        func.count(case((columns.due_at <= now, 1))),
        func.coalesce(func.min(columns.due_at), 0),
        func.count(case((columns.attempts > 0, 1))),
        func.count(case((columns.attempts >= STUCK, 1))),
        func.max(columns.attempts),
        func.count(columns.last_error),
    ).group_by(columns.backend, columns.state, columns.held_in, withheld)
    found: list[_Group] = []
    for part in slices(connection, ledger):
        # sums are decimals on some databases
        found += (
            _Group._make((*row[:5], int(row[5]), row[6], int(row[7]), *row[8:]))
            for row in connection.execute(query.where(part))
        )
        connection.rollback()
    return found


def _by_storage(groups: Iterable[_Group]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for group in sorted(groups, key=lambda group: (group.backend, group.state)):
        counts = found.setdefault(group.backend, {})
        counts[_name(group.state)] = counts.get(_name(group.state), 0) + group.number
    return found


def _withheld(groups: Iterable[_Group]) -> dict[str, int]:
    found = Counter[str]()
    for group in groups:
        if group.withheld is not None:
            found[group.withheld.removeprefix(WITHHELD)] += group.number
    return dict(found)


class _GroundFacts(TypedDict):
    by_column: Mapping[str, ColumnStatus]
    places: Mapping[str, str]
    hidden: Mapping[str, str]
    missing_triggers: Sequence[str]


def _ground(
    connection: Connection,
    engine: Engine,
    ledger: Ledger,
    metadatas: Sequence[MetaData],
    groups: Iterable[_Group],
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
        by_column=_by_column(groups, names, hidden),
        places={name: why for name, why in doubts.items() if why},
        hidden=dict(ground.file_columns.hidden),
        missing_triggers=missing_triggers(connection, metadatas),
    )


def _by_column(
    groups: Iterable[_Group],
    names: Mapping[str, ColumnName],
    hidden: Collection[ColumnName],
) -> dict[str, ColumnStatus]:
    counts: dict[str, ColumnStatus] = {}
    for group in sorted(groups, key=lambda group: group.held_in or ""):
        if group.state != State.LIVE:
            continue
        column = None if group.held_in is None else names.get(group.held_in)
        name = str(column or "")
        found = ColumnStatus(
            live=group.number,
            live_bytes=group.size,
            unreferenced=group.noted,
            unreferenced_bytes=group.noted_size,
            unreferenced_since=None if group.noted_since is None else group.noted_since / 1000,
            # the keys of a column that was forgotten are judged, those of older releases are not
            is_judged=group.held_in is not None and column not in hidden,
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
