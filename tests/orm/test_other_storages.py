"""Files and rows that name another storage than their column's, one it only reads, or an unregistered one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from filecolumn import BackendMismatchError, BackendNotRegisteredError, FileObject, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios import more_models
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.fixtures import make_storage
from tests.scenarios.models import Document
from tests.scenarios.more_models import Archived, Moved
from tests.scenarios.records import agree, file, put_raw, raw_file
from tests.scenarios.storages import old_storage
from tests.scenarios.tables import tables

__all__ = ("old_storage", "tables")


async def test_a_file_that_names_another_storage_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend
) -> None:
    async with driver.session() as session:
        wrong = FileObject("a.txt", backend="old", content=b"wrong")
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=wrong))
        with pytest.raises(BackendMismatchError, match="'old'"):
            await session.flush()
        assert contents() == contents("old") == []
        await session.rollback()
    await agree(driver, {})


async def test_new_content_does_not_go_where_a_column_only_reads(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Moved(id=1, file=FileObject("a.txt", backend="old", content=b"wrong")))
        with pytest.raises(BackendMismatchError):
            await session.flush()
    assert contents() == contents("old") == []


async def insert_elsewhere(driver: Driver, old_storage: StorageBackend, table: str) -> dict[str, Any]:
    """Commit row 1 of *table*, whose file is in the storage "old", and return what that storage holds."""
    async with driver.session() as session:
        session.add(Document(id=9, file=file(b"elsewhere")))
        await session.commit()
    row = await raw_file(driver, 9)
    key = row["to_filename"]
    old_storage.put(key, [b"elsewhere"])
    async with driver.session() as session:
        session.add(Document(id=1) if table == "documents" else Moved(id=1))
        await session.delete(await session.one(Document, 9))
        await session.commit()
    await put_raw(driver, json.dumps({**row, "backend": "old"}), table)
    assert contents() == []
    return {key: b"elsewhere"}


async def test_a_row_that_names_a_storage_its_column_does_not_use_is_not_read(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend
) -> None:
    await insert_elsewhere(driver, old_storage, "documents")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        assert document.file.filename == "a.txt"
        with pytest.raises(BackendMismatchError, match="reads="):
            await driver.content(document.file)


@pytest.mark.parametrize("how", ["replace", "none", "delete"])
async def test_a_storage_that_a_column_does_not_use_is_left_alone(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, how: str
) -> None:
    before = await insert_elsewhere(driver, old_storage, "documents")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        if how == "delete":
            await session.delete(document)
        else:
            document.file = file(b"new") if how == "replace" else None
        await session.commit()
    await agree(driver, {"replace": {1: b"new"}, "none": {1: None}, "delete": {}}[how])
    assert stored("old") == before


async def test_a_row_may_name_a_storage_that_its_column_reads(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    before = await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        assert await driver.content(moved.file) == b"elsewhere"
        assert moved.file is not None
        moved.file.update_metadata({"seen": True})
        await session.commit()
    async with driver.session() as session:
        assert await driver.content((await session.one(Moved, 1)).file) == b"elsewhere"
    assert contents() == []
    assert stored("old") == before


@pytest.mark.parametrize("how", ["replace", "delete"])
async def test_the_storage_that_a_column_only_reads_is_emptied(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None, how: str
) -> None:
    await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        if how == "replace":
            moved.file = file(b"new")
        else:
            await session.delete(moved)
        await session.flush()
        assert contents("old") == [b"elsewhere"]
        await session.commit()
    assert contents() == ([b"new"] if how == "replace" else [])
    assert contents("old") == [b"elsewhere"], "a row from before the ledger: others may share its object"
    assert (await driver.drain(more_models.Base)).deleted == 1
    assert contents("old") == []
    async with driver.session() as session:
        again = await session.get(Moved, 1)
        assert (again is None) == (how == "delete")
        if again is not None:
            assert await driver.content(again.file) == b"new"


async def test_a_file_that_leaves_its_old_storage_is_copied(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        session.add(Document(id=1, file=moved.file))
        await session.delete(moved)
        await session.commit()
    await agree(driver, {1: b"elsewhere"})
    assert (await raw_file(driver))["backend"] == "docs"
    assert (await driver.drain(more_models.Base)).deleted == 1
    assert contents("old") == []


async def test_a_row_of_an_unregistered_storage_loads(
    driver: Driver, storage: StorageBackend, tables: None, tmp_path: Path
) -> None:
    storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))
    async with driver.session() as session:
        session.add(Archived(id=1, file=file(b"one")))
        await session.commit()
    storages.unregister_backend("archive")
    async with driver.session() as session:
        archived = await session.one(Archived, 1)
        assert archived.file is not None
        assert "a.txt" in repr(archived.file)
        assert archived.file.size == 3
        assert archived.file == archived.file
        assert isinstance(hash(archived.file), int)
        with pytest.raises(BackendNotRegisteredError, match="'archive'"):
            await driver.content(archived.file)


async def test_new_content_for_an_unregistered_storage_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Archived(id=1, file=file(b"nowhere")))
        with pytest.raises(BackendNotRegisteredError, match="'archive'"):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})


def test_reads_is_a_sequence_of_names() -> None:
    with pytest.raises(TypeError, match=r"write reads=\('old',\)"):
        StoredObject(backend="docs", reads="old")
