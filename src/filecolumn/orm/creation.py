"""What `create_all` leaves in the meta table: the database's id, and the file columns of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, MetaData, Table, inspect

from filecolumn.ledger.columns import ColumnName, name_of, note_columns, recorded_columns, translated
from filecolumn.ledger.table import DATABASE_ID, Ledger, add_meta, has_ledgers, ledger_of
from filecolumn.naming import uuid7_hex
from filecolumn.orm.column import StoredObject

__all__ = ("new_columns", "record_created", "record_tables")


def record_created(connection: Connection, metadata: MetaData, created: Sequence[Table]) -> None:
    """Record the file columns of *metadata*, of which tables were just *created*, if its ledger is in the database."""
    ledger = ledger_of(metadata)
    if ledger is None or not has_ledgers(connection.dialect):
        return
    if ledger.meta in created or _exists(connection, ledger.meta):
        record_tables(connection, ledger, metadata, created=created)


def record_tables(
    connection: Connection, ledger: Ledger, metadata: MetaData, *, created: Sequence[Table] = ()
) -> None:
    """Record the database's id, if it has none, and the file columns of *metadata* that are there."""
    add_meta(connection, ledger, {DATABASE_ID: uuid7_hex()})
    known = {each.name for each in recorded_columns(connection, ledger)}
    note_columns(connection, ledger, new_columns(connection, ledger, metadata, created, known))


def new_columns(
    connection: Connection,
    ledger: Ledger,
    metadata: MetaData,
    created: Sequence[Table],
    known: set[ColumnName],
) -> Iterator[ColumnName]:
    """Yield the file columns of *metadata* that are in the database, or just *created*, and not *known*."""
    for table in metadata.tables.values():
        names = {
            name_of(connection, ledger, table, column.name)
            for column in table.columns
            if isinstance(column.type, StoredObject)
        } - known
        if not names:
            continue
        if table not in created:
            if not _exists(connection, table):
                continue
            there = inspect(connection).get_columns(table.name, schema=translated(connection, table.schema))
            names &= {name_of(connection, ledger, table, column["name"]) for column in there}
        yield from sorted(names)


def _exists(connection: Connection, table: Table) -> bool:
    return inspect(connection).has_table(table.name, schema=translated(connection, table.schema))
