"""What an assignment writes: the row's JSON, the objects in the storage, and nothing that was not kept."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.models import Document, Strict
from tests.scenarios.records import agree, file, held_pages, insert_files, raw_file
from tests.scenarios.values import change, held_files

# Single files


@pytest.mark.parametrize("year", [-10, 0, 40_000])
async def test_a_clock_that_is_far_off_writes_rows_that_can_be_read(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    """As frozen time in tests, or a board without a battery: *year* counts from 1970."""
    now = year * 365 * 24 * 3600
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: float(now))
        clock.setattr(time, "time_ns", lambda: now * 10**9)
        async with driver.session() as session:
            session.add(Document(id=1, file=file(b"x")))
            await session.commit()
    async with driver.session() as session:
        found = (await session.one(Document, 1)).file
        assert found is not None
        assert found.size == 1
        assert found.last_modified is None or found.last_modified >= 0
    await agree(driver, {1: b"x"})


async def test_the_row_says_what_was_really_stored(driver: Driver, storage: StorageBackend) -> None:
    body = b"0123456789" * 1000
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("report.pdf", content=body)))
        await session.commit()

    row = await raw_file(driver)
    assert row["filename"] == "report.pdf"
    assert row["size"] == len(body)
    assert row["checksum"] == "sha256:" + hashlib.sha256(body).hexdigest()
    assert row["content_type"] == "application/pdf"
    assert row["backend"] == "docs"
    assert stored() == {row["to_filename"]: body}


async def test_the_object_says_what_the_row_says(driver: Driver, storage: StorageBackend) -> None:
    document = Document(id=1, file=FileObject("report.pdf", content=b"body"))
    async with driver.session(expire_on_commit=False) as session:
        session.add(document)
        await session.commit()
    assert document.file is not None
    assert document.file.is_saved
    assert document.file.to_dict() == await raw_file(driver)


async def test_the_name_chosen_for_one_file_is_its_key(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"a", to_filename="public/logo.png")))
        await session.commit()
    assert stored() == {"public/logo.png": b"a"}
    assert (await raw_file(driver))["to_filename"] == "public/logo.png"


async def test_empty_content_is_content(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"")
    assert (await raw_file(driver))["size"] == 0
    await agree(driver, {1: b""})


async def test_a_file_of_the_same_name_is_a_new_object(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    before = stored()
    await change(driver, lambda _, document: setattr(document, "file", file(b"new")))
    await agree(driver, {1: b"new"})
    assert stored().keys().isdisjoint(before)


async def test_deleting_and_inserting_one_name_in_one_flush(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=2, file=file(b"new")))
        await session.commit()
    await agree(driver, {2: b"new"})


async def test_none_removes_the_content(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old", b"other")
    await change(driver, lambda _, document: setattr(document, "file", None))
    await agree(driver, {1: None, 2: b"other"})


async def test_only_the_last_of_two_assignments_is_stored(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = file(b"never")
        document.file = file(b"last")
        await session.flush()
        assert contents() == [b"last", b"old"]
        await session.commit()
    await agree(driver, {1: b"last"})


async def test_what_is_unassigned_before_the_flush_is_not_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"never"))
        session.add(document)
        document.file = None
        await session.flush()
        assert contents() == []
        await session.commit()
    await agree(driver, {1: None})


async def test_the_old_file_can_be_assigned_back_before_the_flush(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        old = document.file
        document.file = file(b"never")
        document.file = old
        await session.commit()
    await agree(driver, {1: b"old"})
    assert stored() == before


@pytest.mark.parametrize("between", ["flush", "none"])
async def test_the_old_file_can_be_assigned_back_after_a_flush(
    driver: Driver, storage: StorageBackend, between: str
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        old = document.file
        document.file = file(b"between") if between == "flush" else None
        await session.flush()
        document.file = old
        await session.commit()
    await agree(driver, {1: b"old"})


async def test_an_attributes_own_value_assigned_to_it_changes_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"file"), pages=[file(b"1"), file(b"2")]))
        await session.commit()
    before, row = stored(), await raw_file(driver)

    def act(_: DriverSession, document: Document) -> None:
        document.file = document.file
        document.pages = document.pages
        document.pages = list(document.pages)  # type: ignore[assignment]

    await change(driver, act)
    assert stored() == before
    assert await raw_file(driver) == row
    assert await held_pages(driver) == [b"1", b"2"]


# Lists


async def test_a_plain_list_is_tracked_once_assigned(driver: Driver, storage: StorageBackend) -> None:
    mine = [file(b"1"), file(b"2")]
    async with driver.session() as session:
        document = Document(id=1, pages=[file(b"0")])
        session.add(document)
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages = mine  # type: ignore[assignment]
        mine.clear()
        document.pages.append(file(b"3"))
        await session.flush()
        document.pages.append(file(b"4"))
        await session.commit()
    assert await held_pages(driver) == contents() == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("empty", [None, []])
async def test_an_emptied_list_leaves_nothing(driver: Driver, storage: StorageBackend, empty: Any) -> None:
    async with driver.session() as session:
        document = Document(id=1, pages=[file(b"1"), file(b"2")])
        session.add(document)
        await session.commit()
    if empty is None:
        # the column is NOT NULL
        with pytest.raises(IntegrityError):
            await change(driver, lambda _, document: setattr(document, "pages", None))
        assert await held_pages(driver) == contents() == [b"1", b"2"]
    else:
        await change(driver, lambda _, document: setattr(document, "pages", []))
        assert await held_pages(driver) == contents() == []


# Columns that are NOT NULL


async def test_a_file_that_must_be_there_is_replaced(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Strict(id=1, file=file(b"old")))
        await session.commit()
    async with driver.session() as session:
        (await session.one(Strict, 1)).file = file(b"new")
        await session.commit()
    assert await held_files(driver, Strict.file) == {1: b"new"}
    assert contents() == [b"new"]


async def test_a_file_that_must_be_there_stays_when_none_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Strict(id=1, file=file(b"old")))
        await session.commit()
    async with driver.session() as session:
        (await session.one(Strict, 1)).file = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError):
            await session.commit()
    assert await held_files(driver, Strict.file) == {1: b"old"}
    assert contents() == [b"old"]


async def test_a_row_without_the_file_it_must_have_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"never")), Strict(id=1))
        with pytest.raises(IntegrityError):
            await session.commit()
    await agree(driver, {})
