"""The file columns that a database has recorded: list them, follow a renaming, forget one that is gone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from filecolumn.errors import MaintenanceRefusedError
from filecolumn.maintenance.models import Models, known_ledger, refuse_autocommit
from filecolumn.maintenance.required import require_ledger
from filecolumn.maintenance.view import View, look_at
from filecolumn.orm.columns import ColumnName, RecordedColumn, forget_column, rename_column
from filecolumn.orm.ledger import Ledger, State
from filecolumn.orm.recording import speaking
from filecolumn.orm.references import why_incomplete

__all__ = ("ColumnReport", "forget_file_column", "list_file_columns", "rename_file_column")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """A file column that has taken keys."""

    name: str
    """`table.column`, or `schema.table.column` where that is not the ledger's own schema."""
    live: int
    """Keys that it took, and that are live."""
    problem: str = ""
    """Why it cannot be read completely; empty if it can."""


def list_file_columns(engine: Engine, *models: Models) -> list[ColumnReport]:
    """Return the file columns that have ever taken a key, with what keeps them from being read."""
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    columns = ledger.table.c
    count = (
        select(columns.held_in, func.count())
        .where(columns.state == State.LIVE.value)
        .group_by(columns.held_in)
    )
    with speaking(ledger), engine.connect() as connection:
        view = look_at(connection, ledger, metadatas)
        live: dict[str | None, int] = {held_in: number for held_in, number in connection.execute(count)}  # noqa: C416 - typed rows
        return [
            ColumnReport(
                name=str(each.name),
                live=live.get(each.id, 0),
                problem=_problem(connection, ledger, view, each),
            )
            for each in sorted(view.recorded, key=lambda each: each.name)
        ]


def rename_file_column(engine: Engine, *models: Models, old: str, new: str) -> None:
    """Say that the column *old* is called *new* since a migration; both as `table.column`.

    MaintenanceRefusedError if *old* was never recorded, is still there, or *new* is not there.
    """
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    with speaking(ledger), engine.begin() as connection:
        view = look_at(connection, ledger, metadatas)
        recorded, name = _find(view, old), _parse(new)
        if not _problem(connection, ledger, view, recorded):
            raise MaintenanceRefusedError(f"{old} is still there; rename it in the database first")
        if why := why_incomplete(connection, view.read_name(connection, ledger, name)):
            raise MaintenanceRefusedError(f"{new} cannot be read: {why}")
        for other in view.recorded:
            if other.name == name:
                _merge(connection, ledger, recorded, other)
                return
        rename_column(connection, ledger, recorded, name)


def forget_file_column(engine: Engine, *models: Models, name: str) -> None:
    """Say that a recorded column is gone for good, with its files: they are reported, and not looked for in it.

    MaintenanceRefusedError if it was never recorded, or is still there.
    """
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    with speaking(ledger), engine.begin() as connection:
        view = look_at(connection, ledger, metadatas)
        recorded = _find(view, name)
        if why_incomplete(connection, view.read_name(connection, ledger, recorded.name)) is None:
            raise MaintenanceRefusedError(f"{name} is still there, and its rows may hold files")
        forget_column(connection, ledger, recorded)


def _merge(connection: Connection, ledger: Ledger, old: RecordedColumn, into: RecordedColumn) -> None:
    """Let the keys of a renamed column be those of its new name, under which processes take keys already."""
    columns = ledger.table.c
    connection.execute(ledger.table.update().where(columns.held_in == old.id).values(held_in=into.id))
    forget_column(connection, ledger, old)


def _problem(connection: Connection, ledger: Ledger, view: View, column: RecordedColumn) -> str:
    return why_incomplete(connection, view.read_name(connection, ledger, column.name)) or ""


def _find(view: View, name: str) -> RecordedColumn:
    wanted = _parse(name)
    for each in view.recorded:
        if each.name == wanted:
            return each
    known = ", ".join(str(each.name) for each in view.recorded) or "none"
    raise MaintenanceRefusedError(f"no column {name} is recorded; recorded: {known}")


def _parse(name: str) -> ColumnName:
    match name.split("."):
        case [table, column] if table and column:
            return ColumnName("", table, column)
        case [schema, table, column] if schema and table and column:
            return ColumnName(schema, table, column)
        case _:
            raise ValueError(f"{name!r}: write table.column, or schema.table.column")
