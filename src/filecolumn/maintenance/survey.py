"""Reads everything that rows, ledger and storages say, page by page, into a `Snapshot`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Row,
    Select,
    Table,
    select,
)

from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import (
    BackendMismatchError,
    CorruptFileMetadataError,
    FileColumnError,
    MaintenanceRefusedError,
)
from filecolumn.files import execution
from filecolumn.files.facts import FileFacts, JsonObject, NotAList
from filecolumn.files.file import FileObject, file_state
from filecolumn.files.state import LOADED, AllowedBackends, FileState
from filecolumn.ledger.keys import in_index_order, select_keys
from filecolumn.ledger.locks import short_read
from filecolumn.ledger.marks import place_id
from filecolumn.ledger.table import Ledger, State, time_of
from filecolumn.maintenance.snapshot import Entry, ReferencedFile, Snapshot
from filecolumn.orm import rows
from filecolumn.orm.attributes import files_in, key_columns, mapper_of
from filecolumn.orm.catalogue import AnyColumn, estimated_rows, file_columns, is_view
from filecolumn.orm.references import ReferencedKeys, UndecodableError, referenced_files, referenced_keys

__all__ = (
    "PAGE",
    "UNREACHABLE",
    "ChosenStorages",
    "Progress",
    "Survey",
    "Unreadable",
    "database_time",
    "expected_rows",
    "files_of_row",
    "listing_pages",
    "said",
    "why_unreachable",
)


class ChosenStorages:
    """The registered storages that a run looks at, each location once."""

    def __init__(self, chosen: Collection[str] | None = None) -> None:
        """Take all storages, or those with the *chosen* keys; BackendNotRegisteredError for an unknown one."""
        self._names: dict[str, str] = {}
        first: dict[str, str] = {}
        for backend in storages.all():
            # what is in the memory of one object is nowhere else, whatever its location says
            location = place_id(backend) or (
                backend.location if backend.capabilities.persistent else f"{backend.key}\n"
            )
            self._names[backend.key] = first.setdefault(location, backend.key)
        self._chosen = None if chosen is None else {self.name_of(storages.get(key).key) for key in chosen}
        self.names: list[str] = [name for name in first.values() if self.is_chosen(name)]
        self.is_complete: bool = chosen is None
        """Whether all storages are looked at."""

    def name_of(self, backend: str) -> str:
        """Return the one name of the storage that *backend* means; an unknown one keeps its own."""
        resolved = storages.resolve(backend)
        return self._names.get(resolved, resolved)

    def leave_out(self, names: Iterable[str]) -> None:
        """Look at the others only."""
        out = set(names)
        if out:
            self.names = [name for name in self.names if name not in out]
            self._chosen = set(self.names)
            self.is_complete = False

    def is_chosen(self, name: str) -> bool:
        """Return whether the storage *name* is to be looked at; one that is not registered is, if all are."""
        return self._chosen is None or name in self._chosen

    def spelled(self, refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
        """Yield each object under every key that its storage is registered with, which have aliases of their own."""
        keys: dict[str, list[str]] = {}
        for name, key in refs:
            if name not in keys:
                keys[name] = [key for key, first in self._names.items() if first == name] or [name]
            for backend in keys[name]:
                yield backend, key

    def backends(self) -> Iterator[tuple[str, StorageBackend]]:
        """Yield name and storage."""
        for name in self.names:
            yield name, storages.get(name)

    def refuse_nested(self) -> None:
        """Raise MaintenanceRefusedError if one storage is a folder of another: its objects would be orphans there."""
        locations = sorted(
            (backend.location.rstrip("/") + "/", backend.key)
            for backend in storages.all()
            if backend.capabilities.persistent
        )
        for outer, outer_key in locations:
            for inner, inner_key in locations:
                if inner != outer and inner.startswith(outer):
                    raise MaintenanceRefusedError(
                        f"storage {inner_key!r} lies inside storage {outer_key!r} ({outer}), where its objects "
                        "look like orphans; give each a folder of its own"
                    )


PAGE = 1000
LISTING_LIMIT = 600.0
"""Seconds that an event loop waits for one page of a listing."""

UNREACHABLE = (FileColumnError, OSError)
"""What an unreachable storage raises."""

PrimaryKey = tuple[object, ...]
"""Its values in a row; empty in a table that has none."""

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many it has been done to so far, and of how many; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value in a row that describes no file of its column."""

    source: int
    primary_key: PrimaryKey
    problem: FileColumnError
    held: ReferencedKeys | None
    """The keys that it refers to all the same, in whatever storage; None if nobody can tell."""


def expected_rows(connection: Connection, tables: Iterable[AnyColumn | Table]) -> int | None:
    """Return about how many rows tables have together, for progress; None if the database cannot tell."""
    counts = [estimated_rows(connection, table) for table in tables]
    return None if None in counts else sum(count or 0 for count in counts)


def no_progress(what: str, count: int, total: int | None) -> None:
    """Report no progress."""


@dataclass(slots=True)
class Survey:
    """One look at a database and its storages."""

    engine: Engine
    ledger: Ledger | None
    metadatas: Sequence[MetaData]
    chosen: ChosenStorages
    progress: Progress = no_progress
    columns: list[Column[object]] = field(default_factory=list[Column[object]])
    """The file columns of the tables that are there; a source is a number of this list."""
    views: set[int] = field(default_factory=set[int])
    """The sources that are columns of views."""
    undecodable: set[int] = field(default_factory=set[int])
    """The sources in which a value may refer to any key, because it is not text."""

    def __post_init__(self) -> None:
        with self.engine.connect() as connection:
            columns = file_columns(connection, self.metadatas)
            views = {column for column in columns if is_view(connection, column)}
        # what a view shows is a table's as well: they come last
        self.columns.extend(sorted(columns, key=views.__contains__))
        self.views.update(range(len(columns) - len(views), len(columns)))

    def read_rows(self, snapshot: Snapshot) -> Iterator[list[Unreadable]]:
        """Add what rows reference, and yield the values that cannot be read, page by page."""
        count = 0
        total = self._expected(self.columns)
        for source, column in enumerate(self.columns):
            for page in self._row_pages(column):
                found = [
                    found
                    for row in page
                    for found in files_of_row(self.chosen, column, source, _name_of(row), row[-1])
                ]
                files = (file for file in found if isinstance(file, ReferencedFile))
                chosen = [file for file in files if self.chosen.is_chosen(file.storage)]
                if source in self.views:
                    known = snapshot.referenced_among([(file.storage, file.key) for file in chosen])
                    chosen = [file for file in chosen if (file.storage, file.key) not in known]
                snapshot.add_files(chosen)
                unreadable = [item for item in found if isinstance(item, Unreadable)]
                self._keep(snapshot, unreadable)
                count += len(page)
                self.progress("rows", count, total)
                yield unreadable

    def _expected(self, tables: Sequence[AnyColumn | Table]) -> int | None:
        if self.progress is no_progress:
            return None
        with self.engine.connect() as connection:
            return expected_rows(connection, tables)

    def _keep(self, snapshot: Snapshot, unreadable: Iterable[Unreadable]) -> None:
        """Add what values refer to that are not what their columns hold."""
        for each in unreadable:
            if each.held is None:
                self.undecodable.add(each.source)
            else:
                snapshot.add_other_references(each.held)

    def read_ledger(self, snapshot: Snapshot, state: State | None = None) -> None:
        """Add what the ledger says, of all keys or of those in *state*."""
        if self.ledger is None:
            return
        columns = self.ledger.table.c
        # all states: without statistics PostgreSQL reads the whole table for each page of one state
        query: Select[*tuple[Any, ...]] = select(
            columns.backend,
            columns.key,
            columns.state,
            columns.checked,
            columns.sha256,
            columns.unreferenced_since.is_not(None).label("is_noted"),
            columns.held_in.is_not(None).label("has_column"),
        )
        count = 0
        total = self._expected([self.ledger.table])
        for page in pages_of(self.engine, query, (columns.backend, columns.key)):
            entries = (
                Entry(
                    self.chosen.name_of(row.backend),
                    row.key,
                    row.backend,
                    row.state,
                    row.checked,
                    row.sha256,
                    row.is_noted,
                    row.has_column,
                )
                for row in page
                if state is None or row.state == state
            )
            snapshot.add_entries(entry for entry in entries if self.chosen.is_chosen(entry.storage))
            count += len(page)
            self.progress("ledger", count, total)

    def entries_of(self, keys: Collection[ObjectRef]) -> dict[ObjectRef, Entry]:
        """Return what the ledger says of *keys*, under any name of their storages, in one query for 1,000."""
        found: dict[ObjectRef, Entry] = {}
        if self.ledger is None or not keys:
            return found
        columns = self.ledger.table.c
        wanted = columns.backend, columns.key, columns.state, columns.checked, columns.sha256, columns.due_at
        with self.engine.connect() as connection:
            spelled = list(self.chosen.spelled(keys))
            for backend, key, state, checked, sha256, due_at in select_keys(
                connection, self.ledger, spelled, *wanted
            ):
                name = self.chosen.name_of(backend)
                entry = Entry(name, key, backend, state, checked, sha256, due_at=due_at)
                found[entry.storage, key] = entry
        return found

    def _row_pages(self, column: Column[object]) -> Iterator[Sequence[Row[Any]]]:
        table = column.table
        assert isinstance(table, Table)  # noqa: S101 - see `file_columns`
        key = _key_of(table)
        query = select(*key, column).where(column.is_not(None))
        # only a constraint promises that no row is between two pages
        if len(table.primary_key) > 0:
            return pages_of(self.engine, query, key)
        return _streamed(self.engine, query)

    def reread(
        self, suspects: Iterable[ReferencedFile | Unreadable]
    ) -> Iterator[ReferencedFile | Unreadable]:
        """Yield what the rows of *suspects* hold now, one query for each column."""
        by_source: defaultdict[int, list[PrimaryKey]] = defaultdict(list)
        for suspect in suspects:
            by_source[suspect.source].append(suspect.primary_key)
        for source, primary_keys in by_source.items():
            column = self.columns[source]
            table = column.table
            assert isinstance(table, Table)  # noqa: S101 - see `file_columns`
            key = _key_of(table)
            for batch in batches(primary_keys, rows.BATCH):
                query = select(*key, column).where(rows.rows_in(key, batch))
                with self.engine.connect() as connection:
                    page = connection.execute(query).all()
                for row in page:
                    yield from files_of_row(self.chosen, column, source, _name_of(row), row[-1])


def _key_of(table: Table) -> Sequence[Column[Any]]:
    """Return the columns that tell the rows of a table apart: its mapper's if it has no primary key."""
    mapper = None if len(table.primary_key) > 0 else mapper_of(table)
    return tuple(table.primary_key) if mapper is None else tuple(key_columns(table, mapper))


def _name_of(row: Sequence[object]) -> PrimaryKey:
    """Return the key of a row; nothing where a part is NULL, which no constraint forbids a mapper's key to be."""
    key: PrimaryKey = tuple(row[:-1])
    return () if None in key else key


def files_of_row(
    chosen: ChosenStorages, column: Column[object], source: int, primary_key: PrimaryKey, value: object
) -> Iterator[ReferencedFile | Unreadable]:
    """Yield what a row's column refers to, and what is wrong with it.

    A value of another shape than its column's is wrong, and refers to its files all the same.
    """
    for file in files_in(value):
        state = file_state(file)
        try:
            facts, backend = state.facts, state.storage_name()
        except CorruptFileMetadataError as error:
            yield from _of_any_shape(chosen, source, primary_key, file, error)
        except BackendMismatchError as error:
            yield Unreadable(source, primary_key, error, ReferencedKeys(frozenset((state.facts.key or "",))))
        else:
            yield _held(chosen, source, primary_key, facts, backend)


def _of_any_shape(
    chosen: ChosenStorages,
    source: int,
    primary_key: PrimaryKey,
    file: FileObject,
    error: FileColumnError,
) -> Iterator[ReferencedFile | Unreadable]:
    """Yield the files of a value that has not the shape of its column, and *error* with what else it refers to."""
    undecoded = file_state(file).row
    row = undecoded.row if isinstance(undecoded, NotAList) else undecoded
    try:
        held, files = referenced_keys(row), referenced_files(row)
    except UndecodableError:
        yield Unreadable(source, primary_key, error, None)
        return
    read = dict(_read(files, file_state(file).allowed))
    yield Unreadable(source, primary_key, error, replace(held, keys=held.keys - read.keys()))
    for facts, backend in read.values():
        yield _held(chosen, source, primary_key, facts, backend)


def _read(
    files: Mapping[str, JsonObject], allowed: AllowedBackends | None
) -> Iterator[tuple[str, tuple[FileFacts, str]]]:
    """Yield those of *files* that can be read, with their storages."""
    for key, row in files.items():
        state = FileState(LOADED, row=row, allowed=allowed)
        with suppress(CorruptFileMetadataError, BackendMismatchError):
            yield key, (state.facts, state.storage_name())


def _held(
    chosen: ChosenStorages, source: int, primary_key: PrimaryKey, facts: FileFacts, backend: str
) -> ReferencedFile:
    storage = chosen.name_of(backend)
    return ReferencedFile(
        storage, facts.key or "", backend, facts.size, facts.checksum, facts.foreign, source, primary_key
    )


def listing_pages(backend: StorageBackend, *, after: str | None = None) -> Iterator[list[Stat]]:
    """Yield what a storage lists behind a key, in pages of `PAGE`; an event loop waits for a page in a thread."""
    listing = backend.list() if after is None else backend.list(after=after)
    doing = f"list storage {backend.key!r}"
    while page := execution.blocking(lambda: list(islice(listing, PAGE)), limit=LISTING_LIMIT, doing=doing):
        yield page


def why_unreachable(backend: StorageBackend) -> str:
    """Return why a storage cannot be listed; empty if it can."""
    try:
        execution.asked(backend, lambda: next(iter(backend.list()), None), "list objects")
    except UNREACHABLE as error:
        return said(error)
    return ""


def said(error: Exception) -> str:
    """Return what an error says; some of the operating system's say nothing."""
    return str(error) or type(error).__name__


def database_time(engine: Engine) -> float:
    """Return the epoch seconds, by the database's clock."""
    with engine.connect() as connection:
        return time_of(connection) / 1000


def pages_of(
    engine: Engine, query: Select[*tuple[Any, ...]], keys: Sequence[Column[Any]]
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of *query* in the order of the unique *keys*, one query for each page."""
    positions = [list(query.selected_columns).index(key) for key in keys]
    ordered = query.order_by(*keys).limit(PAGE)
    page_query = ordered
    while True:
        with short_read(engine), engine.connect() as connection:
            in_index_order(connection)
            page = connection.execute(page_query).all()
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = tuple(page[-1][position] for position in positions)
        page_query = ordered.where(rows.rows_behind(keys, last, engine.dialect))


def _streamed(engine: Engine, query: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a table without a primary key, from one cursor."""
    with engine.connect() as connection:
        yield from connection.execution_options(yield_per=PAGE).execute(query).partitions()
