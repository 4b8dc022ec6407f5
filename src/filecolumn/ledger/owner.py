"""Which database a storage belongs to: what an application may store, remove and conclude there.

The marks in a storage (see `ledger.marks`) say which place it is and whose databases store there; the
meta table remembers for each name of a storage the id of its place.  From both follows the `Standing`
of the database in the storage.  Doubt withholds removal; it stops storing only where the ledger has live
keys in another place under the same name.

The database itself may have become another one: a copy has another fingerprint than the mark of its id
says, and one that was restored has a lower generation than its marks do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, select
from sqlalchemy.exc import DBAPIError, OperationalError

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import names_of, storages
from filecolumn.errors import BackendMismatchError, FileColumnError
from filecolumn.files import execution
from filecolumn.ledger import marks
from filecolumn.ledger.locks import brief, lock_sqlite
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import DATABASE_ID, Ledger, State, add_meta, read_meta, set_meta
from filecolumn.ledger.transitions import rename_storage
from filecolumn.logs import line_of, note, warn
from filecolumn.naming import uuid7_hex

__all__ = (
    "SILENT",
    "Examiner",
    "Standing",
    "adopt_storage",
    "examined",
    "forget_standings",
    "generation_column",
    "generation_in",
    "is_registered",
    "is_retired",
    "look_at_places",
    "note_other_names",
    "note_registered",
    "raise_generation",
    "register",
    "register_apart",
    "standing_to_remove",
)

GENERATION = "generation"
RAISED = "generation_raised"
DAY = 24 * 3600.0
RECHECK = 3600.0
"""Seconds after which a process asks again whether its database was restored or copied."""
SILENT = 30 * DAY
"""Seconds after which a writer that was not seen counts as gone."""
TURN = 0.01
"""Seconds between two looks at whether another session has registered."""
TRIED_KEYS = 3
"""Live keys that are asked for where a place has lost its mark."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A database, as far as it can be told from its copies."""

    id: str
    """Made once, and copied with its tables; empty if it was never recorded."""
    fingerprint: str | None
    """What a copy has another of; None if it cannot be told."""
    legacy_fingerprint: str | None
    """As releases before this one compute it."""
    generation: int
    is_copy: bool
    """Whether the ledger has entries, and no id: its meta table was left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a ledger may do in a storage, and why not more."""

    place: str | None = None
    """Id of the place; None for one without a mark."""
    refused: str = ""
    """Why nothing may be stored; empty if it may."""
    withheld: str = ""
    """Why nothing may be removed."""
    mixed: str = ""
    """Why the absence of a row says nothing about an object."""
    is_unknown: bool = False
    """Whether the ledger has yet to register there."""
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Known:
    """What this process knows of one ledger."""

    id: str = ""
    """The database's, as it was seen: tests empty all tables."""
    generation: int = 0
    """The highest that was seen."""
    standings: WeakKeyDictionary[StorageBackend, Standing] = field(
        default_factory=WeakKeyDictionary[StorageBackend, Standing]
    )
    registered: WeakKeyDictionary[StorageBackend, float] = field(
        default_factory=WeakKeyDictionary[StorageBackend, float]
    )
    """When it registered in each storage, by the monotonic clock."""


_ledgers: WeakKeyDictionary[Engine, dict[str, _Known]] = WeakKeyDictionary()
_in_process: WeakKeyDictionary[StorageBackend, set[str]] = WeakKeyDictionary()
"""The databases that store in a storage which does not persist: they are all of this process."""
_registering: set[tuple[int, int]] = set()
"""The ledgers and storages of the sessions that register just now."""
_warned: set[tuple[str, str]] = set()


def _known_of(engine: Engine, ledger: Ledger) -> _Known:
    of_engine = _ledgers.get(engine)
    if of_engine is None:
        of_engine = _ledgers[engine] = {}
    known = of_engine.get(ledger.meta.fullname)
    if known is None:
        known = of_engine[ledger.meta.fullname] = _Known()
    return known


def is_registered(engine: Engine, ledger: Ledger, backend: StorageBackend) -> bool:
    """Return whether this process has found that it may store in *backend*."""
    since = _known_of(engine, ledger).registered.get(backend)
    return since is not None and time.monotonic() - since < DAY


def register(connection: Connection, ledger: Ledger, backend: StorageBackend) -> None:
    """Register the ledger as a writer of a storage, before its first upload in a process.

    Writes into the meta table in the transaction of *connection*: once that is committed,
    `note_registered` remembers it.  Raises BackendMismatchError where the ledger has live keys in
    another place under this name.
    """
    standing = Examiner(connection, ledger).examine(backend)
    if standing.is_unknown:
        lock_sqlite(connection, ledger)
        standing = Examiner(connection, ledger).examine(backend, register=True)
    if standing.refused:
        raise BackendMismatchError(standing.refused)


def register_apart(bind: Engine, engine: Engine, ledger: Ledger, backend: StorageBackend) -> None:
    """Call `register` on a separate connection of *bind*; it writes only where the ledger has yet to register.

    One session of the process does it, and others that begin meanwhile wait for it.
    """
    turn = id(_known_of(engine, ledger)), id(backend)
    waited = 0.0
    while turn in _registering and waited < backend.total_timeout:
        execution.pause(TURN)
        waited += TURN
    if is_registered(engine, ledger, backend):
        return
    _registering.add(turn)
    try:
        standing = _examined_apart(bind, ledger, backend)
    finally:
        _registering.discard(turn)
    if standing.refused:
        raise BackendMismatchError(standing.refused)
    note_registered(engine, ledger, backend)


def _examined_apart(
    engine: Engine, ledger: Ledger, backend: StorageBackend, *, to_remove: bool = False
) -> Standing:
    """Return the standing, and register where the ledger has yet to: SQLite may not write after it has read."""
    with engine.connect() as connection:
        standing = Examiner(connection, ledger).examine(backend, to_remove=to_remove)
    return (
        _registered_apart(engine, ledger, backend, to_remove=to_remove) if standing.is_unknown else standing
    )


def _registered_apart(
    engine: Engine, ledger: Ledger, backend: StorageBackend, *, to_remove: bool, attempts: int = 3
) -> Standing:
    """Register, and again if the database ended the transaction for another one that registers: a deadlock."""
    try:
        with engine.begin() as connection:
            lock_sqlite(connection, ledger)
            return Examiner(connection, ledger).examine(backend, register=True, to_remove=to_remove)
    except OperationalError as error:
        if attempts == 1 or error.connection_invalidated:
            raise
    execution.pause(TURN)
    return _registered_apart(engine, ledger, backend, to_remove=to_remove, attempts=attempts - 1)


def note_registered(engine: Engine, ledger: Ledger, backend: StorageBackend) -> None:
    """Remember for a day that the ledger is registered as a writer of a storage."""
    _known_of(engine, ledger).registered[backend] = time.monotonic()


def standing_to_remove(
    engine: Engine, ledger: Ledger, backend: StorageBackend, *, generation: int | None = None
) -> Standing:
    """Return whether the ledger may remove objects in a storage; asked once an hour in a process.

    It is asked anew when *generation*, as the removal's transaction has read it, is lower than the
    process has seen: the database was restored meanwhile.  Never raises for the storage or the
    database: what cannot be asked is withheld.
    """
    of_ledger = _known_of(engine, ledger)
    known = of_ledger.standings.get(backend)
    is_restored = generation is not None and generation < of_ledger.generation
    if known is not None and not is_restored and time.monotonic() - known.at < RECHECK:
        return known
    try:
        standing = _examined_apart(engine, ledger, backend, to_remove=True)
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        why = _unanswered(backend, line_of(error))
        warn("objects that no row references stay until the next drain: %s", why)
        return Standing(withheld=why)
    if standing.withheld:
        _warn(backend, standing.withheld)
    else:
        _raise_daily(engine, ledger, backend)
    of_ledger.standings[backend] = standing
    return standing


def _raise_daily(engine: Engine, ledger: Ledger, backend: StorageBackend) -> None:
    """Raise the generation once a day; where that cannot be now, the next process does it."""
    try:
        raise_generation(engine, ledger, [backend], at_most_daily=True)
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        note("could not raise the generation of the database today: %s", error)


def look_at_places(connection: Connection, ledger: Ledger) -> dict[str, Standing]:
    """Return the ledger's standing in each registered storage, as far as marks say it; nothing is written."""
    examiner = Examiner(connection, ledger, only_looks=True)
    return {backend.key: examined(examiner, backend) for backend in storages.all()}


def note_other_names(connection: Connection, ledger: Ledger) -> None:
    """Register the names under which the ledger knows the places of storages; nothing is written."""
    examiner = Examiner(connection, ledger, only_looks=True)
    for backend in storages.all():
        examiner.note_other_name(backend)


def examined(examiner: Examiner, backend: StorageBackend, *, register: bool = False) -> Standing:
    """Return the ledger's standing to remove in a storage; one that does not answer is in doubt, and no error."""
    try:
        return examiner.examine(backend, register=register, to_remove=True)
    except FileColumnError as error:
        why = _unanswered(backend, str(error))
        return Standing(withheld=why, mixed=why)


def forget_standings() -> None:
    """Forget what this process knows of all storages, so that it asks again: an operator has adopted one."""
    for known in (each for ledgers in _ledgers.values() for each in ledgers.values()):
        known.standings.clear()
        known.registered.clear()
        known.generation = 0


def adopt_storage(
    connection: Connection, ledger: Ledger, backend: StorageBackend, *, sole: bool, new_place: bool
) -> None:
    """Make a storage this database's, whatever its marks say: an operator knows that it is.

    *sole* says that nobody else stores there, *new_place* that the storage starts anew.
    """
    examiner = Examiner(connection, ledger)
    if not examiner.identity.id:
        add_meta(connection, ledger, {DATABASE_ID: uuid7_hex()})
        examiner = Examiner(connection, ledger)
    identity = examiner.identity
    before = marks.read_mark(backend)
    mark = None if new_place else before
    is_first = mark is None or sole
    place = uuid7_hex() if mark is None else mark.id
    by = identity.id if is_first or mark is None else mark.by
    empty = sole or (mark.empty if mark is not None else marks.is_empty(backend))
    marks.write(backend, marks.PLACE, {"id": place, "by": by, "empty": empty})
    marks.write(
        backend, marks.LEGACY_OWNER, {"database": identity.id, "fingerprint": identity.legacy_fingerprint}
    )
    if sole:
        execution.asked(backend, partial(backend.delete, [marks.SHARED]), f"delete {marks.SHARED!r}")
    elif new_place and before is not None and before.by != identity.id:
        # whoever was here before may go on to store
        writers = {**(marks.read(backend, marks.SHARED) or {}).get("writers", {}), before.by: time.time()}
        marks.write(backend, marks.SHARED, {"writers": writers})
    marks.write(backend, marks.seen_key(identity.id), {"at": time.time(), "is": identity.fingerprint})
    generation = identity.generation
    while marks.exists(backend, marks.generation_key(identity.id, generation + 1)):
        generation += 1
    set_meta(connection, ledger, GENERATION, str(generation))
    for name in {storages.resolve(backend.key), storages.name_in_ledger(backend.key)}:
        set_meta(connection, ledger, _place_fact(name), place)


def raise_generation(
    engine: Engine, ledger: Ledger, backends: Iterable[StorageBackend], *, at_most_daily: bool = False
) -> None:
    """Raise the database's generation, and mark it in the storages once that is committed."""
    with engine.connect() as connection:
        if _is_in_memory(connection):
            return
        facts = read_meta(connection, ledger)
    identity = facts.get(DATABASE_ID, "")
    if not identity or (at_most_daily and _was_raised_today(facts)):
        return
    if GENERATION not in facts:
        # in a transaction of its own: two that lock what is not there, and then insert it, are a deadlock of MariaDB
        with brief(engine) as connection:
            add_meta(connection, ledger, {GENERATION: "0"})
    with brief(engine) as connection:
        lock_sqlite(connection, ledger)
        facts = _locked_generation(connection, ledger)
        if at_most_daily and _was_raised_today(facts):
            return
        generation = int(facts.get(GENERATION, "0")) + 1
        set_meta(connection, ledger, GENERATION, str(generation))
        set_meta(connection, ledger, RAISED, f"{time.time():.0f}")
    known = _known_of(engine, ledger)
    known.generation = max(known.generation, generation)
    for backend in backends:
        if backend.capabilities.persistent:
            marks.try_to_write(backend, marks.generation_key(identity, generation), {"at": time.time()})


def _was_raised_today(facts: Mapping[str, str]) -> bool:
    return time.time() - float(facts.get(RAISED, "0")) < DAY


def _locked_generation(connection: Connection, ledger: Ledger) -> dict[str, str]:
    """Return the facts about the generation, which nobody else changes now: what is set back looks restored."""
    columns = ledger.meta.c
    query = select(columns.name, columns.value).where(columns.name.in_((GENERATION, RAISED)))
    return dict(connection.execute(query.with_for_update()).all())


def generation_in(connection: Connection, ledger: Ledger) -> int:
    """Return the generation of the database, as the connection's transaction sees it."""
    query = prepared(ledger.meta.metadata, generation_in, lambda: _generation(ledger))
    return int(connection.scalar(query) or 0)


def generation_column(ledger: Ledger) -> ColumnElement[str]:
    """Return the generation of the database, as text, for a query that reads rows; NULL for 0."""
    return _generation(ledger).scalar_subquery()


def _generation(ledger: Ledger) -> Select[str]:
    return select(ledger.meta.c.value).where(ledger.meta.c.name == GENERATION)


class Examiner:
    """Examines storages for one database, on one connection.

    With *only_looks* no mark is written, not even that the database was seen today.
    """

    def __init__(self, connection: Connection, ledger: Ledger, *, only_looks: bool = False) -> None:
        self._connection = connection
        self._ledger = ledger
        self._only_looks = only_looks
        self._facts = read_meta(connection, ledger)
        self._is_in_memory = _is_in_memory(connection)
        self.identity: Identity = self._identity()

    def examine(
        self, backend: StorageBackend, *, register: bool = False, to_remove: bool = False
    ) -> Standing:
        """Return the ledger's standing in a storage; with *register* its marks and facts are written."""
        if (
            register
            and not self._is_in_memory
            and DATABASE_ID not in self._facts
            and not self.identity.is_copy
        ):
            self._make_id()
        if not backend.capabilities.persistent:
            return self._in_process(backend)
        if self._is_in_memory:
            return Standing(mixed="a database in memory concludes nothing about a storage that outlives it")
        try:
            mark = marks.read_mark(backend)
        except FileColumnError as error:
            return _unmarked(backend, f"its mark cannot be read: {error}")
        if to_remove and self._is_elsewhere(backend, mark):
            why = _other_place(backend) if mark is not None else _not_known(backend)
            refused = why if self._newest_live(backend) else ""
            return Standing(place=mark.id if mark else None, refused=refused, withheld=why, mixed=why)
        standing = self._compare(backend, mark, register=register)
        if standing.refused or standing.withheld or not to_remove:
            return standing
        return self._judge_identity(backend, standing, register=register)

    def known_place(self, backend: StorageBackend) -> str | None:
        """Return the id of the place that the ledger knows under the storage's names."""
        for name in names_of(backend.key):
            if (found := self._facts.get(_place_fact(name))) is not None:
                return found
        return None

    def note_other_name(self, backend: StorageBackend) -> None:
        """Register the name under which the ledger knows a storage's place, if it is another than the storage's."""
        if self._is_in_memory or not backend.capabilities.persistent:
            return
        try:
            mark = marks.read_mark(backend)
        except FileColumnError:
            return
        if (
            mark is None
            or self.known_place(backend) not in {None, mark.id}
            or marks.is_copied(backend, mark.id)
        ):
            return
        if first := self._first_name(mark.id, ""):
            storages.note_place(backend.key, first)

    def _identity(self) -> Identity:
        """Return what the database is; an id that this process has seen counts on when its row is gone."""
        found = _identity_in(self._connection, self._ledger, self._facts)
        known = _known_of(self._connection.engine, self._ledger)
        known.generation = max(known.generation, found.generation)
        if found.id:
            known.id = found.id
        elif known.id:
            return replace(found, id=known.id, is_copy=False)
        return found

    def _is_elsewhere(self, backend: StorageBackend, mark: marks.Mark | None) -> bool:
        """Return whether a storage is not the place that the ledger knows under its name."""
        known = self.known_place(backend)
        if known is None or known == (mark.id if mark else None):
            return False
        has_lost_mark = mark is None and any(
            marks.is_there(backend, key, size) for key, size in self._newest_live(backend)
        )
        return not has_lost_mark

    def _in_process(self, backend: StorageBackend) -> Standing:
        writers = _in_process.setdefault(backend, set())
        writers.add(self.identity.id)
        return Standing(mixed=f"several databases store in {backend.key!r}" if len(writers) > 1 else "")

    def _make_id(self) -> None:
        add_meta(self._connection, self._ledger, {DATABASE_ID: self.identity.id or uuid7_hex()})
        self._facts = read_meta(self._connection, self._ledger, latest=True)
        self.identity = replace(self.identity, id=self._facts.get(DATABASE_ID, ""))

    def _compare(self, backend: StorageBackend, mark: marks.Mark | None, *, register: bool) -> Standing:
        known = self.known_place(backend)
        if mark is None:
            if known is not None and (live := self._newest_live(backend)):
                return self._without_mark(backend, known, live, register=register)
            return (
                self._mark_first(backend)
                if register
                else Standing(mixed="it has no mark yet", is_unknown=True)
            )
        if known == mark.id:
            return self._admitted(backend, mark)
        if known is not None and self._newest_live(backend) and not backend.new_place:
            return Standing(place=mark.id, refused=_other_place(backend), withheld=_other_place(backend))
        if not register:
            why = f"this database has not stored in {backend.key!r} yet"
            return Standing(place=mark.id, withheld=why, mixed=why, is_unknown=True)
        return self._join_marked(backend, mark)

    def _admitted(self, backend: StorageBackend, mark: marks.Mark) -> Standing:
        """Return the standing in a place that the ledger knows."""
        if marks.is_copied(backend, mark.id):
            return Standing(place=mark.id, withheld=_copied_place(backend), mixed="it is a copy of another")
        marks.note_place_id(backend, mark.id)
        storages.note_place(backend.key, self._first_name(mark.id, backend.key))
        if mark.by != self.identity.id:
            if not self._only_looks:
                self._note_shared(backend, at_most_daily=True)
            return Standing(place=mark.id, mixed=f"another database came to {backend.key!r} first")
        if not mark.empty:
            return Standing(place=mark.id, mixed=f"objects lay in {backend.key!r} before this database came")
        return Standing(place=mark.id)

    def _join_marked(self, backend: StorageBackend, mark: marks.Mark) -> Standing:
        """Take note of a place that is marked already, and register as a writer of it."""
        name = storages.resolve(backend.key)
        if self._first_name(mark.id, "") == "":
            self._retire(name)
            set_meta(self._connection, self._ledger, _place_fact(name), mark.id)
            self._facts[_place_fact(name)] = mark.id
        if mark.by != self.identity.id:
            self._note_shared(backend)
        self._see_first(backend)
        return self._admitted(backend, mark)

    def _mark_first(self, backend: StorageBackend) -> Standing:
        """Mark a place that is nobody's; one that cannot be marked stays unmarked."""
        name = storages.resolve(backend.key)
        self._retire(name)
        # the meta table's primary key decides between processes
        add_meta(self._connection, self._ledger, {_place_fact(name): uuid7_hex()})
        fact = _place_fact(name)
        proposed = read_meta(self._connection, self._ledger, fact, latest=True)[fact]
        owner = str((marks.read(backend, marks.LEGACY_OWNER) or {}).get("database", ""))
        is_ours = owner in {"", self.identity.id}
        content = {
            "id": proposed,
            "by": self.identity.id if is_ours else owner,
            "empty": is_ours and (bool(owner) or marks.is_empty(backend)),
        }
        try:
            marks.create(backend, marks.PLACE, content)
            found = marks.read_mark(backend)
        except FileColumnError as error:
            self._forget_place(name)
            return _unmarked(backend, f"it cannot be marked: {error}")
        if found is None:
            self._forget_place(name)
            return _unmarked(backend, "its mark was written, and is not there")
        if found.id != proposed:
            set_meta(self._connection, self._ledger, _place_fact(name), found.id)
        self._facts[_place_fact(name)] = found.id
        if found.by != self.identity.id:
            self._note_shared(backend)
        elif not owner:
            self._write_legacy_owner(backend)
        self._see_first(backend)
        return self._admitted(backend, found)

    def _retire(self, name: str) -> None:
        """Give the keys in the place that had the name so far another name: they are not in the new place."""
        before = self._facts.pop(_place_fact(name), None)
        if before is None:
            return
        retired = _retired(name, before)
        set_meta(self._connection, self._ledger, _place_fact(retired), before)
        self._facts[_place_fact(retired)] = before
        rename_storage(self._connection, self._ledger, name, retired)
        self._forget_place(name)

    def _forget_place(self, name: str) -> None:
        self._connection.execute(
            delete(self._ledger.meta).where(self._ledger.meta.c.name == _place_fact(name))
        )

    def _without_mark(
        self, backend: StorageBackend, known: str, live: list[tuple[str, int | None]], *, register: bool
    ) -> Standing:
        if backend.new_place:
            return self._mark_first(backend) if register else Standing(is_unknown=True)
        if not any(marks.is_there(backend, key, size) for key, size in live):
            return Standing(refused=_not_known(backend), withheld=_not_known(backend))
        if register:
            warn("storage %r has lost its mark; it is written again", backend.key)
            try:
                marks.create(backend, marks.PLACE, {"id": known, "by": self.identity.id, "empty": False})
            except FileColumnError as error:
                return _unmarked(backend, f"it cannot be marked: {error}")
        return Standing(place=known, mixed=f"{backend.key!r} has lost its mark", is_unknown=not register)

    def _judge_identity(self, backend: StorageBackend, standing: Standing, *, register: bool) -> Standing:
        """Return the standing of a database that may be a copy, or may have been restored."""
        identity = self.identity
        if identity.is_copy:
            return replace(standing, withheld=_copy(backend))
        seen = marks.read(backend, marks.seen_key(identity.id))
        if seen is None:
            if register:
                self._see(backend)
        elif seen.get("is") not in {None, identity.fingerprint} and identity.fingerprint is not None:
            return replace(standing, withheld=_copy(backend))
        elif register and time.time() - float(seen.get("at", 0)) > DAY:
            self._see(backend)
        if (
            marks.exists(backend, marks.generation_key(identity.id, identity.generation + 1))
            and not self._was_raised()
        ):
            return replace(standing, withheld=_restored(backend))
        return standing

    def _was_raised(self) -> bool:
        """Return whether another process has raised the generation since it was read."""
        with self._connection.engine.connect() as connection:
            return generation_in(connection, self._ledger) > self.identity.generation

    def _see(self, backend: StorageBackend) -> None:
        """Mark that the ledger stores here, if the storage can be written."""
        content = {"at": time.time(), "is": self.identity.fingerprint}
        marks.try_to_write(backend, marks.seen_key(self.identity.id), content)

    def _see_first(self, backend: StorageBackend) -> None:
        """Mark that the ledger stores here, unless that is marked: by a database that this one is a copy of."""
        try:
            is_seen = marks.exists(backend, marks.seen_key(self.identity.id))
        except FileColumnError:
            return
        if not is_seen:
            self._see(backend)

    def _note_shared(self, backend: StorageBackend, *, at_most_daily: bool = False) -> None:
        """Mark that the ledger stores here too, which was not the first one."""
        try:
            writers = (marks.read(backend, marks.SHARED) or {}).get("writers", {})
        except FileColumnError:
            return
        now, seen = time.time(), float(writers.get(self.identity.id, 0))
        if at_most_daily and (not self.identity.id or now - seen <= DAY):
            return
        marks.try_to_write(backend, marks.SHARED, {"writers": {**writers, self.identity.id: now}})

    def _write_legacy_owner(self, backend: StorageBackend) -> None:
        content = {"database": self.identity.id, "fingerprint": self.identity.legacy_fingerprint}
        marks.try_to_write(backend, marks.LEGACY_OWNER, content)

    def _first_name(self, place: str, otherwise: str) -> str:
        """Return the first name under which the ledger came to know a place."""
        names = sorted(
            name.removeprefix(_PLACE_FACT)
            for name, found in self._facts.items()
            if name.startswith(_PLACE_FACT) and found == place
        )
        return names[0] if names else otherwise

    def _newest_live(self, backend: StorageBackend) -> list[tuple[str, int | None]]:
        columns = self._ledger.table.c
        newest = (
            select(columns.key, columns.size)
            .where(columns.backend.in_(names_of(backend.key)), columns.state == State.LIVE.value)
            .where(columns.checked)
            .order_by(columns.created_at.desc())
            .limit(TRIED_KEYS)
        )
        return [(key, size) for key, size in self._connection.execute(newest)]


def _identity_in(connection: Connection, ledger: Ledger, facts: Mapping[str, str]) -> Identity:
    """Return what the database of *connection* is; *facts* is its meta table."""
    found = facts.get(DATABASE_ID, "")
    is_copy = not found and connection.execute(select(ledger.table.c.key).limit(1)).first() is not None
    fingerprint, legacy = _fingerprints(connection)
    return Identity(found, fingerprint, legacy, int(facts.get(GENERATION, "0")), is_copy)


def _is_in_memory(connection: Connection) -> bool:
    """Return whether the database is SQLite's in memory, which no other process sees."""
    if connection.dialect.name != "sqlite":
        return False
    return not connection.exec_driver_sql("PRAGMA database_list").all()[0][2]


def _fingerprints(connection: Connection) -> tuple[str | None, str | None]:
    """Return what tells the database from its copies, and the same as older releases do."""
    match connection.dialect.name:
        case "sqlite":
            path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
            if not path:
                return None, None
            # neither path nor device: a folder is mounted elsewhere, and a copy lies at the same path
            return f"sqlite {os.stat(path).st_ino}", _hashed(os.path.realpath(path))
        case "postgresql":
            database = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            system = _system_identifier(connection)
            known = f"postgresql {system} {database}"
            return known if system else None, _hashed(known)
        case _:
            database = connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
            return f"mysql {database}", _hashed(f"mysql {database}")


def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _system_identifier(connection: Connection) -> object:
    """Return the id that PostgreSQL gave the cluster; None without the right to read it."""
    try:
        with connection.begin_nested():
            return connection.exec_driver_sql(
                "SELECT system_identifier FROM pg_control_system()"
            ).scalar_one()
    except DBAPIError:
        return None


_PLACE_FACT = "place:"


def _place_fact(name: str) -> str:
    return f"{_PLACE_FACT}{name}"[:64]


def _retired(name: str, place: str) -> str:
    """Return the name for the keys of a place that has lost its own name to another place."""
    return f"{name[:50]}@{place[-12:]}"


def is_retired(name: str, facts: Mapping[str, str]) -> bool:
    """Return whether a name in the ledger is that of a place which the database has left for another one."""
    before, at, _ = name.rpartition("@")
    place = facts.get(_place_fact(name))
    return bool(at) and place is not None and _retired(before, place) == name


def _unmarked(backend: StorageBackend, why: str) -> Standing:
    return Standing(mixed=f"{backend.key!r} has no mark: {why}")


def _unanswered(backend: StorageBackend, why: str) -> str:
    return f"cannot tell which database storage {backend.key!r} belongs to: {why}"


def _warn(backend: StorageBackend, why: str) -> None:
    if (backend.key, why) not in _warned:
        _warned.add((backend.key, why))
        warn("nothing is deleted in storage %r: %s", backend.key, why)


def _other_place(backend: StorageBackend) -> str:
    return (
        f"storage {backend.key!r} ({backend.location}) is another place than the one that this database knows under "
        "this name: check the bucket or folder. If the content was moved here, run 'filecolumn adopt --moved'; if it "
        "is to start anew, 'filecolumn adopt --new-place' (in tests register_backend(..., new_place=True))"
    )


def _not_known(backend: StorageBackend) -> str:
    return (
        f"storage {backend.key!r} ({backend.location}) is not the storage that this database knows: it has no mark, "
        "and none of the newest files; perhaps an empty bucket, or a volume that is not mounted. If the content "
        "was moved here, run 'filecolumn adopt --moved'; if it is to start anew, 'filecolumn adopt --new-place' "
        "(in tests register_backend(..., new_place=True))"
    )


def _copied_place(backend: StorageBackend) -> str:
    return (
        f"storage {backend.key!r} has the mark of another storage, and is not the same place: it was copied with "
        "its marks; run 'filecolumn adopt --new-place' for it"
    )


def _copy(backend: StorageBackend) -> str:
    return (
        f"this database is a copy of the one that stores in {backend.key!r}, or was restored elsewhere; give a copy "
        "a storage of its own, or run 'filecolumn adopt' if the original is gone"
    )


def _restored(backend: StorageBackend) -> str:
    return (
        f"this database was restored from a backup: {backend.key!r} has seen a later state of it; run "
        "'filecolumn adopt' when the restored state is the one to keep"
    )
