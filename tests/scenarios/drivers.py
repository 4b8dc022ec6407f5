"""One face for a sync and an async session, so that each scenario is written once.

Every call that may reach the database or a storage is awaited.  Under the sync driver nothing is
ever suspended: the calls run in place, on the event loop's thread, as in a sync program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, Executable, Result, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from filecolumn import FileObject, storages
from filecolumn.maintenance import DrainReport, Models, drain, drain_async
from tests.scenarios.models import Base
from tests.servers.databases import copy_tables

T = TypeVar("T")


def use_real_savepoints(engine: Engine) -> None:
    """Apply SQLAlchemy's documented recipe: the driver's own BEGIN breaks SAVEPOINT.

    https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
    """

    @event.listens_for(engine, "connect")
    def do_connect(connection: object, record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def do_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def _write_quickly(engine: Engine) -> None:
    """Do not wait for the disk: no test of these drivers cuts the power of the machine."""

    @event.listens_for(engine, "connect")
    def do_connect(connection: DBAPIConnection, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.close()


def _suited(url: str | URL) -> dict[str, object]:
    """Return the options that keep a database in memory alive."""
    parsed = make_url(url)
    in_memory = parsed.get_backend_name() == "sqlite" and not parsed.database
    return {"poolclass": StaticPool} if in_memory else {}


class DriverSession(ABC):
    """What a scenario may do with a session."""

    sync: Session
    """The session itself, or the sync one inside; for attributes and `in`, not for calls that reach anything."""

    def add(self, *instances: object) -> None:
        """Put instances into the session."""
        self.sync.add_all(instances)

    @abstractmethod
    async def run(self, call: Callable[[Session], T]) -> T:
        """Run *call* with the sync session, as `AsyncSession.run_sync` does."""

    @abstractmethod
    def begin_nested(self) -> AbstractAsyncContextManager[object]:
        """Open a savepoint."""

    @abstractmethod
    async def commit(self) -> None: ...

    @abstractmethod
    async def rollback(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def flush(self) -> None:
        await self.run(lambda session: session.flush())

    async def get(self, model: type[T], key: object) -> T | None:
        return await self.run(lambda session: session.get(model, key))

    async def one(self, model: type[T], key: object) -> T:
        """Load an instance that must be there."""
        return await self.run(lambda session: session.get_one(model, key))

    async def delete(self, instance: object) -> None:
        await self.run(lambda session: session.delete(instance))

    async def merge(self, instance: T) -> T:
        return await self.run(lambda session: session.merge(instance))

    async def refresh(self, instance: object, names: list[str] | None = None) -> None:
        await self.run(lambda session: session.refresh(instance, names))

    async def execute(self, statement: Executable) -> Result[tuple[object, ...]]:
        return await self.run(lambda session: session.execute(statement))


class DriverConnection(ABC):
    """A connection that its user begins and ends transactions on."""

    @abstractmethod
    async def run(self, call: Callable[[Connection], T]) -> T:
        """Run *call* with the sync connection, as `AsyncConnection.run_sync` does."""

    @abstractmethod
    def session(self, **options: object) -> AbstractAsyncContextManager[DriverSession]:
        """Open a session that is bound to it."""

    async def begin(self) -> None:
        await self.run(lambda connection: connection.begin())

    async def commit(self) -> None:
        await self.run(lambda connection: connection.commit())

    async def rollback(self) -> None:
        await self.run(lambda connection: connection.rollback())


class Driver(ABC):
    """A database under test."""

    is_async: bool
    engine: Engine | AsyncEngine

    @property
    @abstractmethod
    def sync_engine(self) -> Engine:
        """The engine itself, or the sync one inside."""

    @property
    def dialect(self) -> str:
        """Name of the database's kind."""
        return self.sync_engine.dialect.name

    @abstractmethod
    def session(self, **options: object) -> AbstractAsyncContextManager[DriverSession]:
        """Open a session; leaving it closes it without a commit."""

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[DriverConnection]:
        """Open a connection; leaving it closes it without a commit."""

    @abstractmethod
    async def create(self) -> None:
        """Make the tables."""

    @abstractmethod
    async def dispose(self) -> None: ...

    @abstractmethod
    async def content(self, file: FileObject | None) -> bytes:
        """Read a file's content with the calls of this driver's kind."""

    @abstractmethod
    async def save(self, file: FileObject) -> FileObject: ...

    @abstractmethod
    async def delete(self, file: FileObject) -> None: ...

    @abstractmethod
    async def drain(self, *models: Models) -> DrainReport:
        """Delete what is due; *models* besides those of `Base`."""


class SyncSession(DriverSession):
    def __init__(self, session: Session) -> None:
        self.sync = session

    async def run(self, call: Callable[[Session], T]) -> T:
        return call(self.sync)

    @asynccontextmanager
    async def begin_nested(self) -> AsyncIterator[object]:
        with self.sync.begin_nested() as savepoint:
            yield savepoint

    async def commit(self) -> None:
        self.sync.commit()

    async def rollback(self) -> None:
        self.sync.rollback()

    async def close(self) -> None:
        self.sync.close()


class SyncConnection(DriverConnection):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def run(self, call: Callable[[Connection], T]) -> T:
        return call(self.connection)

    @asynccontextmanager
    async def session(self, **options: object) -> AsyncIterator[DriverSession]:
        with Session(self.connection, **options) as session:
            yield SyncSession(session)


class SyncDriver(Driver):
    is_async = False

    def __init__(self, url: str | URL, **options: object) -> None:
        self.engine = create_engine(url, **_suited(url), **options)
        if self.engine.dialect.name == "sqlite":
            use_real_savepoints(self.engine)
            _write_quickly(self.engine)

    @property
    def sync_engine(self) -> Engine:
        return self.engine

    @asynccontextmanager
    async def session(self, **options: object) -> AsyncIterator[DriverSession]:
        with Session(**{"bind": self.engine, **options}) as session:
            yield SyncSession(session)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[DriverConnection]:
        with self.engine.connect() as connection:
            yield SyncConnection(connection)

    async def create(self) -> None:
        if not copy_tables(self.engine, Base.metadata):
            Base.metadata.create_all(self.engine)

    async def dispose(self) -> None:
        self.engine.dispose()

    async def content(self, file: FileObject | None) -> bytes:
        assert file is not None
        return file.get_content()

    async def save(self, file: FileObject) -> FileObject:
        return file.save()

    async def delete(self, file: FileObject) -> None:
        file.delete()

    async def drain(self, *models: Models) -> DrainReport:
        return drain(self.engine, Base, *models)


class AsyncDriverSession(DriverSession):
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.sync = session.sync_session

    async def run(self, call: Callable[[Session], T]) -> T:
        return await self.session.run_sync(call)

    def begin_nested(self) -> AbstractAsyncContextManager[object]:
        return self.session.begin_nested()

    async def commit(self) -> None:
        await self.session.commit()

    async def rollback(self) -> None:
        await self.session.rollback()

    async def close(self) -> None:
        await self.session.close()


class AsyncDriverConnection(DriverConnection):
    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    async def run(self, call: Callable[[Connection], T]) -> T:
        return await self.connection.run_sync(call)

    @asynccontextmanager
    async def session(self, **options: object) -> AsyncIterator[DriverSession]:
        async with AsyncSession(self.connection, **{"expire_on_commit": False, **options}) as session:
            yield AsyncDriverSession(session)


class AsyncDriver(Driver):
    is_async = True

    def __init__(self, url: str | URL, **options: object) -> None:
        self.engine: AsyncEngine = create_async_engine(url, **_suited(url), **options)
        if self.engine.dialect.name == "sqlite":
            use_real_savepoints(self.sync_engine)
            _write_quickly(self.sync_engine)

    @property
    def sync_engine(self) -> Engine:
        return self.engine.sync_engine

    @asynccontextmanager
    async def session(self, **options: object) -> AsyncIterator[DriverSession]:
        async with AsyncSession(**{"bind": self.engine, "expire_on_commit": False, **options}) as session:
            yield AsyncDriverSession(session)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[DriverConnection]:
        async with self.engine.connect() as connection:
            yield AsyncDriverConnection(connection)

    async def create(self) -> None:
        if not copy_tables(self.sync_engine, Base.metadata):
            async with self.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)

    async def dispose(self) -> None:
        await self.engine.dispose()

    async def content(self, file: FileObject | None) -> bytes:
        assert file is not None
        return await file.get_content_async()

    async def save(self, file: FileObject) -> FileObject:
        return await file.save_async()

    async def delete(self, file: FileObject) -> None:
        await file.delete_async()

    async def drain(self, *models: Models) -> DrainReport:
        return await drain_async(self.engine, Base, *models)


def stored(backend: str = "docs") -> dict[str, bytes]:
    """Return what lies in a storage, read behind the session's back."""
    storage = storages.get(backend)
    return {stat.key: storage.get_bytes(stat.key) for stat in storage.list()}


def contents(backend: str = "docs") -> list[bytes]:
    """Return the contents of a storage, sorted."""
    return sorted(stored(backend).values())
