"""One of the sessions of a history, and what is to come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from filecolumn import FileObject, ObjectNotFoundError, StaleUploadError
from tests.faults.beliefs import Attribute, Changes, Chronicle, Labelled, Row
from tests.faults.world import World
from tests.scenarios.drivers import AsyncDriver, AsyncDriverSession, DriverSession, SyncSession
from tests.scenarios.models import Document

T = TypeVar("T")

ATTRIBUTES: tuple[Attribute, ...] = ("file", "pages", "scan")

_BLOCKED = ("database is locked", "55P03", "40001", "40P01", "1205", "1213")
"""What SQLite, PostgreSQL and MariaDB say to whoever would have to wait."""


def is_blocked(error: BaseException) -> bool:
    """Return whether a database said that somebody else has a lock."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return isinstance(error, DBAPIError) and any(sign in f"{state} {error.orig}" for sign in _BLOCKED)


def is_conflict(error: BaseException) -> bool:
    """Return whether somebody lost a race."""
    lost = StaleDataError, ObjectDeletedError, ObjectNotFoundError, StaleUploadError, IntegrityError
    return isinstance(error, lost) or is_blocked(error)


class Actor:
    """A session with what its transaction has done."""

    session: DriverSession

    def __init__(self, world: World, chronicle: Chronicle) -> None:
        self._world = world
        self._chronicle = chronicle
        self.open()

    def open(self) -> None:
        """Begin a session; it knows nothing of what the one before had read."""
        driver = self._world.driver
        self.session = (
            AsyncDriverSession(AsyncSession(driver.engine, expire_on_commit=False))
            if isinstance(driver, AsyncDriver)
            else SyncSession(Session(driver.sync_engine))
        )
        event.listen(self.session.sync, "after_flush_postexec", lambda *_: self.settle())
        self.forget()
        self.begin()

    def forget(self) -> None:
        """Take note that what the session had read is to be read again."""
        self._since = self._chronicle.length
        self.is_disturbed = False
        self.is_swept = False
        self._held: list[Document] = []

    def begin(self) -> None:
        """Take note that a transaction has ended."""
        self.changes = Changes()
        self._flushed = Changes()
        self.savepoints: list[tuple[Changes, object]] = []

    def settle(self) -> None:
        """Take note that the database has all changes."""
        self._flushed = self.changes.copy()

    @property
    def is_active(self) -> bool:
        return self.session.sync.in_transaction()

    def run(self, call: Callable[[Session], T]) -> T:
        return self._world.wait(self.session.run(call))

    # What it reads

    def see(self, number: int) -> Row | None:
        """Return what the session says of a row, which is its own change, or was committed."""
        row = self.run(lambda session: _look(session, number, self._held))
        mine, written = self.changes.rows.get(number), self.changes.written.get(number, set())
        if number in self.changes.rows:
            assert (row is None) is (mine is None), (row, mine)
        for attribute in ATTRIBUTES:
            if attribute == "scan" and not self.has_read_scan(number):
                continue
            found = getattr(row, attribute, None)
            if attribute in written:
                assert found == getattr(mine, attribute, None), (row, mine)
            else:
                assert self._chronicle.held(number, attribute, found, self._since), (
                    f"nobody committed {found}"
                )
        return row

    def has_read_scan(self, number: int) -> bool:
        """Return whether the session has the attribute that is not loaded with its row."""
        key = Document.__mapper__.identity_key_from_primary_key((number,))
        document = self.session.sync.identity_map.get(key)
        return document is not None and "scan" not in instance_state(document).unloaded

    # What it does

    def change(self, number: int, row: Row, act: Callable[[Document], object], **values: object) -> None:
        """Change a row's record, which is seen as *row*."""
        is_unseen = "scan" in values and not self.has_read_scan(number)
        self.run(lambda session: act(session.get_one(Document, number)))
        self.wrote(number, row, is_unseen=is_unseen, **values)

    def wrote(self, number: int, row: Row, *, is_unseen: bool = False, **values: object) -> None:
        """Take note of what is changed in a row, unless it *is_unseen* because of what was seen."""
        self.changes.saw(number, row, *(() if is_unseen else values))  # type: ignore[arg-type]
        self.changes.write(number, row, **values)

    def put(self, number: int, seen: Row | None, row: Row | None) -> None:
        """Take note that a row is inserted or deleted."""
        self.changes.saw(number, seen, *(("file", "pages") if seen is not None else ()))
        self.changes.put(number, row)

    def flush(self) -> None:
        self._world.wait(self.session.flush())

    def commit(self) -> None:
        self._world.wait(self.session.commit())

    def rollback(self) -> None:
        self._world.wait(self.session.rollback())
        self.forget()
        self.begin()

    def close(self) -> None:
        self._world.wait(self.session.close())
        self.open()

    def expire(self, number: int, *, reads: bool = False) -> None:
        """Let go of a record, with what is not flushed of its changes, and read it anew at once or later."""
        document = self.run(lambda session: session.get(Document, number))
        if document is not None:
            self.changes.revert(number, self._flushed)
            self.run(lambda session: (session.refresh if reads else session.expire)(document))

    def save(self) -> None:
        nested = self.run(lambda session: session.begin_nested())
        self.savepoints.append((self.changes.copy(), nested))

    def release(self) -> None:
        _, nested = self.savepoints.pop()
        self.run(lambda _: nested.commit())  # type: ignore[attr-defined]

    def undo(self, level: int) -> None:
        """Roll back to a savepoint, and with it those inside."""
        before, nested = self.savepoints[level]
        del self.savepoints[level:]
        self.run(lambda _: nested.rollback())  # type: ignore[attr-defined]
        # SQLAlchemy keeps what was loaded since, and what savepoints inside have flushed
        self.session.sync.expire_all()
        self.changes = before
        self.settle()

    def die(self) -> None:
        """Leave the session as a killed process does: only the database knows that it has ended."""
        if self.is_active:
            self.run(_cut_off)


def _look(session: Session, number: int, held: list[Document]) -> Row | None:
    document = session.get(Document, number)
    if document is None:
        return None
    # a session does not keep what it loads
    held.append(document)
    has_scan = "scan" not in instance_state(document).unloaded
    return Row(
        labelled(document.file),
        tuple(page for page in map(labelled, document.pages) if page is not None),
        labelled(document.scan) if has_scan else None,
    )


def labelled(file: FileObject | None) -> Labelled | None:
    """Return which content a file has, stored or not, and its label."""
    if file is None:
        return None
    body, label = file.metadata["body"], file.metadata.get("label", 0)
    assert isinstance(body, str)
    assert isinstance(label, int)
    return body.encode(), label


def _cut_off(session: Session) -> None:
    connection = session.connection()
    connection.connection.rollback()
    connection.invalidate()
