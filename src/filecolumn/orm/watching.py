"""What a session's connections tell: that COMMIT is sent, and that its answer is lost."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, TwoPhaseTransaction, event, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.backends.translate import reason_of
from filecolumn.errors import (
    CommitOutcomeUnknownError,
    ConcurrentFileChangeError,
    FileColumnError,
    NotSupportedError,
)
from filecolumn.failpoints import failpoint
from filecolumn.orm.columns import translating, translation_of
from filecolumn.orm.frames import BindArguments, SessionFrame, resolve
from filecolumn.orm.outcome import leave_token
from filecolumn.orm.recording import not_recorded

__all__ = ("watch",)

_watched: WeakKeyDictionary[Connection, SessionFrame] = WeakKeyDictionary()
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
    _watched[connection] = root

    def commit_is_sent(*_: object) -> None:
        """Note what is about to be sent: COMMIT, or PREPARE, which others may commit later."""
        with _rolled_back_on_error(connection):
            _prepare_to_ask(connection, root)
        root.commit_sent = True
        _committing[connection] = root
        failpoint("commit.before")

    is_twophase = isinstance(connection.get_transaction(), TwoPhaseTransaction)
    told = connection, "prepare_twophase" if is_twophase else "commit", commit_is_sent
    event.listen(*told)
    if is_joined:
        forget = (partial(of.pop, connection, None) for of in (_watched, _committing))
        root.unwatch += [partial(event.remove, *told), *forget]
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


@contextmanager
def _rolled_back_on_error(connection: Connection) -> Generator[None]:
    """Roll back at an error: SQLAlchemy takes the transaction for ended, and would reuse the connection in it."""
    try:
        yield
    except BaseException:
        try:
            connection.connection.rollback()
        except Exception:  # noqa: BLE001 - drivers raise what they like
            connection.invalidate()
        raise


def _prepare_to_ask(connection: Connection, root: SessionFrame) -> None:
    """Make sure that the database can be asked afterwards whether the transaction has committed.

    Raises ConcurrentFileChangeError if it has ended the transaction with an earlier error: then it
    answers COMMIT as if there had been something to commit.
    """
    if root.failure:
        _check_unended(connection, root)
    at = root.homes.get(connection)
    if at is not None and at not in root.added.values():
        with translating(connection, translation_of(at.engine)):
            token = leave_token(connection, at)
        if token is not None:
            root.tokens[at] = token


def _check_unended(connection: Connection, root: SessionFrame) -> None:
    """Look for what the transaction has recorded, after an error of a statement.

    PostgreSQL refuses every statement in a transaction that has failed, and answers COMMIT with ROLLBACK;
    MariaDB rolls back at a deadlock, SQLite at some errors of the disk.
    """
    at = root.homes.get(connection)
    if at is None:
        connection.execute(select(1))
        return
    new, doomed = (
        [place for place, of in noted.items() if of == at]
        for noted in ({**root.added, **root.found}, root.doomed)
    )
    with translating(connection, translation_of(at.engine)):
        lost = not_recorded(connection, at.ledger, new, doomed)
    if lost:
        raise ConcurrentFileChangeError(
            f"the database ended the transaction with an earlier error ({root.failure}), and {lost[0][1]!r} is not "
            "recorded any more; roll back and retry"
        )


def _on_error(context: ExceptionContext) -> CommitOutcomeUnknownError | None:
    """Say of a connection that is lost in COMMIT that the outcome is unknown, instead of that it failed."""
    connection, error = context.connection, context.original_exception
    is_handled = isinstance(error, SQLAlchemyError | FileColumnError)
    if connection is None or is_handled or not isinstance(error, Exception):
        # a cancellation stays what it is, and a phase of two comes here as a statement first
        return None
    root = _committing.get(connection)
    if root is None or not _ends_transaction(context.statement):
        if (watched := _watched.get(connection)) is not None:
            # not the error itself: its traceback would keep the session, and what the connection has locked
            watched.failure = reason_of(error)
        return None
    if not context.is_disconnect and isinstance(error, connection.dialect.loaded_dbapi.Error):
        return None
    # a time limit of the driver, for one, leaves the answer on its way: nobody else may read it
    context.is_disconnect = True
    ask = partial(resolve, root)
    return CommitOutcomeUnknownError(
        "COMMIT was sent, and the connection was lost before its answer: the transaction has committed with all "
        "its files, or it never will. `committed` says which once the session is rolled back or closed; resolve() "
        "(resolve_async() in an event loop) asks again",
        ask,
        partial(greenlet_spawn, ask),
        lambda: root.outcome,
    )


def _ends_transaction(statement: str | None) -> bool:
    """Return whether a statement is COMMIT, which drivers have a call for, or the second phase of one."""
    return statement is None or statement.lstrip().upper().startswith(
        ("COMMIT", "PREPARE TRANSACTION", "XA ")
    )
