"""Looks up which keys rows reference: any number of keys in one pass over each file column, and holds up no writer.

PostgreSQL and MariaDB show all columns as they are at one moment, and so does SQLite with a write-ahead
log.  With its rollback journal no writer could commit as long as a reader reads: rows are read in short pages
there, and once more if somebody has committed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, literal_column
from sqlalchemy import column as bare_column

from filecolumn.ledger.locks import has_begin_listener, short_read
from filecolumn.maintenance.ground import FileColumns
from filecolumn.maintenance.survey import Progress, expected_rows, no_progress
from filecolumn.maintenance.temporary import PAGE, TemporaryTables, head_of, storable
from filecolumn.orm.catalogue import (
    ROW_IDS,
    AnyColumn,
    IncompleteColumnError,
    ReadColumn,
    key_names,
    read_column,
    readable_facts,
)
from filecolumn.orm.references import UNTRANSLATED, HeldKeys, complete, held_keys, key_query
from filecolumn.orm.rows import rows_behind

__all__ = ("KeyLookup",)

FEW = 1000
"""Keys that SQL may look for; of more it reads all rows."""
OLD = 600.0
"""Seconds after which what was seen is looked at again, before anything is deleted."""

_TABLES = """
CREATE TABLE sought (key TEXT PRIMARY KEY, head TEXT, held INT NOT NULL DEFAULT 0) WITHOUT ROWID;
"""


class KeyLookup(TemporaryTables):
    """Keys, and whether rows refer to them."""

    def __init__(self, progress: Progress = no_progress) -> None:
        super().__init__(_TABLES)
        self._progress = progress
        self._began = self._took = 0.0
        self._rows = 0
        self._total: int | None = None

    def seek(self, keys: Iterable[str]) -> None:
        """Add keys to be looked up."""
        self._add(
            "INSERT OR IGNORE INTO sought (key, head) VALUES (?, ?)",
            [(key, head_of(key)) for key in keys],
        )

    def look(self, engine: Engine, file_columns: FileColumns) -> None:
        """Look the keys up in all columns; `hidden` grows by one that turns out to be unreadable."""
        self._began = time.monotonic()
        if file_columns.is_complete:
            try:
                self._look(engine, file_columns.columns)
            except IncompleteColumnError as error:
                file_columns.hidden[error.column] = error.why
        self._took = time.monotonic() - self._began

    def read(self, connection: Connection, columns: Iterable[AnyColumn], *, in_pages: bool = False) -> None:
        """Look the keys up in columns, each of which is read once; *in_pages* in many transactions.

        IncompleteColumnError if one of them cannot be read completely; on PostgreSQL the transaction may
        then be one that has failed.
        """
        number = self._count("SELECT count(*) FROM sought")
        few = {key for (key,) in self._fetch("SELECT key FROM sought")} if number <= FEW else None
        self._rows = 0
        read: set[ReadColumn] = set()
        given = [read_column(connection, each) for each in columns] if number else []
        self._total = None if self._progress is no_progress else expected_rows(connection, given)
        for column in given:
            facts = readable_facts(connection, column)
            full_name = ReadColumn(facts.schema, column.table, column.column)
            if full_name not in read:
                read.add(full_name)
                query = key_query(column, connection.dialect, facts.type, few)
                with complete(column):
                    reading = _short_reads if in_pages else _stream
                    # a cursor of the server that is left in the middle would disturb what comes next
                    with closing(reading(connection, query, column)) as pages:
                        self._note_all(pages)

    @property
    def is_old(self) -> bool:
        """Whether the rows may have changed much since they were looked at; later for those that take long to read."""
        return time.monotonic() - self._began > max(OLD, 2 * self._took)

    def is_older_than(self, seconds: float) -> bool:
        """Return whether it is so long ago that the last row was read; or as long as it takes to read them all."""
        return time.monotonic() - self._began - self._took > max(seconds, self._took)

    def unreferenced(self, keys: Collection[str]) -> set[str]:
        """Return which of *keys* were looked up, and found in no row."""

        def look() -> set[str]:
            query = "SELECT 1 FROM sought WHERE key = ? AND NOT held"
            return {key for key in keys if self._file.execute(query, (key,)).fetchone() is not None}

        return self._run(look)

    def _look(self, engine: Engine, columns: Sequence[ReadColumn]) -> None:
        self._fetch("UPDATE sought SET held = 0 WHERE held")
        if not _readers_block_writers(engine):
            with consistent_read(engine) as connection:
                self.read(connection, columns)
            return
        with engine.connect() as connection:
            before = _versions(connection)
            self.read(connection, columns, in_pages=True)
            if _versions(connection) != before:
                # what moved from a row behind to one before was missed
                self.read(connection, columns, in_pages=True)

    def _note_all(self, pages: Iterable[Sequence[Row[Any]]]) -> None:
        for page in pages:
            self._note(held_keys(row[:2] for row in page))
            self._rows += len(page)
            self._progress("rows looked at", self._rows, self._total)

    def _note(self, held: HeldKeys) -> None:
        keys = dict.fromkeys(map(storable, held.keys))
        for text in held.texts:
            keys.update(dict.fromkeys(self._keys_named_in(storable(text), "sought")))
        self._add("UPDATE sought SET held = 1 WHERE key = ?", [(key,) for key in keys])


@contextmanager
def consistent_read(engine: Engine) -> Generator[Connection]:
    """Begin a transaction in which everything is read as it is at one moment."""
    with engine.connect() as connection:
        match connection.dialect.name:
            case "sqlite":
                _begin_reading(connection)
            case _:
                connection.execution_options(isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()


def _begin_reading(connection: Connection) -> None:
    """Begin a transaction that only reads; drivers do not BEGIN before a SELECT."""
    connection.exec_driver_sql("SELECT 1")
    driver = connection.connection.driver_connection
    if has_begin_listener(connection.engine) and getattr(driver, "in_transaction", False):
        # of one that says BEGIN IMMEDIATE, as many do: nobody could write meanwhile
        connection.exec_driver_sql("ROLLBACK")
    if not getattr(driver, "in_transaction", False):
        connection.exec_driver_sql("BEGIN")
    # each attached file is read as it is when it is read first
    for row in connection.exec_driver_sql("PRAGMA database_list").all():
        schema = connection.dialect.identifier_preparer.quote_identifier(str(row[1]))
        connection.exec_driver_sql(f"SELECT 1 FROM {schema}.sqlite_master LIMIT 1").all()  # noqa: S608 - quoted


def _readers_block_writers(engine: Engine) -> bool:
    """Return whether nobody can commit while somebody reads: so SQLite's files are without a write-ahead log."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.connect() as connection:
        files = [str(row[1]) for row in connection.exec_driver_sql("PRAGMA database_list") if row[2]]
        modes = {_pragma(connection, name, "journal_mode") for name in files}
        connection.rollback()
    return not modes <= {"wal"}


def _versions(connection: Connection) -> list[object]:
    """Return numbers of which one changes when another connection of SQLite commits."""
    names = [str(row[1]) for row in connection.exec_driver_sql("PRAGMA database_list")]
    versions = [_pragma(connection, name, "data_version") for name in names]
    connection.rollback()
    return versions


def _pragma(connection: Connection, schema: str, name: str) -> object:
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    return connection.exec_driver_sql(f"PRAGMA {quoted}.{name}").scalar_one()


def _stream(connection: Connection, query: Select[Any], _: ReadColumn) -> Generator[Sequence[Row[Any]]]:
    options = {**UNTRANSLATED, "yield_per": PAGE}
    with connection.execute(query, execution_options=options) as rows:
        yield from rows.partitions(PAGE)


def _short_reads(
    connection: Connection, query: Select[Any], column: ReadColumn
) -> Generator[Sequence[Row[Any]]]:
    """Yield the rows of a query in pages, each a transaction of its own; a view's, which have no key, in one."""
    names = [] if column.is_view else key_names(connection, column)
    connection.rollback()
    if not names:
        yield from _stream(connection, query, column)
        connection.rollback()
        return
    key: list[ColumnElement[Any]] = [
        literal_column(name) if name in ROW_IDS else bare_column(name) for name in names
    ]
    ordered = query.add_columns(*key).order_by(*key).limit(PAGE)
    page_query = ordered
    while True:
        with short_read(connection.engine):
            page = connection.execute(page_query, execution_options=UNTRANSLATED).all()
            connection.rollback()
        if page:
            yield page
        if len(page) < PAGE:
            return
        page_query = ordered.where(rows_behind(key, tuple(page[-1][2:]), connection.dialect))
