"""Finds the rows that a statement is about to write or delete, and what files they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause

from filecolumn.backends.parts import batches
from filecolumn.orm.attributes import FileAttribute
from filecolumn.orm.rows import BATCH, is_one_of, lock
from filecolumn.orm.statements import plain_select

__all__ = ("Finder", "MatchedRow")

Identity = tuple[object, ...]


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
            yield from self.matching((is_one_of(key, batch),), {}, for_update=for_update)
