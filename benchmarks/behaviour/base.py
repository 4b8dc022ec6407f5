"""What a library must offer so that a scenario can drive it, and what mappers to SQLAlchemy have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from sqlalchemy import Engine, delete, event, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from benchmarks.contenders.base import Mapped, Place

KILLED = 9
"""What a process that killed itself exits with."""


class Undo(Exception):  # noqa: N818 - it is a way to leave a block, not a fault
    """Raised in a transaction or savepoint so that it rolls back."""


class Library(ABC):
    """A model with a file, as a library maps it to the table `records`; operations are flushed."""

    name: ClassVar[str]
    package: ClassVar[str]
    """The distribution whose version is told."""
    is_async: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, place: Place) -> None: ...

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Commit at the end of the block, or roll back where it raises."""

    @abstractmethod
    def savepoint(self) -> AbstractContextManager[None]:
        """Release a savepoint at the end of the block, or roll back to it where it raises."""

    @abstractmethod
    def add(self, content: bytes, name: str = "a.bin") -> None:
        """Save a row with a new file."""

    @abstractmethod
    def replace(self, content: bytes, name: str = "b.bin") -> None:
        """Give the first row a new file."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the first row by the ORM."""

    @abstractmethod
    def remove_all(self) -> None:
        """Delete all rows by one statement of the ORM."""

    @abstractmethod
    def remove_raw(self) -> None:
        """Delete all rows by SQL as text."""

    @abstractmethod
    def share(self) -> None:
        """Save a row with the file of the first one."""

    @abstractmethod
    def make(self, content: bytes) -> None:
        """Make an object with a file, which is never added to a session or saved."""

    @abstractmethod
    def leave(self, content: bytes) -> None:
        """Save a row, and close the session without a commit or a rollback."""

    @abstractmethod
    def kill(self, *, committed: bool) -> None:
        """Let the process end at the next COMMIT: after the database has done it, or before."""

    @abstractmethod
    def rows(self) -> list[bytes | None]:
        """Return the content of each row's file, None where it cannot be read."""

    def maintain(self) -> bool:
        """Run what the library has to put rows and files in order; return whether it has anything."""
        return False

    async def add_async(self, content: bytes, then: Callable[[], object] = lambda: None) -> None:
        """Save a row by an async session, and call *then* as soon as its commit has returned."""
        raise NotImplementedError


class OfSQLAlchemy(Library):
    """A column type, driven by sessions over SQLite with SQLAlchemy's recipe for savepoints."""

    contender: ClassVar[type[Mapped]]
    session: Session

    def __init__(self, place: Place) -> None:
        self.mapped = self.contender(place)
        self.record: Any = self.mapped.record
        _exact(self.mapped.engine)

    def named(self, content: bytes, name: str) -> object:
        """Return a file that is called *name*."""
        raise NotImplementedError

    def read(self, file: Any) -> bytes:
        """Return the content of a row's file."""
        raise NotImplementedError

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.mapped.session() as self.session, self.session.begin():
            yield

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.session.begin_nested():
            yield

    def first(self) -> Any:
        """Return the first row."""
        return self.session.scalars(select(self.record).order_by(self.record.id).limit(1)).one()

    def add(self, content: bytes, name: str = "a.bin") -> None:
        self.session.add(self.record(title="a", file=self.named(content, name)))
        self.session.flush()

    def replace(self, content: bytes, name: str = "b.bin") -> None:
        self.first().file = self.named(content, name)
        self.session.flush()

    def remove(self) -> None:
        self.session.delete(self.first())
        self.session.flush()

    def remove_all(self) -> None:
        self.session.execute(delete(self.record))

    def remove_raw(self) -> None:
        self.session.execute(text("DELETE FROM records"))

    def share(self) -> None:
        self.session.add(self.record(title="b", file=self.first().file))
        self.session.flush()

    def make(self, content: bytes) -> None:
        self.record(title="a", file=self.named(content, "a.bin"))

    def leave(self, content: bytes) -> None:
        self.session = self.mapped.session()
        self.add(content)
        self.session.close()

    def kill(self, *, committed: bool) -> None:
        _kill_at_commit(self.mapped.engine, committed=committed)

    def rows(self) -> list[bytes | None]:
        with self.mapped.session() as session:
            records = session.scalars(select(self.record).order_by(self.record.id)).all()
            return [_attempt(self.read, record.file) for record in records]

    async def add_async(self, content: bytes, then: Callable[[], object] = lambda: None) -> None:
        async with self.async_session() as session:
            session.add(self.record(title="a", file=self.named(content, "a.bin")))
            await session.commit()
            then()

    def async_session(self) -> AsyncSession:
        """Return an async session over the same database."""
        return self.mapped.async_session()


def _attempt(read: Callable[[Any], bytes], file: Any) -> bytes | None:
    try:
        return read(file)
    except Exception:  # noqa: BLE001 - each library raises its own
        return None


def _exact(engine: Engine) -> None:
    """Make savepoints of Python's SQLite driver exact, as SQLAlchemy's documentation says."""

    def leave_transactions_to_us(connection: Any, record: object) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
    event.listen(engine, "connect", leave_transactions_to_us)
    event.listen(engine, "begin", begin)


def _kill_at_commit(engine: Engine, *, committed: bool) -> None:
    """Let the next COMMIT of an engine be the process's end."""
    commit = engine.dialect.do_commit

    def end(connection: Any) -> None:
        if committed:
            commit(connection)
        os._exit(KILLED)

    engine.dialect.do_commit = end  # type: ignore[method-assign]
