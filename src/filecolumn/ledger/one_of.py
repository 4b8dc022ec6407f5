"""A condition of SQL: a column of a key is one of many values, and the index of the key is used on every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from sqlalchemy import ARRAY, Boolean, ColumnElement, Enum, Integer, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

__all__ = ("is_one_of",)


class is_one_of(FunctionElement[bool]):  # noqa: N801 - a condition in SQL, named as SQLAlchemy names its own
    """Whether a column is one of several values, beside `=` for the other columns of an index.

    The same as `IN`, but for PostgreSQL.  In a table that nobody has analysed it takes the rows that are
    alike in the other columns for few, and reads all of them rather than look up a long list; of a list that
    it does not see when it plans, it expects ten values.
    """

    type: TypeEngine[bool] = Boolean()
    name: str = "is_one_of"
    inherit_cache: bool | None = True

    def __init__(self, column: ColumnElement[Any], values: Sequence[object] | str) -> None:
        """Take the values, or the name of a parameter that has a list of them."""
        listed: ColumnElement[bool]
        array: ColumnElement[Any]
        if isinstance(values, str):
            listed = column.in_(bindparam(values, expanding=True))
            array = bindparam(values, type_=_array_of(column))
        else:
            listed = column.in_(values)
            array = bindparam(None, list(values), type_=_array_of(column), unique=True)
        super().__init__(column, listed, array)

    def self_group(self, against: OperatorType | None = None) -> Self:
        """Return it as it is: `= 1`, which SQLAlchemy adds for databases without booleans, is in no index."""
        return self


def _array_of(column: ColumnElement[Any]) -> TypeEngine[Any]:
    # a length would cut what is longer
    return ARRAY(String() if isinstance(column.type, String) else column.type)


@compiles(is_one_of)
def _listed(element: is_one_of, compiler: SQLCompiler, **options: object) -> str:
    _, listed, _ = element.clauses
    return compiler.process(listed, **options)


@compiles(is_one_of, "postgresql")
def _hidden(element: is_one_of, compiler: SQLCompiler, **options: object) -> str:
    column, listed, array = element.clauses
    # of other types not every driver takes arrays
    if not isinstance(column.type, Integer | String) or isinstance(column.type, Enum):
        return compiler.process(listed, **options)
    values = f"ARRAY(SELECT unnest({compiler.process(array, **options)}))"
    return f"{compiler.process(column, **options)} = ANY ({values})"
