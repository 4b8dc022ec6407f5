"""Files that were saved before a flush are attached in place, and belong to their row from then on."""

from __future__ import annotations

import pytest

from filecolumn import OwnedFileError, StaleUploadError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file


async def test_a_staged_file_is_attached_where_it_is(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    before = stored()
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.commit()
    await agree(driver, {1: b"staged"})
    assert stored() == before


async def test_a_staged_file_is_its_owners_after_a_rollback(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.flush()
        await session.rollback()
        assert contents() == [b"staged"]
        session.add(Document(id=2, file=staged))
        await session.commit()
    await agree(driver, {2: b"staged"})


async def test_a_file_staged_too_long_ago_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = await driver.save(file(b"staged"))
    monkeypatch.setattr("filecolumn.orm.slots.MAX_ATTACH_AGE", -1.0)
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=staged))
        with pytest.raises(StaleUploadError, match="save it again"):
            await session.flush()
        assert contents() == [b"staged"]
        await session.rollback()
    await driver.delete(staged)
    await agree(driver, {})


async def test_a_deleted_staged_file_cannot_be_attached(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    await driver.delete(staged)
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        with pytest.raises(FileNotFoundError, match="was deleted"):
            await session.flush()
    await agree(driver, {})


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_file_in_a_row_is_neither_deleted_nor_saved(
    driver: Driver, storage: StorageBackend, loaded: bool
) -> None:
    owned = file(b"one")
    async with driver.session() as session:
        session.add(document := Document(id=1, file=owned))
        await session.commit()
        if loaded:
            await session.refresh(document)
            assert document.file is not None
            owned = document.file
    with pytest.raises(OwnedFileError, match="assign a new FileObject"):
        await driver.delete(owned)
    with pytest.raises(OwnedFileError):
        await driver.save(owned)
    with pytest.raises(OwnedFileError):
        owned.save(b"new")
    with pytest.raises(OwnedFileError):
        await owned.save_async(b"new")
    await agree(driver, {1: b"one"})


async def test_a_flushed_file_is_the_rows(driver: Driver, storage: StorageBackend) -> None:
    flushed = file(b"one")
    async with driver.session() as session:
        session.add(Document(id=1, file=flushed))
        await session.flush()
        with pytest.raises(OwnedFileError):
            await driver.delete(flushed)
        await session.commit()
    await agree(driver, {1: b"one"})
