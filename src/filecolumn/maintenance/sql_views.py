"""Which columns of tables stand behind a column of an SQL view, as the database's catalog says it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import Connection, text

from filecolumn.orm.catalogue import ReadColumn, as_text

__all__ = ("base_columns",)

JSON_TYPES = ("json", "jsonb")
TEXT_TYPES = ("text", "longtext", "mediumtext", "varchar", "character varying")


def base_columns(connection: Connection, view: ReadColumn) -> list[ReadColumn]:
    """Return the columns of tables that may hold what a view's column shows; none if they cannot be told.

    Those of type JSON, or where there is none, those of text.
    """
    match connection.dialect.name:
        case "postgresql":
            found = _in_postgresql(connection, view)
        case "sqlite":
            found = list(_in_sqlite(connection, view))
        case _:
            found = list(_in_mysql(connection, view))
    for wanted in (JSON_TYPES, TEXT_TYPES):
        if columns := [column for column, kind in found if kind in wanted]:
            return columns
    return []


Typed = tuple[ReadColumn, str]
"""A column, and the name of its type in lower case."""

_POSTGRESQL = """
WITH RECURSIVE behind AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relname = :view AND (
    n.nspname = CAST(:schema AS text) OR CAST(:schema AS text) IS NULL AND pg_catalog.pg_table_is_visible(c.oid))
  UNION
  SELECT d.refobjid FROM behind b
  JOIN pg_catalog.pg_rewrite r ON r.ev_class = b.oid
  JOIN pg_catalog.pg_depend d ON d.objid = r.oid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    AND d.refclassid = 'pg_catalog.pg_class'::regclass
)
SELECT n.nspname, c.relname, a.attname, t.typname
FROM behind b
JOIN pg_catalog.pg_class c ON c.oid = b.oid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
ORDER BY 1, 2, a.attnum
"""


def _in_postgresql(connection: Connection, view: ReadColumn) -> list[Typed]:
    rows = connection.execute(text(_POSTGRESQL), {"view": view.table, "schema": view.schema})
    return [(ReadColumn(schema, table, column), kind) for schema, table, column, kind in rows]


def _in_sqlite(connection: Connection, view: ReadColumn) -> Iterator[Typed]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    for schema in dict.fromkeys((view.schema or "main", "main")):
        rows = connection.exec_driver_sql(
            f"SELECT name, CASE type WHEN 'view' THEN sql END FROM {quote(schema)}.sqlite_master "  # noqa: S608
            "WHERE type IN ('table', 'view')"
        )
        definitions: dict[str, str | None] = {str(name): sql for name, sql in rows}
        for table in _tables_behind(definitions, view.table):
            columns = connection.exec_driver_sql(f"PRAGMA {quote(schema)}.table_xinfo({quote(table)})")
            for column in columns:
                kind = re.sub(r"\(.*", "", str(column[2])).strip().lower()
                yield ReadColumn(schema, table, str(column[1])), kind


_MYSQL_PAIR = re.compile(r"`((?:[^`]|``)+)`\.`((?:[^`]|``)+)`")
"""A table with its schema, or a column with its table: so the server writes a view's definition."""


def _in_mysql(connection: Connection, view: ReadColumn) -> Iterator[Typed]:
    schema = view.schema or connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
    for table_schema, table in _tables_behind_in_mysql(connection, (as_text(schema), view.table)):
        rows = connection.execute(text(_MYSQL_COLUMNS), {"schema": table_schema, "table": table})
        for column, kind in rows:
            yield ReadColumn(table_schema, table, as_text(column)), as_text(kind).lower()


_MYSQL_DEFINITION = """
SELECT v.view_definition FROM information_schema.tables t
LEFT JOIN information_schema.views v ON v.table_schema = t.table_schema AND v.table_name = t.table_name
WHERE t.table_schema = :schema AND t.table_name = :table
"""
_MYSQL_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = :schema AND table_name = :table ORDER BY ordinal_position
"""


def _tables_behind_in_mysql(connection: Connection, view: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the tables, each with its schema, that a view names, or views that it names."""
    tables: list[tuple[str, str]] = []
    seen = {view}
    waiting = [view]
    while waiting:
        name = waiting.pop()
        row = connection.execute(text(_MYSQL_DEFINITION), {"schema": name[0], "table": name[1]}).first()
        if row is None:
            continue
        if row[0] is None:
            tables.append(name)
            continue
        found = {
            (one.replace("``", "`"), other.replace("``", "`"))
            for one, other in _MYSQL_PAIR.findall(as_text(row[0]))
        }
        waiting += sorted(found - seen)
        seen |= found
    return tables


def _tables_behind(definitions: Mapping[str, str | None], view: str) -> Collection[str]:
    """Return the tables that a view names, or views that it names; *definitions* has None for a table."""
    by_name = {name.lower(): name for name in definitions}
    found: dict[str, None] = {}
    waiting = [by_name.get(view.lower(), view)]
    while waiting:
        definition = definitions.get(waiting.pop()) or ""
        for name in _named(definition, by_name):
            if name not in found:
                found[name] = None
                waiting.append(name)
    return [name for name in found if definitions[name] is None]


def _named(definition: str, names: Mapping[str, str]) -> Iterable[str]:
    lowered = definition.lower()
    return [name for low, name in names.items() if re.search(rf"(?<!\w){re.escape(low)}(?!\w)", lowered)]
