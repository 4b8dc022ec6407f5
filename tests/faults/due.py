"""Makes the time of what is to be drained or swept come."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData, column, delete, insert, table, update
from sqlalchemy.orm import DeclarativeBase

from filecolumn.ledger.table import ledger_of
from filecolumn.maintenance import SweepReport, sweep


def make_due(engine: Engine) -> None:
    """Let the time of everything come that is to be drained.

    The times stay different: a drain tells by them what was written since it listed a key.
    """
    ledger = table("filecolumn_ledger", column("state"), column("due_at"))
    is_later = ledger.c.state == 2, ledger.c.due_at > 0
    with engine.begin() as connection:
        connection.execute(update(ledger).where(*is_later).values(due_at=-ledger.c.due_at))


def let_sweeps_judge(engine: Engine, metadata: MetaData) -> None:
    """Give the ledger an entry that is newer than any object: a sweep leaves alone what is younger than it."""
    ledger = ledger_of(metadata)
    assert ledger is not None
    columns = ledger.table.c
    facts = {"backend": "docs", "key": "newest", "state": 3, "checked": True, "attempts": 0}
    with engine.begin() as connection:
        connection.execute(delete(ledger.table).where(columns.key == "newest"))
        connection.execute(insert(ledger.table).values(**facts, created_at=10**14))


def sweep_all_now(engine: Engine, base: type[DeclarativeBase], *, grace: float) -> SweepReport:
    """Claim everything that no row refers to, for the next drain to delete."""
    let_sweeps_judge(engine, base.metadata)
    return sweep(engine, base, grace=grace, quarantine=0, unreferenced=True, force=True)
