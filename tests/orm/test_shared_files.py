"""A file that is assigned to several rows, list items or storages is copied to each of them."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session, make_transient

from filecolumn import FileObject, OwnedFileError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.more_models import Archived
from tests.scenarios.records import agree, file, held_pages, insert_files, raw_file
from tests.scenarios.storages import archive
from tests.scenarios.tables import tables
from tests.scenarios.values import agree_with_pages, change, held_files

__all__ = ("archive", "tables")


async def test_one_pending_file_in_two_rows_becomes_two(driver: Driver, storage: StorageBackend) -> None:
    shared = file(b"shared")
    async with driver.session() as session:
        session.add(Document(id=1, file=shared), Document(id=2, file=shared))
        await session.commit()
    await agree(driver, {1: b"shared", 2: b"shared"})
    assert (await raw_file(driver, 1))["to_filename"] != (await raw_file(driver, 2))["to_filename"]


@pytest.mark.parametrize("number", [1, 2])
async def test_two_rows_of_one_pending_file_are_independent(
    driver: Driver, storage: StorageBackend, number: int
) -> None:
    shared = file(b"shared")
    async with driver.session() as session:
        first, second = Document(id=1, file=shared), Document(id=2, file=shared)
        session.add(first, second)
        await session.commit()
        await session.delete(first if number == 1 else second)
        await session.commit()
    await agree(driver, {3 - number: b"shared"})


async def test_one_pending_file_in_two_rows_is_whole_after_a_rollback(
    driver: Driver, storage: StorageBackend
) -> None:
    shared = file(b"shared")
    async with driver.session() as session:
        documents = Document(id=1, file=shared), Document(id=2, file=shared, pages=[shared])
        session.add(*documents)
        await session.flush()
        assert contents() == [b"shared"] * 3
        await session.rollback()
        assert contents() == []
        session.add(*documents)
        await session.commit()
    await agree_with_pages(driver, {1: b"shared", 2: b"shared"}, [], [b"shared"])


async def test_one_staged_file_in_two_rows_becomes_two(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged), Document(id=2, file=staged))
        await session.commit()
    await agree(driver, {1: b"staged", 2: b"staged"})


async def test_one_pending_file_in_two_storages_becomes_two(
    driver: Driver, storage: StorageBackend, archive: StorageBackend, tables: None
) -> None:
    shared = file(b"shared")
    async with driver.session() as session:
        session.add(Document(id=1, file=shared), Archived(id=1, file=shared))
        await session.commit()
    await agree(driver, {1: b"shared"})
    assert await held_files(driver, Archived.file) == {1: b"shared"}
    assert contents("archive") == [b"shared"]


async def test_content_that_is_read_once_serves_two_rows(driver: Driver, storage: StorageBackend) -> None:
    shared = FileObject("a.txt", content=iter([b"sha", b"red"]))
    async with driver.session() as session:
        session.add(Document(id=1, file=shared), Document(id=2, file=shared))
        await session.commit()
    await agree(driver, {1: b"shared", 2: b"shared"})


async def test_a_file_of_another_row_is_copied(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        two.file = one.file
        await session.commit()
    await agree(driver, {1: b"one", 2: b"one"})


@pytest.mark.parametrize("number", [1, 2])
async def test_a_copy_outlives_its_original_and_the_other_way_round(
    driver: Driver, storage: StorageBackend, number: int
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        session.add(Document(id=2, file=(await session.one(Document, 1)).file))
        await session.commit()
    async with driver.session() as session:
        (await session.one(Document, number)).file = file(b"new")
        await session.commit()
    await agree(driver, {number: b"new", 3 - number: b"one"})


async def test_a_rolled_back_copy_leaves_the_original(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        two.file = one.file
        await session.flush()
        assert contents() == [b"one", b"one", b"two"]
        await session.rollback()
    await agree(driver, {1: b"one", 2: b"two"})


async def test_a_list_of_another_row_is_copied(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()
    async with driver.session() as session:
        session.add(Document(id=2, pages=(await session.one(Document, 1)).pages))
        await session.commit()
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert await held_pages(driver, 2) == contents() == [b"1", b"2"]


async def test_one_file_twice_in_a_list_becomes_two(driver: Driver, storage: StorageBackend) -> None:
    page = file(b"page")
    async with driver.session() as session:
        session.add(Document(id=1, pages=[page, page]))
        await session.commit()
    assert contents() == [b"page", b"page"]
    await change(driver, lambda _, document: document.pages.__delitem__(0))
    assert await held_pages(driver) == contents() == [b"page"]


async def test_a_copy_into_another_storage_is_really_there(
    driver: Driver, storage: StorageBackend, archive: StorageBackend, tables: None
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        session.add(Archived(id=1, file=(await session.one(Document, 1)).file))
        await session.commit()
    assert contents("archive") == [b"one"]
    assert await held_files(driver, Archived.file) == {1: b"one"}
    await agree(driver, {1: b"one"})


async def test_a_transient_clone_gets_copies(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"file"), pages=[file(b"page")]))
        await session.commit()
    async with driver.session() as session:
        clone = await session.one(Document, 1)
        make_transient(clone)
        clone.id = 2
        session.add(clone)
        await session.commit()
    assert contents() == [b"file", b"file", b"page", b"page"]
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert await held_pages(driver, 2) == [b"page"]
    assert contents() == [b"file", b"page"]


async def test_a_listener_that_gives_a_new_file_to_another_row_gives_it_a_copy(
    driver: Driver, storage: StorageBackend
) -> None:
    """The flush has stored the file for its own row by then."""

    def keep_history(session: Session, *_: object) -> None:
        for document in [each for each in session.new if isinstance(each, Document)]:
            session.add(Document(id=document.id + 100, file=document.file, pages=list(document.pages)))

    async with driver.session() as session:
        event.listen(session.sync, "before_flush", keep_history)
        page = FileObject("b.txt", content=b"page")
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one"), pages=[page]))
        await session.commit()
        event.remove(session.sync, "before_flush", keep_history)
    assert contents() == [b"one", b"one", b"page", b"page"]
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    await driver.drain()
    async with driver.session() as session:
        document = await session.one(Document, 101)
        assert document.file is not None
        held = [await driver.content(each) for each in (document.file, *document.pages)]
    assert held == [b"one", b"page"]


async def test_a_listener_cannot_put_another_rows_file_into_a_list_that_is_being_written(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one")))
        session.add(Document(id=2, pages=[FileObject("b.txt", content=b"page")]))
        await session.commit()
    async with driver.session() as session:
        first, second = await session.one(Document, 1), await session.one(Document, 2)
        assert first.file is not None

        def append(mapper: object, connection: object, target: Document) -> None:
            target.pages.append(first.file)

        event.listen(Document, "before_update", append)
        try:
            second.pages.append(FileObject("c.txt", content=b"more"))
            with pytest.raises((OwnedFileError, StatementError)):
                await session.commit()
        finally:
            event.remove(Document, "before_update", append)
        await session.rollback()
    assert contents() == [b"one", b"page"]
