"""Savepoints, and transactions that end without a commit: cases that advanced-alchemy 1.12.0 gets wrong."""

from __future__ import annotations

from contextlib import suppress

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held, insert_files


async def test_a_rolled_back_savepoint_leaves_the_outer_file(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"outer")))
        await session.flush()
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                session.add(Document(id=2, file=file(b"inner")))
                await session.flush()
                raise ZeroDivisionError
        await session.commit()
    await agree(driver, {1: b"outer"})


async def test_a_file_added_after_a_rolled_back_savepoint_is_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                raise ZeroDivisionError
        session.add(Document(id=1, file=file(b"outer")))
        await session.commit()
    await agree(driver, {1: b"outer"})


async def test_an_outer_rollback_removes_the_files_of_a_released_savepoint(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"outer")))
        async with session.begin_nested():
            session.add(Document(id=2, file=file(b"inner")))
        await session.rollback()
        assert contents() == []
    await agree(driver, {})


async def test_the_release_of_an_unrelated_savepoint_settles_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        async with session.begin_nested():
            session.add(Document(id=2, title="unrelated"))
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_a_delete_in_a_released_savepoint_waits_for_the_outer_end(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"kept")
    async with driver.session() as session:
        async with session.begin_nested():
            await session.delete(await session.one(Document, 1))
        assert contents() == [b"kept"]
        await session.rollback()
    await agree(driver, {1: b"kept"})


async def test_a_delete_in_a_released_savepoint_takes_effect_with_the_outer_commit(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"deleted", b"kept")
    async with driver.session() as session:
        async with session.begin_nested():
            await session.delete(await session.one(Document, 1))
        await session.commit()
    await agree(driver, {2: b"kept"})


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_closed_session_keeps_nothing_for_its_next_commit(driver: Driver, flushed: bool) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"abandoned")))
        if flushed:
            await session.flush()
        await session.close()
        session.add(Document(id=2, file=file(b"unrelated")))
        await session.commit()
    assert storage.puts == (2 if flushed else 1)
    await agree(driver, {2: b"unrelated"})


async def test_a_replacement_that_was_abandoned_removes_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"abandoned")
        await session.flush()
        await session.close()
        session.add(Document(id=2, title="unrelated"))
        await session.commit()
    await agree(driver, {1: b"old", 2: None})


async def test_a_saved_file_is_its_owners_again_after_a_rollback(
    driver: Driver, storage: StorageBackend
) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.flush()
        await session.rollback()
    assert await held(driver) == {}
    assert stored() == {staged.path: b"staged"}
    if driver.is_async:
        await staged.delete_async()
    else:
        staged.delete()
    assert contents() == []


async def test_a_saved_file_can_be_attached_again_after_a_rollback(
    driver: Driver, storage: StorageBackend
) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.flush()
        await session.rollback()
        session.add(Document(id=2, file=staged))
        await session.commit()
    await agree(driver, {2: b"staged"})
