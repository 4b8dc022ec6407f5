"""Whether a transaction committed of which COMMIT was sent and no answer came.

The database is asked for what only that transaction could have left.  That is a key which it put into
the ledger; a transaction without a new key leaves a token instead, the last thing before COMMIT.

The question is an INSERT of the same key.  If it succeeds (and is rolled back), the transaction will
never commit: the database makes us wait while it still may.  If the key is there, the transaction has
committed, unless a sweep has put it there since: unchecked, and without a hash.  A token belongs to a
connection, whose transactions come one after the other, and says which was the last.
"""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.ledger.columns import translated
from filecolumn.ledger.locks import insist, patient
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import Ledger, State
from filecolumn.ledger.transitions import BATCH, FENCE_RETENTION, LedgerAt, inserted
from filecolumn.naming import uuid7_hex

__all__ = (
    "Token",
    "forget_tokens",
    "has_left",
    "has_put",
    "leave_token",
)

TOKEN = "commit:"  # noqa: S105 - no secret
"""How the names of tokens begin in the meta table; their values sort by time."""

Token = tuple[str, str]
"""Name and value of a row in the meta table."""

_TOKENS = "filecolumn.tokens"
_with_meta: WeakKeyDictionary[Engine, set[Ledger]] = WeakKeyDictionary()


def leave_token(connection: Connection, at: LedgerAt) -> Token | None:
    """Leave in the transaction of *connection* what proves later that it has committed.

    None where the table for it is not in the database: a transaction without files needs none.

    Each connection has a row of its own, so that no two transactions write one row at a time, and a
    snapshot is never older than the row's last change.
    """
    if not _has_meta(connection, at):
        return None
    names: dict[LedgerAt, str] = connection.info.setdefault(_TOKENS, {})
    value = uuid7_hex()
    name = names.get(at)
    if name is not None and _set_token(connection, at.ledger, name, value):
        return name, value
    names[at] = name = f"{TOKEN}{uuid7_hex()}"
    connection.execute(insert(at.ledger.meta), {"name": name, "value": value})
    return name, value


def _has_meta(connection: Connection, at: LedgerAt) -> bool:
    """Return whether the meta table is there; asked until it is, since some databases end a transaction at an error."""
    known = _with_meta.setdefault(at.engine, set())
    if at.ledger not in known:
        meta = at.ledger.meta
        if not inspect(connection).has_table(meta.name, schema=translated(connection, meta.schema)):
            return False
        known.add(at.ledger)
    return True


def _set_token(connection: Connection, ledger: Ledger, name: str, value: str) -> bool:
    statement = prepared(
        ledger.meta.metadata,
        _set_token,
        lambda: (
            update(ledger.meta)
            .where(ledger.meta.c.name == bindparam("named"))
            .values(value=bindparam("token"))
        ),
    )
    # it is not there if the transaction that left it was rolled back, or a drain has removed it
    return connection.execute(statement, {"named": name, "token": value}).rowcount == 1


def has_put(at: LedgerAt, ref: ObjectRef) -> bool:
    """Return whether the transaction that recorded *ref* as new has committed; if not, it never will.

    Raises the database's own error when it does not answer, or the transaction may still be running.
    """
    backend, key = storages.name_in_ledger(ref[0]), ref[1]
    try:
        with patient(at.engine) as connection:
            new = inserted(at.ledger, State.DOOMED, checked=True)
            connection.execute(new, [{"backend": backend, "key": key}])
            connection.rollback()
    except IntegrityError:
        columns = at.ledger.table.c
        found = select(columns.checked, columns.sha256).where(columns.backend == backend, columns.key == key)
        with at.engine.connect() as connection:
            checked, sha256 = connection.execute(found).one()
        # a row that came to share the key takes `checked` away
        return checked or sha256 is not None
    return False


def has_left(at: LedgerAt, token: Token) -> bool:
    """Return whether the transaction that left *token* has committed; raises as `has_put` does."""
    name, value = token
    meta = at.ledger.meta
    found = select(meta.c.value).where(meta.c.name == name)
    with patient(at.engine) as connection:
        # it was there before, and the transaction may be about to change it
        if (known := connection.scalar(found.with_for_update())) is not None:
            return bool(known == value)
    try:
        with patient(at.engine) as connection:
            connection.execute(insert(meta), {"name": name, "value": value})
            connection.rollback()
    except IntegrityError:
        with at.engine.connect() as connection:
            return bool(connection.scalar(found) == value)
    return False


def forget_tokens(engine: Engine, ledger: Ledger) -> None:
    """Forget proofs of commits after which nobody asks any more: those of connections that are gone."""
    columns = ledger.meta.c
    oldest = uuid7_hex(time.time_ns() - int(FENCE_RETENTION * 1e9))
    is_over = columns.name.startswith(TOKEN, autoescape=True), columns.value < oldest
    over = select(columns.name).where(*is_over).limit(BATCH)

    def forget(connection: Connection) -> int:
        names = list(connection.scalars(over))
        if names:
            connection.execute(delete(ledger.meta).where(columns.name.in_(names), *is_over))
        return len(names)

    while insist(engine, forget):
        continue
