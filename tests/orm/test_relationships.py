"""Files of children follow their rows when a parent is deleted, loses them, or takes them over."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document, Folder, Item
from tests.scenarios.records import file
from tests.scenarios.values import held_files


@pytest.fixture
async def folder(driver: Driver, storage: StorageBackend) -> None:
    """Folder 1 with the items 1 and 2, and folder 2 without any."""
    async with driver.session() as session:
        items = [Item(id=1, file=file(b"one")), Item(id=2, file=file(b"two"))]
        session.add(Folder(id=1, items=items), Folder(id=2))
        await session.commit()


async def test_children_take_their_files_along(driver: Driver, folder: None) -> None:
    async with driver.session() as session:
        await session.delete(await session.one(Folder, 1))
        await session.commit()
    assert await held_files(driver, Item.file) == {}
    assert contents() == []


async def test_the_delete_of_a_parent_is_rolled_back(driver: Driver, folder: None) -> None:
    async with driver.session() as session:
        await session.delete(await session.one(Folder, 1))
        await session.flush()
        await session.rollback()
    assert await held_files(driver, Item.file) == {1: b"one", 2: b"two"}
    assert contents() == [b"one", b"two"]


async def test_an_orphan_takes_its_file_along(driver: Driver, folder: None) -> None:
    async with driver.session() as session:
        folder = await session.one(Folder, 1)
        await session.run(lambda _: folder.items.pop(0))
        await session.commit()
    assert await held_files(driver, Item.file) == {2: b"two"}
    assert contents() == [b"two"]


@pytest.mark.parametrize("attribute", ["file", "pages"])
async def test_an_orphan_beside_a_row_with_a_new_file_leaves_that(
    driver: Driver, folder: None, attribute: str
) -> None:
    """The orphan is found only inside the flush, after the row was settled that gives nothing up."""
    async with driver.session() as session:
        session.add(Document(id=1))
        await session.commit()
        folder = await session.one(Folder, 1)
        document = await session.one(Document, 1)
        await session.run(lambda _: folder.items.pop(0))
        setattr(document, attribute, file(b"new") if attribute == "file" else [file(b"new")])
        await session.commit()
    assert contents() == [b"new", b"two"]
    async with driver.session() as session:
        document = await session.one(Document, 1)
        [kept] = [document.file] if attribute == "file" else document.pages
        assert kept is not None
        assert await driver.content(kept) == b"new"


async def test_an_orphan_with_a_new_file_leaves_neither(driver: Driver, folder: None) -> None:
    def act(session: Session) -> None:
        folder = session.get_one(Folder, 1)
        folder.items.pop(0).file = file(b"never")
        session.flush()

    async with driver.session() as session:
        await session.run(act)
        await session.commit()
    assert await held_files(driver, Item.file) == {2: b"two"}
    assert contents() == [b"two"]


async def test_an_orphans_file_can_be_taken(driver: Driver, folder: None) -> None:
    def act(session: Session) -> None:
        folder = session.get_one(Folder, 1)
        orphan = folder.items.pop(0)
        folder.items[0].file = orphan.file
        session.flush()

    async with driver.session() as session:
        await session.run(act)
        await session.commit()
    assert await held_files(driver, Item.file) == {2: b"one"}
    assert contents() == [b"one"]


async def test_an_item_moves_with_its_file(driver: Driver, folder: None) -> None:
    before = stored()

    def act(session: Session) -> None:
        source, target = session.get_one(Folder, 1), session.get_one(Folder, 2)
        target.items.append(source.items.pop(0))

    async with driver.session() as session:
        await session.run(act)
        await session.commit()
    assert await held_files(driver, Item.file) == {1: b"one", 2: b"two"}
    assert stored() == before


async def test_items_are_added_through_their_parent(driver: Driver, folder: None) -> None:
    async with driver.session() as session:
        second = await session.one(Folder, 2)
        await session.run(lambda _: second.items.append(Item(id=3, file=file(b"three"))))
        await session.commit()
    assert await held_files(driver, Item.file) == {1: b"one", 2: b"two", 3: b"three"}
    assert contents() == [b"one", b"three", b"two"]
