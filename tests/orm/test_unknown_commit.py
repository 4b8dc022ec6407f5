"""COMMIT is sent and its answer is lost: the database is asked, and nothing is deleted before it says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import PoolProxiedConnection

from filecolumn import CommitOutcomeUnknownError
from filecolumn.backends.base import StorageBackend
from filecolumn.orm.transaction import HeardCommit
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files

Cut = Callable[[bool], None]


def engine_of(driver: Driver) -> Engine:
    engine = driver.engine  # type: ignore[attr-defined]
    return engine.sync_engine if driver.is_async else engine


def heard_by(engine: Engine) -> HeardCommit:
    """Return what sends COMMIT for an engine that a flush has used."""
    heard = engine.dialect.do_commit
    assert isinstance(heard, HeardCommit)
    return heard


@pytest.fixture
def cut(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Lose the connection in the next COMMIT, which arrives or does not."""
    engine = engine_of(driver)

    def is_lost(context: ExceptionContext) -> None:
        if "server closed the connection" in str(context.original_exception):
            context.is_disconnect = True

    event.listen(engine, "handle_error", is_lost)

    def cut(arrives: bool) -> None:
        heard, rollback = heard_by(engine), engine.dialect.do_rollback
        commit = heard.send

        def send(connection: PoolProxiedConnection) -> None:
            monkeypatch.undo()
            (commit if arrives else rollback)(connection)
            raise sqlite3.OperationalError("server closed the connection")

        monkeypatch.setattr(heard, "send", send)

    return cut


async def replace_and_lose(session: DriverSession) -> CommitOutcomeUnknownError:
    (await session.one(Document, 1)).file = file(b"new")
    with pytest.raises(CommitOutcomeUnknownError) as raised:
        await session.commit()
    assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
    return raised.value


async def ask(driver: Driver, error: CommitOutcomeUnknownError) -> bool:
    return await error.resolve_async() if driver.is_async else error.resolve()


pytestmark = pytest.mark.parametrize("driver", ["sync-file", "async-file"], indirect=True)


async def use_storage(driver: Driver) -> None:
    """Save and delete a file: the first one of a process registers the storage in a transaction of its own."""
    async with driver.session() as session:
        session.add(Document(id=99, file=file(b"first")))
        await session.commit()
        await session.delete(await session.one(Document, 99))
        await session.commit()


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "never"])
@pytest.mark.parametrize("asked", ["at once", "after the rollback"])
async def test_it_is_known_once_the_database_is_asked(
    driver: Driver, storage: StorageBackend, cut: Cut, arrives: bool, asked: str
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        cut(arrives)
        error = await replace_and_lose(session)
        if asked == "at once":
            assert await ask(driver, error) is arrives
        await session.rollback()
    assert await ask(driver, error) is arrives
    await agree(driver, {1: b"new" if arrives else b"old"})


NOBODY = ConnectionRefusedError("nobody is there")


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "never"])
# asyncpg's own errors when it connects are not wrapped
@pytest.mark.parametrize("refusal", [OperationalError("connect", {}, NOBODY), NOBODY], ids=["ours", "bare"])
async def test_nothing_is_deleted_while_the_database_does_not_answer(
    driver: Driver,
    storage: StorageBackend,
    cut: Cut,
    arrives: bool,
    refusal: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused() -> None:
        raise refusal

    await insert_files(driver, b"old")
    async with driver.session() as session:
        cut(arrives)
        error = await replace_and_lose(session)
        with monkeypatch.context() as away:
            away.setattr(engine_of(driver), "connect", refused)
            with pytest.raises(type(refusal)):
                await ask(driver, error)
            await session.rollback()
        assert contents() == [b"new", b"old"]
        assert "its files are kept" in caplog.text
    assert await ask(driver, error) is arrives
    await agree(driver, {1: b"new" if arrives else b"old"})


async def test_a_sweep_that_claimed_the_key_first_is_no_commit(
    driver: Driver, storage: StorageBackend, cut: Cut
) -> None:
    await use_storage(driver)
    async with driver.session() as session:
        document = Document(id=1, file=file(b"new"))
        session.add(document)
        cut(False)
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
        async with driver.session() as sweep:
            await sweep.execute(
                text(
                    "INSERT INTO filecolumn_ledger (backend, key, state, checked, created_at, due_at, attempts) "
                    "VALUES ('docs', :key, 2, false, 0, 0, 0)"
                ).bindparams(key=document.file.path if document.file else "")
            )
            await sweep.commit()
        assert await ask(driver, raised.value) is False


async def test_content_is_pending_again_if_it_never_committed(
    driver: Driver, storage: StorageBackend, cut: Cut
) -> None:
    await use_storage(driver)
    async with driver.session() as session:
        document = Document(id=1, file=file(b"new"))
        session.add(document)
        cut(False)
        with pytest.raises(CommitOutcomeUnknownError):
            await session.commit()
        await session.rollback()
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"new"})


async def test_an_answer_that_says_no_is_no_unknown(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        heard = heard_by(engine_of(driver))
        commit = heard.send

        def send(connection: PoolProxiedConnection) -> None:
            heard.send = commit
            raise sqlite3.OperationalError("database or disk is full")

        heard.send = send
        with pytest.raises(OperationalError, match="disk is full"):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: b"old"})


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "never"])
async def test_a_transaction_without_new_content_leaves_a_token(
    driver: Driver, storage: StorageBackend, cut: Cut, arrives: bool
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        cut(arrives)
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
        assert raised.value.committed is None
        assert contents() == [b"old"]
    assert raised.value.committed is arrives
    await agree(driver, {} if arrives else {1: b"old"})


async def test_a_commit_is_heard_also_after_others_have_put_the_method_back(
    driver: Driver, storage: StorageBackend, cut: Cut
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        del engine_of(driver).dialect.do_commit
        (await session.one(Document, 1)).file = file(b"new")
        await session.flush()
        cut(True)
        with pytest.raises(CommitOutcomeUnknownError):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: b"new"})
