"""Lists of rows: what loading them costs, and what was put into an instance past its attributes' events."""

from __future__ import annotations

import gc
import pickle
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObjectList, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.deletion import record_deleted
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import file, held_pages


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Document 1 with the pages "1" and "2"."""
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()


def put(document: Document, value: object) -> None:
    """Put a value into the instance's dictionary, as SQLModel and pydantic do."""
    document.__dict__["pages"] = value


PUT: dict[str, tuple[Callable[[FileObjectList], Any], list[bytes]]] = {
    "new files": (lambda _: [file(b"3"), file(b"4")], [b"3", b"4"]),
    "its own and a new one": (lambda pages: [pages[1], file(b"3")], [b"2", b"3"]),
    "a list of no row": (lambda pages: FileObjectList([pages[1]]), [b"2"]),
    "a tuple": (lambda _: (file(b"3"),), [b"3"]),
    "nothing": (lambda _: [], []),
}


@pytest.mark.parametrize("is_set", [True, False])
@pytest.mark.parametrize(("make", "expected"), PUT.values(), ids=PUT)
async def test_what_was_put_into_the_instance_is_taken_as_assigned(
    driver: Driver,
    committed: None,
    make: Callable[[FileObjectList], Any],
    expected: list[bytes],
    is_set: bool,
) -> None:
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        value = make(document.pages)
        if is_set:
            document.pages = value
        document.title = "changed"
        put(document, value)
        await session.commit()
        assert isinstance(document.pages, FileObjectList)
        assert document.pages is not value
    assert await held_pages(driver) == expected
    assert contents() == sorted(expected)


async def test_the_list_of_another_instance_is_not_shared(driver: Driver, committed: None) -> None:
    async with driver.session(expire_on_commit=False) as session:
        one = await session.one(Document, 1)
        session.add(two := Document(id=2))
        put(two, one.pages)
        await session.commit()
        assert one.pages is not two.pages
        two.pages.pop()
        await session.commit()
        one.pages[0].update_metadata({"one": True})
        await session.commit()
        assert two.pages[0].metadata == {}
    assert await held_pages(driver, 1) == [b"1", b"2"]
    assert await held_pages(driver, 2) == [b"1"]
    assert contents() == [b"1", b"1", b"2"]


async def test_a_page_that_c_code_took_tells_of_its_changes(driver: Driver, committed: None) -> None:
    async with driver.session(expire_on_commit=True) as session:
        document = await session.one(Document, 1)
        page = ([] + document.pages)[1]  # noqa: RUF005 - `+` reads the list's memory
        page.update_metadata({"first": True})
        await session.commit()
        page.update_metadata({**page.metadata, "expired": True})
        await session.commit()
    async with driver.session() as session:
        first, second = (await session.one(Document, 1)).pages
        assert (first.metadata, second.metadata) == ({}, {"first": True, "expired": True})


async def test_a_page_of_an_unpickled_instance_tells_of_its_changes(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = pickle.loads(pickle.dumps(await session.one(Document, 1)))
    document.pages[0].update_metadata({"seen": True})
    async with driver.session() as session:
        session.add(document)
        await session.commit()
    async with driver.session() as session:
        assert (await session.one(Document, 1)).pages[0].metadata == {"seen": True}


async def test_a_loaded_list_goes_with_its_instance(driver: Driver, committed: None) -> None:
    """No circle of references waits for the garbage collector."""
    gc.disable()
    try:
        async with driver.session() as session:
            document = await session.one(Document, 1)
            assert [page.size for page in document.pages] == [1, 1]
            gone = weakref.ref(document.pages), weakref.ref(document.pages[0])
            del document
            assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def calls_of(run: Callable[[], object]) -> int:
    """Return how many Python functions *run* calls."""
    count = 0

    def on_event(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on_event)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


class Base(DeclarativeBase): ...


class Album(Base):
    __tablename__ = "albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[FileObjectList] = mapped_column(
        StoredObject("docs", multiple=True, max_size=10), default=list
    )


def calls_to_replace(engine: Engine, count: int) -> int:
    """Return how many functions a commit calls that replaces the half of *count* files."""
    with Session(engine) as session:
        session.add(album := Album(photos=[file(b"1") for _ in range(count)]))
        session.commit()
        album.photos = [*album.photos[::2], file(b"2")]

        def commit() -> None:
            session.commit()
            record_deleted(engine)

        return calls_of(commit)


def test_replacing_files_of_a_list_costs_the_same_for_each() -> None:
    storages.register_backend("memory://", key="docs")
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    # what the first one calls too, it compiles
    _, few, some, many = (calls_to_replace(engine, count) for count in (100, 100, 200, 400))
    engine.dispose()
    assert many - some < 2.5 * (some - few)
