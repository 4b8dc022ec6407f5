"""What a flush writes into the ledger, in the transaction of its rows: a statement for each kind of change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Engine, Insert, and_, false, insert, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import DBAPIError, IntegrityError

from filecolumn.backends.parts import batches
from filecolumn.errors import (
    ConcurrentFileChangeError,
    FileColumnError,
    InvalidGrantError,
    MissingLedgerError,
    ObjectExistsError,
    StaleUploadError,
)
from filecolumn.facts import FileFacts
from filecolumn.orm.ledger import Ledger, State, now_ms
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = (
    "BATCH",
    "Changes",
    "LedgerAt",
    "inserted",
    "is_one_of",
    "reassert",
    "record",
    "speaking",
    "withdraw",
)

BATCH = 1000
"""Keys in one statement."""


@dataclass(frozen=True, slots=True)
class LedgerAt:
    """A ledger, and the database that it is in."""

    engine: Engine
    ledger: Ledger


@dataclass(slots=True)
class Changes:
    """What a flush does to objects, for one ledger."""

    stored: dict[Place, FileFacts] = field(default_factory=dict[Place, FileFacts])
    """Stored by this transaction, and given to a row."""
    staged: dict[Place, FileFacts] = field(default_factory=dict[Place, FileFacts])
    """Stored before by `save()`, and given to a row."""
    used: dict[Place, FileFacts] = field(default_factory=dict[Place, FileFacts])
    """Uploaded by a client with a grant, and given to a row as a copy."""
    kept: set[Place] = field(default_factory=set[Place])
    """Held by rows before and after."""
    removed: set[Place] = field(default_factory=set[Place])
    """Held by no row any more."""
    doubtful: set[Place] = field(default_factory=set[Place])
    """No longer held by rows whose keys others may hold as well: those that advanced-alchemy wrote."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a key."""

    state: State
    checked: bool


def record(connection: Connection, ledger: Ledger, changes: Changes) -> set[Place]:
    """Write *changes* and return which of the removed objects may be deleted once they are committed.

    The others have to be looked up first, by a drain: rows that were written without a ledger may
    share them.  Raises ConcurrentFileChangeError, InvalidGrantError, ObjectExistsError or
    StaleUploadError for a key that another transaction or a sweep has claimed.
    """
    with speaking(ledger):
        _insert_live(connection, ledger, changes.stored, ObjectExistsError, "is taken, or was used before")
        _insert_live(connection, ledger, changes.staged, StaleUploadError, "was given up by a sweep")
        _insert_live(connection, ledger, changes.used, InvalidGrantError, "was attached before")
        deletable = _doom(connection, ledger, changes.removed - changes.doubtful)
        _doom_doubtful(connection, ledger, changes.doubtful)
        _assert_live(connection, ledger, changes.kept)
    return deletable


def withdraw(connection: Connection, ledger: Ledger, places: Collection[Place]) -> None:
    """Forget keys that this transaction has recorded and no row came to hold."""
    for batch in batches(sorted(places), BATCH):
        connection.execute(delete_from(ledger.table).where(is_one_of(ledger, batch)))


def reassert(connection: Connection, ledger: Ledger, places: Collection[Place]) -> None:
    """Let keys live that this transaction has recorded as live, and a trigger has doomed since.

    Nobody else can have doomed them: the transaction holds their rows since it recorded them.
    """
    for batch in batches(sorted(places), BATCH):
        connection.execute(
            update(ledger.table)
            .where(is_one_of(ledger, batch), ledger.table.c.state == State.DOOMED.value)
            .values(state=State.LIVE.value, due_at=None)
        )


def is_one_of(ledger: Ledger, places: Iterable[Place]) -> ColumnElement[bool]:
    """Match the rows of *places*, also those under an older name of the storage.

    One list of keys for each name: for pairs SQLite reads the whole table.
    """
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for backend, key in places:
        for name in storages.names(backend):
            by_name[name].append(key)
    columns = ledger.table.c
    return or_(
        false(), *(and_(columns.backend == name, columns.key.in_(keys)) for name, keys in by_name.items())
    )


@contextmanager
def speaking(ledger: Ledger) -> Generator[None]:
    """Raise MissingLedgerError, which says what to do, when the table is not in the database."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig).lower()
        if ledger.table.name not in text or not any(sign in text for sign in _MISSING):
            raise
        raise MissingLedgerError(
            f"the table {ledger.table.fullname!r} is not in the database: create it with "
            "Base.metadata.create_all() or an Alembic migration, or do without by "
            "StoredObject(..., ledger=False) in every column"
        ) from error


# of SQLite, PostgreSQL and MariaDB or MySQL
_MISSING = ("no such table", "does not exist", "doesn't exist")


def _insert_live(
    connection: Connection,
    ledger: Ledger,
    added: Mapping[Place, FileFacts],
    refused: type[FileColumnError],
    why: str,
) -> None:
    if not added:
        return
    rows = [
        {
            "backend": backend,
            "key": key,
            "size": added[backend, key].size,
            "sha256": (added[backend, key].checksum or "").removeprefix("sha256:") or None,
        }
        for backend, key in sorted(added)
    ]
    try:
        connection.execute(inserted(ledger, State.LIVE, checked=True), rows)
    except IntegrityError as error:
        keys = ", ".join(repr(row["key"]) for row in rows[:5])
        raise refused(f"one of the storage keys {keys} {why}; give the file fresh content") from error


def inserted(ledger: Ledger, state: State, *, checked: bool) -> Insert:
    """Return the statement that adds keys in *state*; it takes their `backend` and `key`."""
    due = now_ms() if state is State.DOOMED else None
    return insert(ledger.table).values(
        state=state.value, checked=checked, created_at=now_ms(), due_at=due, attempts=0
    )


def _doom(connection: Connection, ledger: Ledger, places: Collection[Place]) -> set[Place]:
    deletable = set(places)
    for batch in batches(sorted(places), BATCH):
        if _set_state(connection, ledger, batch, State.DOOMED, checked=True) < len(batch):
            deletable -= _doom_unchecked(connection, ledger, batch)
    return deletable


def _doom_unchecked(connection: Connection, ledger: Ledger, places: Sequence[Place]) -> set[Place]:
    """Doom keys that rows may share, and return them with all others that are not certainly doomed.

    To take a key away that is doomed already loses nothing, so it is no conflict.
    """
    known = _known(connection, ledger, places)
    absent = [place for place in places if place not in known]
    unchecked = [place for place, entry in known.items() if not entry.checked]
    # also those that are doomed: a drain that is about to restore one for this row has to wait
    of = (State.LIVE, State.DOOMED)
    _set_state(connection, ledger, unchecked, State.DOOMED, of=of, checked=False)
    _adopt(connection, ledger, absent, State.DOOMED)
    others = [place for place, entry in known.items() if entry.state is not State.DOOMED]
    return {*absent, *unchecked, *others}


def _doom_doubtful(connection: Connection, ledger: Ledger, places: Collection[Place]) -> None:
    """Doom keys so that they are looked up before their objects are deleted, whoever recorded them."""
    for batch in batches(sorted(places), BATCH):
        columns = ledger.table.c
        live = [is_one_of(ledger, batch), columns.state == State.LIVE.value]
        connection.execute(update(ledger.table).where(*live).values(checked=False))
        _doom_unchecked(connection, ledger, batch)


def _assert_live(connection: Connection, ledger: Ledger, places: Collection[Place]) -> None:
    for batch in batches(sorted(places), BATCH):
        if _set_state(connection, ledger, batch, State.LIVE) == len(batch):
            continue
        known = _known(connection, ledger, batch)
        for (_, key), entry in known.items():
            if entry.state is not State.LIVE:
                raise ConcurrentFileChangeError(
                    f"another transaction took {key!r} away, or it was found without a row; roll back, "
                    "load the row again and retry"
                )
        _adopt(connection, ledger, [place for place in batch if place not in known], State.LIVE)


def _set_state(
    connection: Connection,
    ledger: Ledger,
    places: Sequence[Place],
    state: State,
    *,
    of: Collection[State] = (State.LIVE,),
    checked: bool | None = None,
) -> int:
    """Set the state of keys in the states *of*, and return of how many."""
    if not places:
        return 0
    columns = ledger.table.c
    before = [each.value for each in of]
    statement = update(ledger.table).where(is_one_of(ledger, places), columns.state.in_(before))
    if checked is not None:
        statement = statement.where(columns.checked.is_(checked))
    if state is State.DOOMED:
        statement = statement.values(due_at=now_ms() + int(storages.retention * 1000))
    return connection.execute(statement.values(state=state.value)).rowcount


def _known(connection: Connection, ledger: Ledger, places: Sequence[Place]) -> dict[Place, Entry]:
    columns = ledger.table.c
    rows = connection.execute(
        select(columns.backend, columns.key, columns.state, columns.checked).where(is_one_of(ledger, places))
    )
    return {
        (storages.resolve(backend), key): Entry(State(state), checked)
        for backend, key, state, checked in rows
    }


def _adopt(connection: Connection, ledger: Ledger, places: Sequence[Place], state: State) -> None:
    """Take keys of rows that were written without a ledger; others may hold them too."""
    if not places:
        return
    rows = [{"backend": backend, "key": key} for backend, key in places]
    try:
        connection.execute(inserted(ledger, state, checked=False), rows)
    except IntegrityError as error:
        raise ConcurrentFileChangeError(
            f"another transaction changed a row that shares {places[0][1]!r} first; roll back and retry"
        ) from error
