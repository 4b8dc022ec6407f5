"""Every statement that changes an entry of the ledger: what makes a key LIVE, DOOMED or GONE, and on what evidence.

::

                 record, reserve, adopt_live
    (no entry) ------------------------------> LIVE <----------------.
     ^  |  ^                                   | | |                 |
     |  |  `-------------- withdraw -----------' | |                 |
     |  |                                        | | record          | reassert, restore,
     |  |            mark_gone (a used grant) .--' | doom_unchecked  | restore_unchanged, revive
     |  |                                     |    | doom_live       |
     |  |                                     |    | triggers        |
     |  |   fence, record, triggers           |    v                 |
     |  `-------------------------------------|-> DOOMED ------------'
     |                                        |    |   ^
     |                              mark_gone |    |   | doom_gone
     |                                        v    v   |
     `------------- purge, purge_some -------  GONE ---'

A key becomes LIVE
    by `record`, in the flush that writes the row: nobody had the key, as its INSERT shows;
    by `reserve`, before anything is stored at a key that the application chose: the same INSERT;
    by `adopt_live`, in a check that repairs: a row references a key that the ledger does not have;
    again by `reassert`, in the transaction that doomed it: its row keeps it after all;
    again by `restore_unchanged`, in a drain, and by `restore`, in a check that repairs: a row references it;
    again by `revive`: an operator says so, and the object is there.

A key becomes DOOMED
    by `record`, in the flush that takes it from its row;
    by `doom_unchecked`, in the flush whose row did not take it;
    by the triggers (see `ledger.triggers`), in the transaction of an SQL statement that takes it from a row;
    by `fence`, in a sweep or a check that repairs: an object that neither a row nor the ledger knows;
    by `doom_live`, in a sweep with `unreferenced=True`: no file column has referenced it since it was noted;
    by `doom_gone`, in a sweep or a check that repairs: its object is there again, by an upload that came late, or
    a row references it.

A key becomes GONE
    by `mark_gone`, after a commit or in a drain: its object was deleted, or a client's upload was used up.

An entry ends
    by `purge_some`, a few after a commit that deleted others, and by `purge`, all in a drain: the key was
    GONE for so long that nobody can be about to give it to a row;
    by `withdraw`, in the flush that made it: no row came to reference the key.

An entry that is not `checked` may be of a key that several rows reference: its object is left to a drain,
which looks for rows before it deletes any.  All others here leave the state as it is: they lease a doomed
key to one drain (`claim`), say when to try again (`mark_refused`, `mark_withheld`), and note what is known
of a key (`describe`, `note_*`, `mark_shared`, `rename_*`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Integer,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy import (
    delete as delete_from,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from filecolumn.backends.registry import ObjectRef, names_of, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import (
    ConcurrentFileChangeError,
    FileColumnError,
    InvalidGrantError,
    MissingLedgerError,
    ObjectExistsError,
    StaleUploadError,
)
from filecolumn.files.facts import FileFacts
from filecolumn.files.grants import used_error
from filecolumn.ledger.columns import has_triggers, licence_floor
from filecolumn.ledger.keys import BATCH, Lock, change_keys, in_index_order, select_keys
from filecolumn.ledger.locks import attempt, brief, insist, lock_sqlite, short_read
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import (
    MAX_ERROR,
    Ledger,
    State,
    bind_keys,
    keys_bound,
    keys_in,
    now_ms,
    time_of,
)
from filecolumn.logs import warn

__all__ = (
    "BATCH",
    "FENCE_RETENTION",
    "FOUND_TAKEN",
    "RESERVED",
    "WITHHELD",
    "Changes",
    "DueKey",
    "LedgerAt",
    "adopt_live",
    "claim",
    "describe",
    "doom_gone",
    "doom_live",
    "doom_unchecked",
    "doubt",
    "due_keys",
    "fence",
    "inserted",
    "knows_any",
    "mark_gone",
    "mark_refused",
    "mark_shared",
    "mark_withheld",
    "missing_ledger",
    "not_recorded",
    "note_column",
    "note_referenced",
    "note_unreferenced",
    "older_ledger",
    "purge",
    "purge_some",
    "reassert",
    "record",
    "rename_column_id",
    "rename_storage",
    "reserve",
    "restore",
    "restore_unchanged",
    "revive",
    "speaking",
    "withdraw",
)

RESERVED = 100
"""Keys in one `reserve`: SQLite takes 999 values in a statement."""
FENCE_RETENTION = 7 * 24 * 3600.0
"""Seconds that the ledger remembers a key after its object was deleted; at least twice `MAX_ATTACH_AGE`."""
PURGE_PAGE = 10_000
"""Keys that a drain reads at a time to forget them: PostgreSQL reads again what it has just deleted of a page's end."""
PURGE_VIEW = 4
"""Entries that `purge_some` looks at for each that it may forget: doomed ones may be due before them."""
FIRST_DELAY = 5.0
LONGEST_DELAY = 3600.0
WITHHELD = "withheld: "
"""How the ledger's note begins for an object that stays because something is in doubt."""
WITHHELD_DELAY = 300.0
"""Seconds after which a drain asks again."""
RESTORED = "restored: a row references it"
"""The ledger's note for a key that was doomed and is live again."""

_TAKEN = "is taken, or was used before; give the file fresh content"
_FENCED = (
    "was given up by a sweep before its row was written; store the file again, and let sweeps leave an upload "
    "more time than the slowest takes: sweep(..., grace=...), 'filecolumn sweep --grace'"
)
_SWEPT = "was given up by a sweep; give the file fresh content"
FOUND_TAKEN = (
    "is a row's already, or was deleted, or given up by a sweep: assign that row's file, which is copied, or copy "
    "the object to a new key"
)


class LedgerAt(NamedTuple):
    """A ledger, and the database that it is in."""

    engine: Engine
    ledger: Ledger


class Changes:
    """What a flush does to objects, for one ledger."""

    __slots__ = ("doubtful", "found", "held_in", "kept", "moved", "removed", "staged", "stored", "used")

    def __init__(self) -> None:
        self.stored: dict[ObjectRef, FileFacts] = {}
        """Stored by this transaction, and given to a row."""
        self.staged: dict[ObjectRef, FileFacts] = {}
        """Stored before by `save()`, and given to a row."""
        self.found: dict[ObjectRef, FileFacts] = {}
        """In the storage before, and given to a row: others that no ledger knows may have them too."""
        self.used: dict[ObjectRef, FileFacts] = {}
        """Uploaded by a client with a grant, and given to a row as a copy."""
        self.kept: set[ObjectRef] = set()
        """Referenced by rows before and after."""
        self.moved: set[ObjectRef] = set()
        """Of these, what another column referenced before."""
        self.removed: set[ObjectRef] = set()
        """Referenced by no row any more."""
        self.held_in: dict[ObjectRef, str] = {}
        """The ids of the columns that reference them, for what is stored, staged or moved."""
        self.doubtful: set[ObjectRef] = set()
        """Removed by rows whose keys others may reference as well: those that advanced-alchemy wrote."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a key."""

    state: State | None
    """None for one of a newer release."""
    checked: bool


class DueKey(NamedTuple):
    """A doomed key, as the ledger has it."""

    ref: ObjectRef
    due_at: int
    """Whatever happens to a key changes it: so it tells whether something has."""
    attempts: int
    """How often its object could not be deleted."""
    is_orphan: bool
    """Whether no row ever had it, as far as the ledger knows: it was found by a sweep."""


# In a flush, in the transaction of its rows


def record(connection: Connection, ledger: Ledger, changes: Changes) -> set[ObjectRef]:
    """Write *changes* and return which of the removed objects may be deleted once they are committed.

    The others have to be looked up first, by a drain: rows that were written without a ledger may
    share them.  Raises ConcurrentFileChangeError, InvalidGrantError, ObjectExistsError or
    StaleUploadError for a key that another transaction or a sweep has taken.
    """
    held_in = changes.held_in
    try:
        # first: a transaction that goes on after the refusal must have written nothing else
        if changes.used:
            _insert_used(connection, ledger, changes.used)
        for added, refused, why, checked in (
            (changes.stored, StaleUploadError, _FENCED, True),
            (changes.staged, StaleUploadError, _SWEPT, True),
            (changes.found, ObjectExistsError, FOUND_TAKEN, False),
        ):
            if added:
                _insert_live(connection, ledger, added, held_in, refused, why, checked=checked)
        deletable = set[ObjectRef]()
        if changes.removed:
            deletable = _doom(connection, ledger, changes.removed - changes.doubtful)
        if changes.doubtful:
            _doom_doubtful(connection, ledger, changes.doubtful)
        if changes.kept:
            _assert_live(connection, ledger, changes.kept)
        if changes.moved:
            _note_columns(connection, ledger, changes.moved, held_in)
    except DBAPIError as error:
        _explain(error, ledger)
        raise
    return deletable


def _insert_live(  # noqa: PLR0917 - what is added, where, and how it is refused
    connection: Connection,
    ledger: Ledger,
    added: Mapping[ObjectRef, FileFacts],
    held_in: Mapping[ObjectRef, str],
    refused: type[FileColumnError],
    why: str,
    *,
    checked: bool = True,
) -> None:
    rows = [
        {
            "backend": storages.name_in_ledger(backend),
            "key": key,
            "held_in": held_in.get((backend, key)),
            "size": added[backend, key].size,
            "sha256": _sha256(added[backend, key]),
        }
        for backend, key in sorted(added)
    ]
    try:
        connection.execute(inserted(ledger, State.LIVE, checked=checked), rows)
    except IntegrityError as error:
        raise _refusal(added, refused, why) from error


def _insert_used(connection: Connection, ledger: Ledger, used: Mapping[ObjectRef, FileFacts]) -> None:
    try:
        _insert_live(connection, ledger, used, {}, InvalidGrantError, "")
    except InvalidGrantError as error:
        # without the key, which is in the client's token
        raise used_error() from error.__cause__


def _assert_live(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    for batch in batches(sorted(refs), BATCH):
        if _lock_live(connection, ledger, batch) == len(batch):
            continue
        known = _known(connection, ledger, batch)
        for (_, key), entry in known.items():
            if entry.state not in {State.LIVE, None}:
                raise _removed(key)
        # a drain may have restored one since it was not found live: it is not locked yet
        live = [ref for ref, entry in known.items() if entry.state is State.LIVE]
        if live and _lock_live(connection, ledger, live) < len(live):
            raise _removed(live[0][1])
        _adopt(connection, ledger, [ref for ref in batch if ref not in known], State.LIVE)


def _removed(key: str) -> FileColumnError:
    return ConcurrentFileChangeError(
        f"another transaction removed {key!r}, or a sweep found it without a row; roll back, load the row again "
        "and retry"
    )


def _lock_live(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef]) -> int:
    """Lock the live ones of *refs* until the transaction ends, and return their number."""
    if connection.dialect.name != "postgresql":
        return _set_state(connection, ledger, refs, State.LIVE)

    def count_locked() -> Select[int]:
        columns = ledger.table.c
        live = select(columns.key).where(keys_bound(ledger, refs), columns.state == State.LIVE.value)
        return select(func.count()).select_from(live.with_for_update().subquery())

    # there an UPDATE makes a new version of each entry, also of one that it does not change
    statement = prepared(ledger.table.metadata, (_lock_live, len(refs) == 1), count_locked)
    return sum(connection.execute(statement, keys).scalar_one() for keys in bind_keys(refs))


def _doom(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> set[ObjectRef]:
    deletable = set(refs)
    for batch in batches(sorted(refs), BATCH):
        if _doom_certain(connection, ledger, batch) < len(batch):
            deletable -= _doom_uncertain(connection, ledger, batch)
    return deletable


def _doom_uncertain(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef]) -> set[ObjectRef]:
    """Doom keys that rows may share, and return them with all others that are not certainly doomed.

    Removing a key that is doomed already loses nothing, so it is not a conflict.
    """
    known = _known(connection, ledger, refs)
    absent = [ref for ref in refs if ref not in known]
    unchecked = [ref for ref, entry in known.items() if not entry.checked]
    # also those that are doomed: a drain that has seen one in this row is not to restore it
    of = (State.LIVE, State.DOOMED)
    _set_state(connection, ledger, unchecked, State.DOOMED, of=of, checked=False)
    # older than the newest column, which may reference it too; or doomed already, which is to be written all the same
    _set_state(connection, ledger, [ref for ref in known if ref not in unchecked], State.DOOMED, of=of)
    _adopt(connection, ledger, absent, State.DOOMED)
    others = [ref for ref, entry in known.items() if entry.state is not State.DOOMED]
    return {*absent, *unchecked, *others}


def _doom_doubtful(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Doom keys so that they are looked up before their objects are deleted, whoever recorded them."""
    for batch in batches(sorted(refs), BATCH):
        columns = ledger.table.c
        live = [keys_in(ledger, batch), columns.state == State.LIVE.value]
        connection.execute(update(ledger.table).where(*live).values(checked=False))
        _doom_uncertain(connection, ledger, batch)


def _set_state(
    connection: Connection,
    ledger: Ledger,
    refs: Sequence[ObjectRef],
    state: State,
    *,
    of: tuple[State, ...] = (State.LIVE,),
    checked: bool | None = None,
) -> int:
    """Set the state of keys in the states *of*, and return their number."""
    statement = prepared(
        ledger.table.metadata,
        (_set_state, state, of, checked, len(refs) == 1),
        lambda: _setting(ledger, refs, state, *_are(ledger, of, checked), rewrites=State.DOOMED in of),
    )
    return _count_set(connection, statement, refs, state)


def _doom_certain(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef]) -> int:
    """Doom live keys that certainly one row referenced, and return their number."""
    # triggers look for the name in a row's JSON: they miss a copied key that the ledger has under another
    unseen = any(len(names_of(backend)) > 1 for backend in {backend for backend, _ in refs})
    statement = prepared(
        ledger.table.metadata,
        (_doom_certain, unseen, len(refs) == 1),
        lambda: _setting(
            ledger,
            refs,
            State.DOOMED,
            *_are(ledger, (State.LIVE,), checked=True),
            ledger.table.c.created_at >= licence_floor(ledger),
            *((~has_triggers(ledger),) if unseen else ()),
        ),
    )
    return _count_set(connection, statement, refs, State.DOOMED)


def _are(ledger: Ledger, of: tuple[State, ...], checked: bool | None) -> Iterator[ColumnElement[bool]]:
    columns = ledger.table.c
    # not by the index of `due_at`, see `_is`
    state = columns.state if State.LIVE in of else columns.state + literal_column("0")
    # as SQL: nothing is bound for what is always the same
    yield or_(*(state == literal_column(f"{each:d}") for each in of))
    if checked is not None:
        yield columns.checked.is_(checked)


def _setting(
    ledger: Ledger,
    refs: Sequence[ObjectRef],
    state: State,
    *conditions: ColumnElement[bool],
    rewrites: bool = False,
) -> Update:
    """Return the statement that sets a state; if it *rewrites* doomed entries, with another `due_at` than they have."""
    statement = update(ledger.table).where(keys_bound(ledger, refs), *conditions)
    statement = statement.values(state=literal_column(f"{state:d}"))
    if state is not State.DOOMED:
        return statement
    due_at, later = ledger.table.c.due_at, _after("delay")
    return statement.values(due_at=case((due_at >= later, due_at + 1), else_=later) if rewrites else later)


def _count_set(connection: Connection, statement: Update, refs: Sequence[ObjectRef], state: State) -> int:
    delay = {"delay": int(storages.retention * 1000)} if state is State.DOOMED else {}
    return sum(connection.execute(statement, each | delay).rowcount for each in bind_keys(refs))


def _note_columns(
    connection: Connection, ledger: Ledger, refs: Iterable[ObjectRef], held_in: Mapping[ObjectRef, str]
) -> None:
    """Note which columns reference keys now that other columns referenced before."""
    groups: defaultdict[str, list[ObjectRef]] = defaultdict(list)
    for ref in sorted(refs):
        groups[held_in[ref]].append(ref)
    for column, group in groups.items():
        for batch in batches(group, BATCH):
            note_column(connection, ledger, batch, column)


def _adopt(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef], state: State) -> None:
    """Record keys of rows that were written without a ledger; other rows may reference them too."""
    if not refs:
        return
    rows = [{"backend": storages.name_in_ledger(backend), "key": key} for backend, key in refs]
    try:
        connection.execute(inserted(ledger, state, checked=False), rows)
    except IntegrityError as error:
        raise ConcurrentFileChangeError(
            f"another transaction changed a row that shares {refs[0][1]!r} first; roll back and retry"
        ) from error


def reserve(connection: Connection, ledger: Ledger, held_in: Mapping[ObjectRef, str]) -> None:
    """Record at most `RESERVED` keys, in *held_in* with their columns, before anything is stored there: all or none.

    Raises ObjectExistsError if a row has one of them, had it, or is about to have it.
    """
    initial = _initial(State.LIVE, checked=True)
    # not a parameter set each: some drivers insert those one by one, and a refusal leaves the first ones
    rows = [
        {**initial, "backend": storages.name_in_ledger(backend), "key": key, "held_in": held_in[backend, key]}
        for backend, key in sorted(held_in)
    ]
    with speaking(ledger):
        try:
            connection.execute(insert(ledger.table).values(rows))
        except IntegrityError as error:
            raise _refusal(held_in, ObjectExistsError, _TAKEN) from error


def _refusal(refs: Iterable[ObjectRef], refused: type[FileColumnError], why: str) -> FileColumnError:
    keys = ", ".join(repr(key) for _, key in sorted(refs)[:5])
    return refused(f"one of the storage keys {keys} {why}")


def _sha256(facts: FileFacts) -> str | None:
    return (facts.checksum or "").removeprefix("sha256:") or None


def describe(connection: Connection, ledger: Ledger, stored: Mapping[ObjectRef, FileFacts]) -> None:
    """Write size and hash of what was stored since at keys that `reserve` recorded."""
    columns = ledger.table.c
    statement = (
        update(ledger.table)
        .where(columns.backend == bindparam("at"), columns.key == bindparam("named"))
        .values(size=bindparam("bytes"), sha256=bindparam("hash"))
    )
    rows = [
        {
            "at": storages.name_in_ledger(ref[0]),
            "named": ref[1],
            "bytes": stored[ref].size,
            "hash": _sha256(stored[ref]),
        }
        for ref in sorted(stored)
    ]
    connection.execute(statement, rows)


def withdraw(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Forget keys that this transaction has recorded and no row came to reference."""
    for batch in batches(sorted(refs), BATCH):
        connection.execute(delete_from(ledger.table).where(keys_in(ledger, batch)))


def reassert(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Mark keys LIVE again that this transaction has recorded as LIVE, and a trigger has doomed since.

    Nobody else can have doomed them: the transaction holds their rows since it recorded them.
    """
    for batch in batches(sorted(refs), BATCH):
        connection.execute(
            update(ledger.table)
            .where(keys_in(ledger, batch), _is(ledger, State.DOOMED))
            .values(state=State.LIVE.value, due_at=None)
        )


def doubt(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Mark keys as unchecked: another row may reference them too, so their objects are left to a drain."""
    for batch in batches(sorted(refs), BATCH):
        connection.execute(
            update(ledger.table).where(keys_in(ledger, batch)).values(checked=False, fresh=False)
        )


def doom_unchecked(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Doom live keys so that they are looked up before their objects are deleted."""
    for batch in batches(sorted(refs), BATCH):
        columns = ledger.table.c
        connection.execute(
            update(ledger.table)
            .where(keys_in(ledger, batch), columns.state == State.LIVE.value)
            .values(state=State.DOOMED.value, checked=False, due_at=now_ms())
        )


def inserted(ledger: Ledger, state: State, *, checked: bool) -> Insert:
    """Return the statement that adds keys in *state*; it takes their `backend` and `key`."""
    return prepared(
        ledger.table.metadata,
        (inserted, state, checked),
        lambda: insert(ledger.table).values(_initial(state, checked=checked)),
    )


def _initial(state: State, *, checked: bool) -> dict[str, ColumnElement[Any]]:
    """Return what is the same for all new entries, as SQL: nothing of it is bound for each."""
    return {
        "state": literal_column(f"{state:d}"),
        "checked": _boolean(checked),
        "created_at": now_ms(),
        "due_at": now_ms() if state is State.DOOMED else null(),
        "attempts": literal_column("0"),
        "fresh": _boolean(state is State.LIVE and checked),
    }


def _boolean(value: bool) -> ColumnElement[bool]:
    return true() if value else false()


def _after(delay: str) -> ColumnElement[int]:
    """Return the time in so many milliseconds as the parameter *delay* says."""
    return now_ms() + bindparam(delay, type_=BigInteger())


# After a commit, and in a drain


def due_keys(
    connection: Connection,
    ledger: Ledger,
    *,
    until: int,
    names: Collection[str] | None = None,
    most: int | None = None,
) -> Iterator[Sequence[DueKey]]:
    """Yield the doomed keys that were due at *until*, by the database's clock, in pages, the oldest first.

    *most* is their number at most, *names* are those of the storages, as in the ledger; None for all.
    Nothing is locked, and on SQLite each page is a transaction of its own.
    """
    columns = ledger.table.c
    pages: Iterator[Sequence[Row[*tuple[Any, ...]]]]
    query: Select[*tuple[Any, ...]] = (
        select(
            columns.backend,
            columns.key,
            columns.due_at,
            columns.attempts,
            columns.held_in,
            columns.unreferenced_since,
        )
        .where(ledger.is_waiting, columns.state == State.DOOMED.value, columns.due_at <= until)
        .where(true() if names is None else columns.backend.in_(names))
        .order_by(columns.due_at)
    )
    if connection.dialect.name == "sqlite":
        pages = _pages_of_due(connection, ledger, query, most)
    else:
        # a cursor of the server
        pages = connection.execute(query.limit(most), execution_options={"yield_per": BATCH}).partitions()
    for page in pages:
        yield [
            DueKey((backend, key), due_at, attempts, held_in is None and since is not None)
            for backend, key, due_at, attempts, held_in, since, *_ in page
        ]


def _pages_of_due(
    connection: Connection, ledger: Ledger, query: Select[*tuple[Any, ...]], most: int | None
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """Yield what is due by its index, in which SQLite has the row ids as well: many keys are due at one time."""
    due_at, row_id = ledger.table.c.due_at, literal_column("rowid", Integer)
    ordered = query.add_columns(row_id).order_by(row_id)
    left = BATCH if most is None else most

    def read(*behind: ColumnElement[bool]) -> Sequence[Row[*tuple[Any, ...]]]:
        with short_read(connection.engine):
            page = connection.execute(ordered.where(*behind).limit(min(left, BATCH))).all()
            connection.rollback()
        return page

    page = read()
    while page:
        yield page
        left -= 0 if most is None else len(page)
        last = page[-1]
        # not as one row value, of which SQLite looks up the first part only
        page = read(due_at == last.due_at, row_id > last[-1]) or read(due_at > last.due_at)


def claim(
    connection: Connection, ledger: Ledger, listed: Sequence[DueKey], seconds: float
) -> tuple[list[DueKey], list[DueKey]]:
    """Lease keys to one drain for *seconds*; return them, and those that others have locked.

    Not a key to which something has happened since it was *listed*: what was seen of it may be over.
    """
    compared = _compare(connection, ledger, listed)
    until = time_of(connection) + int(seconds * 1000)
    leasing = update(ledger.table).where(_is(ledger, State.DOOMED)).values(due_at=until)
    change_keys(connection, ledger, [each.ref for each in compared.unchanged], leasing, exact=True)
    # of an object that was given up under one name the next drain looks at both
    doom_unchecked(connection, ledger, compared.live)
    return [each._replace(due_at=until) for each in compared.unchanged], compared.locked


def restore_unchanged(
    connection: Connection, ledger: Ledger, listed: Sequence[DueKey]
) -> tuple[list[DueKey], list[DueKey]]:
    """Mark keys LIVE again that a row references; return them, and those that others have locked.

    Not a key to which something has happened since it was *listed*: the row may have let go of it.
    """
    compared = _compare(connection, ledger, listed)
    restored = [*compared.unchanged, *compared.half_live]
    restoring = _live_again(ledger, RESTORED).where(_is(ledger, State.DOOMED))
    change_keys(connection, ledger, [each.ref for each in restored], restoring, exact=True)
    return restored, compared.locked


class _Compared(NamedTuple):
    """Keys that were listed, compared with what they are."""

    unchanged: list[DueKey]
    locked: list[DueKey]
    """As they were listed, but others have locked them."""
    half_live: list[DueKey]
    """As they were listed, but live under another name of their storage."""
    live: set[ObjectRef]
    """The others of these."""


def _compare(connection: Connection, ledger: Ledger, listed: Sequence[DueKey]) -> _Compared:
    """Lock keys, and compare them with what they were when they were *listed*.

    Under each name of its storage: all of them are one object.
    """
    columns = ledger.table.c
    lock_sqlite(connection, ledger)

    def look(refs: Collection[ObjectRef], lock: Lock) -> dict[ObjectRef, tuple[int, int | None]]:
        wanted = columns.backend, columns.key, columns.state, columns.due_at
        found = select_keys(connection, ledger, refs, *wanted, lock=lock, exact=True)
        return {(backend, key): (state, due_at) for backend, key, state, due_at in found}

    spelled = {each.ref: _spelled(each.ref) for each in listed}
    ours = look({ref for refs in spelled.values() for ref in refs}, "skip")
    missing = {ref for refs in spelled.values() for ref in refs if ref not in ours}
    others = look(missing, "") if missing else {}
    expected = {each.ref: (State.DOOMED.value, each.due_at) for each in listed}
    compared = _Compared([], [], [], set())
    for each in listed:
        entries = {ref: entry for ref in spelled[each.ref] if (entry := ours.get(ref) or others.get(ref))}
        if entries.get(each.ref) != expected[each.ref]:
            continue
        changed = {
            ref: entry
            for ref, entry in entries.items()
            if entry[0] != State.GONE and entry != expected.get(ref)
        }
        if entries.keys() & others.keys():
            compared.locked.append(each)
        elif not changed:
            compared.unchanged.append(each)
        elif all(state == State.LIVE for state, _ in changed.values()):
            compared.half_live.append(each)
            compared.live.update(changed)
    return compared


def _spelled(ref: ObjectRef) -> list[ObjectRef]:
    """Return what an entry may be called: by each name of its storage, also if its own is an alias."""
    name, key = ref
    return [(each, key) for each in dict.fromkeys((name, *names_of(storages.resolve(name))))]


def mark_gone(
    connection: Connection,
    ledger: Ledger,
    refs: Collection[ObjectRef],
    *,
    of: tuple[State, ...] = (State.DOOMED,),
    only_due: bool = False,
    exact: bool = False,
) -> None:
    """Mark keys GONE whose objects were deleted, if they are in one of the states *of*.

    With *only_due* not what is to be deleted later: the key may have been used again since.  With *exact*
    only under the given names of storages.
    """
    # of several keys MariaDB may lock all of the storage: a deadlock for others
    is_each_alone = exact or (len(refs) > 1 and connection.dialect.name in {"mysql", "mariadb"})
    if is_each_alone:
        change_keys(connection, ledger, refs, _marking_gone(ledger, of, only_due=only_due), exact=exact)
        return
    for batch in batches(sorted(refs), BATCH):
        statement = prepared(
            ledger.table.metadata,
            (mark_gone, of, only_due, len(batch) == 1),
            partial(_marking_these_gone, ledger, batch, of, only_due=only_due),
        )
        for keys in bind_keys(batch):
            connection.execute(statement, keys)


def _marking_these_gone(
    ledger: Ledger, refs: Sequence[ObjectRef], of: tuple[State, ...], *, only_due: bool
) -> Update:
    return _marking_gone(ledger, of, only_due=only_due).where(keys_bound(ledger, refs))


def _marking_gone(ledger: Ledger, of: tuple[State, ...], *, only_due: bool) -> Update:
    # not by the index of `due_at`, which has all that is due
    is_due = ledger.table.c.due_at + 0 <= now_ms() if only_due else true()
    return (
        update(ledger.table)
        .where(*_are(ledger, of, None), is_due)
        .values(state=State.GONE.value, due_at=_in_seconds(FENCE_RETENTION), last_error=None)
    )


def mark_refused(
    connection: Connection,
    ledger: Ledger,
    refused: Mapping[ObjectRef, tuple[int, str]],
    *,
    exact: bool = False,
) -> None:
    """Note of each doomed key how often it was tried before and why it failed now, and when to try again.

    With *exact* under the given name of its storage, else under that which the ledger has for it.
    """
    if not refused:
        return
    columns = ledger.table.c
    statement = (
        update(ledger.table)
        .where(columns.backend == bindparam("at_backend"), columns.key == bindparam("at_key"))
        .where(columns.state + 0 == State.DOOMED.value)
        .values(
            attempts=bindparam("attempts"),
            last_error=bindparam("last_error"),
            due_at=now_ms() + bindparam("delay", type_=columns.due_at.type),
        )
    )
    connection.execute(
        statement,
        [
            {
                "at_backend": backend if exact else storages.name_in_ledger(backend),
                "at_key": key,
                "attempts": attempts + 1,
                "last_error": why[:MAX_ERROR],
                "delay": int(_delay(attempts) * 1000),
            }
            for (backend, key), (attempts, why) in sorted(refused.items())
        ],
    )


def _delay(attempts: int) -> float:
    """Return the seconds to wait after a failure: 5 doubled each time, at most an hour, spread by half."""
    longest: float = min(FIRST_DELAY * 2**attempts, LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it keeps no secret


def mark_withheld(connection: Connection, ledger: Ledger, withheld: Mapping[ObjectRef, str]) -> None:
    """Note of each doomed key why nobody may delete its object now; it was not tried."""
    by_reason: defaultdict[str, list[ObjectRef]] = defaultdict(list)
    for ref, why in sorted(withheld.items()):
        by_reason[why].append(ref)
    for why, refs in by_reason.items():
        note = f"{WITHHELD}{why}"[:MAX_ERROR]
        noting = update(ledger.table).values(due_at=_in_seconds(WITHHELD_DELAY), last_error=note)
        change_keys(connection, ledger, refs, noting.where(_is(ledger, State.DOOMED)))


class _Due(NamedTuple):
    """A key that is not live, and whose time has come."""

    backend: str
    key: str
    state: int
    due_at: int


def purge(engine: Engine, ledger: Ledger) -> int:
    """Forget keys that have been GONE for `FENCE_RETENTION` seconds, and return their number.

    Leaves out what others have locked.
    """
    with engine.connect() as connection:
        until = time_of(connection)
    purged = since = 0
    while True:
        with short_read(engine), engine.connect() as connection:
            page = _due_between(connection, ledger, since, until, PURGE_PAGE)
        count = sum(
            insist(engine, partial(_forget, ledger=ledger, refs=batch, until=until))
            for batch in batches(_gone(page), BATCH)
        )
        purged += count
        if len(page) < PURGE_PAGE:
            return purged
        last = page[-1].due_at
        # any number may be due at the same time: go on with them, unless nobody can forget these
        since = last if count or last > since else last + 1


def purge_some(engine: Engine, ledger: Ledger, *, most: int, since: int = 0) -> int | None:
    """Forget at most *most* keys that have been GONE for `FENCE_RETENTION` seconds, in bounded time.

    Leaves out what others have locked, and hardly waits for anybody.  Looks at what is due from *since* on, in
    milliseconds of the database's clock, and returns where the next call goes on; None if there is no more.
    """
    view = PURGE_VIEW * most
    # apart from the deletion: SQLite lets nobody write who has read what others have changed since
    with brief(engine) as connection:
        until = time_of(connection)
        page = _due_between(connection, ledger, since, until, view)
    gone = [entry for entry in page if entry.state == State.GONE]
    if gone:
        with brief(engine) as connection:
            _forget(connection, ledger, _gone(gone[:most]), until)
    if len(gone) > most:
        return gone[most].due_at
    if len(page) < view:
        return None
    last = page[-1].due_at
    return last if gone or last > since else last + 1


def _due_between(connection: Connection, ledger: Ledger, since: int, until: int, most: int) -> list[_Due]:
    """Return the first keys that are not live and became due in a time, by the index of `due_at`."""

    def first() -> Select[*tuple[Any, ...]]:
        columns = ledger.table.c
        # a time that is bound: the database's clock may be another for each entry, which no index knows
        is_due = columns.due_at.between(bindparam("since"), bindparam("until"))
        return (
            select(columns.backend, columns.key, columns.state, columns.due_at)
            .where(ledger.is_waiting, is_due)
            .order_by(columns.due_at)
            .limit(bindparam("most"))
        )

    in_index_order(connection)
    statement = prepared(ledger.table.metadata, _due_between, first)
    rows = connection.execute(statement, {"since": since, "until": until, "most": most})
    return [_Due(*row) for row in rows]


def _gone(entries: Iterable[_Due]) -> list[ObjectRef]:
    return sorted((entry.backend, entry.key) for entry in entries if entry.state == State.GONE)


def _forget(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef], until: int) -> int:
    """Delete entries of keys that are still GONE and due at *until*, and return their number; wait for nobody.

    *refs* have the names of their storages in the ledger.
    """
    columns = ledger.table.c
    is_over = and_(_is(ledger, State.GONE), columns.due_at + 0 <= until)
    lock_sqlite(connection, ledger)
    found = select_keys(connection, ledger, refs, columns.backend, columns.key, where=is_over, lock="skip")
    ours = [(backend, key) for backend, key in found]
    change_keys(connection, ledger, ours, delete_from(ledger.table).where(is_over))
    return len(ours)


def _is(ledger: Ledger, state: State) -> ColumnElement[bool]:
    """Match entries in a state, beside a condition on their keys."""
    # not by the index of `due_at`, which PostgreSQL takes for small as long as its statistics are old
    return ledger.table.c.state + 0 == state.value


def _in_seconds(seconds: float) -> ColumnElement[int]:
    return now_ms() + int(seconds * 1000)


def _live_again(ledger: Ledger, note: str | None) -> Update:
    """Return the statement that marks keys LIVE again, which several rows may reference by now."""
    return update(ledger.table).values(
        state=State.LIVE.value,
        checked=False,
        due_at=None,
        attempts=0,
        unreferenced_since=None,
        last_error=note,
    )


# In a sweep, a check that repairs, or for an operator: each in transactions of its own, which give way to others


def fence(
    engine: Engine, ledger: Ledger, refs: Sequence[ObjectRef], *, after: float = 0.0
) -> list[ObjectRef]:
    """Doom keys that the ledger does not have, and return those that were: nobody can give them to a row now.

    They are due *after* seconds.  A key that a running transaction is about to have is left alone.
    """
    statement = inserted(ledger, State.DOOMED, checked=False).values(
        due_at=_in_seconds(after), unreferenced_since=now_ms()
    )
    return _insert_apart(engine, statement, refs)


def adopt_live(engine: Engine, ledger: Ledger, refs: Sequence[ObjectRef]) -> list[ObjectRef]:
    """Record keys of rows that were written without the ledger; other rows may share them."""
    return _insert_apart(engine, inserted(ledger, State.LIVE, checked=False), refs)


def _insert_apart(engine: Engine, statement: Insert, refs: Sequence[ObjectRef]) -> list[ObjectRef]:
    """Insert entries and return their keys; one key that is taken undoes its batch, so each half is tried."""
    if not refs:
        return []
    # a storage may have several names
    named = dict.fromkeys((storages.name_in_ledger(backend), key) for backend, key in refs)
    rows = [{"backend": backend, "key": key} for backend, key in named]
    if attempt(engine, lambda connection: connection.execute(statement, rows)):
        return list(refs)
    if len(refs) == 1:
        return []
    middle = len(refs) // 2
    return [
        *_insert_apart(engine, statement, refs[:middle]),
        *_insert_apart(engine, statement, refs[middle:]),
    ]


def doom_live(engine: Engine, ledger: Ledger, refs: Collection[ObjectRef]) -> int:
    """Doom live keys that no row references; a drain looks again before it deletes. Return their number."""
    return len(_doom_apart(engine, ledger, refs, State.LIVE))


def doom_gone(
    engine: Engine, ledger: Ledger, refs: Collection[ObjectRef], *, after: float = 0.0
) -> list[ObjectRef]:
    """Doom keys again whose objects came back, by an upload that arrived late; they are due *after* seconds.

    Return those that were doomed, with the names of their storages in the ledger.
    """
    return _doom_apart(engine, ledger, refs, State.GONE, after=after)


def _doom_apart(
    engine: Engine, ledger: Ledger, refs: Collection[ObjectRef], of: State, *, after: float = 0.0
) -> list[ObjectRef]:
    statement = update(ledger.table).values(
        state=State.DOOMED.value, checked=False, due_at=_in_seconds(after), attempts=0, last_error=None
    )
    return _update_apart(engine, ledger, statement, refs, of)


def restore(engine: Engine, ledger: Ledger, listed: Sequence[DueKey]) -> list[ObjectRef]:
    """Mark keys LIVE again that a row references, if they are as they were *listed*, and return those that were."""
    restored, _ = insist(engine, partial(restore_unchanged, ledger=ledger, listed=listed))
    return [each.ref for each in restored]


def _update_apart(
    engine: Engine, ledger: Ledger, statement: Update, refs: Collection[ObjectRef], of: State
) -> list[ObjectRef]:
    """Run *statement* for the keys in the state *of*, and return them; not for what others have locked."""
    columns = ledger.table.c
    changed: list[ObjectRef] = []
    for batch in batches(sorted(refs), BATCH):
        found: list[ObjectRef] = []

        def change(connection: Connection) -> None:
            lock_sqlite(connection, ledger)
            wanted = columns.backend, columns.key
            rows = select_keys(connection, ledger, batch, *wanted, where=_is(ledger, of), lock="wait")  # noqa: B023
            found.extend((backend, key) for backend, key in rows)  # noqa: B023 - called at once
            change_keys(connection, ledger, found, statement.where(_is(ledger, of)))  # noqa: B023 - see above

        if attempt(engine, change):
            changed += found
    return changed


def revive(engine: Engine, ledger: Ledger, ref: ObjectRef) -> bool:
    """Mark a doomed key LIVE again because an operator says so; return whether it still was doomed."""

    def change(connection: Connection) -> int:
        lock_sqlite(connection, ledger)
        reviving = _live_again(ledger, None).where(keys_in(ledger, [ref]), _is(ledger, State.DOOMED))
        return connection.execute(reviving).rowcount

    return insist(engine, change) > 0


# Notes about a key, which leave its state as it is


def note_unreferenced(engine: Engine, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Note since when no row references live keys, unless it was noted before."""
    columns = ledger.table.c
    is_new = columns.state == State.LIVE.value, columns.unreferenced_since.is_(None)
    _note(engine, ledger, refs, update(ledger.table).where(*is_new).values(unreferenced_since=now_ms()))


def note_referenced(engine: Engine, ledger: Ledger, refs: Collection[ObjectRef]) -> None:
    """Undo `note_unreferenced`: a row references the keys."""
    _note(engine, ledger, refs, update(ledger.table).values(unreferenced_since=None))


def mark_shared(engine: Engine, ledger: Ledger, refs: Iterable[ObjectRef]) -> None:
    """Mark keys as unchecked: several rows reference them."""
    _note(engine, ledger, refs, update(ledger.table).values(checked=False, fresh=False), must=True)


def _note(
    engine: Engine, ledger: Ledger, refs: Iterable[ObjectRef], statement: Update, *, must: bool = False
) -> None:
    for batch in batches(sorted(refs), BATCH):
        change = partial(change_keys, ledger=ledger, refs=batch, statement=statement)
        if must:
            insist(engine, change)
        else:
            # what a transaction has locked is noted by the next run
            attempt(engine, change)


def note_column(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef], column: str) -> None:
    """Note the id of the column that references keys."""
    change_keys(connection, ledger, refs, update(ledger.table).values(held_in=column))


def rename_column_id(connection: Connection, ledger: Ledger, old: str, new: str) -> None:
    """Note the new id of a column that was renamed, in all entries that name it."""
    columns = ledger.table.c
    connection.execute(update(ledger.table).where(columns.held_in == old).values(held_in=new))


def rename_storage(connection: Connection, ledger: Ledger, old: str, new: str) -> None:
    """Note the new name of a storage, in all entries that name it."""
    columns = ledger.table.c
    connection.execute(update(ledger.table).where(columns.backend == old).values(backend=new))


# What the ledger says


def not_recorded(
    connection: Connection, ledger: Ledger, new: Collection[ObjectRef], doomed: Collection[ObjectRef]
) -> list[ObjectRef]:
    """Return which keys are not as this transaction has recorded them: *new* ones there, *doomed* ones doomed."""
    found: dict[ObjectRef, Entry] = {}
    for batch in batches(sorted({*new, *doomed}), BATCH):
        found |= _known(connection, ledger, batch)
    return [
        *(ref for ref in new if ref not in found),
        *(ref for ref in doomed if ref not in found or found[ref].state is not State.DOOMED),
    ]


def knows_any(connection: Connection, ledger: Ledger, refs: Collection[ObjectRef]) -> bool:
    """Return whether the ledger has one of the keys, in any state."""
    found = (
        connection.execute(select(ledger.table.c.key).where(keys_in(ledger, batch)).limit(1)).first()
        for batch in batches(sorted(refs), BATCH)
    )
    return any(row is not None for row in found)


def _known(connection: Connection, ledger: Ledger, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Entry]:
    columns = ledger.table.c
    spelled = {(name, key): (backend, key) for backend, key in refs for name in names_of(backend)}
    rows = connection.execute(
        select(columns.backend, columns.key, columns.state, columns.checked).where(keys_in(ledger, refs))
    )
    return {
        spelled[backend, key]: Entry(_state(key, state), checked) for backend, key, state, checked in rows
    }


def _state(key: str, value: int) -> State | None:
    """Return the state; None, with a warning, if a newer release wrote one that this one does not know."""
    try:
        return State(value)
    except ValueError:
        warn(
            "the ledger has %r in state %d, which a newer release of filecolumn wrote; it is left alone",
            key,
            value,
        )
        return None


@contextmanager
def speaking(ledger: Ledger) -> Generator[None]:
    """Raise MissingLedgerError, which says what to do, when the table is not in the database."""
    try:
        yield
    except DBAPIError as error:
        _explain(error, ledger)
        raise


def _explain(error: DBAPIError, ledger: Ledger) -> None:
    """Raise MissingLedgerError if a statement failed because the table is not in the database, or is an older one."""
    text = str(error.orig).lower()
    if any(sign in text for sign in _COLUMNS):
        raise older_ledger(ledger) from error
    named = ledger.table.name in text or ledger.meta.name in text
    if named and any(sign in text for sign in _MISSING):
        raise missing_ledger(ledger) from error


def missing_ledger(ledger: Ledger) -> MissingLedgerError:
    """Return the error for a database that has no ledger."""
    return MissingLedgerError(
        f"the table {ledger.table.fullname!r} is not in the database: create it with "
        "Base.metadata.create_all() or an Alembic migration, or do without a ledger: "
        "StoredObject(..., ledger=False) in every column"
    )


def older_ledger(ledger: Ledger) -> MissingLedgerError:
    """Return the error for a ledger that lacks what this release writes."""
    return MissingLedgerError(
        f"the table {ledger.table.fullname!r} was created by an older release: run 'filecolumn migrate', or "
        "op.upgrade_file_ledger() in an Alembic migration"
    )


_COLUMNS = ("held_in", "unreferenced_since")
# of SQLite, PostgreSQL and MariaDB or MySQL
_MISSING = ("no such table", "does not exist", "doesn't exist")
