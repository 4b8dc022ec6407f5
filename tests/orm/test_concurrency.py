"""Two sessions change one row: one wins, the other hears of it, and every row keeps its content."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from filecolumn import ConcurrentFileChangeError, FileObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.fixtures import ON_SQLITE, make_driver, on_servers
from tests.scenarios.models import Document, Folder, Item
from tests.scenarios.records import agree, file, held_pages, insert_files
from tests.servers.databases import SCHEMES

SERVERS_AND_LEVELS = on_servers(
    [
        *(f"{name} READ COMMITTED" for name in SCHEMES),
        "psycopg SERIALIZABLE",
        "asyncpg SERIALIZABLE",
        "psycopg REPEATABLE READ",
        "pymysql REPEATABLE READ",
    ]
)


@pytest.fixture(params=[*ON_SQLITE, *SERVERS_AND_LEVELS])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database at an isolation level; SQLite's is in a file in which readers do not wait for writers."""
    kind, _, level = request.param.partition(" ")
    if level:
        made = make_driver(kind, tmp_path, isolation_level=level)
    else:
        made = make_driver(kind, tmp_path)
        await made.create()
        with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    yield made
    await made.dispose()


@pytest.fixture
def refusal(request: pytest.FixtureRequest, driver: Driver) -> type[Exception] | tuple[type[Exception], ...]:
    """What a write gets on what its own open transaction read before another changed it."""
    level = request.node.callspec.params["driver"].partition(" ")[2]
    if driver.dialect == "mariadb":
        # innodb_snapshot_isolation, which newer versions have on
        return (
            (ConcurrentFileChangeError, DBAPIError)
            if level == "REPEATABLE READ"
            else ConcurrentFileChangeError
        )
    return ConcurrentFileChangeError if level == "READ COMMITTED" else DBAPIError


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1: a file and two pages."""
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"old"), pages=[file(b"1"), file(b"2")]))
        await session.commit()


Change = Callable[[DriverSession, Document, bytes], Awaitable[None]]


async def replace(session: DriverSession, document: Document, body: bytes) -> None:
    document.file = file(body)


async def clear(session: DriverSession, document: Document, body: bytes) -> None:
    document.file = None


async def describe(session: DriverSession, document: Document, body: bytes) -> None:
    assert document.file is not None
    document.file.update_metadata({"by": body.decode()})


async def delete(session: DriverSession, document: Document, body: bytes) -> None:
    await session.delete(document)


async def append(session: DriverSession, document: Document, body: bytes) -> None:
    document.pages.append(file(body))


async def pop(session: DriverSession, document: Document, body: bytes) -> None:
    document.pages.pop(0)


async def describe_page(session: DriverSession, document: Document, body: bytes) -> None:
    document.pages[-1].update_metadata({"by": body.decode()})


async def assign_list(session: DriverSession, document: Document, body: bytes) -> None:
    document.pages = [file(body)]  # type: ignore[assignment]


async def change(driver: Driver, act: Change, body: bytes) -> None:
    """Commit a change of document 1 by a session of its own."""
    async with driver.session() as session:
        await act(session, await session.one(Document, 1), body)
        await session.commit()


async def every_row_has_its_content(driver: Driver) -> list[Document]:
    """Assert that each file of each row can be read, and that the storage has nothing else."""
    async with driver.session() as session:
        documents = list(await session.run(lambda s: s.scalars(select(Document)).all()))
        files = [document.file for document in documents if document.file is not None]
        files += [page for document in documents for page in document.pages]
        assert sorted([await driver.content(found) for found in files]) == contents()
        return documents


@asynccontextmanager
async def loaded(driver: Driver, transaction: str) -> AsyncIterator[tuple[DriverSession, Document]]:
    """Load document 1, and keep the transaction of that open or not."""
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        if transaction == "ended":
            await session.commit()
        yield session, document


async def loser_is_told(
    driver: Driver,
    transaction: str,
    first: Change,
    second: Change,
    error: type[Exception] | tuple[type[Exception], ...] = ConcurrentFileChangeError,
) -> None:
    """Let two sessions load row 1 and change it one after the other; then let the second try again."""
    async with loaded(driver, transaction) as (session, document):
        await change(driver, first, b"first")
        await second(session, document, b"second")
        with pytest.raises(error):
            await session.flush()
        await session.rollback()
        await every_row_has_its_content(driver)

        again = await session.get(Document, 1)
        assert (again is None) == (first is delete)
        if again is not None:
            await session.refresh(again)
            if second is not describe or again.file is not None:
                await second(session, again, b"second")
            await session.commit()
    rows = await every_row_has_its_content(driver)
    assert len(rows) == (0 if delete in {first, second} else 1)


@pytest.mark.parametrize("second", [replace, clear, describe, delete])
@pytest.mark.parametrize("first", [replace, clear, describe, delete])
async def test_of_two_changes_of_a_file_one_wins(
    driver: Driver, committed: None, first: Change, second: Change
) -> None:
    await loser_is_told(driver, "ended", first, second)


@pytest.mark.parametrize("second", [append, pop, describe_page, assign_list, delete])
@pytest.mark.parametrize("first", [append, pop, describe_page, assign_list, delete])
async def test_of_two_changes_of_a_list_one_wins(
    driver: Driver, committed: None, first: Change, second: Change
) -> None:
    await loser_is_told(driver, "ended", first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [(replace, replace), (delete, replace), (describe, delete), (append, append), (pop, describe_page)],
)
async def test_a_write_is_refused_on_what_was_read_before(
    driver: Driver,
    committed: None,
    first: Change,
    second: Change,
    refusal: type[Exception] | tuple[type[Exception], ...],
) -> None:
    await loser_is_told(driver, "open", first, second, refusal)


async def test_the_error_is_the_one_that_sqlalchemy_has_for_it(driver: Driver, committed: None) -> None:
    async with loaded(driver, "ended") as (session, document):
        await change(driver, replace, b"first")
        document.file = file(b"second")
        with pytest.raises(StaleDataError, match=r"Document\.file is not written; roll back, load .* retry"):
            await session.commit()
        await session.rollback()
    await every_row_has_its_content(driver)


async def test_the_losers_retry_wins(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with loaded(driver, "ended") as (session, document):
        await change(driver, replace, b"first")
        document.file = second = file(b"second")
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
        await agree(driver, {1: b"first"})
        (await session.one(Document, 1)).file = second
        await session.commit()
    await agree(driver, {1: b"second"})


async def test_the_losers_appended_page_is_appended_by_a_retry(driver: Driver, committed: None) -> None:
    async with loaded(driver, "ended") as (session, document):
        await change(driver, append, b"first")
        await append(session, document, b"second")
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
        await session.refresh(document)
        await append(session, document, b"second")
        await session.commit()
    assert await held_pages(driver) == [b"1", b"2", b"first", b"second"]
    await every_row_has_its_content(driver)


@pytest.mark.parametrize(
    ("first", "second"), [(replace, append), (append, replace), (describe, pop), (assign_list, clear)]
)
async def test_changes_of_two_attributes_of_a_row_both_succeed(
    driver: Driver, committed: None, first: Change, second: Change
) -> None:
    async with loaded(driver, "ended") as (session, document):
        await change(driver, first, b"first")
        await second(session, document, b"second")
        await session.commit()
    await every_row_has_its_content(driver)


async def test_both_of_two_changes_of_two_attributes_are_in_the_row(driver: Driver, committed: None) -> None:
    async with loaded(driver, "ended") as (session, document):
        await change(driver, replace, b"first")
        await append(session, document, b"second")
        await session.commit()
    (row,) = await every_row_has_its_content(driver)
    assert await driver.content(row.file) == b"first"
    assert await held_pages(driver) == [b"1", b"2", b"second"]


async def test_a_change_of_no_file_disturbs_nobody(driver: Driver, committed: None) -> None:
    async def rename(session: DriverSession, document: Document, body: bytes) -> None:
        document.title = body.decode()

    async with loaded(driver, "ended") as (session, document):
        await change(driver, rename, b"first")
        document.file = file(b"second")
        await session.commit()
    (row,) = await every_row_has_its_content(driver)
    assert row.title == "first"
    assert await driver.content(row.file) == b"second"


async def test_who_has_not_seen_a_file_replaces_what_is_there(driver: Driver, committed: None) -> None:
    async with loaded(driver, "ended") as (session, document):
        session.sync.expire(document)
        await change(driver, replace, b"first")
        document.file = file(b"second")
        await session.commit()
    (row,) = await every_row_has_its_content(driver)
    assert await driver.content(row.file) == b"second"


async def test_who_has_not_seen_a_deferred_file_replaces_what_is_there(
    driver: Driver, committed: None
) -> None:
    async def scan(session: DriverSession, document: Document, body: bytes) -> None:
        document.scan = file(body)

    async with loaded(driver, "ended") as (session, document):
        await change(driver, scan, b"first")
        await scan(session, document, b"second")
        await session.commit()
    assert contents() == [b"1", b"2", b"old", b"second"]


async def test_a_file_that_is_gone_is_not_copied(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with loaded(driver, "ended") as (session, document):
        await change(driver, replace, b"first")
        session.add(Document(id=2, file=document.file))
        with pytest.raises((ConcurrentFileChangeError, FileNotFoundError)):
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"first"})


async def test_a_file_that_is_gone_is_not_moved(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old", b"other")
    async with loaded(driver, "ended") as (session, document):
        await change(driver, replace, b"first")
        other = await session.one(Document, 2)
        other.file, document.file = document.file, None
        with pytest.raises(ConcurrentFileChangeError):
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"first", 2: b"other"})


async def test_a_file_that_another_session_moved_away_is_not_removed(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old", b"other")

    async def move(session: DriverSession, document: Document, body: bytes) -> None:
        other = await session.one(Document, 2)
        other.file, document.file = document.file, None

    async with loaded(driver, "ended") as (session, document):
        await change(driver, move, b"")
        document.file = file(b"second")
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: None, 2: b"old"})


async def test_a_parent_is_not_deleted_over_a_child_that_has_changed(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Folder(id=1, items=[Item(id=1, file=file(b"old"))]))
        await session.commit()
    async with driver.session(expire_on_commit=False) as session:
        folder = await session.one(Folder, 1)
        await session.refresh(folder, ["items"])
        await session.commit()
        async with driver.session() as other:
            (await other.one(Item, 1)).file = file(b"first")
            await other.commit()
        await session.delete(folder)
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
    assert contents() == [b"first"]


async def test_what_another_session_deleted_can_be_added_again(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    upload = FileObject("a.txt", content=b"second")
    async with loaded(driver, "ended") as (session, document):
        await change(driver, delete, b"")
        document.file = upload
        with pytest.raises(ConcurrentFileChangeError, match="deleted the row"):
            await session.commit()
        await session.rollback()
        session.sync.expunge_all()
        session.add(Document(id=1, file=upload))
        await session.commit()
    await agree(driver, {1: b"second"})
