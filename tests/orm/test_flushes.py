"""Several flushes of one transaction are committed or rolled back as one."""

from __future__ import annotations

from sqlalchemy import select

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files
from tests.scenarios.values import agree_with_pages


async def test_a_query_that_flushes_stores_and_a_rollback_removes(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"new")))
        assert len((await session.execute(select(Document))).all()) == 1
        assert contents() == [b"new"]
        await session.rollback()
    await agree(driver, {})


async def test_the_last_of_two_flushes_wins(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        for body in (b"first", b"second"):
            document.file = file(body)
            await session.flush()
        assert contents() == [b"first", b"old", b"second"]
        await session.commit()
    await agree(driver, {1: b"second"})


async def test_two_flushes_are_rolled_back_together(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        for body in (b"first", b"second"):
            document.file = file(body)
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_a_row_inserted_and_deleted_in_one_transaction_leaves_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"short"), pages=[file(b"life")])
        session.add(document)
        await session.flush()
        await session.delete(document)
        await session.commit()
    await agree(driver, {})


async def test_an_instance_expunged_after_its_flush_is_committed(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"one"))
        session.add(document)
        await session.flush()
        session.sync.expunge(document)
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_rolled_back_new_instance_can_be_added_again(driver: Driver, storage: StorageBackend) -> None:
    document = Document(id=1, file=file(b"file"), pages=[file(b"1"), file(b"2")])
    async with driver.session() as session:
        session.add(document)
        await session.flush()
        await session.rollback()
        assert contents() == []
        session.add(document)
        await session.commit()
    await agree_with_pages(driver, {1: b"file"}, [b"1", b"2"])
