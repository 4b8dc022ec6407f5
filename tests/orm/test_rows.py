"""Rows and mappers of rarer kinds, and what a file is once its row has let go of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import ColumnElement, String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, ObjectNotFoundError, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.orm.rows import rows_in
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document
from tests.scenarios.more_models import Revised, Shelf, create_tables, revisions
from tests.scenarios.records import agree, file, held_pages, insert_files


async def test_a_primary_key_given_as_text_is_that_of_its_row(
    driver: Driver, storage: StorageBackend
) -> None:
    if driver.dialect == "postgresql":
        pytest.skip("PostgreSQL's drivers take no text for a number")
    as_text: Any = "1"
    async with driver.session() as session:
        session.add(document := Document(id=as_text, file=file(b"old")), Document(id=2, file=file(b"other")))
        await session.commit()
        document.file = file(b"new")
        (await session.one(Document, 2)).file = file(b"other new")
        await session.commit()
        await agree(driver, {1: b"new", 2: b"other new"})
        await session.delete(document)
        await session.commit()
    await agree(driver, {2: b"other new"})


async def test_rows_with_a_key_of_two_columns(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    places = [("hall", 1), ("hall", 2), ("attic", 1)]
    async with driver.session() as session:
        session.add(*(Shelf(room=room, number=number, file=file(b"old")) for room, number in places))
        await session.commit()
    async with driver.session() as session:
        first, second, third = [await session.one(Shelf, place) for place in places]
        first.file, third.file = file(b"new"), None
        await session.delete(second)
        await session.commit()
    assert contents() == [b"new"]
    async with driver.session() as session:
        shelf = await session.one(Shelf, ("hall", 1))
        assert await driver.content(shelf.file) == b"new"
        if driver.dialect == "sqlite":
            condition = rows_in(list(Shelf.__table__.primary_key), places)
            plan = await session.execute(text(f"EXPLAIN QUERY PLAN {reading(condition)}"))
            assert "SCAN" not in str(plan.all())


def reading(condition: ColumnElement[bool]) -> str:
    statement = select(Shelf.__table__).where(condition)
    return str(statement.compile(compile_kwargs={"literal_binds": True}))


async def test_the_lock_of_a_row_calls_no_function_of_the_user(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    revisions.clear()
    async with driver.session() as session:
        session.add(revised := Revised(id=1, file=file(b"old")))
        await session.commit()
        revised.file = file(b"new")
        await session.commit()
        await session.refresh(revised)
        assert (revised.revision, revisions) == (1, [1])


async def test_a_column_may_join_a_class_that_is_in_use(driver: Driver, storage: StorageBackend) -> None:
    class OwnBase(DeclarativeBase):
        pass

    class Grown(OwnBase):
        __tablename__ = "grown"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20), default="grown")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "grown"}

    class Special(Grown):
        __mapper_args__ = {"polymorphic_identity": "special"}

    Grown()
    Grown.thumb = mapped_column(StoredObject(backend="docs"))  # type: ignore[attr-defined]
    async with driver.session(expire_on_commit=False) as session:
        await session.run(lambda s: OwnBase.metadata.tables["grown"].drop(s.connection(), checkfirst=True))
        await session.run(lambda s: OwnBase.metadata.create_all(s.connection()))
        for number, model in enumerate((Grown, Special), 1):
            made: Any = model(id=number)
            with pytest.raises(TypeError, match="write FileObject"):
                made.thumb = b"bytes"
            made.thumb = file(b"one")
            session.add(made)
            await session.commit()
            made.thumb.update_metadata({"noticed": True})
            await session.commit()
            made.thumb = file(b"two")
            await session.commit()
    assert contents() == [b"two", b"two"]


async def test_none_is_null_in_the_row_and_an_empty_list_on_the_instance(
    driver: Driver, storage: StorageBackend
) -> None:
    class OwnBase(DeclarativeBase):
        pass

    class Album(OwnBase):
        __tablename__ = "albums"
        id: Mapped[int] = mapped_column(primary_key=True)
        pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(backend="docs", multiple=True))

    async with driver.session(expire_on_commit=False) as session:
        await session.run(lambda s: OwnBase.metadata.create_all(s.connection()))
        for before in ([file(b"1")], []):
            session.add(album := Album(id=1, pages=before))  # type: ignore[arg-type]
            await session.commit()
            album.pages = None
            assert album.pages == []
            await session.commit()
            nulls = await session.execute(text("SELECT count(*) FROM albums WHERE pages IS NULL"))
            assert (nulls.scalar_one(), contents()) == (1, [])
            assert album.pages is not None
            album.pages.append(file(b"2"))
            await session.commit()
            assert contents() == [b"2"]
            await session.delete(album)
            await session.commit()


async def test_none_empties_a_list(driver: Driver, storage: StorageBackend) -> None:
    nothing: Any = None
    async with driver.session(expire_on_commit=False) as session:
        session.add(document := Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()
        document.pages = nothing
        assert document.pages == []
        document.pages.append(file(b"3"))
        await session.commit()
    assert await held_pages(driver) == [b"3"]
    assert contents() == [b"3"]


def drop_row(document: Document) -> None:
    """Delete the row itself: see `parted`."""


def drop_file(document: Document) -> None:
    document.file = None
    document.pages.clear()


def replace_file(document: Document) -> None:
    document.file = file(b"next")
    document.pages[:] = []


@asynccontextmanager
async def parted(
    driver: Driver, change: Callable[[Document], None]
) -> AsyncIterator[tuple[DriverSession, list[FileObject]]]:
    """Flush a change after which no row holds the two files that are given."""
    async with driver.session(expire_on_commit=False) as session:
        session.add(Document(id=1, file=file(b"old"), pages=[file(b"page")]))
        await session.commit()
        document = await session.one(Document, 1)
        assert document.file is not None
        files = [document.file, document.pages[0]]
        if change is drop_row:
            await session.delete(document)
        change(document)
        await session.flush()
        yield session, files


@pytest.mark.parametrize("change", [drop_row, drop_file, replace_file])
async def test_a_file_without_a_row_is_not_saved_any_more(
    driver: Driver, storage: StorageBackend, change: Callable[[Document], None]
) -> None:
    async with parted(driver, change) as (session, files):
        known = set(files)
        assert all(old.is_saved for old in files)
        await session.commit()
        for old in files:
            assert not old.is_saved
            assert old in known
            with pytest.raises(ObjectNotFoundError, match="was deleted; assign a new file"):
                await driver.delete(old)


@pytest.mark.parametrize("change", [drop_row, drop_file, replace_file])
async def test_a_file_that_its_row_has_back_is_saved_again(
    driver: Driver, storage: StorageBackend, change: Callable[[Document], None]
) -> None:
    async with parted(driver, change) as (session, files):
        await session.rollback()
        assert [await driver.content(old) for old in files] == [b"old", b"page"]
        await session.commit()
        assert all(old.is_saved for old in files)
    await assert_row_is_as_it_was(driver)


async def assert_row_is_as_it_was(driver: Driver) -> None:
    """Assert that the row is as it was."""
    assert await held_pages(driver) == [b"page"]
    assert contents() == [b"old", b"page"]


async def test_a_file_released_in_a_savepoint_is_removed_with_the_outer_commit(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        old = document.file
        assert old is not None
        async with session.begin_nested():
            document.file = None
        assert old.is_saved
        await session.commit()
        assert not old.is_saved
    await agree(driver, {1: None})
