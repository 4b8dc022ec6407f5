"""Sessions that really run at once: threads, or tasks of one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError

from filecolumn import ConcurrentFileChangeError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import AsyncDriver, Driver, contents
from tests.scenarios.fixtures import ON_SQLITE, make_driver, on_servers
from tests.scenarios.models import Document
from tests.scenarios.records import file
from tests.servers.databases import SCHEMES

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
WORKERS = 4
ROUNDS = 8
REFUSED = (ConcurrentFileChangeError, DBAPIError, ObjectDeletedError)
"""What a loser may hear: from us, or from the database (locked, deadlock, serialization)."""

Work = Callable[[Session, int], None]


@pytest.fixture(params=[*ON_SQLITE, *on_servers(f"{name} {level}" for name in SCHEMES for level in LEVELS)])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    kind, _, level = request.param.partition(" ")
    made = make_driver(kind, tmp_path, **({"isolation_level": level} if level else {}))
    if not level:
        await made.create()
    yield made
    await made.dispose()


def attempt(session: Session, work: Work, number: int) -> bool:
    """Return whether *work* was committed."""
    try:
        work(session, number)
        session.commit()
    except REFUSED:
        session.rollback()
        return False
    return True


async def race(driver: Driver, work: Work) -> int:
    """Let workers do *work* again and again, all at once; return how often it was committed."""
    if isinstance(driver, AsyncDriver):

        async def run(worker: int) -> Sequence[bool]:
            results = []
            for number in range(ROUNDS):
                async with driver.session() as session:
                    numbered = worker * ROUNDS + number
                    results.append(await session.run(lambda s, n=numbered: attempt(s, work, n)))
            return results

        outcomes = await asyncio.wait_for(asyncio.gather(*map(run, range(WORKERS))), 50)
    else:

        def run_here(worker: int) -> Sequence[bool]:
            results = []
            for number in range(ROUNDS):
                with Session(driver.sync_engine) as session:
                    results.append(attempt(session, work, worker * ROUNDS + number))
            return results

        with ThreadPoolExecutor(WORKERS) as pool:
            outcomes = list(pool.map(run_here, range(WORKERS)))
    return sum(map(sum, outcomes))


async def rows_and_objects_agree(driver: Driver) -> list[Document]:
    """Assert that each file of each row can be read, and that the storage has nothing else."""
    # on SQLite a removal gives way to the writers, and is left to a drain
    await driver.drain()
    async with driver.session() as session:
        documents = list(await session.run(lambda s: s.scalars(select(Document).order_by(Document.id)).all()))
        files = [document.file for document in documents if document.file is not None]
        files += [page for document in documents for page in document.pages]
        assert sorted([await driver.content(found) for found in files]) == contents()
        return documents


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Rows 1 and 2, each with a file and without pages."""
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(b"old %d" % number)) for number in (1, 2)))
        await session.commit()


def replace(session: Session, number: int) -> None:
    session.get_one(Document, 1).file = file(b"new %d" % number)


def append(session: Session, number: int) -> None:
    document = session.get_one(Document, 1)
    document.pages.append(file(b"page %d" % number))


def swap(session: Session, number: int) -> None:
    one, two = session.get_one(Document, 1), session.get_one(Document, 2)
    one.file, two.file = two.file, one.file
    document = one if number % 2 else two
    if number % 3 == 0:
        document.file = file(b"new %d" % number)


def delete_or_add(session: Session, number: int) -> None:
    document = session.get(Document, 1)
    if document is None:
        session.add(Document(id=1, file=file(b"added %d" % number)))
    else:
        session.delete(document)


async def test_replacements_leave_one_object(driver: Driver, committed: None) -> None:
    assert await race(driver, replace) >= 1
    await rows_and_objects_agree(driver)


async def test_no_committed_page_is_lost(driver: Driver, committed: None) -> None:
    done = await race(driver, append)
    one, _ = await rows_and_objects_agree(driver)
    assert len(one.pages) == done >= 1


async def test_swaps_lose_and_share_nothing(driver: Driver, committed: None) -> None:
    assert await race(driver, swap) >= 1
    documents = await rows_and_objects_agree(driver)
    assert len({document.file.path for document in documents if document.file}) == 2


async def test_deleted_and_added_rows_leave_nothing(driver: Driver, committed: None) -> None:
    assert await race(driver, delete_or_add) >= 1
    await rows_and_objects_agree(driver)
