"""The key of a mapper's rows in each of its tables, which need not declare one.

A mapper may name other columns than a table's primary key, a view and a reflected table may have none, and
the table of a subclass has its own column for the key of its base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BinaryExpression, BooleanClauseList, Column, ColumnElement, FromClause, Join, Table
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import operators

__all__ = ("TableKey", "key_columns", "key_in", "key_names")


@dataclass(frozen=True, slots=True)
class TableKey:
    """The columns by which one table has the rows of a mapper."""

    columns: Sequence[Column[Any]]
    positions: Sequence[int]
    """Where in the mapper's primary key the value of each is."""

    def identity(self, of_mapper: Sequence[object]) -> tuple[object, ...]:
        """Return the values in the table for a primary key of the mapper."""
        return tuple(of_mapper[position] for position in self.positions)


def key_names(mapper: Mapper[object]) -> list[str]:
    """Return the attributes of the primary key."""
    return [str(mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def key_in(table: Table, mapper: Mapper[object]) -> TableKey | None:
    """Return the key of a table; None if no column of it has a part of the mapper's."""
    same = [_same_as(column, mapper) for column in mapper.primary_key]

    def positions(columns: Sequence[Column[Any]]) -> list[int]:
        found = ((index for index, group in enumerate(same) if column in group) for column in columns)
        return [index for indexes in found for index in list(indexes)[:1]]

    declared = tuple(table.primary_key)
    if declared and len(places := positions(declared)) == len(declared):
        return TableKey(declared, places)
    for_each = [[column for column in group if column.table is table][:1] for group in same]
    columns = [column for found in for_each for column in found]
    return TableKey(columns, positions(columns)) if columns else None


def key_columns(table: FromClause, mapper: Mapper[object]) -> Sequence[Column[Any]]:
    """Return the columns that tell the rows of a table apart: its primary key, or else the mapper's."""
    if not isinstance(table, Table):
        return ()
    source = cast("Table", table)
    if declared := tuple(source.primary_key):
        return declared
    found = key_in(source, mapper)
    return () if found is None else found.columns


def _same_as(column: ColumnElement[Any], mapper: Mapper[object]) -> Sequence[Column[Any]]:
    """Return the columns that have the value of *column* in each row of a mapper."""
    pairs = list(_pairs(mapper))
    found: dict[Column[Any], None] = {}
    new = [column]
    while new:
        each = new.pop()
        if isinstance(each, Column) and each not in found:
            found[each] = None
            new += [other for pair in pairs if each in pair for other in pair]
    return tuple(found)


def _pairs(mapper: Mapper[object]) -> Iterator[Sequence[Column[Any]]]:
    for prop in mapper.column_attrs:
        if len(prop.columns) > 1:
            yield [column for column in prop.columns if isinstance(column, Column)]
    yield from _joined(mapper.persist_selectable)


def _joined(source: FromClause) -> Iterator[Sequence[Column[Any]]]:
    if isinstance(source, Join):
        yield from _joined(source.left)
        yield from _joined(source.right)
        if source.onclause is not None:
            yield from _equated(source.onclause)


def _equated(condition: ColumnElement[bool]) -> Iterator[Sequence[Column[Any]]]:
    match condition:
        case BooleanClauseList() if condition.operator is operators.and_:
            for clause in condition.clauses:
                yield from _equated(clause)
        case BinaryExpression() if condition.operator is operators.eq:
            left, right = condition.left, condition.right
            if isinstance(left, Column) and isinstance(right, Column):
                yield left, right
        case _:
            return
