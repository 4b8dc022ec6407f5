"""An error ends the database's transaction, the application goes on, and COMMIT seems to succeed.

PostgreSQL answers it with ROLLBACK, MariaDB has rolled back at the deadlock, SQLite at `OR ROLLBACK`:
nothing was written, so nothing may be deleted.
"""

from __future__ import annotations

from threading import Event, Thread

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.fixtures import ON_SQLITE, on_servers
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files

FAILURES = {
    "sqlite": "INSERT OR ROLLBACK INTO documents (id, title, pages) VALUES (50, '', '[]'), (50, '', '[]')",
    "postgresql": "SELECT 1 / 0",
}

pytestmark = pytest.mark.timeout(60)


async def fail(session: DriverSession, dialect: str) -> None:
    with pytest.raises(DBAPIError):
        await session.execute(text(FAILURES[dialect]))


@pytest.mark.parametrize("driver", [*ON_SQLITE, *on_servers(["psycopg", "asyncpg"])], indirect=True)
@pytest.mark.parametrize("change", ["replace", "delete", "insert"])
async def test_a_commit_after_the_transaction_has_failed_is_an_error(
    driver: Driver, storage: StorageBackend, change: str
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        if change == "replace":
            document.file = file(b"new")
        elif change == "delete":
            await session.delete(document)
        else:
            session.add(Document(id=2, file=file(b"second")))
        await session.flush()
        await fail(session, driver.dialect)
        with pytest.raises(SQLAlchemyError):
            await session.commit()
        await session.rollback()
        # the session, and its connection, go on
        session.add(Document(id=3, file=file(b"third")))
        await session.commit()
    await agree(driver, {1: b"old", 3: b"third"})


class Base(DeclarativeBase):
    """Base of a model without a ledger."""


class Plain(Base):
    """A file that no ledger knows."""

    __tablename__ = "plain_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs", ledger=False))


@pytest.mark.parametrize("driver", on_servers(["psycopg", "asyncpg"]), indirect=True)
async def test_nothing_is_lost_without_a_ledger_either(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        await session.run(lambda sync: Base.metadata.create_all(sync.connection()))
        session.add(Plain(id=1, file=file(b"old")))
        await session.commit()
        (await session.one(Plain, 1)).file = file(b"new")
        await session.flush()
        await fail(session, driver.dialect)
        with pytest.raises(SQLAlchemyError):
            await session.commit()
        await session.rollback()
        assert await driver.content((await session.one(Plain, 1)).file) == b"old"
        await session.run(lambda sync: Base.metadata.drop_all(sync.connection()))
        await session.commit()
    assert contents() == [b"old"]


@pytest.mark.parametrize("driver", on_servers(["psycopg", "asyncpg", "pymysql"]), indirect=True)
async def test_an_error_in_a_savepoint_ends_nothing(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        with pytest.raises(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT * FROM no_table_of_this_name"))
        await session.commit()
    await agree(driver, {1: b"new"})


@pytest.mark.parametrize("driver", on_servers(["pymysql"]), indirect=True)
async def test_a_deadlock_that_the_application_swallows_loses_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old", b"other")
    has_locked, goes_on = Event(), Event()

    def lock_the_other_way() -> None:
        """Write more than the session does, so that the session is the victim."""
        with driver.sync_engine.connect() as connection:
            for number in range(100, 200):
                connection.execute(
                    text("INSERT INTO documents (id, title, pages) VALUES (:id, '', '[]')"), {"id": number}
                )
            connection.execute(text("UPDATE documents SET title = 'x' WHERE id = 2"))
            has_locked.set()
            goes_on.wait(10)
            connection.execute(text("UPDATE documents SET title = 'x' WHERE id = 1"))
            connection.rollback()

    thread = Thread(target=lock_the_other_way)
    async with driver.session() as session:
        thread.start()
        assert has_locked.wait(10)
        (await session.one(Document, 1)).file = file(b"new")
        await session.flush()
        goes_on.set()
        with pytest.raises(OperationalError, match="1213"):
            await session.run(_update_the_second)
        with pytest.raises(SQLAlchemyError, match="roll back and retry"):
            await session.commit()
        await session.rollback()
    thread.join(20)
    await agree(driver, {1: b"old", 2: b"other"})


def _update_the_second(session: Session) -> None:
    session.execute(text("UPDATE documents SET title = 'y' WHERE id = 2"))


# A flush that ends before its SQL


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("replace", "raise"),
        ("replace", "expire"),
        ("replace", "expunge"),
        ("delete", "raise"),
        ("delete", "expunge"),
    ],
)
@pytest.mark.parametrize("flushes_again", [False, True], ids=["commit", "another flush"])
async def test_what_a_listener_refused_keeps_its_file(
    driver: Driver, storage: StorageBackend, what: str, how: str, flushes_again: bool
) -> None:
    """An error in `before_flush` rolls nothing back, and a flush that has nothing left to do says nothing."""
    await insert_files(driver, b"old")

    def refuse(session: Session, *_: object) -> None:
        for document in (*session.dirty, *session.deleted):
            if how == "expire":
                session.expire(document)
            elif how == "expunge":
                session.expunge(document)
            else:
                raise ValueError("not like this")

    async with driver.session() as session:
        document = await session.one(Document, 1)
        event.listen(session.sync, "before_flush", refuse)
        if what == "replace":
            document.file = file(b"new")
        else:
            await session.delete(document)
        if how == "raise":
            with pytest.raises(ValueError, match="not like this"):
                await session.flush()
            await session.run(lambda s: s.expunge(document))
        else:
            await session.flush()
        event.remove(session.sync, "before_flush", refuse)
        if flushes_again:
            session.add(Document(id=2, file=file(b"other")))
        await session.commit()
    await driver.drain()
    await agree(driver, {1: b"old"} | ({2: b"other"} if flushes_again else {}))
