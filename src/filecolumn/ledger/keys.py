"""Statements for many keys that find each entry by the primary key, whatever statistics the database has.

Without statistics of the ledger a database expects few entries of a storage.  For a list of keys PostgreSQL
and MariaDB then read all entries of the storage, and MariaDB locks them.  So both are given pairs to look up one
by one, PostgreSQL by LATERAL and MariaDB by STRAIGHT_JOIN, and a change is one statement with many sets of
parameters.  SQLite looks up lists.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Row,
    Select,
    String,
    Text,
    Update,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from filecolumn.backends.registry import ObjectRef, names_of
from filecolumn.backends.streams import batches
from filecolumn.ledger.locks import short_read
from filecolumn.ledger.table import MAX_BACKEND, MAX_KEY_MYSQL, Ledger, keys_named

__all__ = ("BATCH", "Lock", "change_keys", "in_index_order", "select_keys", "slices")

BATCH = 1000
"""Keys in one statement."""
SLICE = 10_000
"""Entries that SQLite reads at once for a sum of all."""

Lock = Literal["", "wait", "skip"]
"""Whether rows are locked until the transaction ends; with `skip` not those that others have locked."""


def select_keys(
    connection: Connection,
    ledger: Ledger,
    refs: Collection[ObjectRef],
    *columns: Column[Any],
    where: ColumnElement[bool] | None = None,
    lock: Lock = "",
    exact: bool = False,
) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield *columns* of the entries of *refs*, in pages; with *exact* only under the names in *refs*."""
    for batch in batches(_pairs(refs, exact=exact), BATCH):
        yield from connection.execute(_selected(connection, ledger, batch, columns, where, lock)).all()


def change_keys(
    connection: Connection,
    ledger: Ledger,
    refs: Iterable[ObjectRef],
    statement: Update | Delete,
    *,
    exact: bool = False,
) -> None:
    """Run an UPDATE or a DELETE of the ledger for the entries of *refs*, under each name of the storages.

    With *exact* only under the names in *refs*.
    """
    pairs = _pairs(refs, exact=exact)
    columns = ledger.table.c
    if connection.dialect.name == "sqlite":
        for batch in batches(pairs, BATCH):
            connection.execute(statement.where(keys_named(ledger, batch)))
        return
    of_one = statement.where(columns.backend == bindparam("at_backend"), columns.key == bindparam("at_key"))
    for batch in batches(pairs, BATCH):
        connection.execute(of_one, [{"at_backend": name, "at_key": key} for name, key in batch])


def in_index_order(connection: Connection) -> None:
    """Let PostgreSQL read in the order of an index for the rest of the transaction.

    Without statistics it takes what there is for little, and sorts all of it for each page.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_sort = off")


def _pairs(refs: Iterable[ObjectRef], *, exact: bool) -> list[ObjectRef]:
    """Return what entries are looked for, by names and keys."""
    return sorted(
        set(refs) if exact else {(name, key) for backend, key in refs for name in names_of(backend)}
    )


def _selected(  # noqa: PLR0917 - of what, and how
    connection: Connection,
    ledger: Ledger,
    pairs: list[ObjectRef],
    columns: tuple[Column[Any], ...],
    where: ColumnElement[bool] | None,
    lock: Lock,
) -> Select[*tuple[Any, ...]]:
    table = ledger.table
    query: Select[*tuple[Any, ...]] = select(*columns)
    if where is not None:
        query = query.where(where)
    match connection.dialect.name:
        case "postgresql":
            names, keys = ([pair[part] for pair in pairs] for part in (0, 1))
            unnested = func.unnest(_array("names", names), _array("keys", keys))
            wanted = unnested.table_valued("backend", "key").render_derived("wanted")
            is_it = table.c.backend == wanted.c.backend, table.c.key == wanted.c.key
            # an OFFSET keeps the planner from making one join of it
            each = _locking(query.where(*is_it).offset(0), lock).lateral("entry")
            return select(each).select_from(wanted.join(each, true()))
        case "mysql" | "mariadb":
            given = bindparam("wanted", json.dumps(pairs, ensure_ascii=False), type_=String)
            listed = func.json_table(given, _IN_JSON).table_valued("of_backend", "of_key", name="wanted")
            is_it = table.c.backend == listed.c.of_backend, table.c.key == listed.c.of_key
            query = query.prefix_with("STRAIGHT_JOIN").select_from(listed, table).where(*is_it)
            return _locking(query, lock)
        case _:
            return query.where(keys_named(ledger, pairs))


def _array(name: str, values: list[str]) -> ColumnElement[Any]:
    return bindparam(name, values, type_=ARRAY(Text), unique=True)


# as the ledger has text: else its index is of no use
_EXACT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_IN_JSON: ColumnElement[str] = literal_column(
    f"'$[*]' COLUMNS (of_backend VARCHAR({MAX_BACKEND}) {_EXACT} PATH '$[0]', "
    f"of_key VARCHAR({MAX_KEY_MYSQL}) {_EXACT} PATH '$[1]')"
)


def _locking(query: Select[*tuple[Any, ...]], lock: Lock) -> Select[*tuple[Any, ...]]:
    return query.with_for_update(skip_locked=lock == "skip") if lock else query


def slices(connection: Connection, ledger: Ledger) -> Iterator[ColumnElement[bool]]:
    """Yield conditions for all entries: on SQLite for some at a time, so that no reader holds up a writer for long.

    The transaction ends with each.
    """
    if connection.dialect.name != "sqlite":
        yield true()
        return
    columns = ledger.table.c
    key = tuple_(columns.backend, columns.key)
    ends = select(columns.backend, columns.key).order_by(columns.backend, columns.key).offset(SLICE).limit(1)
    behind: ColumnElement[bool] = true()
    has_more = True
    while has_more:
        with short_read(connection.engine):
            end = connection.execute(ends.where(behind)).first()
            has_more = end is not None
            yield behind if end is None else and_(behind, key <= tuple_(*end))
            connection.rollback()
        behind = true() if end is None else key > tuple_(*end)
