"""Reads what rows hold now, so that nothing is decided on what a session only remembers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Join,
    Select,
    Table,
    and_,
    bindparam,
    false,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.streams import batches
from filecolumn.files.file import FileObject
from filecolumn.ledger.locks import lock_sqlite_by
from filecolumn.ledger.one_of import is_one_of
from filecolumn.ledger.table import Ledger
from filecolumn.orm.attributes import FileAttribute, files_in, row_attributes
from filecolumn.orm.references import raw_text
from filecolumn.orm.statements.clauses import plain_select

__all__ = (
    "BATCH",
    "Finder",
    "MatchedRow",
    "RowValues",
    "bind_identities",
    "key_bound",
    "lock",
    "rows_behind",
    "rows_for_update",
    "rows_in",
)


@dataclass(frozen=True, slots=True, eq=False)
class RowValues:
    """What a row holds of files, as the database has it: a list is split into files only where they are needed."""

    _dialect: Dialect
    _raw: Mapping[str, object]
    """By the names of `row_attributes`."""
    _files: dict[str, Sequence[FileObject]] = field(default_factory=dict[str, Sequence[FileObject]])

    def raw(self, attribute: FileAttribute) -> object:
        """Return the JSON of an attribute as its driver gives it; None for SQL NULL."""
        return self._raw.get(attribute.key)

    def files(self, attribute: FileAttribute) -> Sequence[FileObject]:
        """Return the files of an attribute, the same ones each time."""
        files = self._files.get(attribute.key)
        if files is None:
            read = attribute.type.result_processor(self._dialect, None)
            files = self._files[attribute.key] = files_in(read(self.raw(attribute)))
        return files


BATCH = 500
"""Rows that one statement asks for, at most: SQLite takes no condition of 1,000 alternatives."""

Identity = tuple[object, ...]
"""The values of a key, in the order of its columns."""


def rows_for_update(
    connection: Connection,
    mapper: Mapper[object],
    states: Sequence[InstanceState[object]],
    written: Ledger | None,
) -> dict[InstanceState[object], RowValues]:
    """Return what the rows of instances of *mapper* hold, locked against others until the transaction ends.

    *written* is a ledger that the transaction has written into, so that it has the lock of its SQLite database.
    A row that is gone is missing from the result.
    """
    lock(connection, mapper.local_table, written)
    return {
        state: row for batch in batches(states, BATCH) for state, row in _select(connection, mapper, batch)
    }


def lock(connection: Connection, table: FromClause, written: Ledger | None = None) -> None:
    """Take SQLite's write lock, which FOR UPDATE would take elsewhere; *written* is a ledger that has taken it."""
    while isinstance(table, Join):
        # the lock is of the whole database
        table = table.left
    if isinstance(table, Table) and (written is None or table.schema != written.table.schema):
        lock_sqlite_by(connection, cast("Table", table))


def _select(
    connection: Connection, mapper: Mapper[object], states: Sequence[InstanceState[object]]
) -> Iterator[tuple[InstanceState[object], RowValues]]:
    by_identity = {state.key[1]: state for state in states if state.key is not None}
    is_other = False
    for identity, row in _rows(connection, mapper, list(by_identity)):
        if (state := by_identity.pop(identity, None)) is not None:
            yield state, row
        else:
            is_other = True
    if is_other:
        # the database's 1 may be what the session calls "1": only the database can tell
        for identity, state in by_identity.items():
            for _, row in _rows(connection, mapper, [identity]):
                yield state, row


def _rows(
    connection: Connection, mapper: Mapper[object], identities: Sequence[tuple[object, ...]]
) -> Iterator[tuple[tuple[object, ...], RowValues]]:
    attributes = row_attributes(mapper)
    names = [attribute.key for attribute in attributes]
    width = len(mapper.primary_key)
    for row in connection.execute(*_query(mapper, attributes, identities, connection.dialect)):
        values = iter(row)
        identity = tuple(islice(values, width))
        yield identity, RowValues(connection.dialect, dict(zip(names, values, strict=True)))


Query = Select[*tuple[object, ...]]

_by_key: WeakKeyDictionary[Mapper[object], dict[tuple[str, bool], tuple[Sequence[FileAttribute], Query]]] = (
    WeakKeyDictionary()
)
"""The queries by a primary key of one column, for the file attributes of its mapper.

One for each kind of database, for one row and for several.
"""


def _query(
    mapper: Mapper[object],
    attributes: Sequence[FileAttribute],
    identities: Sequence[tuple[object, ...]],
    dialect: Dialect,
) -> tuple[Query, dict[str, object]]:
    primary_key = mapper.primary_key
    if len(primary_key) != 1:
        return _selected(mapper, attributes, dialect).where(rows_in(primary_key, identities)), {}
    of_mapper = _by_key.get(mapper)
    if of_mapper is None:
        of_mapper = _by_key[mapper] = {}
    is_one = len(identities) == 1
    known = of_mapper.get((dialect.name, is_one))
    if known is None or known[0] is not attributes:
        query = _selected(mapper, attributes, dialect).where(key_bound(primary_key[0], identities))
        known = of_mapper[dialect.name, is_one] = attributes, query
    return known[1], bind_identities(identities)


def key_bound(column: ColumnElement[Any], identities: Sized) -> ColumnElement[bool]:
    """Match the rows of `bind_identities` by a key of one column: other SQL for one row than for several."""
    if len(identities) == 1:
        return column == bindparam("identities")
    return column.in_(bindparam("identities", expanding=True))


def bind_identities(identities: Sequence[tuple[object, ...]]) -> dict[str, object]:
    """Return the parameters of `key_bound`."""
    values = [identity[0] for identity in identities]
    return {"identities": values[0] if len(values) == 1 else values}


def _selected(mapper: Mapper[object], attributes: Sequence[FileAttribute], dialect: Dialect) -> Query:
    columns = [raw_text(attribute.column, dialect) for attribute in attributes]
    selected = select(*mapper.primary_key, *columns).select_from(mapper.persist_selectable)
    return selected.with_for_update()


def rows_in(primary_key: Sequence[ColumnElement[Any]], identities: Sequence[Identity]) -> ColumnElement[bool]:
    """Return the condition that a key, of one or several columns, is one of *identities*, `BATCH` at most.

    Every database finds the rows by the key's index, also in a table that nobody has analysed.
    """
    if len(primary_key) == 1:
        return primary_key[0].in_([identity[0] for identity in identities])
    # not `(a, b) IN (...)`, for which SQLite reads the whole table
    # nor several values of a column between others: PostgreSQL may search by those others only
    groups = min((_grouped(identities, at) for at in (len(primary_key) - 1, 0)), key=len)
    return or_(
        false(),
        *(
            and_(*(_is_among(column, values) for column, values in zip(primary_key, group, strict=True)))
            for group in groups
        ),
    )


def _grouped(identities: Iterable[Identity], at: int) -> list[Sequence[Sequence[object]]]:
    """Return, for each group of identities that differ in the column *at* only, the values of each column."""
    groups: defaultdict[Identity, list[object]] = defaultdict(list)
    for identity in identities:
        # no list has NULL
        is_alone = any(value is None for value in identity)
        groups[identity if is_alone else (*identity[:at], ..., *identity[at + 1 :])].append(identity[at])
    return [
        [values if number == at else [value] for number, value in enumerate(shared)]
        for shared, values in groups.items()
    ]


def _is_among(column: ColumnElement[Any], values: Sequence[object]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else is_one_of(column, values)


def rows_behind(
    primary_key: Sequence[ColumnElement[Any]], identity: Identity, dialect: Dialect
) -> ColumnElement[bool]:
    """Return the condition that a key comes after *identity* in the order of its columns, as its index finds it."""
    if len(primary_key) == 1:
        return primary_key[0] > identity[0]
    if dialect.name in {"mysql", "mariadb"}:
        return _behind_in_steps(primary_key, identity)
    values = (literal(value, column.type) for column, value in zip(primary_key, identity, strict=True))
    return tuple_(*primary_key) > tuple_(*values)


def _behind_in_steps(primary_key: Sequence[ColumnElement[Any]], identity: Identity) -> ColumnElement[bool]:
    """Return the condition in the only words of which MariaDB and MySQL make a range of the index."""
    column, value = primary_key[0], identity[0]
    if len(primary_key) == 1:
        return column > value
    return or_(column > value, and_(column == value, _behind_in_steps(primary_key[1:], identity[1:])))


@dataclass(frozen=True, slots=True, eq=False)
class MatchedRow:
    """A row, as the database has it."""

    identity: Identity
    values: Mapping[ColumnElement[Any], object]

    def files(self, attribute: FileAttribute) -> object:
        """Return the value of one of its file attributes."""
        return self.values.get(attribute.column)


@dataclass(frozen=True, slots=True)
class Finder:
    """Reads rows of one table, or of the tables of one mapper, over a session's connection."""

    connection: Connection
    table: FromClause
    """The table to be written."""
    source: FromClause
    """What is selected from: the table, or the join of a mapper's tables."""
    key: Sequence[ColumnElement[Any]]
    columns: Sequence[ColumnElement[Any]]

    def lock(self) -> None:
        """Keep others from writing until the transaction ends, where FOR UPDATE does not."""
        lock(self.connection, self.table)

    def matching(
        self,
        criteria: tuple[ColumnElement[bool], ...],
        parameters: Mapping[str, object],
        *,
        for_update: bool,
    ) -> list[MatchedRow]:
        """Return the rows that meet *criteria*, each once."""
        columns = list(dict.fromkeys((*self.key, *self.columns)))
        statement = plain_select(columns, criteria, self.source)
        if for_update:
            # not the rows of other tables that the criteria look at
            statement = statement.with_for_update(of=self.table if self.source is self.table else None)
        found: dict[Identity, MatchedRow] = {}
        for row in self.connection.execute(statement, dict(parameters)):
            identity = tuple(row[: len(self.key)])
            found[identity] = MatchedRow(identity, dict(zip(columns, row, strict=True)))
        return list(found.values())

    def with_identities(self, identities: Iterable[Identity], *, for_update: bool) -> Iterator[MatchedRow]:
        """Yield the rows that have one of the primary keys."""
        return self.with_keys(self.key, identities, for_update=for_update)

    def with_keys(
        self, key: Sequence[ColumnElement[Any]], values: Iterable[Identity], *, for_update: bool
    ) -> Iterator[MatchedRow]:
        """Yield the rows that have one of the values in the columns of any key."""
        for batch in batches(list(values), BATCH):
            yield from self.matching((rows_in(key, batch),), {}, for_update=for_update)
