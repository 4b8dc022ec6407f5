"""Which columns of tables an expression has its value from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import Case, ClauseElement, Column, ColumnElement, FromClause, Over, ScalarSelect, Table
from sqlalchemy.sql.elements import ClauseList

__all__ = (
    "columns_behind",
    "is_in_table",
)


def is_in_table(column: Column[Any]) -> bool:
    """Return whether a column is that of a table: an alias and a query have such objects too."""
    return isinstance(cast("FromClause", column.table), Table)


def columns_behind(expression: ColumnElement[object]) -> Iterator[Column[object]]:
    """Yield the columns whose value *expression* may have: not those that only decide which one it has."""
    if isinstance(expression, Column) and is_in_table(expression):
        yield expression
        return
    # a column of a subquery or CTE has those of each select of a union
    origins = [origin for origin in expression.base_columns if origin is not expression]
    for part in origins or _parts(expression):
        yield from columns_behind(part)


def _parts(expression: ColumnElement[object]) -> Iterator[ColumnElement[object]]:
    match expression:
        case Case():
            yield from (result for _, result in expression.whens)
            if expression.else_ is not None:
                yield expression.else_
        case ScalarSelect():
            yield from expression.element.selected_columns
        case Over():
            yield expression.element
        case _:
            yield from _columns_in(expression)


def _columns_in(expression: ClauseElement) -> Iterator[ColumnElement[object]]:
    """Yield the operands of an expression, also those of lists of them, as functions have."""
    for child in expression.get_children():
        if isinstance(child, ClauseList):
            yield from _columns_in(child)
        elif isinstance(child, ColumnElement):
            yield child
