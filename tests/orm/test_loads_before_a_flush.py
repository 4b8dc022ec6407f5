"""A file is assigned while its attribute is not loaded, and something else is loaded before the flush.

A load concerns the attributes that it loaded: nobody else wrote the row, so there is no conflict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, load_only

from filecolumn import ConcurrentFileChangeError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.fixtures import ON_SQLITE, on_servers, open_driver
from tests.scenarios.models import Document
from tests.scenarios.more_models import Templated
from tests.scenarios.records import file, held_pages
from tests.scenarios.tables import tables
from tests.scenarios.values import held_scan

__all__ = ("tables",)

Load = Callable[[Session, Document], object]
Assign = Callable[[Document], None]


@pytest.fixture(params=[*ON_SQLITE, *on_servers(["psycopg", "asyncpg"])])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """SQLite and PostgreSQL, sync and async."""
    async with open_driver(request.param, tmp_path) as made:
        yield made


def _read_title(session: Session, document: Document) -> object:
    with session.no_autoflush:
        return document.title


LOADS: dict[str, Load] = {
    "another attribute": lambda _, document: document.title,
    "another attribute, no_autoflush": _read_title,
    "a query": lambda session, _: session.scalars(select(Document)).all(),
    "a query for some columns": lambda session, _: session.scalars(
        select(Document).options(load_only(Document.title))
    ).all(),
    "refresh": lambda session, document: session.refresh(document, ["title"]),
    "refresh and lock": lambda session, document: session.refresh(document, ["title"], with_for_update=True),
    "get": lambda session, document: session.get(Document, document.id),
    "populate_existing": lambda session, _: session.scalars(
        select(Document).options(load_only(Document.title)).execution_options(populate_existing=True)
    ).all(),
}


def _assign(name: str) -> Assign:
    value = [file(b"new")] if name == "pages" else file(b"new")
    return lambda document: setattr(document, name, value)


async def _insert(driver: Driver) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, title="t", file=file(b"old"), pages=[file(b"page")], scan=file(b"scan")))
        await session.commit()


@pytest.mark.parametrize("name", ["file", "pages", "scan"])
@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
async def test_a_load_of_something_else_is_no_conflict(
    driver: Driver, storage: StorageBackend, name: str, load: Load
) -> None:
    await _insert(driver)
    async with driver.session(autoflush=False, expire_on_commit=True) as session:
        document = await session.one(Document, 1)
        await session.commit()
        _assign(name)(document)
        await session.run(lambda sync: load(sync, document))
        await session.commit()
    expected = {"file": b"old", "pages": b"page", "scan": b"scan"}
    # a query that populates existing instances takes assigned values back, as for any column
    if load is not LOADS["populate_existing"]:
        expected[name] = b"new"
        assert contents() == sorted(expected.values())
    assert [
        await _content(driver),
        (await held_pages(driver))[0],
        await held_scan(driver),
    ] == [expected["file"], expected["pages"], expected["scan"]]


async def _content(driver: Driver) -> bytes:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        return await driver.content(document.file)


async def test_a_value_that_a_load_took_back_can_be_assigned_again(
    driver: Driver, storage: StorageBackend
) -> None:
    await _insert(driver)
    everything = select(Document).execution_options(populate_existing=True)
    async with driver.session(autoflush=False) as session:
        document = await session.one(Document, 1)
        document.scan = file(b"first")
        await session.run(lambda sync: sync.scalars(everything).all())
        document.scan = file(b"second")
        await session.commit()
    assert await held_scan(driver) == b"second"
    assert contents() == [b"old", b"page", b"second"]


async def test_a_load_of_something_else_hides_no_conflict(driver: Driver, storage: StorageBackend) -> None:
    await _insert(driver)
    async with driver.session(autoflush=False, expire_on_commit=False) as session, driver.session() as other:
        document = await session.one(Document, 1)
        await session.commit()
        await other.execute(update(Document).values(file=None))
        await other.commit()
        document.file = file(b"mine")
        await session.refresh(document, ["title"])
        with pytest.raises(ConcurrentFileChangeError, match=r"Document\.file"):
            await session.commit()


async def test_a_template_reads_a_record_that_has_expired(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session(expire_on_commit=True) as session:
        record = Templated(id=1, tenant="acme", file=file(b"1"))
        session.add(record)
        await session.commit()
        record.file = file(b"2")
        await session.commit()
        record.file = file(b"3")
        await session.rollback()
        record.file = file(b"4")
        await session.commit()
        await session.refresh(record)
        assert record.file is not None
        assert (record.file.path or "").startswith("acme/1/")
    assert contents() == [b"4"]


async def test_a_template_reads_a_record_that_was_rolled_back(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session(expire_on_commit=True) as session:
        record = Templated(id=1, tenant="acme", file=file(b"1"))
        session.add(record)
        await session.flush()
        await session.rollback()
        session.add(record)
        await session.commit()
    assert contents() == [b"1"]
