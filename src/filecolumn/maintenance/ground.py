"""What a run may conclude: which file columns it can read, and where it is the only one to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, MetaData, func, select
from sqlalchemy.exc import OperationalError

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.ledger.columns import ColumnName, RecordedColumn, recorded_columns, translated
from filecolumn.ledger.keys import slices
from filecolumn.ledger.marks import is_marked, why_shared
from filecolumn.ledger.owner import Examiner, Standing, examined, raise_generation
from filecolumn.ledger.table import Ledger
from filecolumn.logs import note
from filecolumn.maintenance.sql_views import base_columns
from filecolumn.maintenance.survey import Survey
from filecolumn.orm.catalogue import ReadColumn, is_view, read_columns, why_incomplete

__all__ = ("FileColumns", "Ground", "find_file_columns", "read_name", "survey_ground")


@dataclass(frozen=True, slots=True)
class FileColumns:
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


def find_file_columns(
    connection: Connection, ledger: Ledger | None, metadatas: Sequence[MetaData]
) -> FileColumns:
    """Return the columns that the models name and those that the ledger has recorded."""
    columns = dict.fromkeys(read_columns(connection, metadatas))
    recorded = [] if ledger is None else recorded_columns(connection, ledger)
    known = {(column.schema, column.table, column.column) for column in columns}
    for each in recorded:
        assert ledger is not None  # noqa: S101 - else nothing is recorded
        column = read_name(connection, ledger, each.name)
        if (column.schema, column.table, column.column) not in known:
            # one that is there under another name of its schema is read once (see `KeyLookup.read`)
            columns[column] = None
    hidden: dict[str, str] = {}
    for column in list(columns):
        if is_view(connection, column):
            behind = base_columns(connection, column)
            columns.update(dict.fromkeys(behind))
            if not behind:
                hidden[str(column)] = "it is a view, and the database does not say of which table"
    found = FileColumns(list(columns), recorded, hidden)
    for column in found.columns:
        if (why := why_incomplete(connection, column)) is not None:
            found.hidden[str(column)] = why
    return found


def read_name(connection: Connection, ledger: Ledger, name: ColumnName) -> ReadColumn:
    """Return a recorded column by its name in the database."""
    schema = name.schema or translated(connection, ledger.table.schema)
    return ReadColumn(schema, name.table, name.column)


@dataclass(frozen=True, slots=True)
class Ground:
    """What conclusions stand on."""

    file_columns: FileColumns
    standings: Mapping[str, Standing]
    """By storage."""
    newest: float
    """Epoch seconds of the ledger's newest entry: the database knows nothing of what is younger."""

    def hide(self, survey: Survey) -> None:
        """Hide the columns in which the survey found a value that cannot be decoded."""
        for source in survey.undecodable:
            column = survey.columns[source]
            self.file_columns.hidden[f"{column.table}.{column.name}"] = "a value in it is not text"

    def why_withheld(self, name: str) -> str:
        """Return why nothing may be removed from a storage; empty if it may."""
        if name not in self.standings:
            return "" if storages.is_registered(name) else f"storage {name!r} is not registered"
        return self.standings[name].refused or self.standings[name].withheld

    def why_mixed(self, name: str) -> str:
        """Return why the absence of a row says nothing about an object that the ledger never had."""
        return self.standings[name].mixed if name in self.standings else ""

    def why_not(self, name: str) -> str:
        """Return why nothing, or not everything, is concluded about a storage."""
        return self.why_withheld(name) or self.why_mixed(name)


def survey_ground(
    engine: Engine, ledger: Ledger | None, metadatas: Sequence[MetaData], *, register: bool
) -> Ground:
    """Return what may be concluded; with *register* the database registers where it has not yet."""
    if ledger is None:
        with engine.connect() as connection:
            file_columns = find_file_columns(connection, None, metadatas)
        return Ground(
            file_columns, {each.key: _without_ledger(each) for each in storages.all()}, float("inf")
        )
    with engine.begin() as connection:
        examiner = Examiner(connection, ledger, only_looks=not register)
        standings = {each.key: examined(examiner, each, register=register) for each in storages.all()}
    with engine.connect() as connection:
        file_columns = find_file_columns(connection, ledger, metadatas)
        newest = select(func.max(ledger.table.c.created_at))
        parts = [connection.scalar(newest.where(part)) or 0 for part in slices(connection, ledger)]
    for backend in storages.all():
        standing = standings[backend.key]
        if not standing.mixed and (why := why_shared(backend)):
            standings[backend.key] = Standing(place=standing.place, withheld=standing.withheld, mixed=why)
    # a database that was restored would catch up with what its storages have seen
    if register and not any(standing.withheld or standing.refused for standing in standings.values()):
        _raise_generation(engine, ledger)
    return Ground(file_columns, standings, max(parts) / 1000)


def _raise_generation(engine: Engine, ledger: Ledger) -> None:
    """Raise the generation, unless a transaction of the application holds SQLite's only lock just now."""
    try:
        raise_generation(engine, ledger, storages.all())
    except OperationalError as error:
        if error.connection_invalidated:
            raise
        note("the generation of the database is not raised by this run: %s", error.orig or error)


def _without_ledger(backend: StorageBackend) -> Standing:
    if backend.capabilities.persistent and is_marked(backend):
        return Standing(withheld=f"a database with a ledger stores in {backend.key!r}")
    return Standing()
