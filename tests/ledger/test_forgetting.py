"""Keys that were GONE for their time are forgotten: a few with each commit that deletes, all of them in a drain."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, text, update

from filecolumn.backends.base import StorageBackend
from filecolumn.ledger import deletion, transitions
from filecolumn.ledger.table import LEDGER as NAME
from filecolumn.ledger.table import State, ledger_of
from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import ON_SERVERS, ON_SQLITE
from tests.scenarios.models import Base, Document
from tests.scenarios.records import agree, insert_files

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table

LATER = 2**42
"""Milliseconds: in a hundred years."""


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test with nothing that waits since an earlier one."""
    monkeypatch.setattr(deletion, "_deleted", type(deletion._deleted)())
    monkeypatch.setattr(deletion, "RECORDED_WITHIN", 1000.0)


async def enter(
    driver: Driver,
    count: int,
    state: State = State.GONE,
    *,
    due: int = 1,
    step: int = 0,
    name: str = "docs",
    end: str = "",
) -> None:
    """Write entries that are due at a time, or each *step* milliseconds after the one before."""
    rows = [
        {
            "backend": name,
            "key": f"{state.name}/{due}/{number}{end}",
            "state": state.value,
            "checked": True,
            "created_at": 1,
            "due_at": due + number * step,
            "attempts": 0,
        }
        for number in range(count)
    ]
    async with driver.session() as session:
        for start in range(0, count, 1000):
            page = rows[start : start + 1000]
            await session.run(lambda sync, page=page: sync.execute(insert(TABLE), page))  # type: ignore[misc]
        await session.commit()


async def left(driver: Driver) -> Counter[State]:
    """Count the keys of each state that `enter` wrote."""
    async with driver.session() as session:
        query = select(TABLE.c.state, func.count()).where(TABLE.c.created_at == 1).group_by(TABLE.c.state)
        return Counter({State(state): count for state, count in await session.execute(query)})


async def remove(driver: Driver, *numbers: int) -> None:
    """Take the files of rows away in one transaction."""
    async with driver.session() as session:
        for number in numbers:
            (await session.one(Document, number)).file = None
        await session.commit()


@contextmanager
def statements(driver: Driver) -> Iterator[list[str]]:
    """Note the statements that name the ledger's table."""
    noted: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if NAME in statement:
            noted.append(statement)

    event.listen(driver.sync_engine, "before_cursor_execute", note)
    yield noted
    event.remove(driver.sync_engine, "before_cursor_execute", note)


# After commits


@pytest.mark.usefixtures("recorded_at_once")
async def test_commits_that_delete_forget_keys_that_are_past_their_time(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    await enter(driver, 150, end="\U0001f600 \u00e9 %s ' \" \\")
    # of a storage that is not there any more
    await enter(driver, 100, name="old")
    await enter(driver, 10, due=LATER)
    await enter(driver, 10, State.DOOMED)
    forgettable = [250, 150, 50, 0]
    for number in (1, 2, 3):
        assert await left(driver) == {State.GONE: forgettable[number - 1] + 10, State.DOOMED: 10}
        await remove(driver, number)
    assert await left(driver) == {State.GONE: 10, State.DOOMED: 10}
    await agree(driver, {1: None, 2: None, 3: None})


async def test_a_commit_forgets_twice_as_many_keys_as_it_records(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, *(b"%d" % number for number in range(64)))
    await enter(driver, 300, step=1)
    await remove(driver, *range(1, 65))
    assert await left(driver) == {State.GONE: 300 - 128}


@pytest.mark.usefixtures("recorded_at_once")
async def test_where_nothing_is_past_its_time_it_is_looked_for_once_a_minute(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    await enter(driver, 10, due=LATER)
    with statements(driver) as first:
        await remove(driver, 1)
    with statements(driver) as second:
        await remove(driver, 2)
    assert len(second) == len(first) - 1
    for purges in deletion._purges._of.values():
        for purge in purges.values():
            purge.rests_until = 0.0
    with statements(driver) as third:
        await remove(driver, 3)
    assert len(third) == len(first)


@pytest.mark.usefixtures("recorded_at_once")
@pytest.mark.parametrize("step", [0, 1])
async def test_a_backlog_that_is_due_before_them_does_not_keep_keys_from_being_forgotten(
    driver: Driver, storage: StorageBackend, step: int
) -> None:
    """A drain that does not run must not make each commit read all that it would delete."""
    await insert_files(driver, *(b"%d" % number for number in range(5)))
    await enter(driver, 1000, State.DOOMED, step=step)
    await enter(driver, 150, due=5000, step=step)
    for number in range(1, 6):
        await remove(driver, number)
    assert await left(driver) == {State.DOOMED: 1000}


@pytest.mark.usefixtures("recorded_at_once")
async def test_a_purge_that_fails_loses_no_record_and_is_tried_later(
    driver: Driver,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await insert_files(driver, b"one", b"two")
    await enter(driver, 10)
    tried: list[int] = []

    def fail(engine: Engine, *rest: object, **options: object) -> int:
        tried.append(1)
        with engine.begin() as connection:
            connection.execute(text("SELECT nothing FROM nowhere"))
        return 0

    monkeypatch.setattr(deletion, "purge_some", fail)
    await remove(driver, 1)
    await remove(driver, 2)
    assert len(tried) == 1
    assert "the ledger forgets deleted keys later" in caplog.text
    assert await left(driver) == {State.GONE: 10}
    async with driver.session() as session:
        query = select(TABLE.c.state).where(TABLE.c.created_at != 1)
        assert {state for (state,) in await session.execute(query)} == {State.GONE.value}


@pytest.mark.usefixtures("recorded_at_once")
@pytest.mark.parametrize("driver", ON_SERVERS, indirect=True)
async def test_keys_that_others_have_locked_are_left_to_them(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    await enter(driver, 10)
    async with driver.connect() as other:
        await other.begin()
        locked = update(TABLE).where(TABLE.c.key == "GONE/1/3").values(attempts=1)
        await other.run(lambda connection: connection.execute(locked))
        started = time.monotonic()
        await remove(driver, 1)
        assert time.monotonic() - started < 10, "it waited for the lock"
        await other.rollback()
    assert await left(driver) == {State.GONE: 1}


# In a drain


async def test_a_drain_forgets_all_of_them_however_many_are_due_at_one_time(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "PURGE_PAGE", 20)
    await enter(driver, 70)
    await enter(driver, 30, State.DOOMED, due=LATER)
    await enter(driver, 45, due=2, step=1)
    await enter(driver, 5, due=LATER)
    assert (await driver.drain()).purged == 115
    assert await left(driver) == {State.GONE: 5, State.DOOMED: 30}


@pytest.mark.parametrize("driver", ON_SERVERS, indirect=True)
async def test_a_drain_ends_where_others_have_locked_what_is_to_be_forgotten(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "PURGE_PAGE", 5)
    await enter(driver, 8)
    await enter(driver, 6, due=2)
    async with driver.connect() as other:
        await other.begin()
        locked = update(TABLE).where(TABLE.c.due_at == 1).values(attempts=1)
        await other.run(lambda connection: connection.execute(locked))
        purged = (await driver.drain()).purged
        await other.rollback()
    assert purged == 6
    assert await left(driver) == {State.GONE: 8}


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
async def test_a_drain_gives_way_to_other_writers_after_each_thousand_keys(
    driver: Driver, storage: StorageBackend
) -> None:
    await enter(driver, 2500)
    committed: list[int] = []
    with statements(driver) as noted:

        def note(connection: object) -> None:
            committed.append(sum(each.startswith("DELETE") for each in noted))

        event.listen(driver.sync_engine, "commit", note)
        assert (await driver.drain()).purged == 2500
        event.remove(driver.sync_engine, "commit", note)
    assert sorted(set(committed) - {0}) == [1, 2, 3], "each in a transaction of its own"


# Plans


@contextmanager
def plans(driver: Driver) -> Iterator[dict[str, str]]:
    """Note how the database runs the statements that name the ledger's table, by their first words."""
    noted: dict[str, str] = {}
    explain = "EXPLAIN QUERY PLAN " if driver.dialect == "sqlite" else "EXPLAIN "

    def note(
        connection: Connection, cursor: object, statement: str, parameters: Any, context: object, many: bool
    ) -> None:
        if NAME not in statement or statement.startswith("EXPLAIN"):
            return
        given = parameters[0] if many else parameters
        rows = connection.exec_driver_sql(explain + statement, given).all()
        what = "lock" if "FOR UPDATE" in statement else statement.split(maxsplit=1)[0]
        noted[what] = "\n".join(" ".join(map(str, row)) for row in rows)

    event.listen(driver.sync_engine, "before_cursor_execute", note)
    yield noted
    event.remove(driver.sync_engine, "before_cursor_execute", note)


async def test_each_key_is_found_by_an_index_in_a_table_that_was_never_analysed(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each commit would read all that is due, and MariaDB lock the keys of a whole storage."""
    monkeypatch.setattr(transitions, "PURGE_PAGE", 500)
    await enter(driver, 3000, step=1)
    await enter(driver, 3000, due=LATER, step=1)
    with plans(driver) as noted:
        async with driver.session() as session:
            assert await session.run(lambda _: transitions.purge(driver.sync_engine, LEDGER)) == 3000
    assert set(noted) == {"SELECT", "DELETE"} | (set() if driver.dialect == "sqlite" else {"lock"})
    assert "ix_filecolumn_ledger_due" in noted["SELECT"]
    whole = {"sqlite": "SCAN", "postgresql": "Seq Scan on", "mariadb": f"{NAME} ALL"}[driver.dialect]
    for plan in noted.values():
        assert whole not in plan
        assert "Sort" not in plan
        assert "filesort" not in plan
        assert "TEMP B-TREE" not in plan
    by_key = {"sqlite": "(backend=? AND key=?)", "postgresql": "((key)::text =", "mariadb": "PRIMARY"}
    for what, plan in noted.items():
        assert what == "SELECT" or by_key[driver.dialect] in plan
