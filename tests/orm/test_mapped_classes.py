"""Files of models in a joined inheritance, and of models that are dataclasses."""

from __future__ import annotations

import pytest

from filecolumn import FileObject, FileObjectList
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Media, Video
from tests.scenarios.more_models import Letter
from tests.scenarios.records import file
from tests.scenarios.tables import tables
from tests.scenarios.values import held_files, value

__all__ = ("tables", "value")


# Joined inheritance


@pytest.fixture
async def video(driver: Driver, storage: StorageBackend) -> None:
    """Video 1 with both its files, and a medium that is none."""
    async with driver.session() as session:
        session.add(Video(id=1, original=file(b"film"), poster=file(b"poster")))
        session.add(Media(id=2, original=file(b"song")))
        await session.commit()


async def test_a_subclass_stores_both_files(driver: Driver, video: None) -> None:
    assert await held_files(driver, Media.original) == {1: b"film", 2: b"song"}
    assert await held_files(driver, Video.poster) == {1: b"poster"}
    assert contents() == [b"film", b"poster", b"song"]


@pytest.mark.parametrize("name", ["original", "poster"])
async def test_a_subclass_replaces_either_file(
    driver: Driver, video: None, name: str, value: FileObject | None
) -> None:
    async with driver.session() as session:
        setattr(await session.one(Media, 1), name, value)
        await session.commit()
    expected = None if value is None else b"new"
    found = await held_files(driver, Video.poster if name == "poster" else Media.original)
    assert found[1] == expected
    left = [b"song", b"film" if name == "poster" else b"poster"]
    assert contents() == sorted(left if expected is None else [*left, expected])


async def test_a_subclass_is_deleted_with_both_files(driver: Driver, video: None) -> None:
    async with driver.session() as session:
        await session.delete(await session.one(Media, 1))
        await session.commit()
    assert await held_files(driver, Media.original) == {2: b"song"}
    assert contents() == [b"song"]


async def test_files_swap_between_the_tables_of_a_subclass(driver: Driver, video: None) -> None:
    before = stored()
    async with driver.session() as session:
        found = await session.one(Video, 1)
        await session.refresh(found)
        found.original, found.poster = found.poster, found.original
        await session.commit()
    assert stored() == before
    assert (await held_files(driver, Media.original))[1] == b"poster"
    assert await held_files(driver, Video.poster) == {1: b"film"}


# Dataclasses


async def test_dataclasses(driver: Driver, storage: StorageBackend, tables: None) -> None:
    async with driver.session() as session:
        letter = Letter(id=1, body=file(b"Dear Sir"))
        letter.pages.append(file(b"page"))
        session.add(letter)
        await session.commit()
    assert contents() == [b"Dear Sir", b"page"]
    async with driver.session() as session:
        letter = await session.one(Letter, 1)
        letter.body = file(b"Dear Madam")
        letter.pages = FileObjectList([*letter.pages, file(b"next")])
        await session.commit()
    assert contents() == [b"Dear Madam", b"next", b"page"]
    async with driver.session() as session:
        await session.delete(await session.one(Letter, 1))
        await session.commit()
    assert contents() == []


async def test_a_dataclass_without_files_has_none(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Letter(id=1))
        await session.commit()
    async with driver.session() as session:
        letter = await session.one(Letter, 1)
        assert letter.body is None
        assert list(letter.pages) == []
