"""What rows and storages hold after each thing that a program can do to a value."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, load_only, make_transient, scoped_session, sessionmaker

from filecolumn import FileObject, FileObjectList, PendingContentError, SourceConsumedError, storages
from filecolumn.backends.base import StorageBackend
from tests.session.conftest import make_storage
from tests.session.drivers import AsyncDriver, Driver, DriverSession, SyncDriver, contents, stored
from tests.session.models import Document, Folder, Item, Media, Strict, Video
from tests.session.more_models import Archived, Letter, Printed, create_tables
from tests.session.records import agree, file, held_pages, insert_files, raw_file


@pytest.fixture
async def tables(driver: Driver) -> None:
    await create_tables(driver)


@pytest.fixture
def archive(tmp_path: Path) -> StorageBackend:
    """The storage of `Archived`."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))


async def change(driver: Driver, act: Callable[[DriverSession, Document], Awaitable[None] | None]) -> None:
    """Commit what *act* does to document 1 in a session of its own."""
    async with driver.session() as session:
        done = act(session, await session.one(Document, 1))
        if done is not None:
            await done
        await session.commit()


async def held_scan(driver: Driver) -> bytes | None:
    """Return the content of document 1's deferred file."""
    async with driver.session() as session:
        scan = await session.run(lambda s: s.get_one(Document, 1).scan)
        return None if scan is None else await driver.content(scan)


async def held_files(driver: Driver, attribute: Any) -> dict[int, bytes | None]:
    """Return the content of an attribute in each row, by the row's id."""
    async with driver.session() as session:
        statement = select(attribute.class_.id, attribute)
        rows = await session.run(lambda s: s.execute(statement).all())
        return {key: None if found is None else await driver.content(found) for key, found in rows}


async def agree_with_pages(driver: Driver, files: dict[int, bytes], *pages: list[bytes]) -> None:
    """Assert that rows 1, 2... hold *files* and *pages*, and the storage nothing else."""
    assert await held_files(driver, Document.file) == files
    assert [await held_pages(driver, number) for number in files] == list(pages)
    assert contents() == sorted([*files.values(), *(page for row in pages for page in row)])


# What is written


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


# One file in several places


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


async def test_a_rolled_back_new_instance_can_be_added_again(driver: Driver, storage: StorageBackend) -> None:
    document = Document(id=1, file=file(b"file"), pages=[file(b"1"), file(b"2")])
    async with driver.session() as session:
        session.add(document)
        await session.flush()
        await session.rollback()
        assert contents() == []
        session.add(document)
        await session.commit()
    await agree_with_pages(driver, {1: b"file"}, [b"1", b"2"])


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


# What is not loaded


async def test_the_old_file_of_an_expired_instance_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    await insert_files(driver, b"old")

    def act(session: DriverSession, document: Document) -> None:
        session.sync.expire(document)
        document.file = value

    await change(driver, act)
    await agree(driver, {1: None if value is None else b"new"})


@pytest.fixture(params=["new", "none"])
def value(request: pytest.FixtureRequest) -> FileObject | None:
    """What replaces a file."""
    return file(b"new") if request.param == "new" else None


async def test_the_old_file_of_a_deferred_column_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, scan=file(b"old")))
        await session.commit()
    await change(driver, lambda _, document: setattr(document, "scan", value))
    expected = None if value is None else b"new"
    assert await held_scan(driver) == expected
    assert contents() == ([] if expected is None else [expected])


async def test_the_old_file_of_an_unloaded_column_is_found(
    driver: Driver, storage: StorageBackend, value: FileObject | None
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        titles = select(Document).options(load_only(Document.title))
        document = await session.run(lambda s: s.scalars(titles).one())
        document.file = value
        await session.commit()
    await agree(driver, {1: None if value is None else b"new"})


async def test_a_deleted_row_takes_what_was_not_loaded(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"1"), scan=file(b"2"), pages=[file(b"3")])
        session.add(document, Document(id=2, file=file(b"other")))
        await session.commit()
    async with driver.session() as session:
        ids = select(Document).where(Document.id == 1).options(load_only(Document.id))
        await session.delete(await session.run(lambda s: s.scalars(ids).one()))
        await session.commit()
    await agree(driver, {2: b"other"})


async def test_an_expired_instance_can_be_deleted(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")

    async def act(session: DriverSession, document: Document) -> None:
        session.sync.expire(document)
        await session.delete(document)

    await change(driver, act)
    await agree(driver, {})


async def test_refresh_discards_what_was_not_flushed(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = file(b"never")
        await session.refresh(document)
        assert await driver.content(document.file) == b"old"
        await session.commit()
    await agree(driver, {1: b"old"})


async def test_a_file_is_usable_when_its_instance_has_expired(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session(expire_on_commit=True) as session:
        document = Document(id=1, file=file(b"one"))
        session.add(document)
        kept = document.file
        await session.commit()
        assert await driver.content(kept) == b"one"
        again = await session.run(lambda _: document.file)
        assert again == kept
        assert await driver.content(again) == b"one"
        document.file = file(b"two")
        await session.commit()
    await agree(driver, {1: b"two"})


@pytest.mark.parametrize("how", ["expire", "commit", "rollback"])
async def test_a_list_tells_of_changes_when_its_instance_has_expired(
    driver: Driver, storage: StorageBackend, how: str
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1")]))
        await session.commit()
    async with driver.session(expire_on_commit=True) as session:
        document = await session.one(Document, 1)
        kept = document.pages
        assert len(kept) == 1
        if how == "expire":
            session.sync.expire(document)
        else:
            await (session.commit() if how == "commit" else session.rollback())
        kept.append(file(b"2"))
        await session.commit()
    assert await held_pages(driver) == contents() == [b"1", b"2"]


# Flushes


async def test_a_query_that_flushes_stores_and_a_rollback_removes(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"new")))
        assert len((await session.execute(select(Document))).all()) == 1
        assert contents() == [b"new"]
        await session.rollback()
    await agree(driver, {})


async def test_the_last_of_two_flushes_wins(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        for body in (b"first", b"second"):
            document.file = file(body)
            await session.flush()
        assert contents() == [b"first", b"old", b"second"]
        await session.commit()
    await agree(driver, {1: b"second"})


async def test_two_flushes_are_rolled_back_together(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        for body in (b"first", b"second"):
            document.file = file(body)
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_a_row_inserted_and_deleted_in_one_transaction_leaves_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"short"), pages=[file(b"life")])
        session.add(document)
        await session.flush()
        await session.delete(document)
        await session.commit()
    await agree(driver, {})


async def test_an_instance_expunged_after_its_flush_is_committed(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"one"))
        session.add(document)
        await session.flush()
        session.sync.expunge(document)
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_new_primary_key_keeps_the_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    before = stored()
    await change(driver, lambda _, document: setattr(document, "id", 7))
    await agree(driver, {7: b"one"})
    assert stored() == before


async def test_a_new_primary_key_and_a_new_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")

    def act(_: DriverSession, document: Document) -> None:
        document.id, document.file = 7, file(b"new")

    await change(driver, act)
    await agree(driver, {7: b"new"})


async def test_a_row_is_replaced_by_one_of_its_key(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, file=file(b"new")))
        await session.commit()
    await agree(driver, {1: b"new"})


async def test_a_row_that_replaces_another_takes_its_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    before = stored()
    async with driver.session() as session:
        old = await session.one(Document, 1)
        await session.delete(old)
        session.add(Document(id=1, file=old.file))
        await session.commit()
    await agree(driver, {1: b"old"})
    assert stored() == before


@pytest.mark.parametrize("values", [{}, {"file": None}], ids=["unset", "none"])
async def test_a_row_replaced_by_one_without_a_file_never_dangles(
    driver: Driver, storage: StorageBackend, values: dict[str, None]
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, title="new", **values))
        await session.commit()
    async with driver.session() as session:
        found = (await session.one(Document, 1)).file
        held = [] if found is None else [await driver.content(found)]
    assert held == contents()


async def test_a_list_that_a_replacing_row_does_not_name_never_dangles(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, title="new"))
        await session.commit()
    assert await held_pages(driver) == contents()


async def test_a_replaced_row_is_rolled_back(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        session.add(Document(id=1, file=file(b"new")))
        await session.flush()
        await session.rollback()
    await agree(driver, {1: b"old"})


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


# Detached instances


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


# Relationships and inheritance


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


# Other ways into a session


async def test_scoped_sessions(driver: Driver, storage: StorageBackend) -> None:
    if isinstance(driver, AsyncDriver):
        tasks = async_scoped_session(async_sessionmaker(driver.engine), asyncio.current_task)
        tasks.add(Document(id=1, file=file(b"one")))
        await tasks.commit()
        tasks.add(Document(id=2, file=file(b"never")))
        await tasks.flush()
        await tasks.remove()
    elif isinstance(driver, SyncDriver):
        threads = scoped_session(sessionmaker(driver.engine))
        threads.add(Document(id=1, file=file(b"one")))
        threads.commit()
        threads.add(Document(id=2, file=file(b"never")))
        threads.flush()
        threads.remove()
    await agree(driver, {1: b"one"})


async def test_the_legacy_bulk_save_refuses_what_is_not_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        documents = [Document(id=1), Document(id=2, file=file(b"never"))]
        with pytest.raises((PendingContentError, StatementError)) as caught:
            await session.run(lambda s: s.bulk_save_objects(documents))
        assert isinstance(caught.value, PendingContentError) or isinstance(
            caught.value.__cause__, PendingContentError
        )
    await agree(driver, {})


async def test_the_legacy_bulk_save_takes_what_is_stored(driver: Driver, storage: StorageBackend) -> None:
    saved = await driver.save(file(b"one"))
    async with driver.session() as session:
        await session.run(lambda s: s.bulk_save_objects([Document(id=1, file=saved)]))
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_before_flush_listener_registered_later_may_assign(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)

        @event.listens_for(session.sync, "before_flush")
        def assign(flushed: Session, context: object, instances: object) -> None:
            document.file = file(b"by the listener")
            flushed.add(Document(id=2, file=file(b"added by it")))

        document.title = "changed"
        await session.commit()
    await agree(driver, {1: b"by the listener", 2: b"added by it"})


async def test_a_before_flush_listener_may_delete(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            flushed.delete(two)

        one.title = "changed"
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_before_flush_listener_may_delete_what_was_just_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        one = await session.one(Document, 1)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            flushed.delete(one)

        one.file = file(b"never")
        await session.commit()
    await agree(driver, {})


async def test_a_before_flush_listener_may_expunge_what_was_just_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"never"))
        session.add(document)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            if document in flushed:
                flushed.expunge(document)

        await session.commit()
    await agree(driver, {})


async def test_mapper_listeners_may_assign(driver: Driver, storage: StorageBackend, tables: None) -> None:
    async with driver.session() as session:
        printed = Printed(id=1, text="first")
        session.add(printed)
        await session.commit()
    assert await held_files(driver, Printed.file) == {1: b"first"}
    async with driver.session() as session:
        (await session.one(Printed, 1)).text = "second"
        await session.commit()
    assert await held_files(driver, Printed.file) == {1: b"second"}
    assert contents() == [b"second"]


async def test_what_mapper_listeners_assigned_is_rolled_back(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Printed(id=1, text="first"))
        await session.commit()
    async with driver.session() as session:
        (await session.one(Printed, 1)).text = "second"
        session.add(Printed(id=2, text="other"))
        await session.flush()
        assert contents() == [b"first", b"other", b"second"]
        await session.rollback()
    assert await held_files(driver, Printed.file) == {1: b"first"}
    assert contents() == [b"first"]
