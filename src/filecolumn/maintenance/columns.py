"""The file columns that a database has recorded: list them, follow a renaming, forget one that is gone.

`copy_files` tells the ledger of files that SQL has copied from row to row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Dialect, Engine, func, select

from filecolumn.errors import MaintenanceRefusedError
from filecolumn.ledger.columns import (
    ColumnName,
    RecordedColumn,
    forget_column,
    note_columns,
    rename_column,
    translated,
)
from filecolumn.ledger.table import LEDGER, Ledger, State
from filecolumn.ledger.transitions import rename_column_id, speaking
from filecolumn.ledger.triggers import identifier, qualified
from filecolumn.maintenance.ground import FileColumns, find_file_columns, read_name
from filecolumn.maintenance.required import Models, known_ledger, require_ledger, require_tables
from filecolumn.orm.catalogue import ReadColumn, column_type, why_incomplete

__all__ = (
    "ColumnReport",
    "copy_files",
    "copy_statements",
    "forget_file_column",
    "list_file_columns",
    "named_column",
    "recorded_name",
    "rename_file_column",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """A file column that has taken keys."""

    name: str
    """`table.column`, or `schema.table.column` where that is not the ledger's own schema."""
    live: int
    """How many live keys it took."""
    problem: str = ""
    """Why it cannot be read completely; empty if it can."""


def list_file_columns(engine: Engine, *models: Models) -> list[ColumnReport]:
    """Return the file columns that have ever taken a key, each with its problem if it cannot be read.

    Raises MissingLedgerError without the ledger's tables.
    """
    ledger, metadatas = require_tables(engine, models)
    columns = ledger.table.c
    count = (
        select(columns.held_in, func.count())
        .where(columns.state == State.LIVE.value)
        .group_by(columns.held_in)
    )
    with speaking(ledger), engine.connect() as connection:
        file_columns = find_file_columns(connection, ledger, metadatas)
        live: dict[str | None, int] = {held_in: number for held_in, number in connection.execute(count)}  # noqa: C416 - typed rows
        return [
            ColumnReport(
                name=str(each.name),
                live=live.get(each.id, 0),
                problem=_problem(connection, ledger, file_columns, each),
            )
            for each in sorted(file_columns.recorded, key=lambda each: each.name)
        ]


def rename_file_column(engine: Engine, *models: Models, old: str, new: str) -> None:
    """Record that a migration renamed the column *old* to *new*; both are written `table.column`.

    Raises MaintenanceRefusedError if *old* was never recorded or still exists, or if *new* does not exist.
    """
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    with speaking(ledger), engine.begin() as connection:
        file_columns = find_file_columns(connection, ledger, metadatas)
        recorded, name = _find(file_columns, old), _parse(new)
        if not _problem(connection, ledger, file_columns, recorded):
            raise MaintenanceRefusedError(f"{old} is still there; rename it in the database first")
        if why := why_incomplete(connection, read_name(connection, ledger, name)):
            raise MaintenanceRefusedError(f"{new} cannot be read: {why}")
        for other in file_columns.recorded:
            if other.name == name:
                _merge(connection, ledger, recorded, other)
                return
        rename_column(connection, ledger, recorded, name)


def forget_file_column(engine: Engine, *models: Models, name: str) -> None:
    """Record that a column was dropped for good: it is not read any more, and its files are reported.

    Raises MaintenanceRefusedError if the column was never recorded, or still exists.
    """
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    with speaking(ledger), engine.begin() as connection:
        file_columns = find_file_columns(connection, ledger, metadatas)
        recorded = _find(file_columns, name)
        if why_incomplete(connection, read_name(connection, ledger, recorded.name)) is None:
            raise MaintenanceRefusedError(f"{name} is still there, and its rows may hold files")
        forget_column(connection, ledger, recorded)


def _merge(connection: Connection, ledger: Ledger, old: RecordedColumn, into: RecordedColumn) -> None:
    """Let the keys of a renamed column be those of its new name, under which processes take keys already."""
    rename_column_id(connection, ledger, old.id, into.id)
    forget_column(connection, ledger, old)


def _problem(
    connection: Connection, ledger: Ledger, file_columns: FileColumns, column: RecordedColumn
) -> str:
    return why_incomplete(connection, read_name(connection, ledger, column.name)) or ""


def _find(file_columns: FileColumns, name: str) -> RecordedColumn:
    wanted = _parse(name)
    for each in file_columns.recorded:
        if each.name == wanted:
            return each
    known = ", ".join(str(each.name) for each in file_columns.recorded) or "none"
    raise MaintenanceRefusedError(f"no column {name} is recorded; recorded: {known}")


def _parse(name: str) -> ColumnName:
    """Return a column by its name; the schema is empty if the name does not say it."""
    match name.split("."):
        case [table, column] if table and column:
            return ColumnName("", table, column)
        case [schema, table, column] if schema and table and column:
            return ColumnName(schema, table, column)
        case _:
            raise ValueError(f"{name!r} is not a column: write table.column or schema.table.column")


_RAW: dict[str, object] = {"no_parameters": True, "preserve_rowcount": True}
"""The driver formats nothing, and the count is kept."""


def copy_files(engine: Engine, *models: Models, source: str, target: str) -> int:
    """Record that the column *target* got the files of *source* by SQL, and return the number of keys.

    From then on no commit deletes their content by itself; a drain first looks whether another row references it.

    Columns are written `table.column`, or `schema.table.column` if the schema is not the ledger's.  Within one
    table this call itself copies *source* into *target*, in the rows in which that is NULL.  Between two tables the
    rows must be copied before, such as by INSERT ... SELECT.

    Raises FileColumnError if a column is not in the database, or not all of its rows can be read, and
    MissingLedgerError without the ledger's tables.
    """
    ledger, _ = require_tables(engine, models)
    with engine.begin() as connection:
        schema = translated(connection, ledger.table.schema)
        columns = named_column(source, schema), named_column(target, schema)
        for column in columns:
            column_type(connection, column)
        note_columns(connection, ledger, [recorded_name(columns[1], schema)])
        counted = 0
        for statement in copy_statements(*columns, schema, connection.dialect):
            counted = connection.exec_driver_sql(statement, execution_options=_RAW).rowcount
        return counted


def named_column(name: str, schema: str | None) -> ReadColumn:
    """Return the column of a name; *schema* is where it is if the name does not say."""
    parsed = _parse(name)
    return ReadColumn(parsed.schema or schema, parsed.table, parsed.column)


def recorded_name(column: ReadColumn, ledger_schema: str | None) -> ColumnName:
    """Return the name by which the meta table lists a column."""
    schema = "" if column.schema == ledger_schema else column.schema or ""
    return ColumnName(schema, column.table, column.column)


def copy_statements(
    source: ReadColumn, target: ReadColumn, ledger_schema: str | None, dialect: Dialect
) -> Iterator[str]:
    """Yield what fills the target, within one table, and last what marks its keys as perhaps held twice.

    A value that SQL does not read may hold any key, so with one of them every key is marked.
    """
    quote = dialect.identifier_preparer
    table = qualified(quote, target.schema, target.table)
    column = identifier(quote, target.column)
    if (source.schema, source.table) == (target.schema, target.table):
        given = identifier(quote, source.column)
        yield f"UPDATE {table} SET {column} = {given} WHERE {column} IS NULL AND {given} IS NOT NULL"  # noqa: S608
    ledger = qualified(quote, ledger_schema, LEDGER)
    match dialect.name:
        case "sqlite":
            yield _marked(ledger, _in_sqlite(table, column))
        case "postgresql":
            yield _marked(ledger, _in_postgresql(table, column))
        case _:
            yield _marked_in_mysql(ledger, _in_mysql(table, column))


def _marked(ledger: str, files: str) -> str:
    return f"""
UPDATE {ledger} SET checked = false, fresh = false
WHERE key IN (SELECT file.file_key FROM ({files}) AS file)
OR EXISTS (SELECT 1 FROM ({files}) AS file WHERE file.file_key IS NULL)"""  # noqa: S608 - quoted


def _marked_in_mysql(ledger: str, files: str) -> str:
    # joins: with IN and EXISTS, the column would be read anew for each row of the ledger
    return f"""
UPDATE {ledger} AS entry
LEFT JOIN (SELECT DISTINCT file_key FROM ({files}) AS file WHERE file_key IS NOT NULL) AS held
  ON held.file_key = entry.`key`
JOIN (SELECT COUNT(*) AS found FROM ({files}) AS file WHERE file_key IS NULL) AS unread
SET entry.checked = FALSE, entry.fresh = FALSE
WHERE held.file_key IS NOT NULL OR unread.found > 0"""  # noqa: S608 - quoted


def _in_sqlite(table: str, column: str) -> str:
    """Return the query for the key of each file that a column holds, as text; NULL for what it does not read."""
    value = f"""CASE WHEN typeof(held.{column}) = 'text' AND json_valid(held.{column})
    THEN held.{column} ELSE '""' END"""
    items = f"CASE WHEN json_type({value}) = 'array' THEN {value} ELSE '[' || {value} || ']' END"

    def part(name: str) -> str:
        return f"json_extract(item.value, '$.{name}')"

    return f"""
  SELECT CASE WHEN item.type = 'object' THEN CASE WHEN coalesce({part("v")}, 1) = 1
    THEN coalesce({part("to_filename")}, {part("filename")}) END END AS file_key
  FROM {table} AS held, json_each({items}) AS item
  WHERE held.{column} IS NOT NULL AND item.type <> 'null'
"""  # noqa: S608 - quoted


def _in_postgresql(table: str, column: str) -> str:
    # whatever the column's type is
    value = f"to_jsonb(held.{column})"
    return f"""
  SELECT CASE WHEN jsonb_typeof(item) = 'object' AND coalesce(item ->> 'v', '1') = '1'
    THEN coalesce(item ->> 'to_filename', item ->> 'filename') END AS file_key
  FROM {table} AS held, jsonb_array_elements(
    CASE jsonb_typeof({value}) WHEN 'array' THEN {value} ELSE jsonb_build_array({value}) END) AS item
  WHERE held.{column} IS NOT NULL AND jsonb_typeof(item) <> 'null'
"""  # noqa: S608 - quoted


def _in_mysql(table: str, column: str) -> str:
    value = f"""IF(JSON_VALID(held.{column}), held.{column}, '""')"""
    items = f"IF(JSON_TYPE({value}) = 'ARRAY', {value}, CONCAT('[', {value}, ']'))"
    paths = (
        "item JSON PATH '$', v VARCHAR(20) PATH '$.v', "
        "to_filename VARCHAR(700) PATH '$.to_filename', filename VARCHAR(700) PATH '$.filename'"
    )
    key = "IF(COALESCE(item.v, '1') = '1', COALESCE(item.to_filename, item.filename), NULL)"
    return f"""
  SELECT CONVERT({key} USING utf8mb4) COLLATE utf8mb4_bin AS file_key
  FROM {table} AS held, JSON_TABLE({items}, '$[*]' COLUMNS ({paths})) AS item
  WHERE held.{column} IS NOT NULL AND COALESCE(JSON_TYPE(item.item), 'NULL') <> 'NULL'
"""  # noqa: S608 - quoted
