"""What one transaction or savepoint of a session did to files, and how it ended.

A session has a frame for its transaction, and one for each savepoint in it.  Its connections tell that
COMMIT is sent, and that its answer is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet, finalize, ref

from sqlalchemy import Column, Connection, Dialect, Engine, Transaction, TwoPhaseTransaction, event, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.errors import (
    CommitOutcomeUnknownError,
    ConcurrentFileChangeError,
    FileColumnError,
    NotSupportedError,
)
from filecolumn.ledger.columns import column_ids, translating, translation_of
from filecolumn.ledger.deletion import conclude, delete_objects
from filecolumn.ledger.owner import note_registered
from filecolumn.ledger.proofs import Token, has_left, has_put, leave_token
from filecolumn.ledger.transitions import LedgerAt, not_recorded
from filecolumn.logs import warn
from filecolumn.orm.assignment import Frame
from filecolumn.redaction import reason_of

__all__ = (
    "BindArguments",
    "SessionFrame",
    "current_frames",
    "end_frame",
    "mark_committed",
    "note_other_dml",
    "touches_files",
    "watch",
)

BindArguments = dict[str, Any]
"""What a session chooses its connection by, as SQLAlchemy types it."""


@dataclass(slots=True, eq=False)
class SessionFrame(Frame):
    """A frame, and the databases it is about."""

    outer: Self | None = None
    """That of the savepoint or transaction around it."""
    # Weakly: what is held here would live on, and keep its locks, when a session is dropped
    connections: WeakKeyDictionary[Connection, ref[Transaction]] = field(
        default_factory=WeakKeyDictionary[Connection, "ref[Transaction]"]
    )
    """Those that its flushes used, and in which transaction or savepoint of theirs its rows are."""
    engines: set[Engine] = field(default_factory=set[Engine])
    """Those of all its connections, and of its savepoints'."""
    watched: WeakSet[Connection] = field(default_factory=WeakSet[Connection])
    """Those that tell when COMMIT is sent."""
    unwatch: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    """Stops those from telling that outlive the transaction."""
    added: dict[ObjectRef, LedgerAt] = field(default_factory=dict[ObjectRef, LedgerAt])
    """What its flushes recorded as new, and where."""
    found: dict[ObjectRef, LedgerAt] = field(default_factory=dict[ObjectRef, LedgerAt])
    """What lay in the storage before and its flushes recorded, and where: it proves no commit, others may do so too."""
    doomed: dict[ObjectRef, LedgerAt] = field(default_factory=dict[ObjectRef, LedgerAt])
    """What its flushes recorded as removed and may be deleted after the commit, and where."""
    noted: dict[tuple[LedgerAt, Column[object]], str] = field(
        default_factory=dict[tuple[LedgerAt, "Column[object]"], str]
    )
    """The ids of file columns that its flushes recorded, or found recorded."""
    homes: WeakKeyDictionary[Connection, LedgerAt] = field(
        default_factory=WeakKeyDictionary[Connection, LedgerAt]
    )
    """The ledgers that its flushes write, by connection."""
    tokens: dict[LedgerAt, Token] = field(default_factory=dict[LedgerAt, Token])
    """What the transaction left as a proof of its commit, where it records nothing new."""
    failure: str = ""
    """What the last error of a statement said: the database may have ended the transaction with it."""
    generations: dict[LedgerAt, int] = field(default_factory=dict[LedgerAt, int])
    """The generations of the databases, as the transaction has read them before it removes anything."""
    registered: set[tuple[LedgerAt, StorageBackend]] = field(
        default_factory=set[tuple[LedgerAt, StorageBackend]]
    )
    """The storages that its flushes registered for, in its own transaction."""
    other_dml: bool = False
    """Whether statements wrote rows that no session settled: they may have copied what a row holds."""
    watch_end: Callable[[], object] = lambda: None
    """Ends the wait for an end that never comes."""

    @property
    def root(self) -> SessionFrame:
        """The frame of the whole transaction."""
        *_, outermost = self._and_outer()
        return outermost

    def ledger_with(self, place: ObjectRef) -> LedgerAt | None:
        """Return where this transaction has recorded *place*, which its ledger did not have."""
        recorded = (noted for frame in self._and_outer() for noted in (frame.added, frame.found))
        return next((noted[place] for noted in recorded if place in noted), None)

    def has_used(self, upload: ObjectRef) -> bool:
        """Return whether this transaction has used up the grant of an upload."""
        return any(upload in frame.used for frame in self._and_outer())

    def noted_column(self, at: LedgerAt, column: Column[object]) -> str | None:
        """Return the id of a column that this transaction has noted."""
        key = at, column
        return next((frame.noted[key] for frame in self._and_outer() if key in frame.noted), None)

    def has_registered(self, at: LedgerAt, backend: StorageBackend) -> bool:
        """Return whether this transaction has registered as a writer of a storage."""
        return any((at, backend) in frame.registered for frame in self._and_outer())

    def _and_outer(self) -> Iterator[Self]:
        """Yield the frame, and those around it."""
        frame: Self | None = self
        while frame is not None:
            yield frame
            frame = frame.outer

    def write_in(self, connection: Connection) -> None:
        """Take note that rows of the frame are in what is now the innermost transaction of *connection*."""
        innermost = connection.get_nested_transaction() or connection.get_transaction()
        if innermost is not None:
            self.connections.setdefault(connection, ref(innermost))

    def goes_on(self) -> bool:
        """Return whether somebody else may still commit the frame's rows."""
        written_in = (reference() for reference in self.connections.values())
        return any(transaction is not None and transaction.is_active for transaction in written_in)

    def absorb_recorded(self, inner: SessionFrame) -> None:
        """Take over what a released savepoint recorded."""
        self.added |= inner.added
        self.found |= inner.found
        self.doomed |= inner.doomed
        self.noted |= inner.noted
        self.registered |= inner.registered
        self.generations |= inner.generations
        self.other_dml |= inner.other_dml


_frames: WeakKeyDictionary[SessionTransaction, SessionFrame] = WeakKeyDictionary()


def current_frames(session: Session) -> tuple[SessionFrame, SessionFrame]:
    """Return the frame of the innermost savepoint (or the transaction), and that of the transaction."""
    root = session.get_transaction() or session.begin()
    return _frame_of(session.get_nested_transaction() or root), _frame_of(root)


def note_other_dml(session: Session) -> None:
    """Note that a statement wrote rows past the flush, which may have copied what others hold."""
    frame, _ = current_frames(session)
    frame.other_dml = True


def touches_files(session: Session) -> bool:
    """Return whether the session's transaction has stored a file so far, given one to a row or taken one."""
    transaction = session.get_transaction()
    frame = None if transaction is None else _frames.get(transaction)
    return frame is not None and bool(frame.uploads or frame.attached or frame.removed)


def mark_committed(session: Session) -> None:
    """Note that the database committed, or released a savepoint."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is not None and (frame := _frames.get(transaction)) is not None:
        frame.committed = True
        if not transaction.nested:
            failpoint("commit.after")


def end_frame(transaction: SessionTransaction) -> None:
    """Conclude what was done in a transaction or savepoint that has ended.

    Never raises for a storage or a database: an error here would leave a committed row and a stuck
    session.
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
        outer_frame = _frame_of(outer)
        outer_frame.absorb(frame)
        outer_frame.absorb_recorded(frame)
        for connection in frame.connections:
            outer_frame.write_in(connection)
    elif frame.committed:
        _finish(frame)
    elif frame.commit_sent:
        _ask(frame)
    elif frame.goes_on():
        warn(
            "a session ended without commit or rollback inside a transaction that goes on; its files are kept: %s",
            sorted(frame.uploads),
        )
    else:
        _undo(frame)


def resolve(frame: SessionFrame) -> bool:
    """Ask the database whether the frame's transaction has committed, and conclude it accordingly.

    Of several databases one may have committed and another not, or have nothing to ask for: then all
    files are kept, and the answer is whether each that could be asked has committed.  Raises the
    database's own error if it does not answer, and NotSupportedError if there is nothing to ask for.
    """
    if frame.outcome is None:
        put = {at: place for place, at in sorted(frame.added.items())}
        left = {at: token for at, token in frame.tokens.items() if at not in put}
        if not (put or left):
            raise NotSupportedError("without a ledger nobody can tell whether the transaction has committed")
        answers = {
            *(has_put(at, place) for at, place in put.items()),
            *(has_left(at, token) for at, token in left.items()),
        }
        committed = False not in answers
        if len(answers) > 1 or frame.engines > {at.engine for at in (*put, *left)}:
            return committed
        # from here on it is known, whatever happens to the storages
        frame.outcome = committed
        (_finish if committed else _undo)(frame)
    return frame.outcome


def _ask(frame: SessionFrame) -> None:
    # with the connection of somebody else there may be no other to ask on
    if (frame.added or frame.tokens) and not frame.joined:
        try:
            resolve(frame)
        except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
            warn("COMMIT was sent and not answered, nor is the question how it ended: %s", error)
        if frame.outcome is not None:
            return
    warn("COMMIT was sent and not answered; its files are kept: %s", sorted(frame.uploads))


def _finish(frame: SessionFrame) -> None:
    places = frame.finish()
    for (home, column), found in frame.noted.items():
        column_ids(home.engine)[home.ledger, column] = found
    for at_home, backend in frame.registered:
        note_registered(at_home.engine, at_home.ledger, backend)
    if storages.retention > 0 or frame.other_dml or not storages.inline_removal:
        places -= frame.doomed.keys()
    recorded = {**frame.added, **frame.found, **frame.doomed}
    by_ledger: defaultdict[LedgerAt | None, set[ObjectRef]] = defaultdict(set)
    for place in places:
        by_ledger[recorded.get(place)].add(place)
    for at, group in by_ledger.items():
        if at is None:
            _delete(group)
        else:
            conclude(at, group, frame.generations.get(at))


def _undo(frame: SessionFrame) -> None:
    places = frame.undo()
    if places:
        failpoint("rollback.before_eager")
        _delete(places)
        failpoint("rollback.after_eager")


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


def _frame_of(transaction: SessionTransaction) -> SessionFrame:
    frame = _frames.get(transaction)
    if frame is None:
        outer = transaction.parent if transaction.nested else None
        frame = _frames[transaction] = SessionFrame(outer=_frame_of(outer) if outer is not None else None)
        # A session that is dropped tells nobody, nor one whose connection fails, or is cancelled, while
        # it is given back
        frame.watch_end = finalize(transaction, _tell_of_no_end, frame).detach
    return frame


def _tell_of_no_end(frame: SessionFrame) -> None:
    if places := sorted(frame.removed | frame.uploads.keys()):
        warn("a transaction was dropped or cut off at its end; its files are kept: %s", places)


def _delete(places: Iterable[ObjectRef]) -> None:
    if refused := delete_objects(places):
        warn("objects that no row refers to stay until the next sweep: %s", refused)


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
