"""What a database itself says of tables and columns, which no model says.

Where a column is, of which type, and whether all of its rows can be read; whether triggers, rules or
row-level security act on a table; whether its engine has transactions; about how many rows it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    ColumnClause,
    Connection,
    Dialect,
    Engine,
    MetaData,
    Table,
    TableClause,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.exc import DBAPIError

from filecolumn.errors import FileColumnError, NotSupportedError
from filecolumn.ledger.columns import translated
from filecolumn.orm.column import StoredObject

__all__ = (
    "ROW_IDS",
    "AnyColumn",
    "ColumnFacts",
    "IncompleteColumnError",
    "ReadColumn",
    "TableRules",
    "as_text",
    "column_type",
    "estimated_rows",
    "file_columns",
    "is_view",
    "key_names",
    "read_column",
    "read_columns",
    "readable_facts",
    "refuse_without_transactions",
    "rules_of",
    "why_incomplete",
)


class IncompleteColumnError(FileColumnError, RuntimeError):
    """A column cannot be read completely, so nothing may be concluded from what was not found in it."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f"{column} cannot be read completely: {why}")
        self.column: str = column
        self.why: str = why


# Columns


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column to be read, by the names that it has in the database."""

    schema: str | None
    """None: where the connection looks for a table without one."""
    table: str
    column: str
    is_view: bool = False

    def __str__(self) -> str:
        return ".".join(filter(None, (self.schema, self.table, self.column)))

    def in_sql(self) -> tuple[TableClause, ColumnClause[Any]]:
        """Return the table and the column, for SQL that is not to be translated to another schema."""
        column: ColumnClause[Any] = bare_column(self.column)
        return bare_table(self.table, column, schema=self.schema), column


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What the database says of a column without reading it."""

    schema: str | None
    """Where its table was found."""
    type: str
    """Its type's name, in lower case."""
    is_view: bool = False
    problem: str | None = None
    """Why not all of its rows can be read."""


AnyColumn = Column[Any] | ReadColumn


def read_column(connection: Connection, column: AnyColumn) -> ReadColumn:
    """Return a model's column by its names in the database, as the connection translates schemas."""
    if isinstance(column, ReadColumn):
        return column
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - a mapped column's table
    return ReadColumn(connection.schema_for_object(table), table.name, column.name)


def read_columns(connection: Connection, metadatas: Iterable[MetaData]) -> list[ReadColumn]:
    """Return the file columns of models that are in the database, each once however many models have it."""
    return [
        replace(read_column(connection, column), is_view=facts.is_view)
        for column, facts in _file_columns(connection, metadatas)
    ]


def file_columns(connection: Connection, metadatas: Iterable[MetaData]) -> list[Column[object]]:
    """Return the `StoredObject` columns that are in the database, each once however many models have it."""
    return [column for column, _ in _file_columns(connection, metadatas)]


def why_incomplete(connection: Connection, column: AnyColumn) -> str | None:
    """Return why not all rows of a column can be read, as far as it shows before they are; None if nothing does."""
    return _facts_of(connection, read_column(connection, column)).problem


def is_view(connection: Connection, column: AnyColumn) -> bool:
    """Return whether a column is a view's: then its files are those of a table."""
    return _facts_of(connection, read_column(connection, column)).is_view


def column_type(connection: Connection, column: AnyColumn) -> str:
    """Return the name of the type that a column has in the database, in lower case; IncompleteColumnError if none."""
    return readable_facts(connection, read_column(connection, column)).type


def _file_columns(
    connection: Connection, metadatas: Iterable[MetaData]
) -> Iterator[tuple[Column[object], ColumnFacts]]:
    found: set[ReadColumn] = set()
    for metadata in metadatas:
        for table in metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, StoredObject):
                    name = read_column(connection, column)
                    facts = _facts_in_catalogue(connection, name)
                    if facts is not None and (full_name := replace(name, schema=facts.schema)) not in found:
                        found.add(full_name)
                        yield column, facts


def _facts_of(connection: Connection, column: ReadColumn) -> ColumnFacts:
    try:
        facts = _facts_in_catalogue(connection, column)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return ColumnFacts(
            column.schema, "", problem=f"the database's catalogue cannot be read: {error.orig}"
        )
    return facts or ColumnFacts(column.schema, "", problem="it is not in the database")


def readable_facts(connection: Connection, column: ReadColumn) -> ColumnFacts:
    """Return what the database says of a column; IncompleteColumnError if not all of its rows can be read."""
    facts = _facts_of(connection, column)
    if facts.problem is not None:
        raise IncompleteColumnError(str(column), facts.problem)
    return facts


def _facts_in_catalogue(connection: Connection, column: ReadColumn) -> ColumnFacts | None:
    """Ask the database's catalogue: SQLAlchemy's inspector warns of each type in the table that it does not know."""
    match connection.dialect.name:
        case "sqlite":
            return _facts_in_sqlite(connection, column)
        case "postgresql":
            return _facts_in_postgresql(connection, column)
        case _:
            return _facts_in_mysql(connection, column)


def _facts_in_sqlite(connection: Connection, column: ReadColumn) -> ColumnFacts | None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    attached = {str(row[1]).lower() for row in connection.exec_driver_sql("PRAGMA database_list")}
    if column.schema and column.schema.lower() not in attached:
        return None
    schema = f"{quote(column.schema)}." if column.schema else ""
    rows = connection.exec_driver_sql(f"PRAGMA {schema}table_xinfo({quote(column.table)})")
    types = {str(row[1]).lower(): str(row[2]).lower() for row in rows}
    if (found := types.get(column.column.lower())) is None:
        return None
    views = text(f"SELECT name FROM {schema}sqlite_master WHERE type = 'view' AND lower(name) = lower(:name)")  # noqa: S608
    is_view = connection.scalar(views, {"name": column.table}) is not None
    return ColumnFacts(column.schema or "main", found, is_view)


def key_names(connection: Connection, column: ReadColumn) -> list[str]:
    """Return by what SQLite keeps the rows of a table in order: its row id, or the primary key if it has none."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = f"{quote(column.schema)}." if column.schema else ""
    columns = connection.exec_driver_sql(f"PRAGMA {schema}table_xinfo({quote(column.table)})").all()
    taken = {str(row[1]).lower() for row in columns}
    for row_id in (name for name in ROW_IDS if name not in taken):
        try:
            connection.exec_driver_sql(f"SELECT {row_id} FROM {schema}{quote(column.table)} LIMIT 0")  # noqa: S608
        except DBAPIError as error:
            if "no such column" not in str(error.orig):
                raise
            break
        return [row_id]
    return [name for _, name in sorted((row[5], str(row[1])) for row in columns if row[5])]


ROW_IDS = ("rowid", "_rowid_", "oid")
"""The names of SQLite's row id, of which columns may have some: https://sqlite.org/lang_createtable.html#rowid"""


_POSTGRESQL_COLUMN = """
SELECT n.nspname, t.typname, c.relkind IN ('v', 'm'), row_security_active(c.oid),
  has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = :table AND a.attname = :column AND
"""


def _facts_in_postgresql(connection: Connection, column: ReadColumn) -> ColumnFacts | None:
    is_there = "n.nspname = :schema" if column.schema else "pg_catalog.pg_table_is_visible(c.oid)"
    names = {"table": column.table, "column": column.column}
    if column.schema:
        names["schema"] = column.schema
    row = connection.execute(text(_POSTGRESQL_COLUMN + is_there), names).one_or_none()
    if row is None:
        return None
    schema, kind, is_view, is_filtered, is_allowed = row
    problem = None
    if not is_allowed:
        problem = "this role may not select it"
    elif is_filtered:
        problem = "row-level security hides rows of the table from this role; run as one with BYPASSRLS"
    return ColumnFacts(str(schema), str(kind).lower(), bool(is_view), problem)


_MYSQL_COLUMN = """
SELECT c.table_schema, c.data_type, t.table_type = 'VIEW', c.privileges
FROM information_schema.columns c
JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = coalesce(:schema, database()) AND c.table_name = :table AND c.column_name = :column
"""


def _facts_in_mysql(connection: Connection, column: ReadColumn) -> ColumnFacts | None:
    names = {"schema": column.schema, "table": column.table, "column": column.column}
    row = connection.execute(text(_MYSQL_COLUMN), names).first()
    if row is None:
        return None
    schema, kind, is_view, privileges = row
    problem = None if "select" in str(privileges).lower() else "this user may not select it"
    return ColumnFacts(as_text(schema), as_text(kind).lower(), bool(is_view), problem)


def as_text(value: object) -> str:
    """Return what the catalogue of MariaDB or MySQL says, which some drivers give as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


# Sizes


def estimated_rows(connection: Connection, of: AnyColumn | Table) -> int | None:
    """Return about how many rows a table has, as the database estimates without reading them; None if it cannot tell.

    *of* is the table or a column of it.
    """
    if isinstance(of, Table):
        schema, name = connection.schema_for_object(of), of.name
    else:
        column = read_column(connection, of)
        schema, name = column.schema, column.table
    estimate = {"sqlite": _rows_in_sqlite, "postgresql": _rows_in_postgresql}.get(
        connection.dialect.name, _rows_in_mysql
    )
    try:
        # a statement that fails would end PostgreSQL's transaction
        with connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext():
            found = estimate(connection, bare_table(name, schema=schema))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None
    return None if found is None else max(int(found), 0)


LEAST_ROW = 8
"""Bytes that a row takes at least in a SQLite database."""


def _rows_in_sqlite(connection: Connection, table: TableClause) -> int | None:
    # a view has none, nor has a table WITHOUT ROWID, or without rows
    number: ColumnClause[Any] = literal_column("rowid")
    last: Any = connection.scalar(select(func.max(number)).select_from(table))
    if last is None:
        return None
    schema = connection.dialect.identifier_preparer.quote_identifier(table.schema or "main")
    pages, size = (
        connection.exec_driver_sql(f"PRAGMA {schema}.{what}").scalar_one()
        for what in ("page_count", "page_size")
    )
    # ids may be anything, not only numbers that count rows
    is_count = isinstance(last, int) and last * LEAST_ROW <= pages * size
    return int(last) if is_count else None


def _rows_in_postgresql(connection: Connection, table: TableClause) -> int | None:
    # the planner knows more than the catalogue: how large the table's file is by now
    name = connection.dialect.identifier_preparer.format_table(table)
    plan: Any = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {name}").scalar()  # noqa: S608 - quoted
    plan = json.loads(plan) if isinstance(plan, (str, bytes)) else plan
    return int(plan[0]["Plan"]["Plan Rows"])


_MYSQL_ROWS = text(
    "SELECT t.table_rows FROM information_schema.tables t "
    "WHERE t.table_schema = COALESCE(:schema, DATABASE()) AND t.table_name = :name"
)


def _rows_in_mysql(connection: Connection, table: TableClause) -> int | None:
    found: int | None = connection.scalar(_MYSQL_ROWS, {"schema": table.schema, "name": table.name})
    return found


# Tables


@dataclass(frozen=True, slots=True)
class TableRules:
    """What may happen in a table that its statements do not say."""

    moves_rows: bool
    """Triggers or rules that are not ours may write rows: a file may come to be in another one."""
    hides_rows: bool
    """Row-level security is active for the role: a row that is not found may be there."""


_TableName = tuple[str | None, str]
"""Its schema, and its own name."""

_rules: WeakKeyDictionary[Engine, dict[_TableName, TableRules]] = WeakKeyDictionary()


def rules_of(connection: Connection, table: Table) -> TableRules:
    """Return what may happen in a table, looked up once in a process."""
    known = _rules.setdefault(connection.engine, {})
    name = translated(connection, table.schema), table.name
    if name not in known:
        known[name] = _rules_in_catalogue(connection, table, *name)
    return known[name]


def _rules_in_catalogue(connection: Connection, table: Table, schema: str | None, name: str) -> TableRules:
    columns = [column.name for column in table.columns if isinstance(column.type, StoredObject)]
    if is_view(connection, ReadColumn(schema, name, columns[0])):
        # a row that it does not show may be in its table
        return TableRules(moves_rows=True, hides_rows=False)
    hides_rows = False
    match connection.dialect.name:
        case "sqlite":
            found = _triggers_in_sqlite(connection, schema, name)
        case "postgresql":
            found, hides_rows = _rules_in_postgresql(connection, schema, name)
        case _:
            found = _triggers_in_mysql(connection, schema, name)
    return TableRules(any(_moves(each, body, name, columns) for each, body in found), hides_rows)


_Bodies = Sequence[tuple[str, str]]
"""Triggers and rules: the name and the SQL of each."""


def _triggers_in_sqlite(connection: Connection, schema: str | None, name: str) -> _Bodies:
    catalog = connection.dialect.identifier_preparer.quote(schema) + "." if schema else ""
    is_its = "type = 'trigger' AND lower(tbl_name) = lower(:name)"
    query = text(f"SELECT name, sql FROM {catalog}sqlite_master WHERE {is_its}")  # noqa: S608 - quoted
    return [(each, body) for each, body in connection.execute(query, {"name": name})]


def _triggers_in_mysql(connection: Connection, schema: str | None, name: str) -> _Bodies:
    query = text(_MYSQL_TRIGGERS).bindparams(schema=schema, name=name)
    return [(each, body) for each, body in connection.execute(query)]


_MYSQL_TRIGGERS = """
SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
WHERE EVENT_OBJECT_SCHEMA = COALESCE(:schema, DATABASE()) AND EVENT_OBJECT_TABLE = :name
"""


def _rules_in_postgresql(connection: Connection, schema: str | None, name: str) -> tuple[_Bodies, bool]:
    """Return triggers and rules, and whether row-level security is active."""
    quote = connection.dialect.identifier_preparer.quote
    full = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
    is_active = text("SELECT row_security_active(to_regclass(:full))").bindparams(full=full)
    query = text(_POSTGRESQL_RULES).bindparams(full=full)
    hides_rows = bool(connection.scalar(is_active))
    return [(each, body) for each, body in connection.execute(query)], hides_rows


_POSTGRESQL_RULES = """
SELECT t.tgname, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = to_regclass(:full) AND NOT t.tgisinternal
UNION ALL SELECT r.rulename, pg_get_ruledef(r.oid) FROM pg_rewrite r
WHERE r.ev_class = to_regclass(:full) AND r.rulename <> '_RETURN'
"""
_WRITES = re.compile(r"\b(INSERT|UPDATE|MERGE|REPLACE|EXECUTE|PERFORM|CALL)\b", re.IGNORECASE)


def _moves(name: str, body: str, table: str, columns: Sequence[str]) -> bool:
    """Return whether a trigger may write what a row holds into another; one that sets `updated_at` does not."""
    if name.startswith("filecolumn_"):
        return False
    # what SQLite keeps begins with CREATE TRIGGER ... AFTER UPDATE ON
    body = body[begin.end() :] if (begin := re.search(r"\bBEGIN\b", body, re.IGNORECASE)) else body
    words = {found.upper() for found in _WRITES.findall(body)}
    if words != {"UPDATE"}:
        return bool(words)
    targets = re.findall(r"\bUPDATE\s+(?:ONLY\s+)?[\"`\[]?(\w+)", body, re.IGNORECASE)
    names_files = any(re.search(rf"\b{re.escape(column)}\b", body, re.IGNORECASE) for column in columns)
    return names_files or any(target.lower() != table.lower() for target in targets)


# by dialect: an engine and those made of it by execution_options() share it
_accepted: WeakKeyDictionary[Dialect, set[_TableName]] = WeakKeyDictionary()

# a temporary table may be among them or not, as the server's release has it
_ENGINE = text(
    "SELECT t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine "
    "WHERE t.table_schema = COALESCE(:schema, DATABASE()) AND t.table_name = :name "
    "AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES'"
)


def refuse_without_transactions(connection: Connection, table: Table) -> None:
    """Raise NotSupportedError for a table whose rows no rollback restores, such as one of MyISAM or Aria.

    Only MariaDB and MySQL have such tables.  They are asked once for each table in a process, unless it
    is refused: its engine can be changed.
    """
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return
    accepted = _accepted.setdefault(connection.dialect, set())
    name = connection.schema_for_object(table), str(table.name)
    if name in accepted:
        return
    engine = connection.scalar(_ENGINE, {"schema": name[0], "name": name[1]})
    if engine is not None:
        raise NotSupportedError(
            f"files need transactions, but the table {table.fullname!r} has the engine {engine} without them: "
            f"a rollback would leave its rows without their files; ALTER TABLE {table.name} ENGINE=InnoDB"
        )
    accepted.add(name)
