"""Rows whose JSON is damaged load, say what is wrong when their files are used, and can be replaced."""

from __future__ import annotations

import copy
import json

import pytest
from sqlalchemy import select

from filecolumn import CorruptFileMetadataError, InvalidKeyError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import file, held_pages, insert_files, put_raw, raw_file

DAMAGED = [
    "this is no JSON",
    "[1]",
    "7",
    '"text"',
    '{"filename": 7}',
    '{"filename": "a.txt", "size": "big"}',
    '{"filename": "a.txt", "metadata": []}',
]


@pytest.mark.parametrize("value", DAMAGED)
async def test_a_damaged_row_loads_and_says_what_is_wrong_when_its_file_is_used(
    driver: Driver, storage: StorageBackend, value: str
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, title="title", file=file(b"lost"), pages=[file(b"page")]))
        await session.commit()
    await put_raw(driver, value)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.title == "title"
        assert await driver.content(document.pages[0]) == b"page"
        assert document.file is not None
        assert "corrupt" in repr(document.file)
        with pytest.raises(CorruptFileMetadataError):
            _ = document.file.size
        with pytest.raises(CorruptFileMetadataError):
            await driver.content(document.file)
        document.title = "other attributes can be changed"
        await session.commit()


async def test_the_error_names_class_attribute_and_row_as_far_as_they_are_known(
    driver: Driver, storage: StorageBackend
) -> None:
    wrong = r"'filename' of a file's row must be a string, not int"
    async with driver.session() as session:
        session.add(Document(id=5, file=file(b"lost"), pages=[file(b"page")]))
        await session.commit()
    await put_raw(driver, '{"filename": 3}', number=5)
    await put_raw(driver, '[{"filename": 3}]', column="pages", number=5)
    async with driver.session() as session:
        document = await session.one(Document, 5)
        assert document.file is not None
        copied = copy.deepcopy(document.file)
        with pytest.raises(CorruptFileMetadataError, match=rf"^Document\.file of the row \(5,\): {wrong}$"):
            _ = document.file.size
        with pytest.raises(CorruptFileMetadataError, match=rf"^Document\.pages of the row \(5,\): {wrong}$"):
            _ = document.pages[0].size
        with pytest.raises(CorruptFileMetadataError, match=f"^{wrong}$"):
            _ = copied.size
        selected = (await session.execute(select(Document.file))).scalar_one()
        assert selected is not None
        with pytest.raises(CorruptFileMetadataError, match=f"^{wrong}$"):
            _ = selected.size
    await put_raw(driver, '"text"', column="pages", number=5)
    async with driver.session() as session:
        document = await session.one(Document, 5)
        with pytest.raises(
            CorruptFileMetadataError, match=r"^Document\.pages of the row \(5,\): the row of a list"
        ):
            _ = [page.size for page in document.pages]


@pytest.mark.parametrize("value", ["this is no JSON", "[]", '{"filename": 7}'])
@pytest.mark.parametrize("how", ["replace", "none", "delete"])
async def test_a_damaged_file_is_replaced_or_deleted_and_nothing_else_is(
    driver: Driver, storage: StorageBackend, value: str, how: str
) -> None:
    await insert_files(driver, b"lost", b"other")
    await put_raw(driver, value)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        if how == "delete":
            await session.delete(document)
        else:
            document.file = file(b"new") if how == "replace" else None
        await session.commit()
    assert contents() == sorted([b"lost", b"other", *([b"new"] if how == "replace" else [])])
    async with driver.session() as session:
        again = await session.get(Document, 1)
        assert (again is None) == (how == "delete")
        if again is not None:
            assert (again.file is None) == (how == "none")
            assert again.file is None or await driver.content(again.file) == b"new"


@pytest.mark.parametrize("value", ["this is no JSON", '{"filename": "a.txt"}', '["text"]'])
async def test_a_damaged_list_loads_and_is_replaced(
    driver: Driver, storage: StorageBackend, value: str
) -> None:
    await insert_files(driver, b"other")
    await put_raw(driver, value, column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert await driver.content(document.file) == b"other"
        with pytest.raises(CorruptFileMetadataError):
            _ = [page.size for page in document.pages]
        document.pages = [file(b"new")]  # type: ignore[assignment]
        await session.commit()
    assert await held_pages(driver) == [b"new"]
    assert contents() == [b"new", b"other"]


@pytest.mark.parametrize("key", ["../outside.txt", "/etc/passwd"])
async def test_a_row_cannot_lead_out_of_its_storage(
    driver: Driver, storage: StorageBackend, key: str
) -> None:
    await insert_files(driver, b"lost")
    row = await raw_file(driver)
    await put_raw(driver, json.dumps({**row, "to_filename": key, "filename": ".."}))
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(InvalidKeyError):
            await driver.content(document.file)
        document.file = None
        await session.commit()
    assert contents() == [b"lost"]


async def test_json_null_is_none(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"lost")
    await put_raw(driver, "null")
    await put_raw(driver, "null", column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is None
        assert list(document.pages) == []
        document.pages.append(file(b"page"))
        document.file = file(b"new")
        await session.commit()
    assert await held_pages(driver) == [b"page"]
    assert contents() == [b"lost", b"new", b"page"]
