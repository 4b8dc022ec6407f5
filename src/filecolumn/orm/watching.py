"""What a session's connections tell: that COMMIT is sent, and that its answer is lost."""

from __future__ import annotations

from functools import partial
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, TwoPhaseTransaction, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.errors import CommitOutcomeUnknownError, NotSupportedError
from filecolumn.failpoints import failpoint
from filecolumn.orm.frames import BindArguments, SessionFrame, resolve

__all__ = ("watch",)

_committing: WeakKeyDictionary[Connection, SessionFrame] = WeakKeyDictionary()
_heard: WeakSet[Dialect] = WeakSet()


def watch(session: Session, bind: BindArguments, frame: SessionFrame, root: SessionFrame) -> None:
    """Take note of the connection that a flush or statement uses, and learn from it when COMMIT is sent.

    Raises NotSupportedError if each of its statements commits by itself.
    """
    connection = session.connection(bind_arguments=dict(bind))
    _refuse_autocommit(connection)
    is_joined = isinstance(session.get_bind(**bind), Connection)
    root.joined |= is_joined
    frame.write_in(connection)
    if connection in root.watched:
        return
    root.watched.add(connection)
    root.engines.add(connection.engine)

    def commit_is_sent(*_: object) -> None:
        root.commit_sent = True
        _committing[connection] = root
        failpoint("commit.before")

    # fires before COMMIT is sent, not after
    is_twophase = isinstance(connection.get_transaction(), TwoPhaseTransaction)
    told = connection, "commit_twophase" if is_twophase else "commit", commit_is_sent
    event.listen(*told)
    if is_joined:
        root.unwatch += [partial(event.remove, *told), partial(_committing.pop, connection, None)]
    if connection.dialect not in _heard:
        _heard.add(connection.dialect)
        event.listen(connection.engine, "handle_error", _on_error)


def _refuse_autocommit(connection: Connection) -> None:
    chosen = connection.get_execution_options().get("isolation_level")
    # what create_engine(isolation_level=) leaves has no public name
    level = chosen or getattr(connection.dialect, "_on_connect_isolation_level", None)
    if str(level).upper() == "AUTOCOMMIT":
        raise NotSupportedError(
            "files need transactions, and this session's connection is in AUTOCOMMIT: no rollback would undo "
            "its rows, and no lock would keep others from them; give the session an engine with another isolation_level"
        )


def _on_error(context: ExceptionContext) -> CommitOutcomeUnknownError | None:
    """Say of a connection that is lost in COMMIT that the outcome is unknown, instead of that it failed."""
    connection = context.connection
    if connection is None or context.statement is not None or not context.is_disconnect:
        return None
    root = _committing.get(connection)
    # a cancellation stays what it is; without new content there is no content to lose
    if root is None or not root.added or not isinstance(context.original_exception, Exception):
        return None
    ask = partial(resolve, root)
    return CommitOutcomeUnknownError(
        "COMMIT was sent, and the connection was lost before its answer: the rows are there with their files, "
        "or neither is. Call resolve() (resolve_async() in an event loop) to know which",
        ask,
        partial(greenlet_spawn, ask),
    )
