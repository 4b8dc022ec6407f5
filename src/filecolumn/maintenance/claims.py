"""The changes that maintenance makes in a ledger, each safe at any time against sessions and workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.files import execution
from filecolumn.ledger.table import Ledger, State, now_ms
from filecolumn.ledger.transitions import BATCH, inserted, is_one_of
from filecolumn.maintenance.snapshot import Entry
from filecolumn.maintenance.survey import Places

__all__ = ("adopt_live", "doom_gone", "doom_live", "entries_of", "fence", "insist", "restore")

T = TypeVar("T")

ATTEMPTS = 6
LOCK_LIMIT = 1
"""Seconds to wait for a transaction that holds a key: it is in use, so it is left alone."""


def entries_of(
    engine: Engine, ledger: Ledger | None, places: Places, keys: Collection[ObjectRef]
) -> dict[ObjectRef, Entry]:
    """Return what the ledger says of *keys*, under any name of their storages, in one query for 1,000."""
    found: dict[ObjectRef, Entry] = {}
    if ledger is None or not keys:
        return found
    columns = ledger.table.c
    query = select(columns.backend, columns.key, columns.state, columns.checked, columns.sha256)
    with engine.connect() as connection:
        for batch in batches(sorted(keys), BATCH):
            wanted = is_one_of(ledger, places.spelled(batch))
            for backend, key, state, checked, sha256 in connection.execute(query.where(wanted)):
                entry = Entry(places.name_of(backend), key, backend, state, checked, sha256)
                found[entry.place, key] = entry
    return found


def fence(
    engine: Engine, ledger: Ledger, keys: Sequence[ObjectRef], *, after: float = 0.0
) -> list[ObjectRef]:
    """Doom keys that the ledger does not have, and return those that were: nobody can give them to a row now.

    They are due *after* seconds.  A key that a running transaction is about to have is left alone.
    """
    rows = [{"backend": storages.name_in_ledger(backend), "key": key} for backend, key in keys]
    statement = inserted(ledger, State.DOOMED, checked=False).values(
        due_at=now_ms() + int(after * 1000), unreferenced_since=now_ms()
    )
    if _succeeds(engine, lambda connection: connection.execute(statement, rows)):
        return list(keys)
    if len(keys) <= 1:
        return []
    # one key that is taken undoes its whole batch
    middle = len(keys) // 2
    return [
        *fence(engine, ledger, keys[:middle], after=after),
        *fence(engine, ledger, keys[middle:], after=after),
    ]


def doom_live(engine: Engine, ledger: Ledger, keys: Collection[ObjectRef]) -> int:
    """Doom live keys that no row refers to; a drain looks again before it deletes. Return of how many."""
    return _move(engine, ledger, keys, State.LIVE, State.DOOMED)


def doom_gone(engine: Engine, ledger: Ledger, keys: Collection[ObjectRef], *, after: float = 0.0) -> int:
    """Doom keys again whose objects came back, by an upload that arrived late; they are due *after* seconds.

    Return of how many.
    """
    return _move(engine, ledger, keys, State.GONE, State.DOOMED, after=after)


def restore(engine: Engine, ledger: Ledger, keys: Collection[ObjectRef]) -> int:
    """Let doomed keys live that a row refers to. Return of how many."""
    return _move(engine, ledger, keys, State.DOOMED, State.LIVE)


def adopt_live(engine: Engine, ledger: Ledger, keys: Sequence[ObjectRef]) -> list[ObjectRef]:
    """Record keys of rows that were written without the ledger; other rows may share them."""
    rows = [{"backend": storages.name_in_ledger(backend), "key": key} for backend, key in keys]
    statement = inserted(ledger, State.LIVE, checked=False)
    if _succeeds(engine, lambda connection: connection.execute(statement, rows)):
        return list(keys)
    if len(keys) <= 1:
        return []
    middle = len(keys) // 2
    return [*adopt_live(engine, ledger, keys[:middle]), *adopt_live(engine, ledger, keys[middle:])]


def _move(
    engine: Engine,
    ledger: Ledger,
    keys: Collection[ObjectRef],
    before: State,
    target: State,
    *,
    after: float = 0.0,
) -> int:
    columns = ledger.table.c
    due = now_ms() + int(after * 1000) if target is State.DOOMED else None
    note = "restored: a row refers to it" if target is State.LIVE else None
    moved = 0
    for batch in batches(sorted(keys), BATCH):
        statement = (
            update(ledger.table)
            .where(is_one_of(ledger, batch), columns.state == before.value)
            .values(state=target.value, checked=False, due_at=due, attempts=0, last_error=note)
        )
        counts: list[int] = []

        def change(connection: Connection) -> None:
            counts.append(connection.execute(statement).rowcount)  # noqa: B023 - called at once

        if _succeeds(engine, change):
            moved += counts[0]
    return moved


def insist(engine: Engine, change: Callable[[Connection], T]) -> T:
    """Commit *change* and return its result; what the database undoes in favour of others is tried again."""
    for attempt in range(ATTEMPTS):
        try:
            with engine.begin() as connection:
                return change(connection)
        except DBAPIError as error:
            if attempt == ATTEMPTS - 1 or error.connection_invalidated or not _is_wait(error):
                raise
            execution.pause(random.uniform(0.5, 1.0) * 0.1 * 2**attempt)  # noqa: S311 - it spreads load
    raise AssertionError("unreachable")


def _succeeds(engine: Engine, change: Callable[[Connection], object]) -> bool:
    """Return whether *change* was committed: not if a key is taken, or in use for longer than a moment."""
    try:
        with _impatient(engine) as connection:
            change(connection)
    except IntegrityError:
        return False
    except DBAPIError as error:
        if error.connection_invalidated or not _is_wait(error):
            raise
        return False
    return True


# SQLSTATEs of PostgreSQL, numbers of MariaDB and MySQL, words of SQLite: a lock was not to be had, or a
# transaction was undone in favour of another
_WAITS = ("55P03", "40P01", "40001", "1205", "1213", "database is locked", "database table is locked")


def _is_wait(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return any(sign in f"{state} {error.orig}" for sign in _WAITS)


@contextmanager
def _impatient(engine: Engine) -> Generator[Connection]:
    """Begin a transaction that waits a second at most for others."""
    with engine.connect() as connection:
        match connection.dialect.name:
            case "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_LIMIT}s'")
                yield connection
                connection.commit()
            case "mysql" | "mariadb":
                patience = connection.exec_driver_sql("SELECT @@innodb_lock_wait_timeout").scalar_one()
                connection.exec_driver_sql(f"SET innodb_lock_wait_timeout = {LOCK_LIMIT}")
                try:
                    yield connection
                    connection.commit()
                finally:
                    connection.rollback()
                    connection.exec_driver_sql(f"SET innodb_lock_wait_timeout = {patience:d}")
            case _:
                patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_LIMIT * 1000}")
                try:
                    yield connection
                    connection.commit()
                finally:
                    connection.rollback()
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience:d}")
