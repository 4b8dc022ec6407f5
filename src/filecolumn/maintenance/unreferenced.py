"""Live keys that no row refers to: noted, counted by the column that took them, claimed only on request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from filecolumn.backends.registry import ObjectRef
from filecolumn.ledger.columns import FLOOR, ColumnName, lift_floor
from filecolumn.ledger.keys import slices
from filecolumn.ledger.locks import insist
from filecolumn.ledger.table import Ledger, State, read_meta
from filecolumn.ledger.transitions import mark_shared, note_referenced
from filecolumn.maintenance.ground import Ground, read_name
from filecolumn.maintenance.snapshot import Snapshot
from filecolumn.maintenance.survey import Survey, database_time, pages_of
from filecolumn.orm.references import is_empty

__all__ = (
    "ColumnCount",
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


def note_found_again(survey: Survey, snapshot: Snapshot) -> None:
    """Take the note from keys that a row references again."""
    for again in snapshot.found_again():
        note_referenced(survey.engine, _ledger_of(survey), again)


def count_unreferenced(survey: Survey, ground: Ground) -> list[ColumnCount]:
    """Return the live keys by the column that took them."""
    ledger = _ledger_of(survey)
    with survey.engine.connect() as connection:
        return list(_counts(connection, ledger, ground))


def _by_column(ledger: Ledger) -> Select[*tuple[Any, ...]]:
    """Select for each column number and bytes of its live keys, and of those that are noted."""
    columns = ledger.table.c
    noted = columns.unreferenced_since
    return (
        select(
            columns.held_in,
            func.count(),
            func.coalesce(func.sum(columns.size), 0),
            func.count(noted),
            func.coalesce(func.sum(case((noted.is_not(None), columns.size), else_=0)), 0),
        )
        .where(columns.state == State.LIVE.value)
        .group_by(columns.held_in)
    )


def _counts(connection: Connection, ledger: Ledger, ground: Ground) -> Iterator[ColumnCount]:
    names: dict[str | None, ColumnName] = {each.id: each.name for each in ground.file_columns.recorded}
    sums: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    for part in slices(connection, ledger):
        for row in connection.execute(_by_column(ledger).where(part)):
            sums[row.held_in].update(
                live=row[1], live_bytes=int(row[2]), noted=row[3], noted_bytes=int(row[4])
            )
        connection.rollback()
    for held_in, counted in sums.items():
        name = names.get(held_in)
        empty = False
        if name is not None and counted["noted"] > 0:
            column = read_name(connection, ledger, name)
            empty = str(column) not in ground.file_columns.hidden and is_empty(connection, column)
        yield ColumnCount(
            held_in,
            name,
            counted["live"],
            counted["live_bytes"],
            counted["noted"],
            counted["noted_bytes"],
            is_empty=empty,
        )


def unreferenced_since(
    survey: Survey, column_ids: Collection[str | None], age: float
) -> Iterator[list[ObjectRef]]:
    """Yield the live keys of columns that were noted *age* seconds ago or earlier, in pages."""
    columns = _ledger_of(survey).table.c
    latest = database_time(survey.engine) - age
    # conditions in Python: SQL would read much for a page that has little, with SQLite's readers in the way of writers
    query = select(columns.backend, columns.key, columns.state, columns.held_in, columns.unreferenced_since)
    for page in pages_of(survey.engine, query, (columns.backend, columns.key)):
        yield [
            (row.backend, row.key)
            for row in page
            if row.state == State.LIVE
            and row.held_in in column_ids
            and row.unreferenced_since is not None
            and row.unreferenced_since <= latest * 1000
        ]


def conclude_pass(survey: Survey, snapshot: Snapshot, started: float) -> None:
    """Mark keys that several rows hold as unchecked, at the end of a complete pass that began at *started*."""
    ledger = _ledger_of(survey) if survey.ledger is not None else None
    if ledger is None:
        return
    for page in snapshot.shared_refs():
        mark_shared(survey.engine, ledger, survey.chosen.spelled(page))
    with survey.engine.connect() as connection:
        is_lifted = read_meta(connection, ledger, FLOOR).get(FLOOR, "0") == "0"
    if not is_lifted:
        insist(survey.engine, lambda connection: lift_floor(connection, ledger, int(started * 1000)))


def _ledger_of(survey: Survey) -> Ledger:
    assert survey.ledger is not None  # noqa: S101 - only called where there is one
    return survey.ledger
