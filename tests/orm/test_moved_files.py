"""A file that changes its row, attribute or list keeps its object; only another storage gets a copy."""

from __future__ import annotations

import pytest

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.more_models import Archived
from tests.scenarios.records import agree, file, held_pages, insert_files, raw_file
from tests.scenarios.storages import archive
from tests.scenarios.tables import tables
from tests.scenarios.values import change, held_files, held_scan

__all__ = ("archive", "tables")


async def test_a_moved_file_is_not_copied(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    key = (await raw_file(driver, 1))["to_filename"]
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        two.file, one.file = one.file, None
        await session.flush()
        assert contents() == [b"one", b"two"]
        await session.commit()
    await agree(driver, {1: None, 2: b"one"})
    assert stored() == {key: b"one"}


async def test_a_rolled_back_move_moves_nothing(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    before = stored()
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        two.file, one.file = one.file, None
        await session.flush()
        await session.rollback()
    await agree(driver, {1: b"one", 2: b"two"})
    assert stored() == before


async def test_the_file_of_a_row_deleted_in_the_same_flush_is_moved(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    before = stored()
    async with driver.session() as session:
        one = await session.one(Document, 1)
        session.add(Document(id=2, file=one.file))
        await session.delete(one)
        await session.commit()
    await agree(driver, {2: b"one"})
    assert stored() == before


async def test_a_file_is_given_in_one_flush_and_taken_in_the_next(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        given, one.file = one.file, None
        await session.flush()
        two.file = given
        await session.commit()
    await agree(driver, {1: None, 2: b"one"})


async def test_a_file_that_is_gone_cannot_be_assigned_again(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one = await session.one(Document, 1)
        gone, one.file = one.file, None
        await session.commit()
    async with driver.session() as session:
        (await session.one(Document, 2)).file = gone
        with pytest.raises(FileNotFoundError):
            await session.flush()
        await session.rollback()
    await agree(driver, {1: None, 2: b"two"})


async def test_two_rows_swap_without_a_copy(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    before = stored()
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        one.file, two.file = two.file, one.file
        await session.flush()
        assert stored() == before
        await session.commit()
    await agree(driver, {1: b"two", 2: b"one"})
    assert stored() == before


async def test_two_attributes_of_a_row_swap_without_a_copy(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"file"), scan=file(b"scan")))
        await session.commit()
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        await session.refresh(document, ["scan"])
        document.file, document.scan = document.scan, document.file
        await session.commit()
    assert (await raw_file(driver))["size"] == 4
    assert await held_scan(driver) == b"file"
    assert stored() == before
    assert stored()[(await raw_file(driver))["to_filename"]] == b"scan"


async def test_a_file_and_a_page_swap_without_a_copy(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"file"), pages=[file(b"1"), file(b"2")]))
        await session.commit()
    before = stored()

    def swap(_: DriverSession, document: Document) -> None:
        assert document.file is not None
        document.file, document.pages[1] = document.pages[1], document.file

    await change(driver, swap)
    assert stored() == before
    assert stored()[(await raw_file(driver))["to_filename"]] == b"2"
    assert await held_pages(driver) == [b"1", b"file"]


async def test_a_page_moves_to_the_list_of_another_row_without_a_copy(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]), Document(id=2))
        await session.commit()
    before = stored()
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        two.pages.append(one.pages.pop(0))
        await session.commit()
    assert stored() == before
    assert await held_pages(driver, 1) == [b"2"]
    assert await held_pages(driver, 2) == [b"1"]


async def test_a_move_into_another_storage_leaves_nothing_behind(
    driver: Driver, storage: StorageBackend, archive: StorageBackend, tables: None
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        archived = Archived(id=1, file=document.file)
        session.add(archived)
        document.file = None
        await session.commit()
    assert contents("archive") == [b"one"]
    assert await held_files(driver, Archived.file) == {1: b"one"}
    await agree(driver, {1: None})


@pytest.mark.parametrize(
    "move", ["to a row", "to a new row", "swap", "to what replaces its row", "to a list"]
)
async def test_what_was_moved_is_deleted_by_the_commit_that_gives_it_up(
    driver: Driver, storage: StorageBackend, move: str
) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        match move:
            case "to a row":
                two.file, one.file = one.file, None
            case "to a new row":
                session.add(Document(id=3, file=one.file))
                one.file = None
            case "swap":
                one.file, two.file = two.file, one.file
            case "to what replaces its row":
                session.add(Document(id=1, file=one.file))
                await session.delete(one)
            case _:
                two.pages.append(one.file)
                one.file = None
        await session.commit()
    async with driver.session() as session:
        for number in (1, 2, 3):
            if (row := await session.get(Document, number)) is not None:
                await session.delete(row)
        await session.commit()
    assert stored() == {}
