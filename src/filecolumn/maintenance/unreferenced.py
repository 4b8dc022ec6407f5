"""Live keys that no row refers to: noted, counted by the column that took them, claimed only on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from filecolumn.backends.registry import ObjectRef
from filecolumn.ledger.columns import FLOOR, ColumnName, lift_floor
from filecolumn.ledger.locks import insist
from filecolumn.ledger.table import Ledger, State, now_ms, read_meta
from filecolumn.ledger.transitions import mark_shared, note_referenced
from filecolumn.maintenance.ground import Ground
from filecolumn.maintenance.snapshot import Scratch
from filecolumn.maintenance.survey import Survey, pages_of
from filecolumn.orm.references import is_empty

__all__ = (
    "ColumnCount",
    "by_column",
    "conclude_pass",
    "count_unreferenced",
    "note_found_again",
    "unreferenced_since",
)

ALLOWED = 10
ALLOWED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class ColumnCount:
    """The live keys of one file column."""

    id: str | None
    """As the ledger has it; None for keys of which no column was ever recorded: they are not judged."""
    column: ColumnName | None
    """None also for a column that was forgotten."""
    live: int
    live_bytes: int
    unreferenced: int
    unreferenced_bytes: int
    is_empty: bool = False
    """Whether the column's table has no row at all."""

    def why_too_many(self) -> str:
        """Return why so many keys are not to be claimed without force; empty if they may be."""
        if not self.unreferenced:
            return ""
        if self.column is None:
            return f"{self.unreferenced} live keys are of a column that was forgotten: force=True (--force) claims them"
        if self.is_empty:
            return (
                f"{self.column} has no rows, and the ledger has {self.live} live keys of it: is the data still being "
                "loaded? force=True (--force) claims them"
            )
        allowed = max(ALLOWED, int(self.live * ALLOWED_SHARE))
        if self.unreferenced <= allowed:
            return ""
        return (
            f"{self.unreferenced} of the {self.live} live keys of {self.column} have no row, which is more than "
            f"{allowed}: were they moved to another column? force=True (--force) claims them"
        )


def note_found_again(survey: Survey, scratch: Scratch) -> None:
    """Take the note from keys that a row references again."""
    ledger = _ledger_of(survey)
    columns = ledger.table.c
    query = select(columns.backend, columns.key).where(
        columns.state == State.LIVE.value, columns.unreferenced_since.is_not(None)
    )
    for page in pages_of(survey.engine, query, (columns.backend, columns.key)):
        named = {(row.backend, row.key): (survey.places.name_of(row.backend), row.key) for row in page}
        held = scratch.held_among(list(named.values()))
        again = [entry for entry, place in named.items() if place in held]
        if again:
            note_referenced(survey.engine, ledger, again)


def count_unreferenced(survey: Survey, ground: Ground) -> list[ColumnCount]:
    """Return the live keys by the column that took them."""
    ledger = _ledger_of(survey)
    with survey.engine.connect() as connection:
        return list(_counts(connection, ledger, ground))


def by_column(ledger: Ledger) -> Select[*tuple[Any, ...]]:
    """Select for each column number and bytes of its live keys, of those that are noted, and since when one is."""
    columns = ledger.table.c
    noted = columns.unreferenced_since
    return (
        select(
            columns.held_in,
            func.count(),
            func.coalesce(func.sum(columns.size), 0),
            func.count(noted),
            func.coalesce(func.sum(case((noted.is_not(None), columns.size), else_=0)), 0),
            func.min(noted),
        )
        .where(columns.state == State.LIVE.value)
        .group_by(columns.held_in)
    )


def _counts(connection: Connection, ledger: Ledger, ground: Ground) -> Iterator[ColumnCount]:
    names = {each.id: each.name for each in ground.view.recorded}
    for held_in, live, live_bytes, noted, noted_bytes, _ in connection.execute(by_column(ledger)):
        name = names.get(held_in)
        empty = (
            name is not None
            and noted > 0
            and str(ground.view.read_name(connection, ledger, name)) not in ground.view.hidden
            and is_empty(connection, ground.view.read_name(connection, ledger, name))
        )
        yield ColumnCount(
            held_in,
            name,
            live,
            int(live_bytes),
            noted,
            int(noted_bytes),
            is_empty=empty,
        )


def unreferenced_since(survey: Survey, column: str | None, age: float) -> Iterator[list[ObjectRef]]:
    """Yield the live keys of a column that were noted *age* seconds ago or earlier, in pages."""
    ledger = _ledger_of(survey)
    columns = ledger.table.c
    query = select(columns.backend, columns.key).where(
        columns.state == State.LIVE.value,
        columns.held_in == column,
        columns.unreferenced_since <= now_ms() - int(age * 1000),
    )
    for page in pages_of(survey.engine, query, (columns.backend, columns.key)):
        yield [(row.backend, row.key) for row in page]


def conclude_pass(survey: Survey, scratch: Scratch, started: float) -> None:
    """Mark keys that several rows hold as unchecked, at the end of a complete pass that began at *started*."""
    ledger = _ledger_of(survey) if survey.ledger is not None else None
    if ledger is None:
        return
    for page in scratch.shared_places():
        mark_shared(survey.engine, ledger, survey.places.spelled(page))
    with survey.engine.connect() as connection:
        is_lifted = read_meta(connection, ledger, FLOOR).get(FLOOR, "0") == "0"
    if not is_lifted:
        insist(survey.engine, lambda connection: lift_floor(connection, ledger, int(started * 1000)))


def _ledger_of(survey: Survey) -> Ledger:
    assert survey.ledger is not None  # noqa: S101 - only called where there is one
    return survey.ledger
