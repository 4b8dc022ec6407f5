"""Bounded waits for others, and SQLite's write lock."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, false, update

from filecolumn.ledger.table import Ledger

__all__ = (
    "brief",
    "lock_sqlite",
)

BUSY_LIMIT_MS = 50


def lock_sqlite(connection: Connection, ledger: Ledger) -> None:
    """Take SQLite's write lock before reading, in place of FOR UPDATE: any UPDATE does, also of no row."""
    if connection.dialect.name == "sqlite":
        connection.execute(update(ledger.meta).where(false()).values(value=None))


@contextmanager
def brief(engine: Engine) -> Generator[Connection]:
    """Begin a transaction that hardly waits for others, where it would hold up somebody's commit.

    SQLite has one writer at a time, and a reader between two commits can make the next one wait for
    the whole of its `busy_timeout`.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        patience = _wait_at_most(connection, BUSY_LIMIT_MS)
        try:
            # a COMMIT that fails is rolled back by this block only: else the pool would get the lock back too
            with connection.begin():
                yield connection
        finally:
            # a cancelled connection is given up by SQLAlchemy, with its patience
            if not connection.invalidated:
                _wait_at_most(connection, patience)


def _wait_at_most(connection: Connection, milliseconds: int) -> int:
    """Set SQLite's `busy_timeout`, without a transaction, and return what it was."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA busy_timeout")
        (before,) = cursor.fetchone() or (milliseconds,)
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}")
    finally:
        cursor.close()
    return int(before)
