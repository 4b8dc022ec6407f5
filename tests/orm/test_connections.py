"""Sessions that are bound to a connection, on which somebody else may hold a transaction."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.session import JoinTransactionMode

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held, insert_files

MODES: tuple[JoinTransactionMode, ...] = (
    "conditional_savepoint",
    "rollback_only",
    "control_fully",
    "create_savepoint",
)


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1 with the content "old"."""
    await insert_files(driver, b"old")


async def replace_and_add(session: DriverSession) -> None:
    (await session.one(Document, 1)).file = file(b"new")
    session.add(Document(id=2, file=file(b"second")))
    await session.flush()


BEFORE = {1: b"old"}
AFTER = {1: b"new", 2: b"second"}


async def rows_have_content(driver: Driver, expected: dict[int, bytes]) -> None:
    """Assert that rows hold *expected*, whose content is there; other content may be, too."""
    assert await held(driver) == expected
    assert set(expected.values()) <= set(contents())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inner", ["commit", "rollback", "close"])
@pytest.mark.parametrize("outer", ["commit", "rollback"])
async def test_the_end_of_the_outer_transaction_decides(
    driver: Driver, committed: None, mode: JoinTransactionMode, inner: str, outer: str
) -> None:
    # SQLAlchemy: a session that only joined does not end the transaction when it is closed
    kept = inner == "commit" or (inner == "close" and mode in {"conditional_savepoint", "rollback_only"})
    async with driver.connect() as connection:
        await connection.begin()
        async with connection.session(join_transaction_mode=mode) as session:
            await replace_and_add(session)
            await getattr(session, inner)()
            assert contents() == sorted([b"old", *([b"new", b"second"] if kept else [])])
        if await connection.run(lambda c: c.in_transaction()):
            await getattr(connection, outer)()
            kept &= outer == "commit"
    await rows_have_content(driver, AFTER if kept else BEFORE)


@pytest.mark.parametrize("outer", ["commit", "rollback"])
async def test_the_outer_transaction_may_end_first(driver: Driver, committed: None, outer: str) -> None:
    async with driver.connect() as connection:
        await connection.begin()
        async with connection.session() as session:
            await replace_and_add(session)
            await getattr(connection, outer)()
    await rows_have_content(driver, AFTER if outer == "commit" else BEFORE)


async def test_an_outer_savepoint_is_rolled_back(driver: Driver, committed: None) -> None:
    async with driver.connect() as connection:
        await connection.begin()
        savepoint = await connection.run(lambda c: c.begin_nested())
        async with connection.session() as session:
            await replace_and_add(session)
            await session.commit()
        await connection.run(lambda _: savepoint.rollback())
        await connection.commit()
    await rows_have_content(driver, BEFORE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_a_savepoint_in_a_joined_session(
    driver: Driver, committed: None, mode: JoinTransactionMode, end: str
) -> None:
    async with driver.connect() as connection:
        await connection.begin()
        async with connection.session(join_transaction_mode=mode) as session:
            async with session.begin_nested():
                session.add(Document(id=2, file=file(b"released")))
            with suppress(ZeroDivisionError):
                async with session.begin_nested():
                    session.add(Document(id=3, file=file(b"undone")))
                    await session.flush()
                    raise ZeroDivisionError
            assert contents() == [b"old", b"released"]
            await getattr(session, end)()
        await connection.commit()
    released = end == "commit" or (end == "close" and mode in {"conditional_savepoint", "rollback_only"})
    await agree(driver, {**BEFORE, **({2: b"released"} if released else {})})


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_session_that_begins_on_its_connection_ends_what_it_began(
    driver: Driver, committed: None, end: str
) -> None:
    async with driver.connect() as connection:
        async with connection.session() as session:
            await replace_and_add(session)
            await getattr(session, end)()
        assert not await connection.run(lambda c: c.in_transaction())
    await rows_have_content(driver, AFTER if end == "commit" else BEFORE)


async def test_a_lost_answer_to_commit_on_a_connection_keeps_old_and_new(
    driver: Driver, committed: None, lost_answer: None
) -> None:
    async with driver.connect() as connection, connection.session() as session:
        await replace_and_add(session)
        with pytest.raises(DBAPIError):
            await session.commit()
        await session.rollback()
    await rows_have_content(driver, AFTER)
    assert contents() == [b"new", b"old", b"second"]


async def test_a_connection_keeps_nothing_of_the_sessions_that_used_it(
    driver: Driver, committed: None
) -> None:
    async with driver.connect() as connection:
        for number in range(2, 6):
            async with connection.session() as session:
                session.add(Document(id=number, file=file(b"%d" % number)))
                await session.commit()
        assert not await connection.run(lambda c: list(c.dispatch.commit))


async def test_a_session_of_tests_is_undone_between_tests(driver: Driver, committed: None) -> None:
    """The recipe of SQLAlchemy's documentation for a test suite."""
    async with driver.connect() as connection:
        for _ in range(2):
            await connection.begin()
            async with connection.session(join_transaction_mode="create_savepoint") as session:
                await replace_and_add(session)
                await session.commit()
                (await session.one(Document, 2)).file = file(b"third")
                await session.commit()
                await session.rollback()
            await connection.rollback()
            await rows_have_content(driver, BEFORE)
