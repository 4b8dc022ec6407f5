"""The triggers as SQL, for each kind of database: pure text.

A trigger dooms, unchecked, the keys that a row held before a statement and does not hold after it.
A key that the transaction's own flush has doomed already is left as the flush has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import DDL, Dialect
from sqlalchemy.sql.compiler import IdentifierPreparer

from filecolumn.orm.ledger import LEDGER, State

__all__ = ("Target", "create_statements", "ddl", "drop_statements", "support_statements")

MAX_NAME = 60
"""Characters of a trigger's name; PostgreSQL allows 63, MySQL 64."""

_INTO = "(backend, {key}, state, checked, created_at, due_at, attempts)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file column that is to be watched."""

    table: str
    schema: str | None
    """Of the table and of the ledger."""
    column: str
    backend: str
    """The name of the storage for rows that name none."""
    retention: float
    """Seconds between a row's end and its content's."""


def ddl(statement: str) -> DDL:
    """Return a statement of this module as what SQLAlchemy executes; it has no type for it."""
    return DDL(statement)  # type: ignore[no-untyped-call]


def create_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what creates the triggers of a column; those that are there are dropped first."""
    yield from drop_statements(target, dialect)
    quote = dialect.identifier_preparer
    match dialect.name:
        case "sqlite":
            yield from _sqlite(target, quote)
        case "postgresql":
            yield from _postgresql(target, quote)
        case _:
            yield from _mysql(target, quote)


def drop_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what drops the triggers of a column, where they are."""
    quote = dialect.identifier_preparer
    table = _qualified(quote, target.schema, target.table)
    for event in ("delete", "update", "truncate") if dialect.name == "postgresql" else ("delete", "update"):
        name = _trigger_name(target, event)
        if dialect.name == "postgresql":
            yield f"DROP TRIGGER IF EXISTS {quote.quote(name)} ON {table}"
        else:
            yield f"DROP TRIGGER IF EXISTS {_qualified(quote, target.schema, name)}"


def support_statements(schema: str | None, dialect: Dialect) -> Iterator[str]:
    """Yield what creates the functions that triggers of PostgreSQL call."""
    if dialect.name != "postgresql":
        return
    quote = dialect.identifier_preparer
    files, doom, empty = (
        _qualified(quote, schema, f"filecolumn_{name}") for name in ("files", "doom", "empty")
    )
    ledger = _qualified(quote, schema, LEDGER)
    now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    into = f"INSERT INTO {ledger} AS entry {_INTO.format(key='key')}"
    values = f"{State.DOOMED:d}, false, {now}, {now}"
    taken = (
        f"ON CONFLICT (backend, key) DO UPDATE SET state = {State.DOOMED:d}, checked = false, "
        f"due_at = EXCLUDED.due_at WHERE entry.state = {State.LIVE:d}"
    )
    yield f"""
CREATE OR REPLACE FUNCTION {files}(value jsonb, fallback text) RETURNS TABLE (backend text, key text)
LANGUAGE sql IMMUTABLE AS $filecolumn$
  SELECT coalesce(file ->> 'backend', fallback), coalesce(file ->> 'to_filename', file ->> 'filename')
  FROM jsonb_array_elements(CASE jsonb_typeof(value)
    WHEN 'array' THEN value WHEN 'object' THEN jsonb_build_array(value) ELSE '[]' END) AS file
  WHERE jsonb_typeof(file) = 'object' AND coalesce(file ->> 'to_filename', file ->> 'filename') IS NOT NULL
$filecolumn$"""
    # arguments of a trigger: the column, the storage of rows that name none, the retention in milliseconds
    yield f"""
CREATE OR REPLACE FUNCTION {doom}() RETURNS trigger LANGUAGE plpgsql AS $filecolumn$
DECLARE
  kept jsonb := NULL;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    kept := to_jsonb(NEW) -> TG_ARGV[0];
  END IF;
  {into}
  SELECT DISTINCT held.backend, held.key, {values} + TG_ARGV[2]::bigint, 0
  FROM {files}(to_jsonb(OLD) -> TG_ARGV[0], TG_ARGV[1]) AS held
  WHERE NOT EXISTS (SELECT 1 FROM {files}(kept, TG_ARGV[1]) AS still
    WHERE still.backend = held.backend AND still.key = held.key)
  ORDER BY 1, 2
  {taken};
  RETURN NULL;
END $filecolumn$"""
    yield f"""
CREATE OR REPLACE FUNCTION {empty}() RETURNS trigger LANGUAGE plpgsql AS $filecolumn$
BEGIN
  EXECUTE format($statement$
    {into}
    SELECT DISTINCT held.backend, held.key, {values} + $2, 0
    FROM %%I.%%I AS emptied, {files}(to_jsonb(emptied.%%I), $1) AS held
    ORDER BY 1, 2
    {taken}
  $statement$, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]) USING TG_ARGV[1], TG_ARGV[2]::bigint;
  RETURN NULL;
END $filecolumn$"""


def _postgresql(target: Target, quote: IdentifierPreparer) -> Iterator[str]:
    table = _qualified(quote, target.schema, target.table)
    column = quote.quote(target.column)
    doom, empty = (_qualified(quote, target.schema, f"filecolumn_{name}") for name in ("doom", "empty"))
    arguments = f"{_text(target.column)}, {_text(target.backend)}, {_text(str(_milliseconds(target)))}"
    delete, update, truncate = (_trigger_name(target, event) for event in ("delete", "update", "truncate"))
    yield f"""
CREATE TRIGGER {quote.quote(delete)} AFTER DELETE ON {table} FOR EACH ROW
WHEN (OLD.{column} IS NOT NULL) EXECUTE FUNCTION {doom}({arguments})"""
    yield f"""
CREATE TRIGGER {quote.quote(update)} AFTER UPDATE OF {column} ON {table} FOR EACH ROW
WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {doom}({arguments})"""
    yield f"""
CREATE TRIGGER {quote.quote(truncate)} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT
EXECUTE FUNCTION {empty}({arguments})"""


def _sqlite(target: Target, quote: IdentifierPreparer) -> Iterator[str]:
    column = quote.quote(target.column)
    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def files(row: str) -> str:
        value = f"CASE WHEN json_valid({row}.{column}) THEN {row}.{column} ELSE 'null' END"
        items = f"CASE WHEN json_type({value}) = 'array' THEN {value} ELSE '[' || {value} || ']' END"

        def part(name: str) -> str:
            return f"CASE WHEN type = 'object' THEN json_extract(value, '$.{name}') END"

        return (
            f"(SELECT coalesce({part('backend')}, {_text(target.backend)}) AS backend, "
            f"coalesce({part('to_filename')}, {part('filename')}) AS key FROM json_each({items}))"
        )

    def body(*, updated: bool) -> str:
        kept = f"FROM {files('NEW')} AS still WHERE still.backend = held.backend AND still.key = held.key"
        unless = f" AND NOT EXISTS (SELECT 1 {kept})" if updated else ""
        return f"""BEGIN
  INSERT INTO {LEDGER} {_INTO.format(key="key")}
  SELECT DISTINCT held.backend, held.key, {State.DOOMED:d}, 0, {now}, {now} + {_milliseconds(target)}, 0
  FROM {files("OLD")} AS held WHERE held.key IS NOT NULL{unless}
  ON CONFLICT (backend, key) DO UPDATE SET state = {State.DOOMED:d}, checked = 0, due_at = excluded.due_at
    WHERE state = {State.LIVE:d};
END"""

    table = quote.quote(target.table)
    delete, update = (
        _qualified(quote, target.schema, _trigger_name(target, event)) for event in ("delete", "update")
    )
    yield f"CREATE TRIGGER {delete} AFTER DELETE ON {table} FOR EACH ROW {body(updated=False)}"
    yield f"CREATE TRIGGER {update} AFTER UPDATE OF {column} ON {table} FOR EACH ROW {body(updated=True)}"


def _mysql(target: Target, quote: IdentifierPreparer) -> Iterator[str]:
    column, key = quote.quote(target.column), quote.quote_identifier("key")
    ledger = _qualified(quote, target.schema, LEDGER)
    now = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
    paths = (
        "backend VARCHAR(64) PATH '$.backend', to_filename VARCHAR(700) PATH '$.to_filename', "
        "filename VARCHAR(700) PATH '$.filename'"
    )

    def files(row: str) -> str:
        value = f"IF(JSON_VALID({row}.{column}), {row}.{column}, 'null')"
        items = f"IF(JSON_TYPE({value}) = 'ARRAY', {value}, CONCAT('[', {value}, ']'))"
        return (
            f"(SELECT COALESCE(backend, {_text(target.backend)}) AS backend, "
            f"COALESCE(to_filename, filename) AS {key} "
            f"FROM JSON_TABLE({items}, '$[*]' COLUMNS ({paths})) AS file)"
        )

    def body(*, updated: bool) -> str:
        kept = f"FROM {files('NEW')} AS still WHERE still.backend = held.backend AND still.{key} = held.{key}"
        unless = f" AND NOT EXISTS (SELECT 1 {kept})" if updated else ""
        live = f"{LEDGER}.state = {State.LIVE:d}"
        # state comes last: what stands behind it would see its new value
        return f"""
INSERT INTO {ledger} {_INTO.format(key=key)}
SELECT DISTINCT held.backend, held.{key}, {State.DOOMED:d}, FALSE, {now}, {now} + {_milliseconds(target)}, 0
FROM {files("OLD")} AS held WHERE held.{key} IS NOT NULL{unless}
ON DUPLICATE KEY UPDATE due_at = IF({live}, VALUES(due_at), {LEDGER}.due_at),
  checked = IF({live}, FALSE, {LEDGER}.checked), state = IF({live}, {State.DOOMED:d}, {LEDGER}.state)"""

    table = _qualified(quote, target.schema, target.table)
    delete, update = (
        _qualified(quote, target.schema, _trigger_name(target, event)) for event in ("delete", "update")
    )
    yield f"CREATE TRIGGER {delete} AFTER DELETE ON {table} FOR EACH ROW {body(updated=False)}"
    yield f"CREATE TRIGGER {update} AFTER UPDATE ON {table} FOR EACH ROW {body(updated=True)}"


def _trigger_name(target: Target, event: str) -> str:
    name = f"filecolumn_{target.table}_{target.column}_{event}"
    if len(name) <= MAX_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME - 13]}_{digest}"


def _qualified(quote: IdentifierPreparer, schema: str | None, name: str) -> str:
    return quote.quote(name) if schema is None else f"{quote.quote_schema(schema)}.{quote.quote(name)}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''").replace("%", "%%") + "'"


def _milliseconds(target: Target) -> int:
    return int(target.retention * 1000)
