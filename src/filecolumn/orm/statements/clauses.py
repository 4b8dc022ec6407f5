"""All that is private to SQLAlchemy: INSERT, UPDATE and DELETE as data, and the compilation of unions.

The names with an underscore exist in SQLAlchemy 2.0.41 and 2.1, unless a comment says otherwise.
"""

# pyright: reportPrivateUsage=false
# SQLAlchemy's: all that is private to it is here
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, cast

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Column,
    ColumnElement,
    CompoundSelect,
    Executable,
    FromClause,
    Insert,
    Result,
    Select,
    SelectBase,
    TextClause,
    select,
)
from sqlalchemy.orm import Mapper, ORMExecuteState, Session
from sqlalchemy.orm.util import LoaderCriteriaOption
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import UpdateBase
from sqlalchemy.util import immutabledict

from filecolumn.orm.column import StoredObject, type_of_several

__all__ = (
    "Compilation",
    "Key",
    "Listener",
    "Parameters",
    "Path",
    "Strategy",
    "autoflush",
    "compile_union",
    "compiles_around",
    "conflict_clauses",
    "conflict_target",
    "conflict_values",
    "criteria_of",
    "dml_of",
    "execute_last",
    "has_connection",
    "may_copy_files",
    "multi_values_of",
    "plain_select",
    "rewritten",
    "selected_names",
    "strategy_of",
    "values_of",
)

Key = str | ColumnElement[Any]
"""What a statement names a column by."""

Path = tuple[object, ...]
"""Where a value stands: `("values", key)`, `("multi", list, row, key)` or `("parameters", row, name)`."""

Strategy = Literal["orm", "bulk", "raw", "core_only"]
"""How SQLAlchemy's ORM carries out a statement: "bulk" takes attributes and primary keys from its parameters."""

Parameters = Mapping[str, object] | Sequence[Mapping[str, object]] | None
"""What a statement is executed with."""

Listener = Callable[[ORMExecuteState], Result[Any] | None]


def dml_of(context: ORMExecuteState) -> UpdateBase | None:
    """Return the statement, without what it may be wrapped in; None for what only reads."""
    statement: object = context.statement
    if not isinstance(statement, UpdateBase):
        # lambda_stmt(...), and select(...).from_statement(...)
        statement = getattr(statement, "_resolved", getattr(statement, "element", None))
    return statement if isinstance(statement, UpdateBase) else None


# the words that texts begin with which copy no row
_HARMLESS = re.compile(
    r"\s*(?:SELECT|SET|SHOW|PRAGMA|LOCK|DELETE|SAVEPOINT|RELEASE|EXPLAIN|ANALYZE|VACUUM)\b", re.IGNORECASE
)


def may_copy_files(context: ORMExecuteState, statement: UpdateBase | None) -> bool:
    """Return whether a statement that is about no mapped file may write the files of rows into others."""
    if statement is not None:
        return any(isinstance(column.type, StoredObject) for column in statement.table.columns)
    found: object = getattr(context.statement, "element", context.statement)
    return isinstance(found, TextClause) and _HARMLESS.match(found.text) is None


def strategy_of(context: ORMExecuteState) -> Strategy:
    """Return how the statement will be carried out."""
    for name in ("_sa_orm_update_options", "_sa_orm_insert_options"):
        options = context.local_execution_options.get(name)
        if options is not None:
            found: Strategy = options._dml_strategy
            return found
    return "orm" if context.is_delete and context.is_orm_statement else "core_only"


def autoflush(context: ORMExecuteState) -> None:
    """Flush as SQLAlchemy would before it runs the statement, after this hook."""
    if context.execution_options.get("autoflush", True):
        Session._autoflush(context.session)


def has_connection(session: Session) -> bool:
    """Return whether the session has a connection, on which it may hold locks."""
    transaction = session.get_transaction()
    return transaction is not None and bool(transaction._connections)


def execute_last(context: ORMExecuteState, listener: Listener) -> Result[Any]:
    """Run the statement with *listener* after all others, so that none changes it behind its back."""
    context._events_todo.append(listener)
    return context.invoke_statement()


def criteria_of(statement: UpdateBase, mapper: Mapper[object] | None) -> tuple[ColumnElement[bool], ...]:
    """Return all conditions for a row to be touched, those of inheritance and loader criteria included."""
    found: tuple[ColumnElement[bool], ...] = getattr(statement, "_where_criteria", ())
    if mapper is None:
        return found
    if mapper._single_table_criterion is not None:
        found = (*found, mapper._single_table_criterion)
    collected: dict[Any, Any] = {}
    for option in statement._with_options:
        if isinstance(option, LoaderCriteriaOption):
            option.get_global_criteria(collected)
    for extra in collected.get(("additional_entity_criteria", mapper), ()):
        if extra.include_aliases or extra.entity is mapper:
            found = (*found, extra._resolve_where_criteria(mapper))
    return found


def plain_select(
    columns: Sequence[ColumnElement[Any]], criteria: tuple[ColumnElement[bool], ...], table: FromClause
) -> Select[Any]:
    """Select from *table* and what the criteria name, as UPDATE and DELETE do: `where()` would add the ORM's joins."""
    statement = select(*columns).select_from(table)
    statement._where_criteria = criteria
    return statement


def values_of(statement: UpdateBase) -> Mapping[Key, object]:
    """Return what `values()` was given as one set of values."""
    # SQLAlchemy 2.0 keeps ordered_values() apart
    ordered = getattr(statement, "_ordered_values", None)
    return dict(ordered) if ordered is not None else getattr(statement, "_values", None) or {}


def multi_values_of(statement: UpdateBase) -> Iterator[tuple[Path, Mapping[Key, object] | Sequence[object]]]:
    """Yield what `values()` was given as a list, each with the beginning of its path."""
    many: Sequence[Sequence[Mapping[Key, object] | Sequence[object]]] = getattr(
        statement, "_multi_values", ()
    )
    for number, rows in enumerate(many):
        for index, row in enumerate(rows):
            yield ("multi", number, index), row


def selected_names(statement: UpdateBase) -> Sequence[str]:
    """Return the columns that `from_select()` fills."""
    return getattr(statement, "_select_names", None) or ()


def rewritten(context: ORMExecuteState, statement: UpdateBase, changes: Mapping[Path, object]) -> None:
    """Put other values into the statement that is about to run; the caller's own objects stay as they are."""
    given = cast("Parameters", context.parameters)
    rows = [dict(row) for row in (given if isinstance(given, Sequence) else [given or {}])]
    for path, value in changes.items():
        match path:
            case "parameters", int(row), str(name):
                rows[row][name] = value
                context.parameters = rows if isinstance(given, Sequence) else rows[0]
            case _:
                continue
    if any(path[0] != "parameters" for path in changes):
        new = _with_values(statement, changes)
        context.statement = new if context.statement is statement else _wrapped(context.statement, new)


def _wrapped(outer: Executable, statement: UpdateBase) -> Executable:
    """Put a statement where another was: from_statement(...) reads its rows, lambda_stmt(...) only made it."""
    if not hasattr(outer, "element"):
        return statement
    new: Any = outer._generate()  # type: ignore[attr-defined]
    new.element = statement
    return new  # type: ignore[no-any-return]


def _with_values(statement: UpdateBase, changes: Mapping[Path, object]) -> UpdateBase:
    new: Any = statement._clone()

    def swapped(key: Key, value: object) -> object:
        path = ("values", key)
        if path not in changes or not isinstance(value, BindParameter):
            return value
        return cast("Any", value)._with_value(changes[path], maintain_key=True)

    if getattr(statement, "_ordered_values", None) is not None:
        new._ordered_values = [(key, swapped(key, value)) for key, value in new._ordered_values]
    elif new._values is not None:
        new._values = immutabledict({key: swapped(key, value) for key, value in new._values.items()})
    if new._multi_values:
        new._multi_values = tuple(
            [_row_with(row, changes, ("multi", number, index)) for index, row in enumerate(rows)]
            for number, rows in enumerate(new._multi_values)
        )
    return new  # type: ignore[no-any-return]


def _row_with(
    row: Mapping[Key, object] | Sequence[object], changes: Mapping[Path, object], path: Path
) -> Mapping[Key, object] | Sequence[object]:
    if isinstance(row, Mapping):
        return {key: changes.get((*path, key), value) for key, value in row.items()}
    return tuple(changes.get((*path, index), value) for index, value in enumerate(row))


def conflict_clauses(statement: Insert) -> Sequence[ClauseElement]:
    """Return the ON CONFLICT and ON DUPLICATE KEY clauses, and prefixes such as OR REPLACE."""
    clause = statement._post_values_clause
    prefixes = [prefix for prefix, _ in statement._prefixes]
    if clause is None:
        return prefixes
    # SQLAlchemy 2.1 makes a list of several
    return [*prefixes, *getattr(clause, "clauses", (clause,))]


def conflict_target(clause: ClauseElement) -> Sequence[str | Column[Any]] | str | None:
    """Return the columns whose conflict a clause is about, or the constraint's name; None for any conflict."""
    named: str | None = getattr(clause, "constraint_target", None)
    elements: Sequence[str | Column[Any]] | None = getattr(clause, "inferred_target_elements", None)
    return named if named is not None else elements


def conflict_values(clause: ClauseElement) -> Mapping[Key, object]:
    """Return what a clause sets in the row that is there already."""
    # a list of pairs in SQLAlchemy 2.0; MySQL's clause has a name of its own
    return dict(getattr(clause, "update_values_to_set", getattr(clause, "update", ())))


# What a union returns

Compilation = Callable[..., str]
"""Compiles an element: called with the element, the compiler and options by name."""

CompilationAround = Callable[[Any, SQLCompiler, dict[str, object], Compilation], str]
"""Compiles an element, with its options and with what compiles it otherwise."""


def compiles_around(class_: type[ClauseElement]) -> Callable[[CompilationAround], CompilationAround]:
    """Let a function compile the elements of *class_*, as a decorator.

    SQLAlchemy's own `compiles` would replace what an application has registered for the class.
    """

    def register(function: CompilationAround) -> CompilationAround:
        patched = cast("Any", class_)
        before: Compilation = patched._compiler_dispatch

        def dispatch(element: ClauseElement, compiler: SQLCompiler, **options: object) -> str:
            return function(element, compiler, options, before)

        patched._compiler_dispatch = dispatch
        return function

    return register


def compile_union(
    union: CompoundSelect[Any], compiler: SQLCompiler, options: dict[str, object], compiled: Compilation
) -> str:
    """Compile a union so that its result is read as any of its columns has it.

    SQLAlchemy takes the type of the first SELECT alone.  A statement is compiled once, and no hook of
    statements hears of those that a connection executes.
    """
    # what compiles only names has no result
    results: list[Any] = getattr(compiler, "_result_columns", [])
    start = len(results)
    if bool(options.get("compound_index")) and _is_in_result(compiler) and _has_files(union):
        # else its columns would not be cast to text, as those of the first SELECT are
        text = compiled(union, compiler, **(options | {"compound_index": None}))
        del results[start:]
        return text
    text = compiled(union, compiler, **options)
    _widen(union, results, start)
    return text


def _is_in_result(compiler: SQLCompiler) -> bool:
    """Return whether the union around what is compiled is the statement's result."""
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
            kind = type_of_several(columns)
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
