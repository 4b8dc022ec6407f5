"""Alembic's operations: importing this module gives `op.create_file_triggers` and `op.drop_file_triggers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from filecolumn.errors import MissingDependencyError
from filecolumn.maintenance.trigger_sql import (
    Target,
    create_statements,
    ddl,
    drop_statements,
    support_statements,
)
from filecolumn.registry import storages

try:
    from alembic.operations import MigrateOperation, Operations
except ImportError as _missing:
    raise MissingDependencyError("migrations need Alembic: pip install alembic") from _missing

__all__ = ("CreateFileTriggers", "DropFileTriggers")


class CreateFileTriggers(MigrateOperation):
    """Create the triggers of a table's file columns."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = targets

    @classmethod
    def create_file_triggers(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str],
        *,
        backend: str,
        schema: str | None = None,
        retention: float | None = None,
    ) -> None:
        """Create the triggers of *columns*; *backend* is the storage of rows that name none.

        *retention* is in seconds, by default `storages.retention`.
        """
        operations.invoke(cls(_targets(table, columns, backend, schema, retention)))

    def reverse(self) -> DropFileTriggers:
        """Return the operation that undoes this one."""
        return DropFileTriggers(self.targets)


class DropFileTriggers(MigrateOperation):
    """Drop the triggers of a table's file columns."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = targets

    @classmethod
    def drop_file_triggers(
        cls, operations: Operations, table: str, columns: Sequence[str], *, schema: str | None = None
    ) -> None:
        """Drop the triggers of *columns*, where they are."""
        operations.invoke(cls(_targets(table, columns, "", schema, 0.0)))


def _targets(
    table: str, columns: Iterable[str], backend: str, schema: str | None, retention: float | None
) -> list[Target]:
    after = storages.retention if retention is None else retention
    return [
        Target(table=table, schema=schema, column=column, backend=backend, retention=after)
        for column in columns
    ]


def _create(operations: Operations, operation: CreateFileTriggers) -> None:
    dialect = operations.get_context().dialect
    for schema in dict.fromkeys(target.schema for target in operation.targets):
        _execute(operations, support_statements(schema, dialect))
    for target in operation.targets:
        _execute(operations, create_statements(target, dialect))


def _drop(operations: Operations, operation: DropFileTriggers) -> None:
    dialect = operations.get_context().dialect
    for target in operation.targets:
        _execute(operations, drop_statements(target, dialect))


def _execute(operations: Operations, statements: Iterator[str]) -> None:
    for statement in statements:
        operations.execute(ddl(statement))


Operations.register_operation("create_file_triggers")(CreateFileTriggers)
Operations.register_operation("drop_file_triggers")(DropFileTriggers)
Operations.implementation_for(CreateFileTriggers)(_create)
Operations.implementation_for(DropFileTriggers)(_drop)
