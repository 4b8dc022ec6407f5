"""Detached, transient and unpickled instances bring exactly their changes into a session."""

from __future__ import annotations

import pickle

import pytest

from filecolumn import SourceConsumedError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held_pages, insert_files, raw_file
from tests.scenarios.values import change


async def detached(driver: Driver) -> Document:
    """Commit document 1 with the file "old" and the pages "1" and "2", and return it loaded."""
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"old"), pages=[file(b"1"), file(b"2")]))
        await session.commit()
    async with driver.session() as session:
        return await session.one(Document, 1)


async def merge(driver: Driver, document: Document) -> None:
    async with driver.session() as session:
        await session.merge(document)
        await session.commit()


async def test_a_merged_instance_brings_its_new_file(driver: Driver, storage: StorageBackend) -> None:
    document = await detached(driver)
    document.file = file(b"new")
    await merge(driver, document)
    assert contents() == [b"1", b"2", b"new"]
    assert stored()[(await raw_file(driver))["to_filename"]] == b"new"


async def test_a_merged_instance_without_a_change_changes_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    document = await detached(driver)
    before, row = stored(), await raw_file(driver)
    await merge(driver, document)
    assert stored() == before
    assert await raw_file(driver) == row
    assert await held_pages(driver) == [b"1", b"2"]


async def test_a_merged_instance_takes_its_file_away(driver: Driver, storage: StorageBackend) -> None:
    document = await detached(driver)
    document.file = None
    await merge(driver, document)
    assert contents() == [b"1", b"2"]


async def test_a_merged_instance_brings_its_list(driver: Driver, storage: StorageBackend) -> None:
    document = await detached(driver)
    del document.pages[0]
    document.pages.append(file(b"3"))
    await merge(driver, document)
    assert await held_pages(driver) == [b"2", b"3"]
    assert contents() == [b"2", b"3", b"old"]


async def test_a_new_instance_is_merged_over_a_row(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    await merge(driver, Document(id=1, file=file(b"new")))
    await agree(driver, {1: b"new"})


async def test_an_instance_is_merged_where_no_row_is(driver: Driver, storage: StorageBackend) -> None:
    await merge(driver, Document(id=1, file=file(b"new"), pages=[file(b"page")]))
    assert await held_pages(driver) == [b"page"]
    assert contents() == [b"new", b"page"]


async def test_merging_a_file_that_is_gone_fails_and_harms_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        stale = await session.one(Document, 1)
    await change(driver, lambda _, document: setattr(document, "file", file(b"new")))
    with pytest.raises(FileNotFoundError):
        await merge(driver, stale)
    await agree(driver, {1: b"new"})


async def test_a_changed_detached_instance_is_added_again(driver: Driver, storage: StorageBackend) -> None:
    document = await detached(driver)
    document.file = file(b"new")
    document.pages.append(file(b"3"))
    async with driver.session() as session:
        session.add(document)
        await session.commit()
    assert await held_pages(driver) == [b"1", b"2", b"3"]
    assert contents() == [b"1", b"2", b"3", b"new"]


async def test_an_unpickled_instance_changes_nothing_by_itself(
    driver: Driver, storage: StorageBackend
) -> None:
    document = pickle.loads(pickle.dumps(await detached(driver)))
    before = stored()
    async with driver.session() as session:
        session.add(document)
        await session.commit()
    await merge(driver, pickle.loads(pickle.dumps(document)))
    assert stored() == before


@pytest.mark.parametrize("how", ["add", "merge"])
async def test_an_unpickled_instance_brings_its_changes(
    driver: Driver, storage: StorageBackend, how: str
) -> None:
    document = pickle.loads(pickle.dumps(await detached(driver)))
    document.file = file(b"new")
    document.pages[0] = file(b"3")
    async with driver.session() as session:
        if how == "add":
            session.add(document)
        else:
            await session.merge(document)
        await session.commit()
    assert await held_pages(driver) == [b"3", b"2"]
    assert contents() == [b"2", b"3", b"new"]


async def test_an_unpickled_instance_tells_of_changed_metadata(
    driver: Driver, storage: StorageBackend
) -> None:
    document = pickle.loads(pickle.dumps(await detached(driver)))
    document.file.update_metadata({"seen": True})
    async with driver.session() as session:
        session.add(document)
        await session.commit()
    assert (await raw_file(driver))["metadata"] == {"seen": True}


async def test_a_pending_file_does_not_survive_a_pickle(driver: Driver, storage: StorageBackend) -> None:
    document = await detached(driver)
    document.file = file(b"new")
    with pytest.raises(SourceConsumedError, match="assign it again"):
        await merge(driver, pickle.loads(pickle.dumps(document)))
    assert contents() == [b"1", b"2", b"old"]
