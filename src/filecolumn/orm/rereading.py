"""Reads rows once more after a flush's SQL: the database may have done something else than it was told.

A trigger may keep a row that was deleted, or a value that was replaced; a policy may hide a row from
the statement.  What a row still holds was not given up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    Table,
    null,
    select,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.streams import batches
from filecolumn.ledger.owner import generation_column
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import Ledger
from filecolumn.orm.attributes import FileAttribute, TableKey, key_in, key_names, row_attributes
from filecolumn.orm.catalogue import rules_of
from filecolumn.orm.column import StoredObject
from filecolumn.orm.references import ReferencedKeys, UndecodableError, raw_text, referenced_keys
from filecolumn.orm.rows import BATCH, bind_identities, key_bound, rows_in

__all__ = ("Rereading",)

Identity = tuple[object, ...]
Key = tuple[ColumnElement[Any], ...]


@dataclass(slots=True)
class Rereading:
    """The rows that a flush or statement wrote or deleted, by table and key, and what they hold after it."""

    rows: dict[tuple[Table, Key], set[Identity]] = field(
        default_factory=dict[tuple[Table, "Key"], set[Identity]]
    )
    keys: Counter[str] = field(default_factory=Counter[str])
    """What their values refer to, of all that can be read, and how many do."""
    unread: list[ReferencedKeys] = field(default_factory=list[ReferencedKeys])
    """The values that cannot be read: each refers to what occurs in its text."""
    unreadable: bool = False
    """Whether some value cannot be decoded at all: it may hold anything."""
    generation: int | None = None
    """The generation of the database (see `ledger.owner`); None if it was not read."""

    def add(self, table: Table, key: Sequence[ColumnElement[Any]], identities: Iterable[Identity]) -> None:
        """Add rows by a key of their table."""
        self.rows.setdefault((table, tuple(key)), set()).update(identities)

    def add_of(self, mapper: Mapper[object], identities: Sequence[Identity]) -> None:
        """Add rows by their mapper's primary key."""
        for table, key in _keys_by_table(mapper)[1].items():
            self.add(table, key.columns, map(key.identity, identities))

    def add_states(self, mapper: Mapper[object], states: Iterable[InstanceState[object]]) -> None:
        """Add the rows of instances: twice where the flush changes the primary key, as it was and as it will be."""
        names, keys = _keys_by_table(mapper)
        identities: dict[Identity, None] = {}
        for state in states:
            if state.key is None:
                continue
            before = state.key[1]
            identities[before] = None
            held = state.dict
            identities[tuple([held.get(name, value) for name, value in zip(names, before, strict=True)])] = (
                None
            )
        for table, key in keys.items():
            self.add(table, key.columns, map(key.identity, identities))

    def read(self, connection: Connection, ledger: Ledger | None = None) -> None:
        """Read the rows, each by its table's own key and without joins; with a ledger the generation too."""
        for (table, key), identities in self.rows.items():
            for batch in batches(list(identities), BATCH):
                query, parameters = _query(table, key, connection.dialect, ledger, batch)
                for generation, *values in self._rows_of(connection, query, parameters):
                    if ledger is not None:
                        self.generation = int(generation or 0)
                    for value in values:
                        self._note(value)

    def _rows_of(
        self, connection: Connection, query: Query, parameters: dict[str, object]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        try:
            return connection.execute(query, parameters).all()
        except OperationalError:
            # SQLite's driver refuses text that is no UTF-8
            if connection.dialect.name != "sqlite":
                raise
            self.unreadable = True
            return ()

    def includes(self, state: InstanceState[object]) -> bool:
        """Return whether the row of an instance, which may be new, is among them."""
        if state.key is not None:
            return True
        identity = state.mapper.identity_key_from_instance(state.obj())[1]
        return any(
            key.identity(identity) in self.rows.get((table, tuple(key.columns)), ())
            for table, key in _keys_by_table(state.mapper)[1].items()
        )

    def moves_rows(self, connection: Connection) -> bool:
        """Return whether triggers of others may have written what the rows held into other rows."""
        return any(rules_of(connection, table).moves_rows for table, _ in self.rows)

    def holds(self, key: str) -> bool:
        """Return whether a row still holds *key*."""
        return self.unreadable or key in self.keys or any(value.holds(key) for value in self.unread)

    def counts(self, key: str) -> float:
        """Return how many values hold *key*; infinitely many if some cannot be read."""
        if self.unreadable:
            return math.inf
        return self.keys[key] + sum(value.holds(key) for value in self.unread)

    def _note(self, value: object) -> None:
        if value is None:
            return
        try:
            found = referenced_keys(value)
        except UndecodableError:
            self.unreadable = True
            return
        if found.text is None:
            self.keys.update(found.keys)
        else:
            self.unread.append(found)


Keys = Mapping[Table, TableKey]

_tables: WeakKeyDictionary[Mapper[object], tuple[Sequence[FileAttribute], Sequence[str], Keys]] = (
    WeakKeyDictionary()
)


def _keys_by_table(mapper: Mapper[object]) -> tuple[Sequence[str], Keys]:
    """Return the attributes of the primary key, and the key of each table with files."""
    attributes = row_attributes(mapper)
    known = _tables.get(mapper)
    if known is None or known[0] is not attributes:
        tables = dict.fromkeys(attribute.column.table for attribute in attributes)
        keys = {table: key for table in tables if (key := key_in(table, mapper)) is not None}
        known = _tables[mapper] = attributes, key_names(mapper), keys
    return known[1:]


Query = Select[*tuple[Any, ...]]


def _query(
    table: Table,
    key: Sequence[ColumnElement[Any]],
    dialect: Dialect,
    ledger: Ledger | None,
    identities: Sequence[Identity],
) -> tuple[Query, dict[str, object]]:
    if len(key) == 1:
        statement = prepared(
            table.metadata,
            (_query, table, key[0], len(table.columns), dialect.name, ledger, len(identities) == 1),
            lambda: _selected(table, dialect, ledger, key_bound(key[0], identities)),
        )
        return statement, bind_identities(identities)
    return _selected(table, dialect, ledger, rows_in(key, identities)), {}


def _selected(
    table: Table, dialect: Dialect, ledger: Ledger | None, are_wanted: ColumnElement[bool]
) -> Query:
    """Return the query for the generation, and the raw text of each file column of the rows that are wanted."""
    columns = [column for column in table.columns if isinstance(column.type, StoredObject)]
    texts = [raw_text(column, dialect) for column in columns]
    if ledger is None:
        return select(null(), *texts).where(are_wanted)
    # one row at least, also of rows that are gone
    database = select(generation_column(ledger).label("generation")).subquery("of_database")
    return select(database.c.generation, *texts).select_from(database.outerjoin(table, are_wanted))
