"""The triggers as SQL, for each kind of database: pure text, in which nothing is escaped for a driver.

A trigger dooms, unchecked, the keys that a row held before a statement and does not hold after it.
A key that the transaction's own flush has doomed already is left as the flush has it.  One that was
doomed unchecked is doomed again: what a drain has seen of its rows is over then.

Another takes note of keys that a row holds only after the statement.  The first time it is the row
that the key's flush has written; whenever else, more than one row may hold the key, and it is unchecked.
If it is doomed, `due_at` is changed all the same: no drain deletes what it has seen in no row before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import DDL, Dialect
from sqlalchemy.sql.compiler import IdentifierPreparer

from filecolumn.ledger.columns import TRIGGERS
from filecolumn.ledger.table import CLOCK, LEDGER, MAX_KEY, META, State

__all__ = (
    "Target",
    "column_of_fact",
    "create_statements",
    "ddl",
    "drop_statements",
    "fact_of",
    "forget_statements",
    "identifier",
    "is_older",
    "literal",
    "mark_arrived_statement",
    "qualified",
    "remember_statements",
    "support_statements",
    "trigger_names",
)

MAX_NAME = 60
"""Characters of a trigger's name; PostgreSQL allows 63, MySQL 64."""

VERSION = 2
"""Of what triggers do: 2 for those that write the entries of doomed keys, too."""
_OF_VERSION = " v"

_INTO = "(backend, {key}, state, checked, created_at, due_at, attempts)"
_EVENTS = ("delete", "update", "insert", "arrival")
"""An arrival is an UPDATE that gives a row a key; `update` is for those that take one away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file column that is to be watched."""

    table: str
    schema: str | None
    ledger_schema: str | None
    column: str
    backend: str
    """The name of the storage for rows that name none."""
    retention: float
    """Seconds between a row's end and its content's."""

    def __str__(self) -> str:
        schema = None if self.schema == self.ledger_schema else self.schema
        return ".".join(filter(None, (schema, self.table, self.column)))


def ddl(statement: str) -> DDL:
    """Return a statement of this module as what SQLAlchemy executes; it has no type for it."""
    return DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]


def create_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what creates the triggers of a column; those that are there are dropped first."""
    yield from drop_statements(target, dialect)
    match dialect.name:
        case "sqlite":
            yield from _sqlite(target, dialect)
        case "postgresql":
            yield from _postgresql(target, dialect)
        case _:
            yield from _mysql(target, dialect)


def drop_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what drops the triggers of a column, where they are."""
    quote = dialect.identifier_preparer
    table = qualified(quote, target.schema, target.table)
    for name in trigger_names(target, dialect):
        if dialect.name == "postgresql":
            yield f"DROP TRIGGER IF EXISTS {identifier(quote, name)} ON {table}"
        else:
            yield f"DROP TRIGGER IF EXISTS {qualified(quote, target.schema, name)}"


def trigger_names(target: Target, dialect: Dialect) -> list[str]:
    """Return the names of a column's triggers."""
    events = (*_EVENTS, "truncate") if dialect.name == "postgresql" else _EVENTS
    return [_trigger_name(target, event) for event in events]


def mark_arrived_statement(ledger_schema: str | None, dialect: Dialect) -> str:
    """Return what notes, when triggers begin to watch, that all keys have arrived in their rows."""
    ledger = qualified(dialect.identifier_preparer, ledger_schema, LEDGER)
    return f"UPDATE {ledger} SET fresh = false WHERE fresh = true"


def fact_of(target: Target) -> str:
    """Return the name of the fact that a column's triggers have been installed."""
    return TRIGGERS + sha256(str(target).encode()).hexdigest()[:16]


def remember_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what writes into the meta table that a column's triggers have been installed."""
    yield from forget_statements(target, dialect)
    meta = qualified(dialect.identifier_preparer, target.ledger_schema, META)
    fact = literal(fact_of(target), dialect)
    value = literal(f"{str(target)[: MAX_KEY - 10]}{_OF_VERSION}{VERSION}", dialect)
    yield f"INSERT INTO {meta} (name, value) VALUES ({fact}, {value})"


def column_of_fact(value: str) -> str:
    """Return the column of which a fact says that its triggers have been installed."""
    column, _, version = value.rpartition(_OF_VERSION)
    return column if column and version.isdecimal() else value


def is_older(value: str) -> bool:
    """Return whether a fact says that an older release installed the triggers, which do less than this one's."""
    version = value.removeprefix(column_of_fact(value)).removeprefix(_OF_VERSION)
    return not version or int(version) < VERSION


def forget_statements(target: Target, dialect: Dialect) -> Iterator[str]:
    """Yield what takes back `remember_statements`."""
    meta = qualified(dialect.identifier_preparer, target.ledger_schema, META)
    yield f"DELETE FROM {meta} WHERE name = {literal(fact_of(target), dialect)}"


def identifier(quote: IdentifierPreparer, name: str) -> str:
    """Return the name of a column, trigger or schema, quoted where it has to be."""
    quoted: str = quote.quote(name)
    # for some drivers SQLAlchemy escapes what they would format
    return quoted.replace("%%", "%") if quote._double_percents else quoted  # pyright: ignore[reportPrivateUsage]


def qualified(quote: IdentifierPreparer, schema: str | None, name: str) -> str:
    """Return the name of a table, trigger or function with that of its schema."""
    return (
        identifier(quote, name)
        if schema is None
        else f"{identifier(quote, schema)}.{identifier(quote, name)}"
    )


def literal(value: str, dialect: Dialect) -> str:
    """Return text as SQL has it."""
    if "\\" in value and dialect.name in {"mysql", "mariadb"}:
        # what a backslash means there depends on the connection's sql_mode
        return f"CONVERT(X'{value.encode().hex()}' USING utf8mb4)"
    return "'" + value.replace("'", "''") + "'"


def support_statements(ledger_schema: str | None, dialect: Dialect) -> Iterator[str]:
    """Yield what creates, beside the ledger, the functions that triggers of PostgreSQL call."""
    if dialect.name != "postgresql":
        return
    functions = _Functions(ledger_schema, dialect)
    yield functions.files()
    yield functions.doom()
    yield functions.arrive()
    yield functions.empty()


class _Functions:
    """The functions of PostgreSQL, which serve the triggers of all columns.

    Each trigger has as arguments the column, the storage of rows that name none, and the retention in
    milliseconds.
    """

    def __init__(self, ledger_schema: str | None, dialect: Dialect) -> None:
        quote = dialect.identifier_preparer
        self._files, self._doom, self._arrive, self._empty = _function_names(
            quote, ledger_schema, "files", "doom", "arrive", "empty"
        )
        self._ledger = qualified(quote, ledger_schema, LEDGER)
        now = CLOCK["postgresql"]
        self._into = f"INSERT INTO {self._ledger} AS entry {_INTO.format(key='key')}"
        self._values = f"{State.DOOMED:d}, false, {now}, {now}"
        self._taken = (
            f"ON CONFLICT (backend, key) DO UPDATE SET state = {State.DOOMED:d}, checked = false, "
            f"due_at = greatest(EXCLUDED.due_at, entry.due_at + 1) WHERE entry.state = {State.LIVE:d} "
            f"OR entry.state = {State.DOOMED:d} AND NOT entry.checked"
        )

    def files(self) -> str:
        """Return what creates the function that reads storages and keys in a row's JSON."""
        return f"""
CREATE OR REPLACE FUNCTION {self._files}(value jsonb, fallback text) RETURNS TABLE (backend text, key text)
LANGUAGE sql IMMUTABLE AS $filecolumn$
  SELECT coalesce(file ->> 'backend', fallback), coalesce(file ->> 'to_filename', file ->> 'filename')
  FROM jsonb_array_elements(CASE jsonb_typeof(value)
    WHEN 'array' THEN value WHEN 'object' THEN jsonb_build_array(value) ELSE '[]' END) AS file
  WHERE jsonb_typeof(file) = 'object' AND coalesce(file ->> 'to_filename', file ->> 'filename') IS NOT NULL
$filecolumn$"""

    def doom(self) -> str:
        """Return what creates the function that dooms what a row does not hold any more."""
        return f"""
CREATE OR REPLACE FUNCTION {self._doom}() RETURNS trigger LANGUAGE plpgsql AS $filecolumn$
DECLARE
  kept jsonb := NULL;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    kept := to_jsonb(NEW) -> TG_ARGV[0];
  END IF;
  {self._into}
  SELECT DISTINCT held.backend, held.key, {self._values} + TG_ARGV[2]::bigint, 0
  FROM {self._files}(to_jsonb(OLD) -> TG_ARGV[0], TG_ARGV[1]) AS held
  WHERE NOT EXISTS (SELECT 1 FROM {self._files}(kept, TG_ARGV[1]) AS still
    WHERE still.backend = held.backend AND still.key = held.key)
  ORDER BY 1, 2
  {self._taken};
  RETURN NULL;
END $filecolumn$"""

    def arrive(self) -> str:
        """Return what creates the function that takes note of what a row holds only now."""
        return f"""
CREATE OR REPLACE FUNCTION {self._arrive}() RETURNS trigger LANGUAGE plpgsql AS $filecolumn$
DECLARE
  had jsonb := NULL;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    had := to_jsonb(OLD) -> TG_ARGV[0];
  END IF;
  UPDATE {self._ledger} AS entry SET checked = entry.checked AND entry.fresh IS TRUE, fresh = false,
    due_at = CASE WHEN entry.state = {State.DOOMED:d} THEN entry.due_at + 1 ELSE entry.due_at END
  FROM (SELECT DISTINCT came.backend, came.key
    FROM {self._files}(to_jsonb(NEW) -> TG_ARGV[0], TG_ARGV[1]) AS came
    WHERE NOT EXISTS (SELECT 1 FROM {self._files}(had, TG_ARGV[1]) AS earlier
      WHERE earlier.backend = came.backend AND earlier.key = came.key)) AS came
  WHERE entry.backend = came.backend AND entry.key = came.key
    AND (entry.checked OR entry.fresh IS TRUE OR entry.state = {State.DOOMED:d});
  RETURN NULL;
END $filecolumn$"""

    def empty(self) -> str:
        """Return what creates the function that dooms what all rows of a table hold, before TRUNCATE."""
        # names are put in with quote_ident(), not format(): SQL without a percent sign is right for any driver
        return f"""
CREATE OR REPLACE FUNCTION {self._empty}() RETURNS trigger LANGUAGE plpgsql AS $filecolumn$
BEGIN
  EXECUTE $statement$
    {self._into}
    SELECT DISTINCT held.backend, held.key, {self._values} + $2, 0
    FROM $statement$ || quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME) || $statement$ AS emptied,
      {self._files}(to_jsonb(emptied.$statement$ || quote_ident(TG_ARGV[0]) || $statement$), $1) AS held
    ORDER BY 1, 2
    {self._taken}
  $statement$ USING TG_ARGV[1], TG_ARGV[2]::bigint;
  RETURN NULL;
END $filecolumn$"""


def _function_names(quote: IdentifierPreparer, schema: str | None, *names: str) -> Iterator[str]:
    return (qualified(quote, schema, f"filecolumn_{name}") for name in names)


def _postgresql(target: Target, dialect: Dialect) -> Iterator[str]:
    quote = dialect.identifier_preparer
    table = qualified(quote, target.schema, target.table)
    column = identifier(quote, target.column)
    doom, arrive, empty = _function_names(quote, target.ledger_schema, "doom", "arrive", "empty")
    values = (target.column, target.backend, str(_milliseconds(target)))
    arguments = ", ".join(literal(value, dialect) for value in values)
    delete, update, insert, arrival, truncate = (
        identifier(quote, name) for name in trigger_names(target, dialect)
    )
    yield f"""
CREATE TRIGGER {delete} AFTER DELETE ON {table} FOR EACH ROW
WHEN (OLD.{column} IS NOT NULL) EXECUTE FUNCTION {doom}({arguments})"""
    yield f"""
CREATE TRIGGER {update} AFTER UPDATE OF {column} ON {table} FOR EACH ROW
WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {doom}({arguments})"""
    yield f"""
CREATE TRIGGER {insert} AFTER INSERT ON {table} FOR EACH ROW
WHEN (NEW.{column} IS NOT NULL) EXECUTE FUNCTION {arrive}({arguments})"""
    yield f"""
CREATE TRIGGER {arrival} AFTER UPDATE OF {column} ON {table} FOR EACH ROW
WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {arrive}({arguments})"""
    yield f"""
CREATE TRIGGER {truncate} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT
EXECUTE FUNCTION {empty}({arguments})"""


def _sqlite(target: Target, dialect: Dialect) -> Iterator[str]:
    body = _SqliteBodies(target, dialect)
    quote = dialect.identifier_preparer
    column = identifier(quote, target.column)
    delete, update, insert, arrival = (
        qualified(quote, target.schema, name) for name in trigger_names(target, dialect)
    )
    each = f"ON {identifier(quote, target.table)} FOR EACH ROW"
    yield f"CREATE TRIGGER {delete} AFTER DELETE {each} {body.taken(updated=False)}"
    yield f"CREATE TRIGGER {update} AFTER UPDATE OF {column} {each} {body.taken(updated=True)}"
    yield f"CREATE TRIGGER {insert} AFTER INSERT {each} {body.given(updated=False)}"
    yield f"CREATE TRIGGER {arrival} AFTER UPDATE OF {column} {each} {body.given(updated=True)}"


class _SqliteBodies:
    """What the triggers of a column do on SQLite."""

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._column = identifier(dialect.identifier_preparer, target.column)
        self._default = literal(target.backend, dialect)
        self._retention = _milliseconds(target)

    def taken(self, *, updated: bool) -> str:
        """Return what dooms the keys that the row held; with *updated* those that it does not hold any more."""
        now = CLOCK["sqlite"]
        kept = (
            f"FROM {self._files('NEW')} AS still WHERE still.backend = held.backend AND still.key = held.key"
        )
        unless = f" AND NOT EXISTS (SELECT 1 {kept})" if updated else ""
        return f"""BEGIN
  INSERT INTO {LEDGER} {_INTO.format(key="key")}
  SELECT DISTINCT held.backend, held.key, {State.DOOMED:d}, 0, {now}, {now} + {self._retention}, 0
  FROM {self._files("OLD")} AS held WHERE held.key IS NOT NULL{unless}
  ON CONFLICT (backend, key) DO UPDATE SET state = {State.DOOMED:d}, checked = 0,
    due_at = max(excluded.due_at, coalesce(due_at, 0) + 1)
    WHERE state = {State.LIVE:d} OR state = {State.DOOMED:d} AND NOT checked;
END"""

    def given(self, *, updated: bool) -> str:
        """Return what takes note of the keys that the row holds; with *updated* those that it did not hold before."""
        had = f"FROM {self._files('OLD')} AS had WHERE had.backend = came.backend AND had.key = came.key"
        unless = f" AND NOT EXISTS (SELECT 1 {had})" if updated else ""
        return f"""BEGIN
  UPDATE {LEDGER} SET checked = checked AND coalesce(fresh, 0), fresh = 0,
    due_at = CASE WHEN state = {State.DOOMED:d} THEN due_at + 1 ELSE due_at END
  WHERE (backend, key) IN
    (SELECT came.backend, came.key FROM {self._files("NEW")} AS came WHERE came.key IS NOT NULL{unless})
  AND (checked OR fresh OR state = {State.DOOMED:d});
END"""

    def _files(self, row: str) -> str:
        held = f"{row}.{self._column}"
        value = f"CASE WHEN json_valid({held}) THEN {held} ELSE 'null' END"
        items = f"CASE WHEN json_type({value}) = 'array' THEN {value} ELSE '[' || {value} || ']' END"

        def part(name: str) -> str:
            return f"CASE WHEN type = 'object' THEN json_extract(value, '$.{name}') END"

        return (
            f"(SELECT coalesce({part('backend')}, {self._default}) AS backend, "
            f"coalesce({part('to_filename')}, {part('filename')}) AS key FROM json_each({items}))"
        )


def _mysql(target: Target, dialect: Dialect) -> Iterator[str]:
    body = _MysqlBodies(target, dialect)
    quote = dialect.identifier_preparer
    delete, update, insert, arrival = (
        qualified(quote, target.schema, name) for name in trigger_names(target, dialect)
    )
    each = f"ON {qualified(quote, target.schema, target.table)} FOR EACH ROW"
    yield f"CREATE TRIGGER {delete} AFTER DELETE {each} {body.taken(updated=False)}"
    yield f"CREATE TRIGGER {update} AFTER UPDATE {each} {body.taken(updated=True)}"
    yield f"CREATE TRIGGER {insert} AFTER INSERT {each} {body.given(updated=False)}"
    yield f"CREATE TRIGGER {arrival} AFTER UPDATE {each} {body.given(updated=True)}"


class _MysqlBodies:
    """What the triggers of a column do on MariaDB and MySQL."""

    _PATHS = (
        "backend VARCHAR(64) PATH '$.backend', to_filename VARCHAR(700) PATH '$.to_filename', "
        "filename VARCHAR(700) PATH '$.filename'"
    )

    def __init__(self, target: Target, dialect: Dialect) -> None:
        quote = dialect.identifier_preparer
        self._column = identifier(quote, target.column)
        self._key = quote.quote_identifier("key")
        self._default = literal(target.backend, dialect)
        self._ledger = qualified(quote, target.ledger_schema, LEDGER)
        self._retention = _milliseconds(target)

    def taken(self, *, updated: bool) -> str:
        """Return what dooms the keys that the row held; with *updated* those that it does not hold any more."""
        key, now = self._key, CLOCK["mysql"]
        kept = f"FROM {self._files('NEW')} AS still WHERE still.backend = held.backend AND still.{key} = held.{key}"
        unless = f" AND NOT EXISTS (SELECT 1 {kept})" if updated else ""
        live = (
            f"{LEDGER}.state = {State.LIVE:d} OR {LEDGER}.state = {State.DOOMED:d} AND NOT {LEDGER}.checked"
        )
        # state comes last: what stands behind it would see its new value
        return f"""
INSERT INTO {self._ledger} {_INTO.format(key=key)}
SELECT DISTINCT held.backend, held.{key}, {State.DOOMED:d}, FALSE, {now}, {now} + {self._retention}, 0
FROM {self._files("OLD")} AS held WHERE held.{key} IS NOT NULL{unless}
ON DUPLICATE KEY UPDATE
  due_at = IF({live}, GREATEST(VALUES(due_at), COALESCE({LEDGER}.due_at, 0) + 1), {LEDGER}.due_at),
  checked = IF({live}, FALSE, {LEDGER}.checked), state = IF({live}, {State.DOOMED:d}, {LEDGER}.state)"""

    def given(self, *, updated: bool) -> str:
        """Return what takes note of the keys that the row holds; with *updated* those that it did not hold before."""
        key = self._key
        had = f"FROM {self._files('OLD')} AS had WHERE had.backend = came.backend AND had.{key} = came.{key}"
        unless = f" AND NOT EXISTS (SELECT 1 {had})" if updated else ""
        # a join, in this order: with IN, each row of the ledger would be read and locked;
        # checked comes before fresh, because what stands behind fresh sees its new value
        return f"""
UPDATE (SELECT DISTINCT came.backend, came.{key} FROM {self._files("NEW")} AS came
  WHERE came.{key} IS NOT NULL{unless}) AS came
STRAIGHT_JOIN {self._ledger} AS entry ON entry.backend = came.backend AND entry.{key} = came.{key}
SET entry.checked = entry.checked AND COALESCE(entry.fresh, FALSE), entry.fresh = FALSE,
  entry.due_at = IF(entry.state = {State.DOOMED:d}, entry.due_at + 1, entry.due_at)
WHERE entry.checked OR entry.fresh OR entry.state = {State.DOOMED:d}"""

    def _files(self, row: str) -> str:
        held = f"{row}.{self._column}"
        value = f"IF(JSON_VALID({held}), {held}, 'null')"
        items = f"IF(JSON_TYPE({value}) = 'ARRAY', {value}, CONCAT('[', {value}, ']'))"
        return (
            f"(SELECT {_exact(f'COALESCE(backend, {self._default})')} AS backend, "
            f"{_exact('COALESCE(to_filename, filename)')} AS {self._key} "
            f"FROM JSON_TABLE({items}, '$[*]' COLUMNS ({self._PATHS})) AS file)"
        )


def _exact(value: str) -> str:
    """Return text as the ledger has it: else `Logo.png` is `logo.png`, and the ledger's index is of no use."""
    return f"CONVERT({value} USING utf8mb4) COLLATE utf8mb4_bin"


def _trigger_name(target: Target, event: str) -> str:
    name = f"filecolumn_{target.table}_{target.column}_{event}"
    if len(name) <= MAX_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME - 13]}_{digest}"


def _milliseconds(target: Target) -> int:
    return int(target.retention * 1000)
