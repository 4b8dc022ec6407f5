"""The frames of each session: one for its transaction, one for each savepoint in it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, finalize

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import BackendNotRegisteredError
from filecolumn.orm import bridge
from filecolumn.orm.unit import Frame, Place
from filecolumn.registry import storages

__all__ = ("BindArguments", "SessionFrame", "current_frames", "end_frame", "mark_committed", "watch")

BindArguments = dict[str, Any]
"""What a session chooses its connection by, as SQLAlchemy types it."""

_log = logging.getLogger("filecolumn")


@dataclass(slots=True, eq=False)
class SessionFrame(Frame):
    """A frame, and the connections it is about."""

    connections: dict[int, Connection] = field(default_factory=dict[int, Connection])
    """Those that its own flushes used."""
    watched: set[int] = field(default_factory=set[int])
    """Those that tell when COMMIT is sent, by `id`."""
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
    outer = transaction.parent
    if transaction.nested and outer is not None and frame.committed:
        if _is_committed_by_release(frame.connections.values()):
            frame.uploads.clear()
        _frame_of(outer).absorb(frame)
    elif frame.committed:
        _delete(frame.finish())
    elif frame.commit_sent:
        # Either outcome is possible: only a row that nobody can ask here would tell
        _log.warning("COMMIT was sent and not answered; its files are kept: %s", sorted(frame.uploads))
    else:
        _delete(frame.undo())


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


def watch(session: Session, bind: BindArguments, frame: SessionFrame, root: SessionFrame) -> None:
    """Take note of the connection that a flush or statement uses, and learn from it when COMMIT is sent."""
    if isinstance(session.get_bind(**bind), Connection):
        root.joined = True
        return
    connection = session.connection(bind_arguments=bind)
    frame.connections[id(connection)] = connection
    if id(connection) in root.watched:
        return
    root.watched.add(id(connection))

    def commit_is_sent(_: Connection) -> None:
        root.commit_sent = True

    # fires before COMMIT is sent, not after
    event.listen(connection, "commit", commit_is_sent)


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
