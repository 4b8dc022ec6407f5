"""Where the rows of a mapper record their files: a database, and the ledger in it if it has one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Dialect, Engine, Table
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.pool import Pool, SingletonThreadPool, StaticPool

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef
from filecolumn.ledger.columns import column_ids, name_of, note_columns, translation_of
from filecolumn.ledger.locks import lock_sqlite
from filecolumn.ledger.owner import is_registered, register, register_apart
from filecolumn.ledger.table import Ledger, has_ledgers, ledger_of
from filecolumn.ledger.transitions import LedgerAt, knows_any, speaking
from filecolumn.logs import warn
from filecolumn.orm.attributes import file_attributes, row_attributes
from filecolumn.orm.catalogue import refuse_without_transactions
from filecolumn.orm.column import StoredObject
from filecolumn.orm.statements.clauses import has_connection
from filecolumn.orm.transaction import BindArguments, Frame, watch

__all__ = ("Home", "Homes")

Bind = Engine | Connection


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """A database, on the connection of a session; a file cannot move to another one, it is copied."""

    connection: Connection
    at: LedgerAt | None
    """The ledger that records the files; None if there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Mapped:
    """What the files of a mapper's rows are bound to."""

    bind: Bind
    ledger: Ledger | None


class Homes:
    """The homes of one flush or statement, each found once."""

    __slots__ = ("_bind", "_frame", "_homes", "_mapped", "_of_mappers", "_root", "_session")

    def __init__(
        self, session: Session, frame: Frame, root: Frame, bind: BindArguments | None = None
    ) -> None:
        self._session = session
        self._frame = frame
        self._root = root
        self._bind = bind
        """What the session chooses its connection by; None for a flush, which chooses by the mapper."""
        self._mapped: dict[Mapper[object], _Mapped] = {}
        self._of_mappers: dict[Mapper[object], Home] = {}
        self._homes: dict[Engine | LedgerAt, Home] = {}

    def of(self, mapper: Mapper[object]) -> Home:
        """Return where rows of *mapper* record their files; its connection tells from now on when COMMIT is sent.

        Raises NotSupportedError for a connection in AUTOCOMMIT.
        """
        home = self._of_mappers.get(mapper)
        if home is None:
            home = self._of_mappers[mapper] = self._find(mapper)
        return home

    def known(self) -> Iterable[Home]:
        """Return the homes that were found so far."""
        return self._homes.values()

    def register(self, mapper: Mapper[object], backends: Iterable[StorageBackend]) -> None:
        """Register as a writer of storages before the first upload of this process into them.

        Raises BackendMismatchError for one that is another place than the ledger knows under its name.
        """
        mapped = self._look_up(mapper)
        if (ledger := mapped.ledger) is None:
            return
        engine = _engine_of(mapped.bind)
        new = [backend for backend in backends if not is_registered(engine, ledger, backend)]
        if not new:
            return
        with speaking(ledger):
            if (apart := self._other_connections(mapped.bind)) is not None:
                # on a connection beside the session's: what is known of places must survive a rollback
                for backend in new:
                    register_apart(apart, engine, ledger, backend)
                return
            home = self.of(mapper)
            assert home.at is not None  # noqa: S101 - its metadata has a ledger
            for backend in new:
                if not self._frame.has_registered(home.at, backend):
                    register(home.connection, ledger, backend)
                    self._frame.registered.add((home.at, backend))

    def knows_any(self, mapper: Mapper[object], refs: Collection[ObjectRef]) -> bool:
        """Return whether the ledger of *mapper* has one of *refs*; begins no transaction of the session if it can."""
        mapped = self._look_up(mapper)
        if (ledger := mapped.ledger) is None:
            return False
        with speaking(ledger):
            if (apart := self._other_connections(mapped.bind)) is not None:
                with apart.connect() as connection:
                    return knows_any(connection, ledger, refs)
            return knows_any(self.of(mapper).connection, ledger, refs)

    def column_id(self, home: Home, column: Column[object]) -> str:
        """Return the id of a file column in a home with a ledger, and record it if no transaction has."""
        at = home.at
        assert at is not None  # noqa: S101 - see above
        known = column_ids(at.engine).get((at.ledger, column)) or self._frame.noted_column(at, column)
        return self._note_column(home.connection, at, column) if known is None else known

    def _note_column(self, connection: Connection, at: LedgerAt, column: Column[object]) -> str:
        table = column.table
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

    def _find(self, mapper: Mapper[object]) -> Home:
        mapped = self._look_up(mapper)
        arguments = self._bind or {"mapper": mapper}
        connection = self._session.connection(bind_arguments={**arguments, "bind": mapped.bind})
        at = None if mapped.ledger is None else LedgerAt(_engine_of(connection), mapped.ledger)
        watch(connection, at, self._frame, self._root, joined=isinstance(mapped.bind, Connection))
        key = connection.engine if at is None else at
        home = self._homes.get(key)
        if home is None:
            home = self._homes[key] = Home(connection, at)
        return home

    def _look_up(self, mapper: Mapper[object]) -> _Mapped:
        mapped = self._mapped.get(mapper)
        if mapped is None:
            bind = self._session.get_bind(**(self._bind or {"mapper": mapper}))
            mapped = self._mapped[mapper] = _Mapped(bind, _ledger_of(mapper, bind.dialect))
        return mapped

    def _other_connections(self, bind: Bind) -> Engine | None:
        """Return the engine for a connection beside the session's; None if the session has one, or has the only one."""
        if not isinstance(bind, Engine) or has_connection(self._session):
            return None
        # that of SQLite in memory is the only one
        return None if isinstance(bind.pool, SingletonThreadPool | StaticPool) else bind


def _ledger_of(mapper: Mapper[object], dialect: Dialect) -> Ledger | None:
    """Return the ledger of the tables that hold files of a mapper's rows; None if they do without."""
    for attributes_of in (file_attributes, row_attributes):
        for attribute in attributes_of(mapper):
            if attribute.in_table:
                ledger = ledger_of(attribute.column.table.metadata)
                if ledger is None or has_ledgers(dialect):
                    return ledger
                _warn_of_basic_mode(dialect.name)
                return None
    return None


Translation = frozenset[tuple[str | None, str | None]]

_engines: WeakKeyDictionary[Pool, dict[Translation, Engine]] = WeakKeyDictionary()


def _engine_of(bind: Bind) -> Engine:
    """Return the one engine of this process for a database and the translation of schemas in *bind*.

    Applications make an engine with a tenant's translation for each request.
    """
    if not bind.get_execution_options() or not (translation := translation_of(bind)):
        return bind.engine
    known = _engines.setdefault(bind.engine.pool, {})
    key = frozenset(translation.items())
    if key not in known:
        known[key] = bind.engine.execution_options(schema_translate_map=dict(translation))
    return known[key]


@cache
def _warn_of_basic_mode(dialect: str) -> None:
    """Warn once."""
    warn("filecolumn keeps no ledger on %s: removal of files does not survive a crash", dialect)
