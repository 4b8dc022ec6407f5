"""What one transaction or savepoint of a session did to files, and how it ended.

A `Frame` remembers what the flushes and statements of one transaction or savepoint stored, gave to rows and
took from them, and says what to delete once its end is known.  A session has one for its transaction, and
one for each savepoint in it.  Its connections tell when COMMIT is sent, and that the answer is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, finalize

from sqlalchemy import Column, Connection, Dialect, Engine, Transaction, event, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.content.sources import Source
from filecolumn.errors import (
    CommitOutcomeUnknownError,
    ConcurrentFileChangeError,
    FileColumnError,
    NotSupportedError,
)
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import ListState
from filecolumn.files.state import FileState
from filecolumn.files.transfer import Copy, Put
from filecolumn.ledger.columns import column_ids, translating, translation_of
from filecolumn.ledger.deletion import conclude, delete_objects
from filecolumn.ledger.owner import note_registered
from filecolumn.ledger.proofs import Token, has_left, has_put, leave_token
from filecolumn.ledger.transitions import LedgerAt, not_recorded
from filecolumn.logs import warn
from filecolumn.redaction import reason_of
from filecolumn.signing import Claims

__all__ = (
    "BindArguments",
    "Frame",
    "Frames",
    "GrantUse",
    "Upload",
    "resolve",
    "watch",
)

BindArguments = dict[str, Any]
"""What a session chooses its connection by, as SQLAlchemy types it."""


@dataclass(frozen=True, slots=True)
class GrantUse:
    """A grant that a flush has used up."""

    grant: Claims
    file: FileState
    ref: ObjectRef
    """Where the file is that a row got for it."""


@dataclass(slots=True, eq=False)
class Upload:
    """Content that a frame stored, or began to."""

    op: Put | Copy
    ref: ObjectRef
    """Where the content is."""
    file: FileState
    """The file whose content it is."""
    facts: FileFacts | None = None
    """The file's facts before."""
    source: Source | None = None
    """The file's pending content before."""
    restore: Callable[[], None] | None = None
    """Puts the original back where a copy stands."""
    done: bool = False

    @property
    def deletable(self) -> bool:
        """Whether the object there is certainly this upload's: one at a chosen key is so once the storage took it."""
        return self.op.fresh or self.done

    def fail(self) -> None:
        """Note that the transfer did not succeed."""
        if self.restore is not None:
            self.restore()
        if self.source is not None and self.source.is_spent:
            self.file.consume()

    def revert(self) -> None:
        """Make the file pending again, or consumed if its source cannot be read twice."""
        if self.restore is not None:
            self.restore()
        # a file that was stored again since is not this upload's any more
        if self.done and self.source is not None and self.file.facts.key == self.op.key:
            self.file.unstage(self.facts, self.source)


@dataclass(slots=True, eq=False)
class Use:
    """A connection that a transaction has written rows with files on.

    It is kept weakly: else it would live on, and keep its locks, when a session is dropped.
    """

    connection: ReferenceType[Connection]
    root: Frame
    """The frame of the whole transaction."""
    at: LedgerAt | None
    """The ledger that the flushes write on it; None if there is none."""
    of: list[Use]
    """All uses of what the connection has from its pool."""
    commit_sent: bool = False
    """Whether COMMIT was sent on it."""


class Frame:
    """What one transaction or savepoint did to files, and the databases it is about."""

    __slots__ = (
        "__weakref__",
        "added",
        "attached",
        "commit_sent",
        "committed",
        "doomed",
        "engines",
        "failure",
        "found",
        "generations",
        "joined",
        "noted",
        "other_dml",
        "outcome",
        "outer",
        "registered",
        "released",
        "removed",
        "rewritten",
        "rewritten_lists",
        "tokens",
        "uploads",
        "used",
        "uses",
        "watch_end",
        "written_in",
    )

    # no dataclass: each session makes one for a flush
    def __init__(self, outer: Frame | None = None) -> None:
        self.outer: Frame | None = outer
        """The frame of the savepoint or transaction around it."""
        self.uploads: dict[ObjectRef, Upload] = {}
        self.attached: dict[ObjectRef, FileState] = {}
        """Files that a flush of this frame gave to a row."""
        self.removed: set[ObjectRef] = set()
        """What a flush of this frame took from all rows."""
        self.released: dict[ObjectRef, list[FileState]] = {}
        """The session's own files of what a flush of this frame took from all rows."""
        self.used: dict[ObjectRef, GrantUse] = {}
        """The grants that a flush of this frame has used up, by where their uploads lie."""
        self.rewritten: dict[int, tuple[FileState, FileFacts]] = {}
        """Files whose facts a flush of this frame wrote anew, by `id`, and the facts before."""
        self.rewritten_lists: dict[int, tuple[ListState, tuple[FileObject, ...]]] = {}
        """Lists that a flush of this frame wrote anew, by `id`, and what their rows had before."""
        self.added: dict[ObjectRef, LedgerAt] = {}
        """What its flushes recorded as new, and where."""
        self.found: dict[ObjectRef, LedgerAt] = {}
        """What lay in the storage before and its flushes recorded, and where.

        It proves no commit, others may do so too.
        """
        self.doomed: dict[ObjectRef, LedgerAt] = {}
        """What its flushes recorded as removed and may be deleted after the commit, and where."""
        self.noted: dict[tuple[LedgerAt, Column[object]], str] = {}
        """The ids of file columns that its flushes recorded, or found recorded."""
        self.registered: set[tuple[LedgerAt, StorageBackend]] = set()
        """The storages that its flushes registered for, in its own transaction."""
        self.generations: dict[LedgerAt, int] = {}
        """The generations of the databases, as the transaction has read them before it removes anything."""
        self.other_dml: bool = False
        """Whether statements wrote rows past the flush: they may have copied what a row holds."""
        self.written_in: list[tuple[ReferenceType[Connection], ReferenceType[Transaction]]] = []
        """The connections that its flushes used, and in which transaction or savepoint of each its rows are."""
        # Of the frame of a whole transaction only
        self.engines: set[Engine] = set()
        """The engines of all its connections, and of its savepoints'."""
        self.uses: list[Use] = []
        """The connections that tell when COMMIT is sent."""
        self.tokens: dict[LedgerAt, Token] = {}
        """What the transaction left as a proof of its commit, where it adds no new key."""
        self.joined: bool = False
        """Whether somebody else ends the database's transaction."""
        self.failure: str = ""
        """What the last error of a statement said: the database may have ended the transaction with it."""
        # How it ended
        self.committed: bool = False
        """Whether the database said so."""
        self.commit_sent: bool = False
        """Whether COMMIT was on its way, so that only `committed` tells how it ended."""
        self.outcome: bool | None = None
        """What the database said when it was asked how the transaction ended."""
        self.watch_end: Callable[[], object] | None = None
        """Ends the wait for an end that never comes."""

    @property
    def root(self) -> Frame:
        """The frame of the whole transaction."""
        frame: Frame = self
        while frame.outer is not None:
            frame = frame.outer
        return frame

    def ledger_with(self, ref: ObjectRef) -> LedgerAt | None:
        """Return where this transaction has recorded *ref*, which its ledger did not have."""
        for frame in self._and_outer():
            if (at := frame.added.get(ref) or frame.found.get(ref)) is not None:
                return at
        return None

    def not_added(self, refs: set[ObjectRef]) -> set[ObjectRef]:
        """Return those of *refs* that were in the ledger, if it has them, before this transaction."""
        for frame in self._and_outer():
            refs = refs - frame.added.keys() - frame.found.keys()
        return refs

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

    def _and_outer(self) -> Iterator[Frame]:
        """Yield the frame, and those around it."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.outer

    def write_in(self, connection: Connection) -> None:
        """Note that rows of the frame are in what is now the innermost transaction of *connection*."""
        for known, _ in self.written_in:
            if known() is connection:
                return
        innermost = connection.get_nested_transaction() or connection.get_transaction()
        if innermost is not None:
            self.written_in.append((ReferenceType(connection), ReferenceType(innermost)))

    def goes_on(self) -> bool:
        """Return whether somebody else may still commit the frame's rows."""
        transactions = (reference() for _, reference in self.written_in)
        return any(transaction is not None and transaction.is_active for transaction in transactions)

    def absorb(self, inner: Frame) -> None:
        """Take over what a released savepoint did and recorded."""
        self.uploads |= inner.uploads
        self.attached |= inner.attached
        self.removed |= inner.removed
        self.used |= inner.used
        for ref, files in inner.released.items():
            self.released.setdefault(ref, []).extend(files)
        # what was first in the transaction stays; not by `|`, which copies all of it for each savepoint
        for id_, rewritten in inner.rewritten.items():
            self.rewritten.setdefault(id_, rewritten)
        for id_, rewritten_list in inner.rewritten_lists.items():
            self.rewritten_lists.setdefault(id_, rewritten_list)
        self.added |= inner.added
        self.found |= inner.found
        self.doomed |= inner.doomed
        self.noted |= inner.noted
        self.registered |= inner.registered
        self.generations |= inner.generations
        self.other_dml |= inner.other_dml
        for reference, _ in inner.written_in:
            if (connection := reference()) is not None:
                self.write_in(connection)

    def undo(self) -> set[ObjectRef]:
        """Put the files back into their state before; return what to delete from the storages."""
        for ref, file in self.attached.items():
            if ref not in self.uploads:
                file.detach()
        for use in self.used.values():
            use.file.grant = use.grant
        for file, facts in self.rewritten.values():
            file.unflush(facts)
        for files, before in self.rewritten_lists.values():
            files.committed = before
        for upload in self.uploads.values():
            upload.revert()
        return {ref for ref, upload in self.uploads.items() if upload.deletable}

    def finish(self) -> set[ObjectRef]:
        """Return what to delete from the storages after the real end of a committed transaction."""
        unused = [upload for ref, upload in self.uploads.items() if ref not in self.attached]
        for upload in unused:
            upload.revert()
        if self.joined:
            return set()
        for files in self.released.values():
            for file in files:
                file.remove()
                file.parent = None
        return self.removed.union(upload.ref for upload in unused if upload.deletable)


class Frames:
    """The frames of one session: one for its transaction, one for each savepoint in it."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[SessionTransaction, Frame] = {}

    def current(self, session: Session) -> tuple[Frame, Frame]:
        """Return the frame of the innermost savepoint (or the transaction), and that of the transaction."""
        transaction = session.get_transaction() or session.begin()
        root = self._frame(transaction)
        nested = session.get_nested_transaction()
        return root if nested is None else self._frame(nested), root

    def find(self, transaction: SessionTransaction | None) -> Frame | None:
        """Return the frame of a transaction or savepoint; None if it has done nothing to files."""
        return None if transaction is None else self._of.get(transaction)

    def end(self, transaction: SessionTransaction) -> None:
        """Conclude what was done in a transaction or savepoint that has ended.

        Never raises for a storage or a database: an error here would leave a committed row and a stuck
        session.
        """
        frame = self._of.pop(transaction, None)
        if frame is None:
            return
        if frame.watch_end is not None:
            frame.watch_end()
        for use in frame.uses:
            use.of.remove(use)
        # what has the frame: else its files, with their content, would wait for the garbage collector
        frame.uses.clear()
        outer = transaction.parent
        if transaction.nested and outer is not None and frame.committed:
            if _is_committed_by_release(frame.written_in):
                frame.uploads.clear()
            self._frame(outer).absorb(frame)
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

    def _frame(self, transaction: SessionTransaction) -> Frame:
        frame = self._of.get(transaction)
        if frame is None:
            outer = transaction.parent if transaction.nested else None
            frame = self._of[transaction] = Frame(None if outer is None else self._frame(outer))
            # A session that is dropped tells nobody, nor one whose connection fails, or is cancelled, while
            # it is given back
            frame.watch_end = finalize(transaction, _tell_of_no_end, frame).detach
        return frame


def _tell_of_no_end(frame: Frame) -> None:
    if refs := sorted(frame.removed | frame.uploads.keys()):
        warn("a transaction was dropped or cut off at its end; its files are kept: %s", refs)


def resolve(frame: Frame) -> bool:
    """Ask the database whether the frame's transaction has committed, and conclude it accordingly.

    Of several databases one may have committed and another not, or have nothing to ask for: then all
    files are kept, and the answer is whether each that could be asked has committed.  Raises the
    database's own error if it does not answer, and NotSupportedError if there is nothing to ask for.
    """
    if frame.outcome is None:
        put = {at: ref for ref, at in sorted(frame.added.items())}
        left = {at: token for at, token in frame.tokens.items() if at not in put}
        if not (put or left):
            raise NotSupportedError("without a ledger nobody can tell whether the transaction has committed")
        answers = {
            *(has_put(at, ref) for at, ref in put.items()),
            *(has_left(at, token) for at, token in left.items()),
        }
        committed = False not in answers
        if len(answers) > 1 or frame.engines > {at.engine for at in (*put, *left)}:
            return committed
        # from here on it is known, whatever happens to the storages
        frame.outcome = committed
        (_finish if committed else _undo)(frame)
    return frame.outcome


def _ask(frame: Frame) -> None:
    # with the connection of somebody else there may be no other to ask on
    if (frame.added or frame.tokens) and not frame.joined:
        try:
            resolve(frame)
        except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
            warn("COMMIT was sent and not answered, nor is the question how it ended: %s", error)
        if frame.outcome is not None:
            return
    warn("COMMIT was sent and not answered; its files are kept: %s", sorted(frame.uploads))


def _finish(frame: Frame) -> None:
    refs = frame.finish()
    for (home, column), found in frame.noted.items():
        column_ids(home.engine)[home.ledger, column] = found
    for at_home, backend in frame.registered:
        note_registered(at_home.engine, at_home.ledger, backend)
    if not refs:
        return
    if storages.retention > 0 or frame.other_dml or not storages.inline_removal:
        refs -= frame.doomed.keys()
    recorded = {**frame.added, **frame.found, **frame.doomed}
    by_ledger: defaultdict[LedgerAt | None, set[ObjectRef]] = defaultdict(set)
    for ref in refs:
        by_ledger[recorded.get(ref)].add(ref)
    for at, group in by_ledger.items():
        if at is None:
            _delete(group)
        else:
            are_doomed = group <= frame.doomed.keys()
            conclude(at, group, frame.generations.get(at), are_doomed=are_doomed)


def _undo(frame: Frame) -> None:
    refs = frame.undo()
    if refs:
        failpoint("rollback.before_eager")
        _delete(refs)
        failpoint("rollback.after_eager")


def _delete(refs: Iterable[ObjectRef]) -> None:
    if refused := delete_objects(refs):
        warn("objects that no row references stay until the next sweep: %s", refused)


def _is_committed_by_release(
    written_in: Iterable[tuple[ReferenceType[Connection], ReferenceType[Transaction]]],
) -> bool:
    """Return whether releasing the savepoint was a COMMIT.

    It is where sqlite3 did not BEGIN before SAVEPOINT, as it does not by itself (SQLAlchemy's
    documentation has the recipe). The session does not know, and a later rollback undoes nothing.
    """
    connections = (reference() for reference, _ in written_in)
    return any(
        connection is not None and connection.dialect.name == "sqlite" and not _in_transaction(connection)
        for connection in connections
    )


def _in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


# What connections tell

_uses: WeakKeyDictionary[PoolProxiedConnection, list[Use]] = WeakKeyDictionary()
"""By what a connection has from its pool; several if it was given to several sessions."""
_heard: WeakSet[Dialect] = WeakSet()
"""Those of whose errors we are told."""
_hearing = Lock()


def watch(connection: Connection, at: LedgerAt | None, frame: Frame, root: Frame, *, joined: bool) -> None:
    """Note that a flush or statement writes on *connection*, with its ledger, and learn when COMMIT is sent.

    Raises NotSupportedError if each of its statements commits by itself.
    """
    _refuse_autocommit(connection)
    root.joined |= joined
    frame.write_in(connection)
    for use in root.uses:
        if use.connection() is connection:
            use.at = at or use.at
            return
    root.engines.add(connection.engine)
    # each time: somebody may have put another method there since
    if not isinstance(connection.dialect.do_commit, HeardCommit):
        _hear(connection.engine)
    uses = _uses.get(connection.connection)
    if uses is None:
        uses = _uses[connection.connection] = []
    use = Use(ReferenceType(connection), root, at, uses)
    root.uses.append(use)
    uses.append(use)


def _hear(engine: Engine) -> None:
    """Learn of every COMMIT and PREPARE of an engine before it is sent, and of its errors.

    They are sent by methods of its dialect, each of which has one call more from now on.  With listeners for
    them on the engine, or on each connection, SQLAlchemy would look for listeners at every statement as well.
    """
    dialect = engine.dialect
    with _hearing:
        if dialect not in _heard:
            _heard.add(dialect)
            event.listen(engine, "handle_error", _on_error)
        if not isinstance(dialect.do_prepare_twophase, HeardPrepare):
            dialect.do_prepare_twophase = HeardPrepare(dialect.do_prepare_twophase)  # type: ignore[method-assign]
        # the last of all: another thread is not to commit before
        if not isinstance(dialect.do_commit, HeardCommit):
            dialect.do_commit = HeardCommit(dialect.do_commit)  # type: ignore[method-assign]


class HeardCommit:
    """Sends COMMIT, and tells before."""

    def __init__(self, send: Callable[[PoolProxiedConnection], None]) -> None:
        self.send: Callable[[PoolProxiedConnection], None] = send

    def __call__(self, dbapi_connection: PoolProxiedConnection) -> None:
        for use in _uses.get(dbapi_connection, ()):
            _before_commit(use)
        self.send(dbapi_connection)


class HeardPrepare:
    """Sends what prepares a transaction of two phases, and tells before."""

    def __init__(self, send: Callable[[Connection, object], None]) -> None:
        self.send: Callable[[Connection, object], None] = send

    def __call__(self, connection: Connection, xid: object) -> None:
        for use in _uses_of(connection):
            _before_commit(use)
        self.send(connection, xid)


def _uses_of(connection: Connection) -> Sequence[Use]:
    """Return the uses of what a connection has from its pool, by the transactions that are not at their end."""
    return () if connection.closed or connection.invalidated else _uses.get(connection.connection, ())


def _before_commit(use: Use) -> None:
    """Note what is about to be sent: COMMIT, or PREPARE, which others may commit later."""
    if (connection := use.connection()) is None:
        return
    try:
        _prepare_to_ask(connection, use)
    except BaseException:
        _roll_back(connection)
        raise
    use.root.commit_sent = use.commit_sent = True
    failpoint("commit.before")


def _refuse_autocommit(connection: Connection) -> None:
    chosen = connection.get_execution_options().get("isolation_level")
    # what create_engine(isolation_level=) leaves has no public name
    level = chosen or getattr(connection.dialect, "_on_connect_isolation_level", None)
    if str(level).upper() == "AUTOCOMMIT":
        raise NotSupportedError(
            "files need transactions, and this session's connection is in AUTOCOMMIT: no rollback would undo "
            "its rows, and no lock would keep others from them; give the session an engine with another isolation_level"
        )


def _roll_back(connection: Connection) -> None:
    """Roll back what SQLAlchemy takes for ended, as it would reuse the connection in that transaction."""
    try:
        connection.connection.rollback()
    except Exception:  # noqa: BLE001 - drivers raise what they like
        connection.invalidate()


def _prepare_to_ask(connection: Connection, use: Use) -> None:
    """Make sure that the database can be asked afterwards whether the transaction has committed.

    Raises ConcurrentFileChangeError if it has ended the transaction with an earlier error: then it
    answers COMMIT as if there had been something to commit.
    """
    root, at = use.root, use.at
    if root.failure:
        _check_unended(connection, use)
    if at is not None and at not in root.added.values():
        with translating(connection, translation_of(at.engine)):
            token = leave_token(connection, at)
        if token is not None:
            root.tokens[at] = token


def _check_unended(connection: Connection, use: Use) -> None:
    """Look for what the transaction has recorded, after an error of a statement.

    PostgreSQL refuses every statement in a transaction that has failed, and answers COMMIT with ROLLBACK;
    MariaDB rolls back at a deadlock, SQLite at some errors of the disk.
    """
    root, at = use.root, use.at
    if at is None:
        connection.execute(select(1))
        return
    new, doomed = (
        [ref for ref, of in noted.items() if of == at]
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
    uses = _uses_of(connection)
    sent = next((use for use in reversed(uses) if use.commit_sent), None)
    if sent is None or not _ends_transaction(context.statement):
        for use in uses:
            # not the error itself: its traceback would keep the session, and what the connection has locked
            use.root.failure = reason_of(error)
        return None
    if not context.is_disconnect and isinstance(error, connection.dialect.loaded_dbapi.Error):
        return None
    # a time limit of the driver, for one, leaves the answer on its way: nobody else may read it
    context.is_disconnect = True
    root = sent.root
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
