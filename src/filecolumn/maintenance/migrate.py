"""Bring the tables of a ledger to what this release writes; Alembic's operation is `op.upgrade_file_ledger`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Column, Connection, Engine, MetaData, Table, inspect

from filecolumn.ledger.columns import recorded_columns, translated
from filecolumn.ledger.table import LEDGER, Ledger, add_ledger, ledger_of
from filecolumn.ledger.triggers import ddl, qualified
from filecolumn.maintenance.required import Models, known_ledger, refuse_autocommit
from filecolumn.orm.creation import new_columns, record_tables

__all__ = ("ADDED_COLUMNS", "added_columns", "ledger_tables", "migrate", "missing_columns")

ADDED_COLUMNS = ("held_in", "fresh", "unreferenced_since")
"""What the first release's ledger does not have."""


def migrate(engine: Engine, *models: Models, dry_run: bool = False) -> list[str]:
    """Create the tables and columns that the ledger lacks in the database, and return what was done, in sentences.

    It removes nothing, and does nothing if nothing is missing.  With *dry_run* it changes nothing, and the sentences
    say what would be done.
    """
    ledger, metadatas = known_ledger(models)
    refuse_autocommit(engine)
    if dry_run:
        with engine.connect() as connection:
            return [
                *_missing_columns(connection, ledger),
                *(f"create the table {table.name}" for table in _missing_tables(connection, ledger)),
                *_unrecorded(connection, ledger, metadatas),
            ]
    with engine.begin() as connection:
        before = _recorded(connection, ledger)
        return [
            *_add_columns(connection, ledger),
            *_create_tables(connection, ledger),
            *_record_columns(connection, ledger, metadatas, before),
        ]


def ledger_tables(schema: str | None) -> Ledger:
    """Return the tables of a ledger, in a `MetaData` of their own."""
    metadata = MetaData(schema=schema)
    add_ledger(metadata)
    ledger = ledger_of(metadata)
    assert ledger is not None  # noqa: S101 - they were added
    return ledger


def added_columns(schema: str | None) -> list[Column[object]]:
    """Return the columns of `ADDED_COLUMNS`."""
    return [ledger_tables(schema).table.columns[name] for name in ADDED_COLUMNS]


def missing_columns(connection: Connection, schema: str | None) -> list[str]:
    """Return which of `ADDED_COLUMNS` the ledger in *schema* lacks; the ledger is there."""
    present = {column["name"] for column in inspect(connection).get_columns(LEDGER, schema=schema)}
    return [name for name in ADDED_COLUMNS if name not in present]


def _missing_columns(connection: Connection, ledger: Ledger) -> Iterator[str]:
    schema = translated(connection, ledger.table.schema)
    if inspect(connection).has_table(LEDGER, schema=schema):
        for name in missing_columns(connection, schema):
            yield f"add the column {name} to the table {LEDGER}"


def _unrecorded(connection: Connection, ledger: Ledger, metadatas: Sequence[MetaData]) -> Iterator[str]:
    has_meta = inspect(connection).has_table(
        ledger.meta.name, schema=translated(connection, ledger.meta.schema)
    )
    recorded = recorded_columns(connection, ledger) if has_meta else []
    known = {each.name for each in recorded}
    found = {
        str(name) for metadata in metadatas for name in new_columns(connection, ledger, metadata, (), known)
    }
    for name in sorted(found):
        yield f"record the file column {name}"


def _add_columns(connection: Connection, ledger: Ledger) -> Iterator[str]:
    schema = translated(connection, ledger.table.schema)
    if not inspect(connection).has_table(LEDGER, schema=schema):
        return
    quote = connection.dialect.identifier_preparer
    table = qualified(quote, schema, LEDGER)
    # another process may be doing the same
    unless = "" if connection.dialect.name in {"sqlite", "mysql"} else "IF NOT EXISTS "
    for name in missing_columns(connection, schema):
        kind = ledger.table.columns[name].type.compile(connection.dialect)
        connection.execute(ddl(f"ALTER TABLE {table} ADD COLUMN {unless}{name} {kind}"))
        yield f"added the column {name} to the table {LEDGER}"


def _missing_tables(connection: Connection, ledger: Ledger) -> list[Table]:
    has_table = inspect(connection).has_table
    tables = (ledger.table, ledger.meta)
    return [
        table for table in tables if not has_table(table.name, schema=translated(connection, table.schema))
    ]


def _create_tables(connection: Connection, ledger: Ledger) -> Iterator[str]:
    missing = _missing_tables(connection, ledger)
    if missing:
        ledger.table.metadata.create_all(connection, tables=missing)
    for table in missing:
        yield f"created the table {table.name}"


def _recorded(connection: Connection, ledger: Ledger) -> set[str]:
    schema = translated(connection, ledger.meta.schema)
    if not inspect(connection).has_table(ledger.meta.name, schema=schema):
        return set()
    return {str(column.name) for column in recorded_columns(connection, ledger)}


def _record_columns(
    connection: Connection, ledger: Ledger, metadatas: Sequence[MetaData], before: set[str]
) -> Iterator[str]:
    """Record the file columns that are in the database, as flushes do; creating the tables has recorded some."""
    for metadata in metadatas:
        record_tables(connection, ledger, metadata)
    for name in sorted(_recorded(connection, ledger) - before):
        yield f"recorded the file column {name}"
