"""The ledger's tables: one says of each key whether a row owns it, the other holds facts about the database.

Both stand beside the models' own tables and are written in the transactions that write the rows, so
that what is to be removed survives whatever happens to the process.  A key is LIVE from the flush that
gives it to a row, DOOMED from the one that takes it away, and GONE once its object is deleted:
`ledger.transitions` has every statement that says so.  The primary key is the fence: a key that a
sweep has doomed cannot be given to a row any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sized
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    and_,
    bindparam,
    delete,
    false,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from filecolumn.backends.registry import ObjectRef, names_of
from filecolumn.ledger.one_of import is_one_of

__all__ = (
    "CLOCK",
    "DATABASE_ID",
    "LEDGER",
    "META",
    "Ledger",
    "State",
    "add_ledger",
    "add_meta",
    "bind_keys",
    "has_ledgers",
    "keys_bound",
    "keys_in",
    "keys_named",
    "ledger_of",
    "now_ms",
    "read_meta",
    "remove_meta",
    "set_meta",
    "time_of",
)

LEDGER = "filecolumn_ledger"
META = "filecolumn_meta"

MAX_KEY = 1024
MAX_KEY_MYSQL = 700
"""Characters of a key that fit into an InnoDB index (3072 bytes) beside the storage's name."""
MAX_BACKEND = 64
MAX_ERROR = 500
MAX_COLUMN_ID = 16

_CLOCK_MYSQL = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
CLOCK = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": _CLOCK_MYSQL,
    "mariadb": _CLOCK_MYSQL,
}
"""Milliseconds since the epoch in the SQL of each database that can have a ledger: its time, not the transaction's."""

DATABASE_ID = "database"
"""Name of the fact that holds the database's id."""


class State(IntEnum):
    """What the ledger says of a key."""

    LIVE = 1
    """A row owns the key, or did when a transaction last wrote it."""
    DOOMED = 2
    """No row owns the key: a commit or a drain deletes its object."""
    GONE = 3
    """Its object is deleted; the entry stays for a while, so that no row can get the key."""


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """The tables of one `MetaData`."""

    table: Table
    meta: Table
    """Facts about the database itself, by name."""

    @property
    def is_waiting(self) -> ColumnElement[bool]:
        """Match all but live keys, in the words of the index: SQLite does not use it for others."""
        return self.table.c.state != literal_column(f"{State.LIVE:d}")


_KEY = "filecolumn.ledger"
"""Where a `MetaData` has its ledger in its `info`: there is one object for each."""


def ledger_of(metadata: MetaData) -> Ledger | None:
    """Return the ledger that belongs to the tables of *metadata*; None if they do without."""
    prefix = f"{metadata.schema}." if metadata.schema else ""
    table, meta = metadata.tables.get(prefix + LEDGER), metadata.tables.get(prefix + META)
    if table is None or meta is None:
        return None
    known: Ledger | None = metadata.info.get(_KEY)
    if known is None or known.table is not table or known.meta is not meta:
        known = metadata.info[_KEY] = Ledger(table, meta)
    return known


def has_ledgers(dialect: Dialect) -> bool:
    """Return whether the ledger works on the database."""
    return dialect.name in CLOCK


def keys_in(ledger: Ledger, refs: Iterable[ObjectRef]) -> ColumnElement[bool]:
    """Match the entries of *refs*, also those under an older name of the storage.

    One list of keys for each name: for pairs SQLite reads the whole table.
    """
    return _named(ledger, _by_name(refs))


def keys_named(ledger: Ledger, pairs: Iterable[ObjectRef]) -> ColumnElement[bool]:
    """Match entries as `keys_in` does, by exactly the names that are given."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, key in pairs:
        by_name[name].append(key)
    return _named(ledger, by_name)


def _named(ledger: Ledger, by_name: Mapping[str, list[str]]) -> ColumnElement[bool]:
    columns = ledger.table.c
    alike = (and_(columns.backend == name, is_one_of(columns.key, keys)) for name, keys in by_name.items())
    return or_(false(), *alike)


def keys_bound(ledger: Ledger, refs: Sized) -> ColumnElement[bool]:
    """Match entries as `keys_in` does, in a prepared statement that is run with each of `bind_keys`.

    It is another statement for one key than for several, of which SQLAlchemy writes each into the SQL.
    """
    columns = ledger.table.c
    is_key = columns.key == bindparam("at_keys") if len(refs) == 1 else is_one_of(columns.key, "at_keys")
    return and_(columns.backend == bindparam("at_backend"), is_key)


def bind_keys(refs: Collection[ObjectRef]) -> list[dict[str, object]]:
    """Return the parameters of `keys_bound` for *refs*: one set of them, unless storages have several names."""
    if len(refs) == 1:
        ((backend, key),) = refs
        return [{"at_backend": name, "at_keys": key} for name in names_of(backend)]
    return [{"at_backend": name, "at_keys": keys} for name, keys in _by_name(refs).items()]


def _by_name(refs: Iterable[ObjectRef]) -> dict[str, list[str]]:
    by_backend: defaultdict[str, list[str]] = defaultdict(list)
    for backend, key in refs:
        by_backend[backend].append(key)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for backend, keys in by_backend.items():
        for name in names_of(backend):
            by_name[name] += keys
    return by_name


def read_meta(
    connection: Connection, ledger: Ledger, prefix: str = "", *, latest: bool = False
) -> dict[str, str]:
    """Return the facts about the database whose names begin with *prefix*.

    With *latest* as they are, not as they were when the transaction began: `add_meta` may have found
    what another one has committed since.
    """
    columns = ledger.meta.c
    query = select(columns.name, columns.value)
    if prefix:
        query = query.where(columns.name.startswith(prefix, autoescape=True))
    if latest and connection.dialect.name in {"mysql", "mariadb"}:
        query = query.with_for_update(read=True)
    return {name: value for name, value in connection.execute(query) if value is not None}


def add_meta(connection: Connection, ledger: Ledger, facts: Mapping[str, str]) -> None:
    """Record facts about the database, each unless it is there: of two transactions the first decides."""
    rows = [{"name": name, "value": value} for name, value in sorted(facts.items())]
    if not rows:
        return
    match connection.dialect.name:
        case "postgresql":
            connection.execute(postgresql.insert(ledger.meta).on_conflict_do_nothing(), rows)
        case "sqlite":
            connection.execute(sqlite.insert(ledger.meta).on_conflict_do_nothing(), rows)
        case _:
            connection.execute(insert(ledger.meta).prefix_with("IGNORE"), rows)


def set_meta(connection: Connection, ledger: Ledger, name: str, value: str) -> None:
    """Record a fact about the database, in place of what was known."""
    columns = ledger.meta.c
    is_it = columns.name == name
    known = connection.execute(select(columns.name).where(is_it)).first() is not None
    if not known:
        add_meta(connection, ledger, {name: value})
    connection.execute(update(ledger.meta).where(is_it).values(value=value))


def remove_meta(connection: Connection, ledger: Ledger, name: str) -> None:
    """Forget a fact about the database."""
    connection.execute(delete(ledger.meta).where(ledger.meta.c.name == name))


def add_ledger(metadata: MetaData) -> None:
    """Add the tables to *metadata*, so that `create_all` and Alembic make them."""
    if ledger_of(metadata) is not None:
        return
    Table(
        LEDGER,
        metadata,
        Column("backend", _exact(MAX_BACKEND, MAX_BACKEND), primary_key=True),
        Column("key", _exact(MAX_KEY, MAX_KEY_MYSQL), primary_key=True),
        Column("state", SmallInteger, nullable=False),
        # false: another row may reference the key too, so look before its object is deleted
        Column("checked", Boolean, nullable=False),
        Column("size", BigInteger),
        Column("sha256", String(64)),
        # milliseconds since the epoch, by the database's clock
        Column("created_at", BigInteger, nullable=False),
        Column("due_at", BigInteger),
        Column("attempts", Integer, nullable=False),
        Column("last_error", String(MAX_ERROR)),
        # which file column took the key (see `ledger.columns`); NULL in entries of older releases
        Column("held_in", String(MAX_COLUMN_ID)),
        # true until a trigger has seen the key arrive in its row
        Column("fresh", Boolean),
        # when a sweep first found no row for the key
        Column("unreferenced_since", BigInteger),
        Index(
            f"ix_{LEDGER}_due",
            "due_at",
            postgresql_where=text(f"state <> {State.LIVE:d}"),
            sqlite_where=text(f"state <> {State.LIVE:d}"),
        ),
    )
    Table(
        META,
        metadata,
        Column("name", String(MAX_BACKEND), primary_key=True),
        Column("value", String(MAX_KEY)),
    )


def _exact(length: int, length_mysql: int) -> TypeEngine[str]:
    """Return a string type that tells `Logo.png` from `logo.png`, as MySQL does in a binary collation only."""
    binary = mysql.VARCHAR(length_mysql, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


class now_ms(FunctionElement[int]):  # noqa: N801 - a SQL function, named as SQLAlchemy names its own
    """The database's clock, in milliseconds since the epoch."""

    type: TypeEngine[int] = BigInteger()
    name: str = "now_ms"
    inherit_cache: bool | None = True


@compiles(now_ms, *CLOCK)
def _now(element: now_ms, compiler: SQLCompiler, **options: object) -> str:
    return CLOCK[compiler.dialect.name]


def time_of(connection: Connection) -> int:
    """Return the time of the database's clock, in milliseconds since the epoch."""
    return connection.scalar(select(now_ms())) or 0
