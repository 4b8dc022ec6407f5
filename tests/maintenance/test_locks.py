"""Waits for locks: bounded where maintenance asks for a key that a session has, and as before afterwards."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import DBAPIError

from filecolumn.ledger import locks
from filecolumn.ledger.locks import attempt, bounded, brief
from tests.maintenance.world import TABLE, World

PATIENCE = {
    "sqlite": "PRAGMA busy_timeout",
    "postgresql": "SHOW lock_timeout",
    "mariadb": "SELECT @@innodb_lock_wait_timeout",
    "mysql": "SELECT @@innodb_lock_wait_timeout",
}


def patience(connection: Connection) -> object:
    return connection.exec_driver_sql(PATIENCE[connection.dialect.name]).scalar_one()


def touch(connection: Connection) -> None:
    connection.execute(update(TABLE).values(attempts=0))


def test_a_connection_has_its_patience_again_after_a_bounded_wait(database: World) -> None:
    with database.engine.connect() as connection:
        before = patience(connection)
    with bounded(database.engine, 3) as connection:
        assert patience(connection) in {3000, "3s", 3}
    with pytest.raises(RuntimeError, match="of the block"), bounded(database.engine, 3) as connection:
        raise RuntimeError("of the block")
    with brief(database.engine) as connection:
        touch(connection)
    with database.engine.connect() as connection:
        assert patience(connection) == before


def test_what_another_transaction_has_locked_is_left_alone(
    database: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_LIMIT", 1)
    database.add(b"one")
    with database.engine.begin() as other:
        touch(other)
        started = time.monotonic()
        assert not attempt(database.engine, touch)
        assert time.monotonic() - started < 10
        with pytest.raises(DBAPIError), bounded(database.engine, 1) as connection:
            touch(connection)
    assert attempt(database.engine, touch)
