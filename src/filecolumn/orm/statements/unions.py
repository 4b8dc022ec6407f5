"""Reads what a UNION returns as any of its columns has it: SQLAlchemy takes the type of its first one alone.

The names with an underscore are private to SQLAlchemy, and exist in 2.0.41 and 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, cast

from sqlalchemy import CompoundSelect, SelectBase
from sqlalchemy.sql.compiler import SQLCompiler

from filecolumn.orm.column import StoredObject, kind_of_several
from filecolumn.orm.expressions import columns_behind

__all__ = ("listen",)

Dispatch = Callable[..., str]


def listen() -> None:
    """Look at what each UNION returns when it is compiled, which its statement is once.

    A hook of statements would not hear of those that a connection executes.
    """
    compound = cast("Any", CompoundSelect)
    before: Dispatch = compound._compiler_dispatch

    def dispatch(self: CompoundSelect[Any], visitor: SQLCompiler, **options: object) -> str:
        # what compiles only names has no result
        results: list[Any] = getattr(visitor, "_result_columns", [])
        start = len(results)
        is_other = bool(options.get("compound_index")) and _returns(visitor) and _has_files(self)
        if is_other:
            # else its columns would not be cast to text, as those of the first SELECT are
            options["compound_index"] = None
        compiled = before(self, visitor, **options)
        if is_other:
            del results[start:]
        else:
            _widen(self, results, start)
        return compiled

    compound._compiler_dispatch = dispatch


def _returns(compiler: SQLCompiler) -> bool:
    """Return whether the UNION around what is compiled is the result."""
    return bool(compiler.stack and compiler.stack[-1].get("need_result_map_for_compound"))


def _has_files(union: CompoundSelect[Any]) -> bool:
    return any(isinstance(column.type, StoredObject) for column in union.selected_columns)


def _widen(union: CompoundSelect[Any], results: list[Any], start: int) -> None:
    """Give the columns of files that *union* has added to *results* the kinds of all its selects."""
    new = results[start:]
    if not any(isinstance(result.type, StoredObject) for result in new):
        return
    selected = [list(select.selected_columns) for select in _selects(union)]
    is_parallel = all(len(columns) == len(new) for columns in selected)
    for position, result in enumerate(new):
        if isinstance(result.type, StoredObject):
            # a deferred column is selected, and is not in the result
            columns = [each[position] for each in selected] if is_parallel else list(chain(*selected))
            kind = kind_of_several(source for column in columns for source in columns_behind(column))
            if kind is not None:
                results[start + position] = result._replace(type=kind)


def _selects(union: CompoundSelect[Any]) -> Iterator[SelectBase]:
    for each in union.selects:
        # one in parentheses
        select: object = getattr(each, "element", each)
        if isinstance(select, CompoundSelect):
            yield from _selects(cast("CompoundSelect[Any]", select))
        elif isinstance(select, SelectBase):
            yield select
