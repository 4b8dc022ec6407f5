"""Locks of the database: how long to wait for them, what to do when they are not to be had, SQLite's write lock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, Update, column, false, table, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from filecolumn.files import execution
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import Ledger, ledger_of

__all__ = (
    "attempt",
    "bounded",
    "brief",
    "has_begin_listener",
    "insist",
    "lock_sqlite",
    "lock_sqlite_by",
    "patient",
    "short_read",
)

T = TypeVar("T")

BUSY_LIMIT = 0.05
"""Seconds for which a commit waits for SQLite's other writers after its own transaction has ended."""
LOCK_LIMIT: float = 1
"""Seconds to wait for a transaction that has locked a key: it is in use, so maintenance leaves it alone."""
END_LIMIT: float = 5
"""Seconds to wait for a transaction of which the database does not know yet that nobody will end it."""
HELD_AT_ONCE = 0.01
"""Seconds for which maintenance has SQLite's write lock before it gives way."""
BREATHER = 0.03
"""Seconds for which it then leaves the lock to others."""
ATTEMPTS = 6
"""How often `insist` tries."""

# SQLSTATEs of PostgreSQL, numbers of MariaDB and MySQL, words of SQLite: a lock was not to be had, or a
# transaction was undone in favour of another
_WAITS = ("55P03", "40P01", "40001", "1205", "1213", "database is locked", "database table is locked")


@contextmanager
def bounded(engine: Engine, limit: float) -> Generator[Connection]:
    """Begin a transaction in which no statement waits longer than *limit* seconds for a lock; commit it at the end.

    The connection goes back to the pool with the limit that it had before.
    """
    with engine.connect() as connection:
        match connection.dialect.name:
            case "postgresql":
                with connection.begin():
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{limit * 1000:.0f}ms'")
                    yield connection
                return
            case "mysql" | "mariadb":
                wait_at_most, patience = _wait_mysql, int(limit)
            case _:
                wait_at_most, patience = _wait_sqlite, int(limit * 1000)
        before = wait_at_most(connection, patience)
        try:
            # a COMMIT that fails is rolled back by this block only: else the pool would get the locks back too
            with connection.begin():
                yield connection
        finally:
            # a connection that was cancelled or lost is given up by SQLAlchemy, with its patience
            if not connection.invalidated:
                wait_at_most(connection, before)


@contextmanager
def brief(engine: Engine) -> Generator[Connection]:
    """Begin a transaction that hardly waits for others, where it would hold up somebody's commit.

    SQLite has one writer at a time, and a reader between two commits can make the next one wait for
    the whole of its `busy_timeout`.
    """
    with bounded(engine, BUSY_LIMIT) if engine.dialect.name == "sqlite" else engine.begin() as connection:
        yield connection


def patient(engine: Engine) -> AbstractContextManager[Connection]:
    """Begin a transaction that waits long enough for one that is ending, and not for one that nobody ends.

    SQLite waits as long as the application has set it to.
    """
    return engine.begin() if engine.dialect.name == "sqlite" else bounded(engine, END_LIMIT)


def attempt(engine: Engine, change: Callable[[Connection], object]) -> bool:
    """Return whether *change* was committed: not if a key is taken, or locked for longer than a moment."""
    try:
        with _giving_way(engine), bounded(engine, LOCK_LIMIT) as connection:
            change(connection)
    except IntegrityError:
        return False
    except DBAPIError as error:
        if error.connection_invalidated or not _is_wait(error):
            raise
        return False
    return True


def insist(engine: Engine, change: Callable[[Connection], T]) -> T:
    """Commit *change* and return its result; what the database undoes in favour of others is tried again."""
    for number in range(ATTEMPTS):
        try:
            with _giving_way(engine), engine.begin() as connection:
                return change(connection)
        except DBAPIError as error:
            if number == ATTEMPTS - 1 or error.connection_invalidated or not _is_wait(error):
                raise
            execution.pause(random.uniform(0.5, 1.0) * 0.1 * 2**number)  # noqa: S311 - it spreads load
    raise AssertionError("unreachable")


@contextmanager
def short_read(engine: Engine) -> Generator[None]:
    """Read a little in a transaction that ends here; it may have SQLite's write lock, if a listener began it."""
    with _giving_way(engine) if has_begin_listener(engine) else nullcontext():
        yield


def has_begin_listener(engine: Engine) -> bool:
    """Return whether the application listens to the beginning of SQLite's transactions, perhaps to take its lock."""
    return engine.dialect.name == "sqlite" and bool(engine.dispatch.begin)


@contextmanager
def _giving_way(engine: Engine) -> Generator[None]:
    """Leave SQLite's write lock to others for a moment, when this process has had it for long enough.

    Who waits for it is in no queue: it asks again and again, in the first 0.1 seconds after 25 ms at most
    (sqliteDefaultBusyCallback in https://sqlite.org/src/file/src/main.c).
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    held, ended = _held.get(engine, (0.0, 0.0))
    now = time.monotonic()
    if now - ended >= BREATHER:
        held = 0.0
    elif held >= HELD_AT_ONCE:
        execution.pause(BREATHER - (now - ended))
        held = 0.0
    began = time.monotonic()
    try:
        yield
    finally:
        ended = time.monotonic()
        _held[engine] = held + ended - began, ended


_held: WeakKeyDictionary[Engine, tuple[float, float]] = WeakKeyDictionary()
"""For how long maintenance has had a lock since it gave way, and when it had it last, in seconds."""


def lock_sqlite(connection: Connection, ledger: Ledger) -> None:
    """Take SQLite's write lock before reading, in place of FOR UPDATE: any UPDATE does, also of no row."""
    if connection.dialect.name == "sqlite":
        connection.execute(update(ledger.meta).where(false()).values(value=None))


def lock_sqlite_by(connection: Connection, watched: Table) -> None:
    """Take the write lock of the SQLite database that has the table *watched*, as `lock_sqlite` does."""
    if connection.dialect.name != "sqlite":
        return
    statement = prepared(watched.metadata, (lock_sqlite_by, watched), lambda: _update_of_no_row(watched))
    try:
        connection.execute(statement)
    except OperationalError as error:
        # a view may have INSTEAD OF triggers for other statements only
        if "because it is a view" not in str(error.orig):
            raise
        if (ledger := ledger_of(watched.metadata)) is not None:
            lock_sqlite(connection, ledger)


def _update_of_no_row(watched: Table) -> Update:
    # a view declares no key
    name = next(iter((*watched.primary_key, *watched.columns))).name
    # a table without the columns' `onupdate`, which may be functions of the user
    bare = table(watched.name, column(name), schema=watched.schema)
    return bare.update().where(false()).values({name: bare.c[name]})


def _is_wait(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return any(sign in f"{state} {error.orig}" for sign in _WAITS)


def _wait_mysql(connection: Connection, seconds: int, /) -> int:
    """Set `innodb_lock_wait_timeout` for the connection, and return what it was."""
    with connection.begin():
        before = connection.exec_driver_sql("SELECT @@innodb_lock_wait_timeout").scalar_one()
        connection.exec_driver_sql(f"SET innodb_lock_wait_timeout = {seconds:d}")
    return int(before)


def _wait_sqlite(connection: Connection, milliseconds: int, /) -> int:
    """Set SQLite's `busy_timeout`, without a transaction, which an application may let wait; return what it was."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA busy_timeout")
        (before,) = cursor.fetchone() or (milliseconds,)
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}")
    finally:
        cursor.close()
    return int(before)
