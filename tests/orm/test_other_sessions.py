"""Sessions begun, scoped, isolated, dropped and mapped in other ways than most."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable

import pytest
from sqlalchemy import MetaData, String, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from filecolumn import FileObject, FileObjectList, NotSupportedError, StoredObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1 with the content "old"."""
    await insert_files(driver, b"old")


def change(session: Session) -> None:
    session.get_one(Document, 1).file = file(b"new")
    session.add(Document(id=2, file=file(b"second")))


BEFORE = {1: b"old"}
AFTER = {1: b"new", 2: b"second"}


# How a session begins


async def in_sessionmaker_begin(driver: Driver, call: Callable[[Session], None]) -> None:
    if isinstance(driver, AsyncDriver):
        async with async_sessionmaker(driver.engine).begin() as session:
            await session.run_sync(call)
    else:
        with sessionmaker(driver.sync_engine).begin() as session:
            call(session)


async def in_session_begin(driver: Driver, call: Callable[[Session], None]) -> None:
    if isinstance(driver, AsyncDriver):
        async with AsyncSession(driver.engine) as session, session.begin():
            await session.run_sync(call)
    else:
        with Session(driver.sync_engine) as session, session.begin():
            call(session)


async def in_nested_begin(driver: Driver, call: Callable[[Session], None]) -> None:
    async with driver.session() as session:
        async with session.begin_nested(), session.begin_nested():
            await session.run(call)
        await session.commit()


async def in_a_scope(driver: Driver, call: Callable[[Session], None]) -> None:
    if isinstance(driver, AsyncDriver):
        tasks = async_scoped_session(async_sessionmaker(driver.engine), asyncio.current_task)
        try:
            await (await tasks.connection()).run_sync(lambda _: None)
            await tasks().run_sync(call)
            await tasks.commit()
        finally:
            await tasks.remove()
    else:
        threads = scoped_session(sessionmaker(driver.sync_engine))
        try:
            call(threads())
            threads.commit()
        finally:
            threads.remove()


async def in_run_sync(driver: Driver, call: Callable[[Session], None]) -> None:
    def whole(session: Session) -> None:
        call(session)
        session.commit()

    async with driver.session() as session:
        await session.run(whole)


WAYS = [in_sessionmaker_begin, in_session_begin, in_nested_begin, in_a_scope, in_run_sync]


@pytest.mark.parametrize("way", WAYS)
async def test_the_block_commits(driver: Driver, committed: None, way) -> None:  # type: ignore[no-untyped-def]
    await way(driver, change)
    await agree(driver, AFTER)


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_in_the_block_rolls_back(driver: Driver, committed: None, way) -> None:  # type: ignore[no-untyped-def]
    def fail(session: Session) -> None:
        change(session)
        session.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await way(driver, fail)
    await agree(driver, BEFORE)


# How transactions are isolated


@pytest.mark.parametrize("where", ["engine", "connection"])
@pytest.mark.parametrize("what", ["add", "replace", "delete"])
async def test_autocommit_is_refused(driver: Driver, committed: None, where: str, what: str) -> None:
    engine = driver.engine  # type: ignore[attr-defined]
    if where == "engine":
        options = {"bind": engine.execution_options(isolation_level="AUTOCOMMIT")}
    async with driver.session(**(options if where == "engine" else {})) as session:
        if where == "connection":
            autocommit = {"isolation_level": "AUTOCOMMIT"}
            await session.run(lambda s: s.connection(execution_options=autocommit))
        document = await session.one(Document, 1)
        match what:
            case "add":
                session.add(Document(id=2, file=file(b"never")))
            case "replace":
                document.file = file(b"never")
            case _:
                await session.delete(document)
        with pytest.raises(NotSupportedError, match="AUTOCOMMIT"):
            await session.commit()
        await session.rollback()
        await agree(driver, BEFORE)
        # what is no file's business goes on
        (await session.one(Document, 1)).title = "changed"
        await session.commit()
    await agree(driver, BEFORE)


async def test_autocommit_chosen_with_the_engine_is_refused(driver: Driver, committed: None) -> None:
    options = {"isolation_level": "AUTOCOMMIT"}
    made = type(driver)(driver.sync_engine.url, **options)  # type: ignore[call-arg]
    async with made.session() as session:
        session.add(Document(id=2, file=file(b"never")))
        with pytest.raises(NotSupportedError, match="AUTOCOMMIT"):
            await session.commit()
        await session.rollback()
    await made.dispose()
    await agree(driver, BEFORE)


async def test_one_transaction_of_an_autocommit_engine_is_isolated(driver: Driver, committed: None) -> None:
    engine = driver.engine  # type: ignore[attr-defined]
    level = "SERIALIZABLE"
    async with driver.session(bind=engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        await session.run(lambda s: s.connection(execution_options={"isolation_level": level}))
        await session.run(change)
        await session.rollback()
        await agree(driver, BEFORE)
        await session.run(lambda s: s.connection(execution_options={"isolation_level": level}))
        await session.run(change)
        await session.commit()
    await agree(driver, AFTER)


# How it ends when nobody ends it


async def test_a_dropped_session_deletes_nothing_and_is_heard_of(
    driver: Driver, committed: None, caplog: pytest.LogCaptureFixture
) -> None:
    if not isinstance(driver, SyncDriver):
        pytest.skip("SQLAlchemy cannot give back an async connection that nobody closes, and says so")
    session = Session(driver.engine)
    change(session)
    session.flush()
    del session
    gc.collect()
    assert contents() == [b"new", b"old", b"second"]
    assert "a transaction was dropped" in caplog.text
    async with driver.session() as other:
        document = await other.one(Document, 1)
        assert await driver.content(document.file) == b"old"
        assert await other.get(Document, 2) is None
        # its locks are gone with it
        document.file = file(b"other")
        await other.commit()


# Where tables are


SCHEMA = f"filecolumn_test_{os.getpid()}_schema"


class Placed(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)
    type_annotation_map = {str: String(200)}


class Paper(Placed):
    __tablename__ = "papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(backend="docs", multiple=True), default=list)


@pytest.mark.parametrize("translated", [False, True])
async def test_tables_of_another_schema(driver: Driver, storage: StorageBackend, translated: bool) -> None:
    name = f"{SCHEMA}_translated" if translated else SCHEMA
    if driver.dialect == "sqlite":
        pytest.skip("SQLite has no schemas but attached files, each with a transaction of its own")
    async with driver.connect() as connection:
        await connection.run(lambda c: c.exec_driver_sql(f"CREATE SCHEMA {name}"))
        await connection.commit()
    engine = driver.engine  # type: ignore[attr-defined]
    if translated:
        engine = engine.execution_options(schema_translate_map={SCHEMA: name})
    try:
        async with driver.session(bind=engine) as session:
            await session.run(lambda s: Placed.metadata.create_all(s.connection()))
            await session.commit()
            session.add(Paper(id=1, file=file(b"old"), pages=[file(b"1")]))
            await session.commit()
            paper = await session.one(Paper, 1)
            paper.file = file(b"new")
            await session.run(lambda _: paper.pages.append(file(b"2")))
            await session.commit()
            assert contents() == [b"1", b"2", b"new"]
            await session.delete(paper)
            await session.commit()
            assert (await session.run(lambda s: s.scalars(select(Paper)).all())) == []
        assert contents() == []
    finally:
        async with driver.connect() as connection:
            cascade = " CASCADE" if driver.dialect == "postgresql" else ""
            await connection.run(lambda c: c.execute(text(f"DROP SCHEMA {name}{cascade}")))
            await connection.commit()
