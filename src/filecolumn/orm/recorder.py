"""Which ledger a mapper's files are in, and what one flush writes into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Engine, Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.pool import Pool, SingletonThreadPool, StaticPool

from filecolumn._failpoints import failpoint
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import file_state
from filecolumn.files.grants import place_of_grant, used_error
from filecolumn.ledger.columns import column_ids, name_of, note_columns, translation_of
from filecolumn.ledger.locks import lock_sqlite
from filecolumn.ledger.owner import generation_in, is_registered, register, register_apart
from filecolumn.ledger.table import Ledger, has_ledgers, ledger_of
from filecolumn.ledger.transitions import (
    CLAIMS,
    Changes,
    LedgerAt,
    claim,
    describe,
    doom_unchecked,
    knows_any,
    reassert,
    record,
    speaking,
    withdraw,
)
from filecolumn.logs import warn
from filecolumn.orm.assignment import GrantUse
from filecolumn.orm.attributes import row_attributes
from filecolumn.orm.column import StoredObject
from filecolumn.orm.engines import refuse_without_transactions
from filecolumn.orm.expressions import is_in_table
from filecolumn.orm.slots import Slot
from filecolumn.orm.statements.clauses import has_connection
from filecolumn.orm.transaction import BindArguments, SessionFrame

__all__ = ("Recorder",)


class Recorder:
    """The ledgers of one session, while it flushes or runs a statement."""

    def __init__(self, session: Session, frame: SessionFrame, bind: BindArguments | None = None) -> None:
        self._session = session
        self._frame = frame
        self._bind = bind
        self._homes: dict[Mapper[object], Hashable] = {}
        self._connections: dict[LedgerAt, Connection] = {}
        self._added: dict[ObjectRef, LedgerAt] = {}
        self._claimed: dict[ObjectRef, LedgerAt] = {}
        self._used: dict[ObjectRef, GrantUse] = {}
        self._used_at: dict[ObjectRef, LedgerAt] = {}
        self._moved: defaultdict[LedgerAt, set[ObjectRef]] = defaultdict(set)

    def home(self, mapper: Mapper[object]) -> Hashable:
        """Return where rows of *mapper* record their files: a `LedgerAt`, or the database if it has no ledger.

        A file cannot move between two homes: it is copied.
        """
        home = self._homes.get(mapper)
        if home is None:
            home = self._homes[mapper] = self._find(mapper)
        return home

    def register(self, mapper: Mapper[object], names: Iterable[str]) -> None:
        """Register as a writer of the storages *names* before the first upload of this process into them.

        BackendMismatchError for one that is another place than the ledger knows under its name.
        """
        bind = self._session.get_bind(**(self._bind or {"mapper": mapper}))
        engine = _engine_for(bind.engine, translation_of(bind.engine))
        ledger = _ledger_of(mapper)
        if ledger is None or not has_ledgers(bind.dialect):
            return
        new = [
            backend
            for name in names
            if storages.is_registered(name)
            and not is_registered(engine, ledger, backend := storages.get(name))
        ]
        if not new:
            return
        with speaking(ledger):
            if isinstance(bind, Engine) and not has_connection(self._session) and _may_connect(bind):
                # of its own: what is known of places must survive a rollback
                for backend in new:
                    register_apart(bind, engine, ledger, backend)
                return
            at = self.home(mapper)
            assert isinstance(at, LedgerAt)  # noqa: S101 - its metadata has a ledger
            for backend in new:
                if not self._frame.has_registered(at, backend):
                    register(self._connections[at], ledger, backend)
                    self._frame.registered.add((at, backend))

    def column_id(self, at: LedgerAt, column: Column[object]) -> str:
        """Return the id of a file column, and record it if no transaction has."""
        known = column_ids(at.engine)
        found = known.get((at.ledger, column)) or self._frame.noted_column(at, column)
        if found is None:
            found = self._note_column(at, column)
        return found

    def _note_column(self, at: LedgerAt, column: Column[object]) -> str:
        connection, table = self._connections[at], column.table
        assert isinstance(table, Table)  # noqa: S101 - a mapped column's table
        refuse_without_transactions(connection, table)
        columns = [each for each in table.columns if isinstance(each.type, StoredObject)]
        names = {each: name_of(connection, at.ledger, table, each.name) for each in columns}
        with speaking(at.ledger):
            # SQLite refuses at once to write in a transaction that has read what others changed since
            lock_sqlite(connection, at.ledger)
            ids = note_columns(connection, at.ledger, names.values())
        for each, name in names.items():
            self._frame.noted[at, each] = ids[name]
        return self._frame.noted[at, column]

    @contextmanager
    def claiming(self) -> Generator[None]:
        """Withdraw what was claimed when the block fails: the transaction may go on."""
        self._claimed.clear()
        try:
            yield
        except BaseException:
            # PostgreSQL's does not go on, and has undone this too
            with suppress(SQLAlchemyError):
                self._withdraw(dict(self._claimed))
            raise

    def claim(self, chosen: Mapping[ObjectRef, Slot]) -> None:
        """Record keys that the application chose, before they are used; ObjectExistsError if one is taken."""
        by_ledger: defaultdict[LedgerAt, dict[ObjectRef, str]] = defaultdict(dict)
        for place, slot in chosen.items():
            home = self.home(slot.state.mapper)
            if isinstance(home, LedgerAt):
                by_ledger[home][place] = self.column_id(home, slot.attribute.column)
        for at, held_in in by_ledger.items():
            for batch in batches(sorted(held_in), CLAIMS):
                claim(self._connections[at], at.ledger, {place: held_in[place] for place in batch})
                new = dict.fromkeys(batch, at)
                self._claimed |= new
                self._added |= new
                self._frame.added |= new

    def describe(self, stored: Mapping[ObjectRef, FileFacts]) -> None:
        """Complete the entries of claimed keys, now that their content is stored."""
        by_ledger: defaultdict[LedgerAt, dict[ObjectRef, FileFacts]] = defaultdict(dict)
        for place, facts in stored.items():
            if (at := self._claimed.get(place)) is not None:
                by_ledger[at][place] = facts
        for at, described in by_ledger.items():
            describe(self._connections[at], at.ledger, described)

    def check_grants(self, slots: Iterable[Slot]) -> None:
        """Raise InvalidGrantError if a grant would give a second file, here or by what has committed before."""
        uploads: defaultdict[Mapper[object], set[ObjectRef]] = defaultdict(set)
        given: set[ObjectRef] = set()
        for slot in slots:
            if (grant := file_state(slot.file).grant) is None:
                continue
            upload = place_of_grant(grant)
            if upload in given or self._frame.has_used(upload):
                raise used_error()
            given.add(upload)
            uploads[slot.state.mapper].add(upload)
        for mapper, places in uploads.items():
            if self._knows_any(mapper, places):
                raise used_error()

    def _knows_any(self, mapper: Mapper[object], places: Collection[ObjectRef]) -> bool:
        """Return whether the ledger of *mapper* has one of *places*, without a transaction that lasts for it."""
        bind = self._session.get_bind(**(self._bind or {"mapper": mapper}))
        ledger = _ledger_of(mapper)
        if ledger is None or not has_ledgers(bind.dialect):
            return False
        with speaking(ledger):
            if isinstance(bind, Engine) and not has_connection(self._session) and _may_connect(bind):
                with bind.connect() as connection:
                    return knows_any(connection, ledger, places)
            at = self.home(mapper)
            assert isinstance(at, LedgerAt)  # noqa: S101 - its metadata has a ledger
            return knows_any(self._connections[at], ledger, places)

    def note_use(self, upload: ObjectRef, use: GrantUse, home: Hashable) -> None:
        """Note that a grant is used up; where there is no ledger, the commit removes its upload without one."""
        file_state(use.file).grant = None
        self._used[upload] = self._frame.used[upload] = use
        if isinstance(home, LedgerAt):
            self._used_at[upload] = home
        else:
            self._frame.removed.add(upload)

    def _free_grants(self, attached: Collection[ObjectRef]) -> None:
        """Take back the uses of grants whose files no row came to hold."""
        freed: defaultdict[LedgerAt, set[ObjectRef]] = defaultdict(set)
        for upload, use in list(self._used.items()):
            if use.place in attached:
                continue
            file_state(use.file).grant = use.grant
            for noted in (self._used, self._frame.used, self._frame.doomed):
                noted.pop(upload, None)
            self._frame.removed.discard(upload)
            if (at := self._used_at.pop(upload, None)) is not None:
                freed[at].add(upload)
        for at, uploads in freed.items():
            withdraw(self._connections[at], at.ledger, uploads)

    def record(self, changes: Mapping[LedgerAt, Changes]) -> None:
        """Write what is new, kept and removed, each key once in a transaction."""
        for at, change in changes.items():
            failpoint("flush.before_ledger")
            deletable = record(self._connections[at], at.ledger, change)
            failpoint("flush.after_ledger")
            new = dict.fromkeys((*change.stored, *change.staged), at)
            found = dict.fromkeys(change.found, at)
            self._added |= new | found
            self._frame.added |= new
            self._frame.found |= found
            self._frame.doomed |= dict.fromkeys(deletable, at)
            self._frame.removed |= deletable

    def withdraw_all_but(self, attached: Collection[ObjectRef]) -> None:
        """Forget what this flush recorded as new and did not give to a row after all."""
        self._withdraw({place: at for place, at in self._added.items() if place not in attached})
        self._free_grants(attached)

    def _withdraw(self, recorded: Mapping[ObjectRef, LedgerAt]) -> None:
        strays: defaultdict[LedgerAt, set[ObjectRef]] = defaultdict(set)
        for place, at in recorded.items():
            strays[at].add(place)
            self._frame.added.pop(place, None)
            self._frame.found.pop(place, None)
        for at, places in strays.items():
            withdraw(self._connections[at], at.ledger, places)

    def note_moved(self, moved: Iterable[tuple[LedgerAt, ObjectRef]]) -> None:
        """Note what rows keep and others gave up."""
        for at, place in moved:
            self._moved[at].add(place)

    def has_moved(self, at: LedgerAt, place: ObjectRef) -> bool:
        """Return whether rows keep what others gave up, as `note_moved` was told."""
        return place in self._moved[at]

    def reassert_moved(self) -> None:
        """Let moved keys live on that a trigger doomed when one row gave them up for another."""
        for at, places in self._moved.items():
            reassert(self._connections[at], at.ledger, places)
        self._moved.clear()

    def keep(self, home: Hashable, places: Collection[ObjectRef], tables: Iterable[str]) -> None:
        """Let keys live that their rows still hold after the SQL that was to take them away."""
        if not places:
            return
        warn(
            "rows of %s still hold files after they were replaced or deleted, as a trigger or policy has it; "
            "the files stay: %s",
            ", ".join(tables),
            sorted(places),
        )
        if isinstance(home, LedgerAt):
            reassert(self._connections[home], home.ledger, places)
        self.leave_to_drains(places)
        for place in places:
            self._frame.released.pop(place, None)

    def note_generation(self, home: Hashable) -> None:
        """Read the database's generation in the transaction of what it is about to remove."""
        if isinstance(home, LedgerAt) and home not in self._frame.generations:
            found = generation_in(self._connections[home], home.ledger)
            self._frame.generations[home] = found

    def leave_to_drains(self, places: Iterable[ObjectRef]) -> None:
        """Remove nothing of these at the end of the transaction: a drain looks for rows first."""
        for place in places:
            self._frame.doomed.pop(place, None)
            self._frame.removed.discard(place)

    def doom_refused(self, home: Hashable, place: ObjectRef) -> None:
        """Doom a new key that its row did not take; a drain looks for a row before it deletes."""
        if isinstance(home, LedgerAt):
            doom_unchecked(self._connections[home], home.ledger, [place])

    def _find(self, mapper: Mapper[object]) -> Hashable:
        connection = self._session.connection(bind_arguments=dict(self._bind or {"mapper": mapper}))
        ledger = _ledger_of(mapper)
        if ledger is None:
            return connection.engine
        if not has_ledgers(connection.dialect):
            _warn_of_basic_mode(connection.dialect.name)
            return connection.engine
        at = LedgerAt(_engine_for(connection.engine, translation_of(connection)), ledger)
        self._connections[at] = connection
        self._frame.root.homes[connection] = at
        return at


def _ledger_of(mapper: Mapper[object]) -> Ledger | None:
    """Return the ledger of the tables that hold files of a mapper's rows."""
    for attribute in row_attributes(mapper):
        if is_in_table(attribute.column):
            return ledger_of(attribute.column.table.metadata)
    return None


def _may_connect(engine: Engine) -> bool:
    """Return whether a second connection is another one: not for SQLite in memory."""
    return not isinstance(engine.pool, SingletonThreadPool | StaticPool)


Translation = frozenset[tuple[str | None, str | None]]

_engines: WeakKeyDictionary[Pool, dict[Translation, Engine]] = WeakKeyDictionary()


def _engine_for(engine: Engine, translation: Mapping[str | None, str | None]) -> Engine:
    """Return the one engine of this process for a database and a translation of schemas.

    Applications make an engine with a tenant's translation for each request.
    """
    if not translation:
        return engine
    known = _engines.setdefault(engine.pool, {})
    key = frozenset(translation.items())
    if key not in known:
        known[key] = engine.execution_options(schema_translate_map=dict(translation))
    return known[key]


@cache
def _warn_of_basic_mode(dialect: str) -> None:
    """Warn once."""
    warn("filecolumn keeps no ledger on %s: removal of files does not survive a crash", dialect)
