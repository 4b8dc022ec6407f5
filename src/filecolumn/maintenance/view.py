"""What a run of maintenance can see of a database: all columns that may hold a key, and what is missing.

The models of a run are one release's.  The columns that the ledger has recorded are read as well, by
their recorded names, and one that cannot be read keeps everything that it might hold.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, MetaData

from filecolumn.maintenance.base_columns import base_columns
from filecolumn.orm.columns import ColumnName, RecordedColumn, recorded_columns, translated
from filecolumn.orm.ledger import Ledger
from filecolumn.orm.references import (
    IncompleteColumnError,
    ReadColumn,
    is_view,
    read_columns,
    referenced,
    why_incomplete,
)

__all__ = ("View", "look_at", "snapshot")


@dataclass(frozen=True, slots=True)
class View:
    """The file columns of a database."""

    columns: Sequence[ReadColumn]
    """All that are to be read."""
    recorded: Sequence[RecordedColumn]
    hidden: dict[str, str] = field(default_factory=dict[str, str])
    """The columns that cannot be read completely, and why."""

    @property
    def is_complete(self) -> bool:
        """Whether a key that was not found is in no row."""
        return not self.hidden

    @property
    def reason(self) -> str:
        """Why nothing can be concluded; empty if something can."""
        return "; ".join(f"{name} cannot be read: {why}" for name, why in sorted(self.hidden.items()))

    def referenced(self, connection: Connection, keys: Collection[str]) -> set[str]:
        """Return which of *keys* rows refer to; `hidden` grows by a column that turns out to be unreadable."""
        if not keys or not self.is_complete:
            return set()
        try:
            return referenced(connection, self.columns, keys)
        except IncompleteColumnError as error:
            connection.rollback()
            self.hidden[error.column] = error.why
            return set()

    def read_name(self, connection: Connection, ledger: Ledger, name: ColumnName) -> ReadColumn:
        """Return a recorded column by its name in the database."""
        return _read_name(connection, ledger, name)


def look_at(connection: Connection, ledger: Ledger | None, metadatas: Sequence[MetaData]) -> View:
    """Return the columns that the models name and those that the ledger has recorded."""
    columns = dict.fromkeys(read_columns(connection, metadatas))
    recorded = [] if ledger is None else recorded_columns(connection, ledger)
    known = {(column.schema, column.table, column.column) for column in columns}
    for each in recorded:
        assert ledger is not None  # noqa: S101 - else nothing is recorded
        found = _read_name(connection, ledger, each.name)
        if (found.schema, found.table, found.column) not in known:
            # one that is there under another name of its schema is read once (see `referenced`)
            columns[found] = None
    hidden: dict[str, str] = {}
    for column in list(columns):
        if is_view(connection, column):
            behind = base_columns(connection, column)
            columns.update(dict.fromkeys(behind))
            if not behind:
                hidden[str(column)] = "it is a view, and of which table the database does not say"
    view = View(list(columns), recorded, hidden)
    for column in view.columns:
        if (why := why_incomplete(connection, column)) is not None:
            view.hidden[str(column)] = why
    return view


@contextmanager
def snapshot(engine: Engine) -> Generator[Connection]:
    """Begin a transaction in which everything is read as it is at one moment."""
    with engine.connect() as connection:
        match connection.dialect.name:
            case "sqlite":
                # drivers do not BEGIN before a SELECT; a listener of the engine's may
                connection.exec_driver_sql("SELECT 1")
                if not getattr(connection.connection.driver_connection, "in_transaction", False):
                    connection.exec_driver_sql("BEGIN")
            case _:
                connection.execution_options(isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()


def _read_name(connection: Connection, ledger: Ledger, name: ColumnName) -> ReadColumn:
    schema = name.schema or translated(connection, ledger.table.schema)
    return ReadColumn(schema, name.table, name.column)
