"""Entries of the ledger that a newer release wrote are left alone."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from filecolumn import FileObject, ObjectExistsError
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import ledger_of
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Base, Document
from tests.scenarios.records import agree, file, insert_files

UNKNOWN = 9

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table


async def make_unknown(driver: Driver) -> None:
    async with driver.session() as session:
        await session.execute(update(TABLE).values(state=UNKNOWN))
        await session.commit()


async def values(driver: Driver) -> dict[str, int]:
    """Return the states, as the database has them, by key."""
    async with driver.session() as session:
        rows = await session.run(lambda s: s.execute(select(TABLE.c.key, TABLE.c.state)).all())
    return {row.key: row.state for row in rows}


@pytest.fixture
async def keys(driver: Driver, storage: StorageBackend) -> set[str]:
    """Keys of two rows, in a state of a newer release."""
    await insert_files(driver, b"one", b"two")
    await make_unknown(driver)
    return set(stored())


async def test_a_replaced_file_of_an_unknown_state_stays(
    driver: Driver, keys: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        await session.commit()
    assert contents() == [b"new", b"one", b"two"]
    await agree_with(driver, keys)
    assert "newer release" in caplog.text
    assert {record.name for record in caplog.records if record.levelname == "WARNING"} == {"filecolumn"}


async def test_a_deleted_row_leaves_an_unknown_state(driver: Driver, keys: set[str]) -> None:
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert contents() == [b"one", b"two"]
    await agree_with(driver, keys)
    await driver.drain(Base)
    assert contents() == [b"one", b"two"]
    await agree_with(driver, keys)


async def test_a_file_of_an_unknown_state_may_move(driver: Driver, keys: set[str]) -> None:
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        one.file, two.file = two.file, one.file
        await session.commit()
    await agree(driver, {1: b"two", 2: b"one"})
    await agree_with(driver, keys)


async def test_a_key_of_an_unknown_state_is_taken(driver: Driver, keys: set[str]) -> None:
    chosen = min(keys)
    async with driver.session() as session:
        session.add(Document(id=3, file=FileObject("a", content=b"never", to_filename=chosen)))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    await agree_with(driver, keys)


async def agree_with(driver: Driver, keys: set[str]) -> None:
    """Check that the entries of *keys* are what they were, and all their objects there."""
    found = await values(driver)
    assert {key for key, state in found.items() if state == UNKNOWN} == keys
    assert keys <= set(stored())
