"""Rows that get another primary key, and rows that replace one of the same key in a single flush."""

from __future__ import annotations

import pytest

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held_pages, insert_files
from tests.scenarios.values import change


async def test_a_new_primary_key_keeps_the_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    before = stored()
    await change(driver, lambda _, document: setattr(document, "id", 7))
    await agree(driver, {7: b"one"})
    assert stored() == before


async def test_a_new_primary_key_and_a_new_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")

    def act(_: DriverSession, document: Document) -> None:
        document.id, document.file = 7, file(b"new")

    await change(driver, act)
    await agree(driver, {7: b"new"})


async def test_a_row_is_replaced_by_one_of_its_key(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, file=file(b"new")))
        await session.commit()
    await agree(driver, {1: b"new"})


async def test_a_row_that_replaces_another_takes_its_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    before = stored()
    async with driver.session() as session:
        old = await session.one(Document, 1)
        await session.delete(old)
        session.add(Document(id=1, file=old.file))
        await session.commit()
    await agree(driver, {1: b"old"})
    assert stored() == before


@pytest.mark.parametrize("values", [{}, {"file": None}], ids=["unset", "none"])
async def test_a_row_replaced_by_one_without_a_file_never_dangles(
    driver: Driver, storage: StorageBackend, values: dict[str, None]
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, title="new", **values))
        await session.commit()
    async with driver.session() as session:
        found = (await session.one(Document, 1)).file
        held = [] if found is None else [await driver.content(found)]
    assert held == contents()


async def test_a_list_that_a_replacing_row_does_not_name_never_dangles(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, title="new"))
        await session.commit()
    assert await held_pages(driver) == contents()


async def test_a_replaced_row_is_rolled_back(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, file=file(b"new")))
        await session.flush()
        await session.rollback()
    await agree(driver, {1: b"old"})
