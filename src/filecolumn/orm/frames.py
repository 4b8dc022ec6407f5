"""The frames of each session: one for its transaction, one for each savepoint in it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary, WeakSet, finalize, ref

from sqlalchemy import Connection, Transaction, TwoPhaseTransaction, event
from sqlalchemy.orm import Mapper, Session, SessionTransaction

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import BackendNotRegisteredError, NotSupportedError
from filecolumn.orm import bridge
from filecolumn.orm.rows import session_connection
from filecolumn.orm.unit import Frame, Place
from filecolumn.registry import storages

__all__ = ("SessionFrame", "current_frames", "end_frame", "mark_committed", "watch")

_log = logging.getLogger("filecolumn")


@dataclass(slots=True, eq=False)
class SessionFrame(Frame):
    """A frame, and the connections it is about."""

    # Weakly: what is held here would live on, and keep its locks, when a session is dropped
    connections: WeakKeyDictionary[Connection, ref[Transaction]] = field(
        default_factory=WeakKeyDictionary[Connection, "ref[Transaction]"]
    )
    """Those that its flushes used, and in which transaction or savepoint of theirs its rows are."""
    watched: WeakSet[Connection] = field(default_factory=WeakSet[Connection])
    """Those that tell when COMMIT is sent."""
    unwatch: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Stops those from telling that outlive the transaction."""
    watch_end: Callable[[], object] = lambda: None
    """Ends the wait for an end that never comes."""


_frames: WeakKeyDictionary[SessionTransaction, SessionFrame] = WeakKeyDictionary()


def current_frames(session: Session) -> tuple[SessionFrame, SessionFrame]:
    """Return the frame of the innermost savepoint (or the transaction), and that of the transaction."""
    root = session.get_transaction() or session.begin()
    return _frame_of(session.get_nested_transaction() or root), _frame_of(root)


def mark_committed(session: Session) -> None:
    """Note that the database committed, or released a savepoint."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is not None and (frame := _frames.get(transaction)) is not None:
        frame.committed = True


def end_frame(transaction: SessionTransaction) -> None:
    """Conclude what was done in a transaction or savepoint that has ended.

    Never raises for a storage: an error here would leave a committed row and a stuck session.
    """
    frame = _frames.pop(transaction, None)
    if frame is None:
        return
    frame.watch_end()
    for stop in frame.unwatch:
        stop()
    outer = transaction.parent
    if transaction.nested and outer is not None and frame.committed:
        if _is_committed_by_release(frame.connections):
            frame.uploads.clear()
        around = _frame_of(outer)
        around.absorb(frame)
        for connection in frame.connections:
            _write_in(around, connection)
    elif frame.committed:
        _delete(frame.finish())
    elif frame.commit_sent:
        # Either outcome is possible: only a row that nobody can ask here would tell
        _log.warning("COMMIT was sent and not answered; its files are kept: %s", sorted(frame.uploads))
    elif _goes_on(frame):
        _log.warning(
            "a session ended without commit or rollback inside a transaction that goes on; its files are kept: %s",
            sorted(frame.uploads),
        )
    else:
        _delete(frame.undo())


def _goes_on(frame: SessionFrame) -> bool:
    """Return whether somebody else may still commit the frame's rows."""
    written_in = (reference() for reference in frame.connections.values())
    return any(transaction is not None and transaction.is_active for transaction in written_in)


def _is_committed_by_release(connections: Iterable[Connection]) -> bool:
    """Return whether releasing the savepoint was a COMMIT.

    It is where sqlite3 did not BEGIN before SAVEPOINT, as it does not by itself (SQLAlchemy's
    documentation has the recipe). The session does not know, and a later rollback undoes nothing.
    """
    return any(
        connection.dialect.name == "sqlite" and not _in_transaction(connection) for connection in connections
    )


def _in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def watch(session: Session, mapper: Mapper[object], frame: SessionFrame, root: SessionFrame) -> None:
    """Take note of the connection that a flush of *mapper* uses, and learn from it when COMMIT is sent.

    Raises NotSupportedError if each of its statements commits by itself.
    """
    connection = session_connection(session, mapper)
    _refuse_autocommit(connection)
    is_joined = isinstance(session.get_bind(mapper), Connection)
    root.joined |= is_joined
    _write_in(frame, connection)
    if connection in root.watched:
        return
    root.watched.add(connection)

    def commit_is_sent(*_: object) -> None:
        root.commit_sent = True

    # fires before COMMIT is sent, not after
    is_twophase = isinstance(connection.get_transaction(), TwoPhaseTransaction)
    told = connection, "commit_twophase" if is_twophase else "commit", commit_is_sent
    event.listen(*told)
    if is_joined:
        root.unwatch.append(partial(event.remove, *told))


def _refuse_autocommit(connection: Connection) -> None:
    chosen = connection.get_execution_options().get("isolation_level")
    # what create_engine(isolation_level=) leaves has no public name
    level = chosen or getattr(connection.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        raise NotSupportedError(
            "files need transactions, and this session's connection is in AUTOCOMMIT: no rollback would undo "
            "its rows, and no lock would keep others from them; give the session an engine with another isolation_level"
        )


def _write_in(frame: SessionFrame, connection: Connection) -> None:
    """Take note that rows of *frame* are in what is now the innermost transaction of *connection*."""
    innermost = connection.get_nested_transaction() or connection.get_transaction()
    if innermost is not None:
        frame.connections.setdefault(connection, ref(innermost))


def _frame_of(transaction: SessionTransaction) -> SessionFrame:
    frame = _frames.get(transaction)
    if frame is None:
        frame = _frames[transaction] = SessionFrame()
        # A session that is dropped tells nobody, nor one whose connection fails, or is cancelled, while
        # it is given back
        frame.watch_end = finalize(transaction, _tell_of_no_end, frame).detach
    return frame


def _tell_of_no_end(frame: SessionFrame) -> None:
    if places := sorted(frame.removed | frame.uploads.keys()):
        _log.warning("a transaction was dropped or cut off at its end; its files are kept: %s", places)


def _delete(places: Iterable[Place]) -> None:
    by_backend: defaultdict[StorageBackend, list[str]] = defaultdict(list)
    for name, key in sorted(places):
        try:
            by_backend[storages.get(name)].append(key)
        except BackendNotRegisteredError as error:
            _log.warning("%s stays where it is: %s", key, error)
    bridge.delete(by_backend)
