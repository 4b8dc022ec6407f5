"""Sessions that commit in two phases, so that several databases commit together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from filecolumn.backends.base import StorageBackend
from tests.scenarios import models
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.fixtures import ON_SERVERS, driver_for, on_servers, server_database
from tests.scenarios.models import Document, Folder, Item
from tests.scenarios.records import agree, file, held, insert_files
from tests.servers.databases import SCHEMES, SERVERS, Database, need_server
from tests.servers.private_postgres import private_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    """A PostgreSQL that takes prepared transactions, as the common one does not by itself."""
    need_server("postgresql")
    with create_engine(SERVERS["postgresql"].url, poolclass=NullPool).connect() as connection:
        takes_them = int(connection.scalar(text("SHOW max_prepared_transactions")) or 0) >= 10
    if takes_them:
        yield server_database("postgresql")
        return
    with private_postgres("max_prepared_transactions=10") as url:
        made = Database(SERVERS["postgresql"], make_url(url).set(drivername="postgresql+psycopg"))
        made.create(models.Base.metadata)
        yield made
        made.drop()


@pytest.fixture(params=ON_SERVERS)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    """A database that can prepare a transaction."""
    if SCHEMES[request.param].startswith("postgresql"):
        database = request.getfixturevalue("postgres")
        database.clear()
    else:
        database = server_database("mariadb")
    made = driver_for(database, request.param)
    yield made
    await made.dispose()


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1 with the content "old"."""
    await insert_files(driver, b"old")


@pytest.mark.parametrize("prepares", [True, False])
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_both_phases_are_one_transaction(
    driver: Driver, committed: None, end: str, prepares: bool
) -> None:
    async with driver.session(twophase=True) as session:
        (await session.one(Document, 1)).file = file(b"new")
        session.add(Document(id=2, file=file(b"second")))
        await session.flush()
        if prepares:
            await session.run(lambda s: s.prepare())
            assert contents() == [b"new", b"old", b"second"]
        await getattr(session, end)()
    await agree(driver, {1: b"new", 2: b"second"} if end == "commit" else {1: b"old"})


async def test_a_savepoint_in_a_transaction_of_two_phases(driver: Driver, committed: None) -> None:
    async with driver.session(twophase=True) as session:
        document = await session.one(Document, 1)
        async with session.begin_nested():
            document.file = file(b"released")
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                document.file = file(b"undone")
                await session.flush()
                raise ZeroDivisionError
        await session.commit()
    await agree(driver, {1: b"released"})


@pytest.mark.parametrize("driver", on_servers(["psycopg", "asyncpg"]), indirect=True)
async def test_a_constraint_that_fails_in_the_first_phase_leaves_nothing(
    driver: Driver, committed: None
) -> None:
    deferred = "ALTER TABLE items ALTER CONSTRAINT items_folder_id_fkey {}DEFERRABLE"
    async with driver.session() as session:
        await session.execute(text(deferred.format("") + " INITIALLY DEFERRED"))
        await session.commit()
    async with driver.session(twophase=True) as session:
        (await session.one(Document, 1)).file = file(b"new")
        session.add(Item(id=1, folder_id=99, file=file(b"never")))
        # SQLAlchemy 2.0 hides the database's error behind one of its own state
        with pytest.raises(SQLAlchemyError):
            await session.commit()
        await session.rollback()
        assert contents() == [b"old"]
    async with driver.session(twophase=True) as session:
        session.add(Folder(id=1, items=[Item(id=1, file=file(b"item"))]))
        await session.commit()
    async with driver.session() as session:
        await session.execute(text(deferred.format("NOT ")))
        await session.commit()
    assert await held(driver) == {1: b"old"}
    assert contents() == [b"item", b"old"]


@pytest.mark.parametrize(
    ("driver", "arrives"),
    [
        pytest.param(name, arrives, marks=pytest.mark.server)
        for name, arrives in [*((name, True) for name in SCHEMES), ("psycopg", False), ("asyncpg", False)]
    ],
    indirect=["driver"],
)
async def test_a_second_phase_without_an_answer_loses_nothing(
    driver: Driver, committed: None, arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = driver.sync_engine.dialect
    second_phase = dialect.do_commit_twophase

    def do_commit_twophase(*arguments: object) -> None:
        if arrives:
            second_phase(*arguments)
        monkeypatch.undo()
        raise dialect.loaded_dbapi.OperationalError("the connection was lost")

    xids: list[object] = []
    event.listen(driver.sync_engine, "prepare_twophase", lambda _, xid: xids.append(xid))
    monkeypatch.setattr(dialect, "do_commit_twophase", do_commit_twophase)
    async with driver.session(twophase=True) as session:
        (await session.one(Document, 1)).file = file(b"new")
        with pytest.raises(DBAPIError):
            await session.commit()
        await session.rollback()
    # the database is asked: it has committed, or it cannot tell yet
    assert contents() == ([b"new"] if arrives else [b"new", b"old"])
    await driver.dispose()
    if not arrives:
        # as an operator would, who finds it prepared
        async with driver.connect() as connection:
            await connection.run(lambda c: c.commit_prepared(xids[0], recover=True))
    assert await held(driver) == {1: b"new"}
