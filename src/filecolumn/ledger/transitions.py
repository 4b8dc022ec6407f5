"""What a flush writes into the ledger, in the transaction of its rows: a statement for each kind of change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Update,
    and_,
    bindparam,
    false,
    insert,
    or_,
    select,
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
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import Ledger, State, now_ms
from filecolumn.logs import warn

__all__ = (
    "BATCH",
    "CLAIMS",
    "FOUND_TAKEN",
    "Changes",
    "LedgerAt",
    "after",
    "claim",
    "describe",
    "doom_unchecked",
    "inserted",
    "is_at",
    "is_one_of",
    "keys_at",
    "knows_any",
    "missing_ledger",
    "not_recorded",
    "older_ledger",
    "reassert",
    "record",
    "speaking",
    "withdraw",
)

BATCH = 1000
"""Keys in one statement."""

CLAIMS = 100
"""Keys in one claim: SQLite takes 999 values in a statement."""

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


@dataclass(frozen=True, slots=True)
class LedgerAt:
    """A ledger, and the database that it is in."""

    engine: Engine
    ledger: Ledger


@dataclass(slots=True)
class Changes:
    """What a flush does to objects, for one ledger."""

    stored: dict[ObjectRef, FileFacts] = field(default_factory=dict[ObjectRef, FileFacts])
    """Stored by this transaction, and given to a row."""
    staged: dict[ObjectRef, FileFacts] = field(default_factory=dict[ObjectRef, FileFacts])
    """Stored before by `save()`, and given to a row."""
    found: dict[ObjectRef, FileFacts] = field(default_factory=dict[ObjectRef, FileFacts])
    """In the storage before, and given to a row: others that no ledger knows may have them too."""
    used: dict[ObjectRef, FileFacts] = field(default_factory=dict[ObjectRef, FileFacts])
    """Uploaded by a client with a grant, and given to a row as a copy."""
    kept: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """Held by rows before and after."""
    moved: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """Of these, what another column held before."""
    removed: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """Held by no row any more."""
    held_in: dict[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])
    """The ids of the columns that hold them, for what is stored, staged or moved."""
    doubtful: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """No longer held by rows whose keys others may hold as well: those that advanced-alchemy wrote."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a key."""

    state: State | None
    """None for one of a newer release."""
    checked: bool


def record(connection: Connection, ledger: Ledger, changes: Changes) -> set[ObjectRef]:
    """Write *changes* and return which of the removed objects may be deleted once they are committed.

    The others have to be looked up first, by a drain: rows that were written without a ledger may
    share them.  Raises ConcurrentFileChangeError, InvalidGrantError, ObjectExistsError or
    StaleUploadError for a key that another transaction or a sweep has claimed.
    """
    with speaking(ledger):
        held_in = changes.held_in
        # first: a transaction that may go on after the refusal is to have nothing of the rest
        _insert_used(connection, ledger, changes.used)
        _insert_live(connection, ledger, changes.stored, held_in, StaleUploadError, _FENCED)
        _insert_live(connection, ledger, changes.staged, held_in, StaleUploadError, _SWEPT)
        _insert_live(
            connection, ledger, changes.found, held_in, ObjectExistsError, FOUND_TAKEN, checked=False
        )
        deletable = _doom(connection, ledger, changes.removed - changes.doubtful)
        _doom_doubtful(connection, ledger, changes.doubtful)
        _assert_live(connection, ledger, changes.kept)
        _note_columns(connection, ledger, changes.moved, held_in)
    return deletable


def claim(connection: Connection, ledger: Ledger, held_in: Mapping[ObjectRef, str]) -> None:
    """Take at most `CLAIMS` keys, in *held_in* with their columns, before anything is stored there: all or none.

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


def describe(connection: Connection, ledger: Ledger, stored: Mapping[ObjectRef, FileFacts]) -> None:
    """Write size and hash of what is stored under claimed keys by now."""
    columns = ledger.table.c
    statement = (
        update(ledger.table)
        .where(columns.backend == bindparam("at"), columns.key == bindparam("named"))
        .values(size=bindparam("bytes"), sha256=bindparam("hash"))
    )
    rows = [
        {
            "at": storages.name_in_ledger(place[0]),
            "named": place[1],
            "bytes": stored[place].size,
            "hash": _sha256(stored[place]),
        }
        for place in sorted(stored)
    ]
    connection.execute(statement, rows)


def withdraw(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> None:
    """Forget keys that this transaction has recorded and no row came to hold."""
    for batch in batches(sorted(places), BATCH):
        connection.execute(delete_from(ledger.table).where(is_one_of(ledger, batch)))


def not_recorded(
    connection: Connection, ledger: Ledger, new: Collection[ObjectRef], doomed: Collection[ObjectRef]
) -> list[ObjectRef]:
    """Return which keys are not as this transaction has recorded them: *new* ones there, *doomed* ones doomed."""
    found: dict[ObjectRef, Entry] = {}
    for batch in batches(sorted({*new, *doomed}), BATCH):
        found |= _known(connection, ledger, batch)
    return [
        *(place for place in new if place not in found),
        *(place for place in doomed if place not in found or found[place].state is not State.DOOMED),
    ]


def reassert(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> None:
    """Let keys live that this transaction has recorded as live, and a trigger has doomed since.

    Nobody else can have doomed them: the transaction holds their rows since it recorded them.
    """
    for batch in batches(sorted(places), BATCH):
        connection.execute(
            update(ledger.table)
            .where(is_one_of(ledger, batch), ledger.table.c.state == State.DOOMED.value)
            .values(state=State.LIVE.value, due_at=None)
        )


def doom_unchecked(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> None:
    """Doom live keys so that they are looked up before their objects are deleted."""
    for batch in batches(sorted(places), BATCH):
        columns = ledger.table.c
        connection.execute(
            update(ledger.table)
            .where(is_one_of(ledger, batch), columns.state == State.LIVE.value)
            .values(state=State.DOOMED.value, checked=False, due_at=now_ms())
        )


def is_one_of(ledger: Ledger, places: Iterable[ObjectRef]) -> ColumnElement[bool]:
    """Match the rows of *places*, also those under an older name of the storage.

    One list of keys for each name: for pairs SQLite reads the whole table.
    """
    columns = ledger.table.c
    return or_(
        false(),
        *(and_(columns.backend == name, columns.key.in_(keys)) for name, keys in _by_name(places).items()),
    )


def is_at(ledger: Ledger) -> ColumnElement[bool]:
    """Match the rows of places as `is_one_of` does, in a statement that is run with each of `keys_at`."""
    columns = ledger.table.c
    return and_(
        columns.backend == bindparam("at_backend"), columns.key.in_(bindparam("at_keys", expanding=True))
    )


def keys_at(places: Iterable[ObjectRef]) -> list[dict[str, object]]:
    """Return the parameters of `is_at` for *places*: of one statement, unless storages have several names."""
    return [{"at_backend": name, "at_keys": keys} for name, keys in _by_name(places).items()]


def after(delay: str) -> ColumnElement[int]:
    """Return the time in so many milliseconds as the parameter *delay* says."""
    return now_ms() + bindparam(delay, type_=BigInteger())


def _by_name(places: Iterable[ObjectRef]) -> dict[str, list[str]]:
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for backend, key in places:
        for name in names_of(backend):
            by_name[name].append(key)
    return by_name


@contextmanager
def speaking(ledger: Ledger) -> Generator[None]:
    """Raise MissingLedgerError, which says what to do, when the table is not in the database."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig).lower()
        if any(sign in text for sign in _COLUMNS):
            raise older_ledger(ledger) from error
        named = ledger.table.name in text or ledger.meta.name in text
        if not named or not any(sign in text for sign in _MISSING):
            raise
        raise missing_ledger(ledger) from error


def missing_ledger(ledger: Ledger) -> MissingLedgerError:
    """Return the error for a database that has no ledger."""
    return MissingLedgerError(
        f"the table {ledger.table.fullname!r} is not in the database: create it with "
        "Base.metadata.create_all() or an Alembic migration, or do without by "
        "StoredObject(..., ledger=False) in every column"
    )


def older_ledger(ledger: Ledger) -> MissingLedgerError:
    """Return the error for a ledger that lacks what this release writes."""
    return MissingLedgerError(
        f"the table {ledger.table.fullname!r} is of an older release: run 'filecolumn migrate', or "
        "op.upgrade_file_ledger() in an Alembic migration"
    )


_COLUMNS = ("held_in", "unreferenced_since")
# of SQLite, PostgreSQL and MariaDB or MySQL
_MISSING = ("no such table", "does not exist", "doesn't exist")


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
    if not added:
        return
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


def knows_any(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> bool:
    """Return whether the ledger has one of the keys, in any state."""
    found = (
        connection.execute(select(ledger.table.c.key).where(is_one_of(ledger, batch)).limit(1)).first()
        for batch in batches(sorted(places), BATCH)
    )
    return any(row is not None for row in found)


def _refusal(places: Iterable[ObjectRef], refused: type[FileColumnError], why: str) -> FileColumnError:
    keys = ", ".join(repr(key) for _, key in sorted(places)[:5])
    return refused(f"one of the storage keys {keys} {why}")


def _sha256(facts: FileFacts) -> str | None:
    return (facts.checksum or "").removeprefix("sha256:") or None


def inserted(ledger: Ledger, state: State, *, checked: bool) -> Insert:
    """Return the statement that adds keys in *state*; it takes their `backend` and `key`."""
    return prepared(
        ledger.table.metadata,
        (inserted, state, checked),
        lambda: insert(ledger.table).values(_initial(state, checked=checked)),
    )


def _initial(state: State, *, checked: bool) -> dict[str, object]:
    return {
        "state": state.value,
        "checked": checked,
        "created_at": now_ms(),
        "due_at": now_ms() if state is State.DOOMED else None,
        "attempts": 0,
        "fresh": state is State.LIVE and checked,
    }


def _doom(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> set[ObjectRef]:
    deletable = set(places)
    for batch in batches(sorted(places), BATCH):
        if _doom_certain(connection, ledger, batch) < len(batch):
            deletable -= _doom_unchecked(connection, ledger, batch)
    return deletable


def _doom_unchecked(connection: Connection, ledger: Ledger, places: Sequence[ObjectRef]) -> set[ObjectRef]:
    """Doom keys that rows may share, and return them with all others that are not certainly doomed.

    To take a key away that is doomed already loses nothing, so it is no conflict.
    """
    known = _known(connection, ledger, places)
    absent = [place for place in places if place not in known]
    unchecked = [place for place, entry in known.items() if not entry.checked]
    # also those that are doomed: a drain that is about to restore one for this row has to wait
    of = (State.LIVE, State.DOOMED)
    _set_state(connection, ledger, unchecked, State.DOOMED, of=of, checked=False)
    # older than the newest column, which may hold it too
    _set_state(connection, ledger, [place for place in known if place not in unchecked], State.DOOMED)
    _adopt(connection, ledger, absent, State.DOOMED)
    others = [place for place, entry in known.items() if entry.state is not State.DOOMED]
    return {*absent, *unchecked, *others}


def _doom_doubtful(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> None:
    """Doom keys so that they are looked up before their objects are deleted, whoever recorded them."""
    for batch in batches(sorted(places), BATCH):
        columns = ledger.table.c
        live = [is_one_of(ledger, batch), columns.state == State.LIVE.value]
        connection.execute(update(ledger.table).where(*live).values(checked=False))
        _doom_unchecked(connection, ledger, batch)


def _note_columns(
    connection: Connection, ledger: Ledger, places: Iterable[ObjectRef], held_in: Mapping[ObjectRef, str]
) -> None:
    """Note which columns hold keys now that other columns held before."""
    groups: defaultdict[str, list[ObjectRef]] = defaultdict(list)
    for place in sorted(places):
        groups[held_in[place]].append(place)
    for column, group in groups.items():
        for batch in batches(group, BATCH):
            statement = update(ledger.table).where(is_one_of(ledger, batch)).values(held_in=column)
            connection.execute(statement)


def _assert_live(connection: Connection, ledger: Ledger, places: Collection[ObjectRef]) -> None:
    for batch in batches(sorted(places), BATCH):
        if _set_state(connection, ledger, batch, State.LIVE) == len(batch):
            continue
        known = _known(connection, ledger, batch)
        for (_, key), entry in known.items():
            if entry.state not in {State.LIVE, None}:
                raise ConcurrentFileChangeError(
                    f"another transaction took {key!r} away, or it was found without a row; roll back, "
                    "load the row again and retry"
                )
        _adopt(connection, ledger, [place for place in batch if place not in known], State.LIVE)


def _set_state(
    connection: Connection,
    ledger: Ledger,
    places: Sequence[ObjectRef],
    state: State,
    *,
    of: tuple[State, ...] = (State.LIVE,),
    checked: bool | None = None,
) -> int:
    """Set the state of keys in the states *of*, and return of how many."""
    statement = prepared(
        ledger.table.metadata,
        (_set_state, state, of, checked),
        lambda: _setting(ledger, state, *_are(ledger, of, checked)),
    )
    return _count_set(connection, statement, places, state)


def _doom_certain(connection: Connection, ledger: Ledger, places: Sequence[ObjectRef]) -> int:
    """Doom live keys that are certainly held once, and return of how many."""
    # triggers look for the name in a row's JSON: they miss a copied key that the ledger has under another
    unseen = any(len(names_of(backend)) > 1 for backend in {backend for backend, _ in places})
    statement = prepared(
        ledger.table.metadata,
        (_doom_certain, unseen),
        lambda: _setting(
            ledger,
            State.DOOMED,
            *_are(ledger, (State.LIVE,), checked=True),
            ledger.table.c.created_at >= licence_floor(ledger),
            *((~has_triggers(ledger),) if unseen else ()),
        ),
    )
    return _count_set(connection, statement, places, State.DOOMED)


def _are(ledger: Ledger, of: tuple[State, ...], checked: bool | None) -> Iterator[ColumnElement[bool]]:
    columns = ledger.table.c
    yield columns.state.in_([each.value for each in of])
    if checked is not None:
        yield columns.checked.is_(checked)


def _setting(ledger: Ledger, state: State, *conditions: ColumnElement[bool]) -> Update:
    statement = update(ledger.table).where(is_at(ledger), *conditions).values(state=state.value)
    return statement.values(due_at=after("delay")) if state is State.DOOMED else statement


def _count_set(connection: Connection, statement: Update, places: Sequence[ObjectRef], state: State) -> int:
    delay = {"delay": int(storages.retention * 1000)} if state is State.DOOMED else {}
    return sum(connection.execute(statement, each | delay).rowcount for each in keys_at(places))


def _known(connection: Connection, ledger: Ledger, places: Sequence[ObjectRef]) -> dict[ObjectRef, Entry]:
    columns = ledger.table.c
    spelled = {(name, key): (backend, key) for backend, key in places for name in names_of(backend)}
    rows = connection.execute(
        select(columns.backend, columns.key, columns.state, columns.checked).where(is_one_of(ledger, places))
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


def _adopt(connection: Connection, ledger: Ledger, places: Sequence[ObjectRef], state: State) -> None:
    """Take keys of rows that were written without a ledger; others may hold them too."""
    if not places:
        return
    rows = [{"backend": storages.name_in_ledger(backend), "key": key} for backend, key in places]
    try:
        connection.execute(inserted(ledger, state, checked=False), rows)
    except IntegrityError as error:
        raise ConcurrentFileChangeError(
            f"another transaction changed a row that shares {places[0][1]!r} first; roll back and retry"
        ) from error
