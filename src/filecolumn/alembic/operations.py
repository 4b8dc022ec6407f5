"""Alembic's operations for triggers and the ledger; importing this module adds them to `op`.

They are `create_file_triggers`, `drop_file_triggers`, `upgrade_file_ledger`, `downgrade_file_ledger` and
`copy_files`, and work with `--sql` too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from sqlalchemy import Connection, inspect

from filecolumn.backends.registry import storages
from filecolumn.errors import MaintenanceRefusedError, MissingDependencyError
from filecolumn.ledger.columns import PREFIX, TRIGGERS, ColumnName, new_id, note_columns, translated
from filecolumn.ledger.table import LEDGER, META, read_meta
from filecolumn.ledger.triggers import (
    Target,
    column_of_fact,
    create_statements,
    drop_statements,
    forget_statements,
    literal,
    mark_arrived_statement,
    qualified,
    remember_statements,
    support_statements,
)
from filecolumn.maintenance.columns import copy_statements, named_column, recorded_name
from filecolumn.maintenance.migrate import ADDED_COLUMNS, added_columns, ledger_tables, missing_columns
from filecolumn.maintenance.triggers import execute_ddl, write_triggers

__all__ = (
    "CopyFiles",
    "CreateFileTriggers",
    "DowngradeFileLedger",
    "DropFileTriggers",
    "UpgradeFileLedger",
)

try:
    from alembic.operations import MigrateOperation, Operations
except ImportError as _missing:
    raise MissingDependencyError("migrations need Alembic: pip install alembic") from _missing


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
        ledger_schema: str | None = None,
        retention: float | None = None,
    ) -> None:
        """Create or replace the triggers of *columns* of *table*.

        *backend* is the key of the storage for rows that name none.  *schema* is the schema of the table, and of
        the ledger unless *ledger_schema* names another.  *retention* is in seconds, by default `storages.retention`.
        """
        targets = _targets(table, columns, schema, ledger_schema, backend=backend, retention=retention)
        operations.invoke(cls(targets))

    def reverse(self) -> DropFileTriggers:
        """Return the operation that undoes this one."""
        return DropFileTriggers(self.targets)


class DropFileTriggers(MigrateOperation):
    """Drop the triggers of a table's file columns."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = targets

    @classmethod
    def drop_file_triggers(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        ledger_schema: str | None = None,
    ) -> None:
        """Drop the triggers of *columns*, if they exist; *schema* and *ledger_schema* as when they were created."""
        operations.invoke(cls(_targets(table, columns, schema, ledger_schema)))


class UpgradeFileLedger(MigrateOperation):
    """Add the columns that an older release's ledger does not have."""

    def __init__(self, schema: str | None) -> None:
        self.schema = schema

    @classmethod
    def upgrade_file_ledger(cls, operations: Operations, *, schema: str | None = None) -> None:
        """Add the columns of this release that the ledger in *schema* does not have.

        With `--sql` all of them are added, because the database is not read.
        """
        operations.invoke(cls(schema))

    def reverse(self) -> DowngradeFileLedger:
        """Return the operation that undoes this one."""
        return DowngradeFileLedger(self.schema)


class DowngradeFileLedger(MigrateOperation):
    """Drop the columns that an older release's ledger does not have."""

    def __init__(self, schema: str | None) -> None:
        self.schema = schema

    @classmethod
    def downgrade_file_ledger(cls, operations: Operations, *, schema: str | None = None) -> None:
        """Drop the columns that `upgrade_file_ledger` adds.  Triggers write into them, so drop those first."""
        operations.invoke(cls(schema))

    def reverse(self) -> UpgradeFileLedger:
        """Return the operation that undoes this one."""
        return UpgradeFileLedger(self.schema)


class CopyFiles(MigrateOperation):
    """Record in the ledger that a migration copies files."""

    def __init__(self, source: str, target: str, schema: str | None) -> None:
        self.source = source
        self.target = target
        self.schema = schema

    @classmethod
    def copy_files(
        cls, operations: Operations, source: str, target: str, *, schema: str | None = None
    ) -> None:
        """Record in the ledger in *schema* that the column *target* got the files of *source*.

        It does what `filecolumn.maintenance.copy_files` does: within one table it copies *source* into *target*,
        in the rows in which that is NULL; between two tables the rows must be copied before.
        """
        operations.invoke(cls(source, target, schema))


def _targets(
    table: str,
    columns: Iterable[str],
    schema: str | None,
    ledger_schema: str | None,
    *,
    backend: str = "",
    retention: float | None = None,
) -> list[Target]:
    after = storages.retention if retention is None else retention
    return [
        Target(
            table=table,
            schema=schema,
            ledger_schema=schema if ledger_schema is None else ledger_schema,
            column=column,
            backend=backend,
            retention=after,
        )
        for column in columns
    ]


def _create(operations: Operations, operation: CreateFileTriggers) -> None:
    connection = _connection(operations)
    if connection is not None:
        write_triggers(connection, _translated(connection, operation.targets))
        return
    dialect = operations.get_context().dialect
    schemas = dict.fromkeys(target.ledger_schema for target in operation.targets)
    for schema in schemas:
        _print(operations, support_statements(schema, dialect))
    for target in operation.targets:
        _print(operations, create_statements(target, dialect))
        _print(operations, remember_statements(target, dialect))
    _print(operations, (mark_arrived_statement(schema, dialect) for schema in schemas))


def _drop(operations: Operations, operation: DropFileTriggers) -> None:
    connection = _connection(operations)
    dialect = operations.get_context().dialect
    if connection is None:
        for target in operation.targets:
            _print(operations, drop_statements(target, dialect))
            _print(operations, forget_statements(target, dialect))
        return
    for target in _translated(connection, operation.targets):
        execute_ddl(connection, drop_statements(target, dialect))
        if inspect(connection).has_table(META, schema=target.ledger_schema):
            execute_ddl(connection, forget_statements(target, dialect))


def _upgrade(operations: Operations, operation: UpgradeFileLedger) -> None:
    connection = _connection(operations)
    names: Iterable[str] = ADDED_COLUMNS
    if connection is not None:
        names = missing_columns(connection, translated(connection, operation.schema))
    for column in added_columns(operation.schema):
        if column.name in names:
            operations.add_column(LEDGER, column, schema=operation.schema)


def _downgrade(operations: Operations, operation: DowngradeFileLedger) -> None:
    connection = _connection(operations)
    if connection is not None:
        installed = read_meta(connection, ledger_tables(operation.schema), TRIGGERS)
        if installed:
            columns = ", ".join(sorted(map(column_of_fact, installed.values())))
            raise MaintenanceRefusedError(
                f"the triggers of {columns} write into the ledger's columns: "
                "drop them first, with op.drop_file_triggers()"
            )
    for name in reversed(ADDED_COLUMNS):
        operations.drop_column(LEDGER, name, schema=operation.schema)


def _copy(operations: Operations, operation: CopyFiles) -> None:
    connection = _connection(operations)
    dialect = operations.get_context().dialect
    schema = operation.schema if connection is None else translated(connection, operation.schema)
    source, target = named_column(operation.source, schema), named_column(operation.target, schema)
    name = recorded_name(target, schema)
    statements = copy_statements(source, target, schema, dialect)
    if connection is None:
        meta = qualified(dialect.identifier_preparer, schema, META)
        _print(operations, _record_statements(meta, name, literal(_recorded(name), dialect)))
        _print(operations, statements)
        return
    note_columns(connection, ledger_tables(operation.schema), [name])
    execute_ddl(connection, statements)


def _recorded(name: ColumnName) -> str:
    """Return what the meta table has of a column; all of its keys are unchecked, so it is no newer than they."""
    return json.dumps({**asdict(name), "since": 0})


def _record_statements(meta: str, name: ColumnName, value: str) -> Iterator[str]:
    fact = f"'{PREFIX}{new_id(name, set())}'"
    yield (
        f"INSERT INTO {meta} (name, value) SELECT {fact}, {value} "  # noqa: S608 - quoted
        f"WHERE NOT EXISTS (SELECT 1 FROM {meta} WHERE name = {fact})"
    )


def _connection(operations: Operations) -> Connection | None:
    """Return the connection; None if statements are only printed."""
    context = operations.get_context()
    return None if context.as_sql else context.connection


def _translated(connection: Connection, targets: Iterable[Target]) -> list[Target]:
    return [
        replace(
            target,
            schema=translated(connection, target.schema),
            ledger_schema=translated(connection, target.ledger_schema),
        )
        for target in targets
    ]


def _print(operations: Operations, statements: Iterable[str]) -> None:
    """Write statements as they are: compiled, their percent signs would be doubled for a driver."""
    impl = operations.get_context().impl
    for statement in statements:
        impl.static_output(statement.strip() + impl.command_terminator)


Operations.register_operation("create_file_triggers")(CreateFileTriggers)
Operations.register_operation("drop_file_triggers")(DropFileTriggers)
Operations.register_operation("upgrade_file_ledger")(UpgradeFileLedger)
Operations.register_operation("downgrade_file_ledger")(DowngradeFileLedger)
Operations.register_operation("copy_files")(CopyFiles)
Operations.implementation_for(CreateFileTriggers)(_create)
Operations.implementation_for(DropFileTriggers)(_drop)
Operations.implementation_for(UpgradeFileLedger)(_upgrade)
Operations.implementation_for(DowngradeFileLedger)(_downgrade)
Operations.implementation_for(CopyFiles)(_copy)
