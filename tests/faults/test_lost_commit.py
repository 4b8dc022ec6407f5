"""The connection to PostgreSQL is cut around COMMIT: the outcome is unknown, and then known, right every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import Connection, Engine, delete, select, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn import CommitOutcomeUnknownError, FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.faults.deployed import DEPLOYMENTS_OF_ALL, deployed, options_of
from tests.faults.proxy import Cut, Proxy, proxied
from tests.profiles import PROFILE
from tests.scenarios.drivers import AsyncDriver, Driver, DriverSession, SyncDriver, stored
from tests.scenarios.models import Base, Document

DOCUMENTS = Base.metadata.tables["documents"]
PLAIN = {"psycopg": {"sslmode": "disable"}, "asyncpg": {"ssl": "disable"}}
"""The proxy reads what it forwards."""

pytestmark = [pytest.mark.server, pytest.mark.sized, pytest.mark.timeout(60 + PROFILE.cuts)]


@pytest.fixture(scope="module", params=DEPLOYMENTS_OF_ALL)
def direct(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The database itself, past the proxy."""
    with deployed("postgresql", tmp_path_factory.mktemp("database"), request.param) as tenants:
        yield tenants[0]


@pytest.fixture
def proxy(direct: Engine) -> Iterator[Proxy]:
    with proxied(direct.url.host or "127.0.0.1", direct.url.port or 5432) as proxy:
        yield proxy


@pytest.fixture(params=["psycopg", "asyncpg"])
async def driver(request: pytest.FixtureRequest, direct: Engine, proxy: Proxy) -> AsyncIterator[Driver]:
    """The database behind the proxy, with one row, whose file is replaced."""
    url = direct.url.set(
        drivername=f"postgresql+{request.param}",
        host="127.0.0.1",
        port=proxy.port,
        query=PLAIN[request.param],
    ).render_as_string(hide_password=False)
    storages.register_backend(ObstoreBackend("docs", "memory://"), replace=True)
    with direct.begin() as connection:
        connection.execute(delete(DOCUMENTS))
    options = options_of(direct)
    made: Driver = SyncDriver(url, **options) if request.param == "psycopg" else AsyncDriver(url, **options)
    async with made.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"first")))
        await session.commit()
    yield made
    await made.dispose()


async def transaction_id(session: DriverSession) -> str:
    result = await session.execute(text("SELECT CAST(pg_current_xact_id() AS text)"))
    return str(result.scalar_one())


def status(connection: Connection, transaction: str) -> str:
    """Ask PostgreSQL itself how a transaction ended."""
    asked = text("SELECT pg_xact_status(CAST(CAST(:id AS text) AS xid8))")
    return str(connection.execute(asked, {"id": transaction}).scalar_one())


def held_key(connection: Connection) -> str:
    named = type_coerce(DOCUMENTS.c.file, JSONB)["to_filename"].as_string()
    return str(connection.execute(select(named)).scalar_one())


async def ask(driver: Driver, error: CommitOutcomeUnknownError) -> bool:
    return await error.resolve_async() if driver.is_async else error.resolve()


async def lose(session: DriverSession, proxy: Proxy, cut: Cut) -> tuple[CommitOutcomeUnknownError, str]:
    """Replace the file and lose the connection in COMMIT; return the error, and the transaction's id."""
    document = await session.one(Document, 1)
    document.file = FileObject("a.txt", content=b"next")
    await session.flush()
    transaction = await transaction_id(session)
    proxy.next = cut
    with pytest.raises(CommitOutcomeUnknownError) as raised:
        await session.commit()
    assert proxy.next is None
    return raised.value, transaction


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER, Cut.UNANSWERED])
async def test_it_is_known_right_every_time(driver: Driver, direct: Engine, proxy: Proxy, cut: Cut) -> None:
    answers = set[bool]()
    cuts = PROFILE.cuts // 5 if cut is Cut.AFTER else PROFILE.cuts
    with direct.connect().execution_options(isolation_level="AUTOCOMMIT") as truth:
        for _ in range(cuts):
            async with driver.session() as session:
                before = held_key(truth)
                error, transaction = await lose(session, proxy, cut)
                assert before in (kept := stored().keys())
                assert len(kept) == 2, "nothing is deleted while it is unknown"
                answer = await ask(driver, error)
                assert answer is (status(truth, transaction) == "committed")
                assert answer is (held_key(truth) != before)
                answers.add(answer)
            assert stored().keys() == {held_key(truth)}
    assert cut is Cut.AFTER or answers == {cut is Cut.UNANSWERED}
    assert proxy.cuts == cuts


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNANSWERED])
async def test_nothing_is_deleted_before_the_database_answers(
    driver: Driver, direct: Engine, proxy: Proxy, cut: Cut
) -> None:
    with direct.connect().execution_options(isolation_level="AUTOCOMMIT") as truth:
        for _ in range(PROFILE.cuts // 10):
            async with driver.session() as session:
                proxy.before_cut = lambda: setattr(proxy, "refuses", True)
                error, transaction = await lose(session, proxy, cut)
                with pytest.raises((DBAPIError, OSError)):
                    await ask(driver, error)
                await session.rollback()
                assert len(stored()) == 2
            assert len(stored()) == 2
            proxy.refuses, proxy.before_cut = False, lambda: None
            assert await ask(driver, error) is (status(truth, transaction) == "committed")
            assert stored().keys() == {held_key(truth)}


async def test_a_server_process_that_is_ended_in_commit_has_not_committed(
    driver: Driver, direct: Engine, proxy: Proxy
) -> None:
    with direct.connect().execution_options(isolation_level="AUTOCOMMIT") as truth:
        for _ in range(PROFILE.cuts // 10):
            async with driver.session() as session:
                before = held_key(truth)
                document = await session.one(Document, 1)
                document.file = FileObject("a.txt", content=b"next")
                await session.flush()
                process = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                truth.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
                with pytest.raises(CommitOutcomeUnknownError) as raised:
                    await session.commit()
                assert await ask(driver, raised.value) is False
            assert stored().keys() == {before} == {held_key(truth)}


async def test_a_cancelled_commit_loses_nothing(direct: Engine, proxy: Proxy, driver: Driver) -> None:
    """The answer never comes, and the caller does not wait for it."""
    if not isinstance(driver, AsyncDriver):
        pytest.skip("only a task can be cancelled")
    with direct.connect().execution_options(isolation_level="AUTOCOMMIT") as truth:
        for _ in range(PROFILE.cuts // 10):
            proxy.next = Cut.UNANSWERED
            proxy.before_cut = asyncio.current_task().cancel  # type: ignore[union-attr]
            before = held_key(truth)
            with pytest.raises(asyncio.CancelledError):
                async with AsyncSession(driver.engine) as session:
                    document = await session.get_one(Document, 1)
                    document.file = FileObject("a.txt", content=b"next")
                    await session.commit()
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            assert held_key(truth) != before
            assert stored().keys() == {held_key(truth)}
