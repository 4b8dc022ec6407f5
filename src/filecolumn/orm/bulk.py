"""The hook for INSERT, UPDATE and DELETE statements of a session, which pass the flush by."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Result, event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session

from filecolumn.errors import NotSupportedError
from filecolumn.orm.attributes import note_table
from filecolumn.orm.columns import translating
from filecolumn.orm.dml import Dml, read_statement, target_of
from filecolumn.orm.frames import note_other_dml
from filecolumn.orm.inserts import Insertion, Replacement
from filecolumn.orm.statement_unit import StatementUnit
from filecolumn.orm.statements import dml_of, execute_last, may_copy_files, selected_names, strategy_of
from filecolumn.orm.uniques import keys_that_conflict, may_replace
from filecolumn.orm.updates import Deletion, Update

__all__ = ("install_for",)

_installed: set[type[Session]] = set()


def install_for(mapper: Mapper[object], class_: type[object]) -> None:
    """Listen for statements once there is a table with files."""
    if note_table(mapper) and Session not in _installed:
        _installed.add(Session)
        event.listen(Session, "do_orm_execute", _on_execute)


def _on_execute(context: ORMExecuteState) -> Result[Any] | None:
    if context.is_select:
        return None
    statement = dml_of(context)
    if statement is None or target_of(statement, strategy_of(context), context.parameters) is None:
        if may_copy_files(context, statement):
            note_other_dml(context.session)
        return None
    return execute_last(context, _execute)


def _execute(context: ORMExecuteState) -> Result[Any] | None:
    dml = read_statement(context)
    if dml is None:
        return None
    with _translated(context):
        unit = _unit(context, dml)
        return None if unit is None else unit.run()


@contextmanager
def _translated(context: ORMExecuteState) -> Generator[None]:
    """Let the session's connection translate schemas as the statement does, which may have its own tenant."""
    translation = context.execution_options.get("schema_translate_map")
    if translation is None:
        yield
        return
    with translating(context.session.connection(context.bind_arguments), translation):
        yield


def _unit(context: ORMExecuteState, dml: Dml) -> StatementUnit | None:
    """Return what settles a statement; None if it touches no file."""
    if context.is_delete:
        return Deletion(context, dml)
    if context.is_update:
        return Update(context, dml) if any(values.cells for values in dml.sets) else None
    for name in selected_names(dml.statement):
        if (attribute := dml.attribute_of(name)) is not None:
            raise NotSupportedError(
                f"from_select() cannot fill the column {attribute.key!r}: two rows would share the content; "
                "leave the column out, or load the rows and add new ones"
            )
    if may_replace(dml):
        return Replacement(context, dml, keys_that_conflict(dml))
    gives = any(cell.files for values in dml.sets for cell in values.cells.values())
    return Insertion(context, dml) if gives else None
