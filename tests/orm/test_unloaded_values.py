"""Files in expired, deferred or otherwise unloaded attributes are replaced, removed and tracked."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import load_only

from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held_pages, insert_files
from tests.scenarios.values import change, held_scan, value

__all__ = ("value",)


async def test_the_old_file_of_an_expired_instance_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    await insert_files(driver, b"old")

    def act(session: DriverSession, document: Document) -> None:
        session.sync.expire(document)
        document.file = value

    await change(driver, act)
    await agree(driver, {1: None if value is None else b"new"})


async def test_the_old_file_of_a_deferred_column_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, scan=file(b"old")))
        await session.commit()
    await change(driver, lambda _, document: setattr(document, "scan", value))
    expected = None if value is None else b"new"
    assert await held_scan(driver) == expected
    assert contents() == ([] if expected is None else [expected])


async def test_the_old_file_of_an_unloaded_column_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        titles = select(Document).options(load_only(Document.title))
        document = await session.run(lambda s: s.scalars(titles).one())
        document.file = value
        await session.commit()
    await agree(driver, {1: None if value is None else b"new"})


async def test_a_deleted_row_takes_what_was_not_loaded(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"1"), scan=file(b"2"), pages=[file(b"3")])
        session.add(document, Document(id=2, file=file(b"other")))
        await session.commit()
    async with driver.session() as session:
        ids = select(Document).where(Document.id == 1).options(load_only(Document.id))
        await session.delete(await session.run(lambda s: s.scalars(ids).one()))
        await session.commit()
    await agree(driver, {2: b"other"})


async def test_an_expired_instance_can_be_deleted(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")

    async def act(session: DriverSession, document: Document) -> None:
        session.sync.expire(document)
        await session.delete(document)

    await change(driver, act)
    await agree(driver, {})


async def test_refresh_discards_what_was_not_flushed(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = file(b"never")
        await session.refresh(document)
        assert await driver.content(document.file) == b"old"
        await session.commit()
    await agree(driver, {1: b"old"})


async def test_a_file_is_usable_when_its_instance_has_expired(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session(expire_on_commit=True) as session:
        document = Document(id=1, file=file(b"one"))
        session.add(document)
        kept = document.file
        await session.commit()
        assert await driver.content(kept) == b"one"
        again = await session.run(lambda _: document.file)
        assert again == kept
        assert await driver.content(again) == b"one"
        document.file = file(b"two")
        await session.commit()
    await agree(driver, {1: b"two"})


@pytest.mark.parametrize("how", ["expire", "commit", "rollback"])
async def test_a_list_tells_of_changes_when_its_instance_has_expired(
    driver: Driver, storage: StorageBackend, how: str
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1")]))
        await session.commit()
    async with driver.session(expire_on_commit=True) as session:
        document = await session.one(Document, 1)
        kept = document.pages
        assert len(kept) == 1
        if how == "expire":
            session.sync.expire(document)
        else:
            await (session.commit() if how == "commit" else session.rollback())
        kept.append(file(b"2"))
        await session.commit()
    assert await held_pages(driver) == contents() == [b"1", b"2"]
