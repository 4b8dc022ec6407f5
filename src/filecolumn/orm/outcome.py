"""Whether a transaction committed of which COMMIT was sent and no answer came.

The database is asked by the fence: a key that the transaction put into the ledger is put there
again.  If it is not there, the transaction will never commit: it was the only one that could have
put it there, and the database makes us wait while it still may.  If it is there, the transaction
has committed, unless a sweep has put it there since: unchecked, and without a hash.
"""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from filecolumn.orm.ledger import State
from filecolumn.orm.recording import LedgerAt, inserted
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("has_committed",)

LOCK_LIMIT = 5
"""Seconds to wait for a transaction of which the database does not know yet that nobody will end it."""


def has_committed(at: LedgerAt, place: Place) -> bool:
    """Return whether the transaction that recorded *place* as new has committed; if not, it never will.

    Raises the database's own error when it does not answer, or the transaction may still be running.
    """
    backend, key = storages.name_in_ledger(place[0]), place[1]
    with at.engine.connect() as connection:
        _bound_wait(connection)
        try:
            connection.execute(
                inserted(at.ledger, State.DOOMED, checked=True), [{"backend": backend, "key": key}]
            )
        except IntegrityError:
            connection.rollback()
            columns = at.ledger.table.c
            found = select(columns.checked, columns.sha256).where(
                columns.backend == backend, columns.key == key
            )
            checked, sha256 = connection.execute(found).one()
            # a row that came to share the key takes `checked` away
            return checked or sha256 is not None
        finally:
            connection.rollback()
    return False


def _bound_wait(connection: Connection) -> None:
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_LIMIT}s'")
        case "mysql" | "mariadb":
            # the setting outlives the transaction, so the connection does not go back to the pool
            connection.detach()
            connection.exec_driver_sql(f"SET innodb_lock_wait_timeout = {LOCK_LIMIT}")
        case _:
            return
