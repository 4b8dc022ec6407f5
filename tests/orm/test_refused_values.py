"""Values of a wrong type, and files without content, are refused before they change anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, null

from filecolumn import FileObject, PendingContentError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held_pages, insert_files

# Wrong types

WRONG = [
    "text",
    b"bytes",
    {"filename": "a.txt"},
    7,
    Path("a.txt"),
    [FileObject("a.txt", content=b"a")],
    func.now(),
]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
async def test_a_wrong_type_is_refused_where_it_is_assigned(
    driver: Driver, storage: StorageBackend, value: Any
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(TypeError, match=r"write FileObject\(name, content="):
            document.file = value
        with pytest.raises(TypeError, match=r"write FileObject\(name, content="):
            Document(file=value)
        await session.commit()
    await agree(driver, {1: b"old"})


WRONG_LISTS = [
    FileObject("a.txt", content=b"a"),
    "text",
    {"filename": "a.txt"},
    [b"bytes"],
    [None],
    func.now(),
]


@pytest.mark.parametrize("value", WRONG_LISTS, ids=lambda value: type(value).__name__)
async def test_a_wrong_list_is_refused_where_it_is_assigned(
    driver: Driver, storage: StorageBackend, value: Any
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"old")]))
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(TypeError, match=r"write \[?FileObject\(name, content="):
            document.pages = value
        await session.commit()
    assert await held_pages(driver) == contents() == [b"old"]


async def test_a_wrong_item_is_refused_where_it_is_added(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"old")]))
        await session.commit()
    wrong: Any = b"bytes"
    async with driver.session() as session:
        pages = (document := await session.one(Document, 1)).pages
        for add in (pages.append, pages.remove, lambda item: pages.insert(0, item)):
            with pytest.raises((TypeError, ValueError)):
                add(wrong)
        for index in (0, slice(0, 1)):
            with pytest.raises(TypeError):
                pages[index] = [wrong] if isinstance(index, slice) else wrong
        with pytest.raises(TypeError):
            pages.extend([file(b"new"), wrong])
        await session.rollback()
        await session.refresh(document)
    assert await held_pages(driver) == contents() == [b"old"]


async def test_sql_null_is_none(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old", b"other")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = null()  # type: ignore[assignment]
        assert document.file is None
        session.add(Document(id=3, file=null()))
        await session.commit()
    await agree(driver, {1: None, 2: b"other", 3: None})


# No content


async def test_a_file_without_content_stops_the_whole_flush(driver: Driver, storage: StorageBackend) -> None:
    good = Document(id=1, file=file(b"good"))
    async with driver.session() as session:
        session.add(good, Document(id=2, file=FileObject("empty.txt")))
        with pytest.raises(PendingContentError, match=r"'empty\.txt' has no content"):
            await session.flush()
        assert contents() == []
        await session.rollback()
        session.add(good)
        await session.commit()
    await agree(driver, {1: b"good"})


async def test_a_page_without_content_stops_the_whole_flush(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")))
        session.add(Document(id=2, pages=[file(b"page"), FileObject("empty.txt")]))
        with pytest.raises(PendingContentError):
            await session.flush()
        assert contents() == []
    await agree(driver, {})


@pytest.mark.parametrize("argument", ["content", "source_path"])
def test_a_missing_path_is_refused_at_once(tmp_path: Path, argument: str) -> None:
    given: Any = {argument: tmp_path / "missing.txt"}
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        FileObject("a.txt", **given)


async def test_a_path_that_is_gone_at_the_flush_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    path = tmp_path / "short-lived.txt"
    path.write_bytes(b"gone soon")
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=FileObject("b", content=path)))
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"short-lived\.txt"):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})


async def test_content_that_fails_while_it_is_read_leaves_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError("the client went away")

    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = FileObject("a.txt", content=breaks())
        session.add(Document(id=2, file=file(b"other")))
        with pytest.raises(ConnectionResetError, match="the client went away"):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_content_of_wrong_chunks_leaves_nothing(driver: Driver, storage: StorageBackend) -> None:
    wrong: Any = [b"some", "text"]
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=wrong)))
        with pytest.raises(TypeError, match="every chunk must be bytes"):
            await session.commit()
        await session.rollback()
    await agree(driver, {})
