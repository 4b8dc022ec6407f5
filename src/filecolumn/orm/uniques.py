"""Which rows an INSERT may replace: those that have the same primary or unique key as a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Column,
    Insert,
    SelectBase,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql import visitors

from filecolumn.errors import NotSupportedError
from filecolumn.file import FileObject
from filecolumn.orm.attributes import FileAttribute
from filecolumn.orm.dml import Dml, ValueSet
from filecolumn.orm.keys import key_columns
from filecolumn.orm.statements import Key, conflict_clauses, conflict_target, conflict_values
from filecolumn.orm.type import StoredObject

__all__ = ("UniqueKey", "identity_in", "keys_that_conflict", "may_replace")

UniqueKey = tuple[Column[Any], ...]


def may_replace(dml: Dml) -> bool:
    """Return whether an INSERT has a clause or prefix for rows that are there already."""
    return isinstance(dml.statement, Insert) and bool(conflict_clauses(dml.statement))


def keys_that_conflict(dml: Dml) -> Sequence[UniqueKey]:
    """Return the keys by which the INSERT meets rows; NotSupportedError where the statement does not tell."""
    if not isinstance(dml.statement, Insert):
        return ()
    # only a table can be inserted into
    table = cast("Table", dml.table)
    keys: dict[UniqueKey, None] = {}
    for clause in conflict_clauses(dml.statement):
        for key, value in conflict_values(clause).items():
            _check_replacement(dml, table, key, value)
        keys.update(dict.fromkeys(_keys_of(dml, table, conflict_target(clause))))
    return tuple(keys)


def identity_in(dml: Dml, values: ValueSet, key: UniqueKey) -> tuple[object, ...] | None:
    """Return the value of a key that a new row will have; None if no row can have it already."""
    identity = tuple(_value(dml, values, column, alone=len(key) == 1) for column in key)
    return None if None in identity else identity


def _value(dml: Dml, values: ValueSet, column: Column[Any], *, alone: bool) -> object:
    name = dml.name_of(column)
    if name in values.others:
        return values.others[name]
    default = column.default
    if name not in values.computed:
        if default is not None and default.is_scalar:
            return getattr(default, "arg", None)
        counted = getattr(dml.table, "autoincrement_column", None)
        generated = column is counted or (default is not None and alone)
        if generated or (default is None and column.server_default is None):
            return None
    raise _cannot_tell(f"the value of {column} is not among its parameters")


def _keys_of(dml: Dml, table: Table, target: Sequence[str | Column[Any]] | str | None) -> Iterator[UniqueKey]:
    match target:
        case None:
            yield from _unique_keys(dml, table)
        case str():
            named = [key for name, key in _named_keys(table) if name == target]
            if not named:
                raise _cannot_tell(f"the table has no unique constraint {target!r}")
            yield from named
        case _:
            yield tuple(_column(table, element) for element in target)


def _column(table: Table, element: str | Column[Any]) -> Column[Any]:
    name = element if isinstance(element, str) else str(getattr(element, "key", None))
    if name not in table.columns:
        raise _cannot_tell(f"{element} is no column of {table}")
    return table.columns[name]


def _unique_keys(dml: Dml, table: Table) -> Iterator[UniqueKey]:
    # that of the mapper where the table declares none: the database may have one
    key = tuple(key_columns(table, dml.mapper))
    if key:
        yield key
    yield from (each for _, each in _named_keys(table) if each != key)


def _named_keys(table: Table) -> Iterator[tuple[str | None, UniqueKey]]:
    if key := tuple(table.primary_key.columns):
        yield _name(table.primary_key.name), key
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield _name(constraint.name), tuple(constraint.columns)
    for index in table.indexes:
        if index.unique:
            if len(index.columns) != len(index.expressions):
                raise _cannot_tell(f"the index {index.name} is unique in an expression")
            yield _name(index.name), tuple(index.columns)


def _name(name: object) -> str | None:
    return None if name is None else str(name)


def _check_replacement(dml: Dml, table: Table, key: Key, value: object) -> None:
    """Refuse what would give a row the file of another, or change which row it is."""
    attribute = dml.attribute_of(key)
    if attribute is not None:
        if not _is_rows_own(attribute, value):
            raise NotSupportedError(
                f"on a conflict the column {attribute.key!r} can take the file that its own row was to have, "
                f"as in set_={{{attribute.column.key!r}: statement.excluded.{attribute.column.key}}}, and no other"
            )
        return
    name = key if isinstance(key, str) else str(key.key)
    key_names = {column.key for column in key_columns(table, dml.mapper)}
    if name in key_names and getattr(value, "key", None) != name:
        raise _cannot_tell(f"on a conflict it changes the primary key {name!r}")


def _is_rows_own(attribute: FileAttribute, value: object) -> bool:
    if isinstance(value, FileObject | list | tuple):
        return False
    if not isinstance(value, ClauseElement):
        return value is None
    return all(_is_harmless(attribute, part) for part in visitors.iterate(value))


def _is_harmless(attribute: FileAttribute, part: object) -> bool:
    if isinstance(part, BindParameter):
        value = cast("BindParameter[object]", part).effective_value
        return not isinstance(value, FileObject | list | tuple)
    if isinstance(part, Column):
        column = cast("Column[object]", part)
        return column.key == attribute.column.key or not isinstance(column.type, StoredObject)
    return not isinstance(part, SelectBase)


def _cannot_tell(why: str) -> NotSupportedError:
    return NotSupportedError(
        f"the INSERT does not tell which rows it replaces, so their files could not be removed: {why}; "
        "load the rows and assign, or use session.merge"
    )
