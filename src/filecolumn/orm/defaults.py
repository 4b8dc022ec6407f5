"""Files that columns make themselves: `default=`, `insert_default=` and `onupdate=`, in a flush of the ORM.

SQLAlchemy asks for them while it writes the row, when it is too late to store anything.  So each is asked for
before, by SQLAlchemy's own rules, and set in the instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Column, FromClause
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.orm.attributes import set_attribute
from sqlalchemy.orm.base import PassiveFlag
from sqlalchemy.orm.state import InstanceState

from filecolumn.errors import NotSupportedError
from filecolumn.files.file import FileObject, file_state, file_with
from filecolumn.files.file_list import FileObjectList, list_state
from filecolumn.files.state import FileState, Pending
from filecolumn.orm.attributes import FileAttribute

__all__ = ("RowContext", "fill_default")

State = InstanceState[object]

EMPTY = (list, tuple, FileObjectList)
"""What makes lists without files, which need no storing: SQLAlchemy calls it itself."""


class RowContext:
    """What a function with one argument is called with, in place of SQLAlchemy's context of an execution."""

    def __init__(self, state: State, table: FromClause) -> None:
        missing = {} if state.key is not None else _missing(table)
        self.current_parameters: Mapping[str, object] = _Parameters(missing | _values(state, table))
        """The values that the instance has for columns of the table, and for a new row what it has without them."""

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, object]:
        """Return `current_parameters`."""
        return self.current_parameters

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"the default of a file column is called before its row is written: use current_parameters, not {name!r}"
        )


class _Parameters(dict[str, object]):
    def __missing__(self, key: str) -> object:
        raise KeyError(
            f"{key!r} has no value before the row is written; set it on the instance for the default of a file column"
        )


def fill_default(state: State, attribute: FileAttribute, asked: set[tuple[State, str]]) -> None:
    """Set the files that a column makes for a row which is about to be written, and has no file for it.

    *asked* has the attributes that were made before in the same flush, if only to None; it gets this one.
    """
    made = attribute.column.default if state.key is None else attribute.column.onupdate
    if (
        made is not None
        and not _is_sql(made)
        and not _is_empty(made)
        and (state, attribute.key) not in asked
        and _is_wanted(state, attribute)
    ):
        asked.add((state, attribute.key))
        _fill(state, attribute, made)


def _is_wanted(state: State, attribute: FileAttribute) -> bool:
    if state.key is None:
        value = state.dict.get(attribute.key)
        return value is None or _is_only_read(value, state, attribute.key)
    return not _is_changed(state, attribute.key) and _is_updated(state, attribute.column.table)


def _is_only_read(value: object, state: State, key: str) -> bool:
    """Return whether a value is the empty list that reading an attribute without a value puts into it."""
    return (
        isinstance(value, FileObjectList)
        and not value
        and key not in state.committed_state
        # an empty list that was assigned has been in a row, if a rollback has made its instance new again
        and list_state(value).committed is None
    )


def _is_updated(state: State, table: FromClause) -> bool:
    """Return whether the flush updates the instance's row of *table*."""
    mapper = state.mapper
    # a new version is written for a change of any table
    versioned = mapper.version_id_col is not None and mapper.version_id_col.table is table
    for key in list(state.committed_state):
        prop = mapper.attrs.get(key)
        is_in_row = isinstance(prop, ColumnProperty) and (versioned or _columns_of(prop, table))
        if is_in_row and _is_changed(state, key):
            return True
    return False


def _is_changed(state: State, key: str) -> bool:
    return (
        key in state.committed_state
        and state.get_history(key, PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes()
    )


def _fill(state: State, attribute: FileAttribute, made: Any) -> None:  # noqa: ANN401 - private to SQLAlchemy
    context = RowContext(state, attribute.column.table)
    value = made.arg(context) if made.is_callable else _own(made.arg, attribute)
    if value is not None or state.key is not None:
        set_attribute(state.obj(), attribute.key, value)


def _own(value: object, attribute: FileAttribute) -> object:
    """Return for one row what the column has for all of them: each row gets a file of its own."""
    match value:
        case FileObject():
            return _own_file(value, attribute)
        case list() | tuple():
            return [_own(each, attribute) for each in cast("Sequence[object]", value)]
        case _:
            return value


def _own_file(file: FileObject, attribute: FileAttribute) -> FileObject:
    state = file_state(file)
    source = state.source
    if source is None or not source.replayable or state.given_key is not None:
        raise NotSupportedError(
            f"the column {attribute.column} would give every row {file.filename!r}, which is saved, has a given key or "
            "can be read only once; use a function: default=lambda: FileObject(name, content=...)"
        )
    return file_with(FileState(Pending(source), state.facts), type(file))


def _is_sql(made: Any) -> bool:  # noqa: ANN401 - private to SQLAlchemy
    """Return whether the database makes the value."""
    return bool(made.is_clause_element or made.is_sequence)


def _is_empty(made: Any) -> bool:  # noqa: ANN401 - private to SQLAlchemy
    return getattr(made.arg, "__wrapped__", made.arg) in EMPTY if made.is_callable else not made.arg


def _missing(table: FromClause) -> dict[str, object]:
    """Return the values of a new row for what the instance does not name: None, and what is the same in all rows."""
    return {
        column.key: getattr(column.default, "arg", None)
        for column in table.columns
        if not column.primary_key
        and column.server_default is None
        and (column.default is None or column.default.is_scalar)
    }


def _values(state: State, table: FromClause) -> dict[str, object]:
    held = state.dict
    return {
        column.key: held[prop.key]
        for prop in state.mapper.column_attrs
        if prop.key in held
        for column in _columns_of(prop, table)
    }


def _columns_of(prop: ColumnProperty[Any], table: FromClause) -> Sequence[Column[Any]]:
    return [column for column in prop.columns if isinstance(column, Column) and column.table is table]
