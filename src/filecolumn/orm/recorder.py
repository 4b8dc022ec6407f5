"""Which ledger a mapper's files are in, and what one flush writes into it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import cache

from sqlalchemy import Connection
from sqlalchemy.orm import Mapper, Session

from filecolumn.failpoints import failpoint
from filecolumn.orm.attributes import file_attributes
from filecolumn.orm.frames import BindArguments, SessionFrame
from filecolumn.orm.ledger import has_ledgers, ledger_of
from filecolumn.orm.recording import Changes, LedgerAt, reassert, record, withdraw
from filecolumn.orm.unit import Place

__all__ = ("Recorder",)

_log = logging.getLogger("filecolumn")


class Recorder:
    """The ledgers of one session, while it flushes or runs a statement."""

    def __init__(self, session: Session, frame: SessionFrame, bind: BindArguments | None = None) -> None:
        self._session = session
        self._frame = frame
        self._bind = bind
        self._homes: dict[Mapper[object], Hashable] = {}
        self._connections: dict[LedgerAt, Connection] = {}
        self._added: dict[Place, LedgerAt] = {}
        self._moved: defaultdict[LedgerAt, set[Place]] = defaultdict(set)

    def home(self, mapper: Mapper[object]) -> Hashable:
        """Return where rows of *mapper* record their files: a `LedgerAt`, or the database if it has no ledger.

        A file cannot move between two homes: it is copied.
        """
        home = self._homes.get(mapper)
        if home is None:
            home = self._homes[mapper] = self._find(mapper)
        return home

    def record(self, changes: Mapping[LedgerAt, Changes]) -> None:
        """Write what is new, kept and removed, each key once in a transaction."""
        for at, change in changes.items():
            failpoint("flush.before_ledger")
            deletable = record(self._connections[at], at.ledger, change)
            failpoint("flush.after_ledger")
            new = dict.fromkeys((*change.stored, *change.staged), at)
            self._added |= new
            self._frame.added |= new
            self._frame.doomed |= dict.fromkeys(deletable, at)
            self._frame.removed |= deletable

    def withdraw_all_but(self, attached: Collection[Place]) -> None:
        """Forget what this flush recorded as new and did not give to a row after all."""
        strays: defaultdict[LedgerAt, set[Place]] = defaultdict(set)
        for place, at in self._added.items():
            if place not in attached:
                strays[at].add(place)
                self._frame.added.pop(place, None)
        for at, places in strays.items():
            withdraw(self._connections[at], at.ledger, places)

    def note_moved(self, moved: Iterable[tuple[LedgerAt, Place]]) -> None:
        """Note what rows keep and others gave up."""
        for at, place in moved:
            self._moved[at].add(place)

    def reassert_moved(self) -> None:
        """Let moved keys live on that a trigger doomed when one row gave them up for another."""
        for at, places in self._moved.items():
            reassert(self._connections[at], at.ledger, places)
        self._moved.clear()

    def _find(self, mapper: Mapper[object]) -> Hashable:
        connection = self._session.connection(bind_arguments=dict(self._bind or {"mapper": mapper}))
        table = file_attributes(mapper)[0].column.table
        ledger = ledger_of(table.metadata)
        if ledger is None:
            return connection.engine
        if not has_ledgers(connection.dialect):
            _warn_of_basic_mode(connection.dialect.name)
            return connection.engine
        at = LedgerAt(connection.engine, ledger)
        self._connections[at] = connection
        return at


@cache
def _warn_of_basic_mode(dialect: str) -> None:
    """Warn once."""
    _log.warning("filecolumn keeps no ledger on %s: removal of files does not survive a crash", dialect)
