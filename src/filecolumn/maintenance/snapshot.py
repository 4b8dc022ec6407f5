"""What a survey has seen, in a private file that vanishes with it: memory stays flat at any number of keys.

The file is SQLite's own temporary database, beside the process: the application's database is
asked for pages of 1,000 by primary key only, needs no right to create tables, and may be a replica
or behind a pooler that forgets temporary tables.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Self, TypeVar

from filecolumn.files import execution
from filecolumn.orm.references import ReferencedKeys, last_segment

__all__ = (
    "Entry",
    "HeldFile",
    "ListedObject",
    "Scratch",
    "Suspect",
    "Suspicion",
)

PAGE = 1000
LIMIT = 3600.0
CACHE_KIB = 8192

ScratchRow = tuple[Any, ...]  # a row of SQLite: its tables say what is in it

T = TypeVar("T")

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE held (place TEXT, key TEXT, backend TEXT, size INT, checksum TEXT, shared INT, source INT, pk BLOB);
CREATE TABLE entry (place TEXT, key TEXT, backend TEXT, state INT, checked INT, sha256 TEXT);
CREATE TABLE listed (place TEXT, key TEXT, size INT, modified REAL, PRIMARY KEY (place, key)) WITHOUT ROWID;
CREATE TABLE named (key TEXT);
CREATE TABLE unread (text TEXT);
CREATE TABLE suspect (backend TEXT, key TEXT, suspicion TEXT, place TEXT);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS held_key ON held (place, key);
CREATE INDEX entry_key ON entry (place, key);
CREATE INDEX named_key ON named (key);
"""
# 1 is State.LIVE
_SUSPECT = """
DELETE FROM suspect WHERE EXISTS
  (SELECT 1 FROM held h WHERE h.place = suspect.place AND h.key = suspect.key);
INSERT INTO suspect SELECT e.backend, e.key, 'unreferenced', e.place FROM entry e WHERE e.state = 1
  AND NOT EXISTS (SELECT 1 FROM held h WHERE h.place = e.place AND h.key = e.key);
DELETE FROM suspect WHERE EXISTS (SELECT 1 FROM named n WHERE n.key = suspect.key)
  OR EXISTS (SELECT 1 FROM unread u WHERE instr(u.text, last_segment(suspect.key)) > 0);
"""
_HOLDS = """
SELECT 1 FROM held WHERE place = :place AND key = :key
UNION ALL SELECT 1 FROM named WHERE key = :key
UNION ALL SELECT 1 FROM unread WHERE instr(text, last_segment(:key)) > 0
"""
_SHARED = """
SELECT place, key FROM held GROUP BY place, key HAVING count(*) > 1
UNION SELECT h.place, h.key FROM held h JOIN named n ON n.key = h.key
UNION SELECT e.place, e.key FROM entry e WHERE (SELECT count(*) FROM named n WHERE n.key = e.key) > 1
UNION SELECT e.place, e.key FROM entry e JOIN unread u ON instr(u.text, last_segment(e.key)) > 0
"""
_KNOWN_ELSEWHERE = """
CREATE INDEX entry_by_key ON entry (key);
DELETE FROM suspect WHERE suspicion = 'orphan' AND EXISTS (SELECT 1 FROM entry e WHERE e.key = suspect.key);
"""
_FOLDED = """
CREATE TABLE IF NOT EXISTS folded (key TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT OR IGNORE INTO folded SELECT fold(key) FROM held UNION SELECT fold(key) FROM named
  UNION SELECT fold(key) FROM entry WHERE state = 1;
"""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that a row refers to."""

    place: str
    """The storage, under one name however many it has."""
    key: str
    backend: str
    """The name of the storage in the row."""
    size: int | None
    checksum: str | None
    shared: bool
    """Whether other rows may refer to it too: advanced-alchemy's do."""
    source: int
    """The number of its column."""
    primary_key: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a key."""

    place: str
    key: str
    backend: str
    """The name of the storage in the ledger."""
    state: int
    checked: bool
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a storage lists."""

    place: str
    key: str
    size: int
    modified: float | None


class Suspicion(StrEnum):
    """Why an object looks unused."""

    ORPHAN = "orphan"
    """Neither a row nor the ledger knows it."""
    RETURNED = "returned"
    """The ledger has it as deleted, and it is there."""
    UNREFERENCED = "unreferenced"
    """The ledger has it as live, and no row refers to it."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """What looks unused."""

    backend: str
    key: str
    suspicion: Suspicion


class Scratch:
    """Rows, ledger entries and objects, to be compared as sets."""

    def __init__(self) -> None:
        # worker threads take turns with it in an event loop, never two at a time
        self._file = sqlite3.connect("", check_same_thread=False)
        self._file.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._file.executescript(_TABLES)
        self._file.create_function("last_segment", 1, last_segment, deterministic=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add_files(self, files: Iterable[HeldFile]) -> None:
        """Add files of rows."""
        self._add(
            "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f.place,
                    f.key,
                    f.backend,
                    f.size,
                    f.checksum,
                    f.shared,
                    f.source,
                    pickle.dumps(f.primary_key),
                )
                for f in files
            ],
        )

    def add_held(self, held: ReferencedKeys) -> None:
        """Add what a row refers to that is not what its column holds, in whatever storage."""
        self._add("INSERT INTO named VALUES (?)", [(_storable(key),) for key in held.keys])
        if held.text is not None:
            self._add("INSERT INTO unread VALUES (?)", [(_storable(held.text),)])

    def add_entries(self, entries: Iterable[Entry]) -> None:
        """Add entries of the ledger."""
        self._add(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
            [(e.place, e.key, e.backend, e.state, e.checked, e.sha256) for e in entries],
        )

    def add_objects(self, objects: Iterable[ListedObject]) -> None:
        """Add objects of storages; a page that comes twice counts once."""
        self._add(
            "INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?)",
            [(o.place, o.key, o.size, o.modified) for o in objects],
        )

    def forget_place(self, place: str) -> None:
        """Forget all that is known of a storage which cannot be listed."""
        for table in ("held", "entry", "listed"):
            self._run(partial(self._fetch, f"DELETE FROM {table} WHERE place = ?", (place,)))  # noqa: S608 - ours

    def add_suspects(self, suspects: Iterable[tuple[str, Suspect]]) -> None:
        """Add objects that look unused, each with the name of its storage."""
        self._add(
            "INSERT INTO suspect VALUES (?, ?, ?, ?)",
            [(s.backend, s.key, s.suspicion, place) for place, s in suspects],
        )

    def suspect_unheld(self) -> None:
        """Suspect live keys that no row refers to, and clear the objects that one does."""
        self._run(partial(self._file.executescript, _SUSPECT))

    def clear_known_elsewhere(self) -> None:
        """Clear orphans whose key the ledger has as live in any storage: perhaps under an unknown name of this one."""
        self._run(partial(self._file.executescript, _KNOWN_ELSEWHERE))

    def clear_folder(self, place: str, folder: str) -> None:
        """Clear what lies in a folder of a storage."""
        query = "DELETE FROM suspect WHERE place = ? AND substr(key, 1, ?) = ?"
        self._run(partial(self._fetch, query, (place, len(folder), folder)))

    def has_suspects(self, place: str) -> bool:
        """Return whether an object of a storage is suspected."""
        return bool(
            self._run(partial(self._fetch, "SELECT 1 FROM suspect WHERE place = ? LIMIT 1", (place,)))
        )

    def clear_folded(self, place: str, fold: Callable[[str], str]) -> None:
        """Clear what differs only in case or normal form from a key of a row, or one that the ledger has as live."""
        self._file.create_function("fold", 1, fold, deterministic=True)
        self._run(partial(self._file.executescript, _FOLDED))
        query = (
            "DELETE FROM suspect WHERE place = ? AND suspicion <> 'unreferenced' "
            "AND fold(key) IN (SELECT key FROM folded)"
        )
        self._run(partial(self._fetch, query, (place,)))

    def held_among(self, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of *places* a row refers to, or may refer to."""

        def look() -> set[tuple[str, str]]:
            return {
                (place, key)
                for place, key in places
                if self._file.execute(_HOLDS, {"place": place, "key": key}).fetchone() is not None
            }

        return self._run(look)

    def sources_of(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the number of a column that holds each of *places*, for those that one does."""

        def look() -> dict[tuple[str, str], int]:
            query = "SELECT source FROM held WHERE place = ? AND key = ?"
            found = {place: self._file.execute(query, place).fetchone() for place in places}
            return {place: row[0] for place, row in found.items() if row is not None}

        return self._run(look)

    def shared_places(self) -> Iterator[list[tuple[str, str]]]:
        """Yield the places that more than one row refers to, or may refer to, in pages."""
        for page in self.pages(_SHARED):
            yield [(place, key) for place, key in page]

    def count_suspects(self) -> dict[Suspicion, int]:
        """Return the number of suspects of each kind."""
        counted = self._run(
            partial(self._fetch, "SELECT suspicion, count(*) FROM suspect GROUP BY suspicion", ())
        )
        return {Suspicion(suspicion): count for suspicion, count in counted}

    def suspects(self, suspicion: Suspicion) -> Iterator[list[Suspect]]:
        """Yield the suspects of a kind, in pages."""
        for page in self.pages("SELECT backend, key FROM suspect WHERE suspicion = ?", (suspicion,)):
            yield [Suspect(backend, key, suspicion) for backend, key in page]

    def index(self) -> None:
        """Make the sets ready to be compared."""
        self._run(partial(self._file.executescript, _INDEXES))

    def count(self, table: str) -> int:
        """Return the number of rows in one of the sets."""
        [[number]] = self._run(partial(self._fetch, f"SELECT count(*) FROM {table}", ()))  # noqa: S608 - ours
        assert isinstance(number, int)  # noqa: S101 - count() is one
        return number

    def pages(self, query: str, parameters: Sequence[object] = ()) -> Iterator[list[ScratchRow]]:
        """Yield the rows of a query over the sets, in pages of `PAGE`."""
        with closing(self._file.cursor()) as cursor:
            self._run(partial(cursor.execute, query, parameters))
            while page := self._run(partial(cursor.fetchmany, PAGE)):
                yield page

    def held(self, query: str) -> Iterator[list[HeldFile]]:
        """Yield the rows of `held` that follow *query*, a FROM clause in which it is `h`."""
        for page in self.pages(f"SELECT h.* {query}"):
            yield [_held_file(row) for row in page]

    def entries(self, query: str) -> Iterator[list[Entry]]:
        """Yield the rows of `entry` that follow *query*, a FROM clause in which it is `e`."""
        for page in self.pages(f"SELECT e.* {query}"):
            yield [_entry(row) for row in page]

    def listed(self, query: str) -> Iterator[list[ListedObject]]:
        """Yield the rows of `listed` that follow *query*, a FROM clause in which it is `l`."""
        for page in self.pages(f"SELECT l.* {query}"):
            yield [_listed(row) for row in page]

    def _add(self, statement: str, rows: Sequence[ScratchRow]) -> None:
        self._run(partial(self._file.executemany, statement, rows))

    def _fetch(self, query: str, parameters: Sequence[object]) -> list[ScratchRow]:
        return self._file.execute(query, parameters).fetchall()

    def _run(self, call: Callable[[], T]) -> T:
        return execution.blocking(call, limit=LIMIT, doing="use the scratch file")


def _storable(text: str) -> str:
    """Return *text* without halves of characters, which no key has."""
    return text.encode(errors="replace").decode()


def _held_file(row: ScratchRow) -> HeldFile:
    place, key, backend, size, checksum, shared, source, primary_key = row
    # what was pickled here, in a file that nobody else can open
    return HeldFile(
        place,
        key,
        backend,
        size,
        checksum,
        bool(shared),
        source,
        pickle.loads(primary_key),  # noqa: S301
    )


def _entry(row: ScratchRow) -> Entry:
    place, key, backend, state, checked, sha256 = row
    return Entry(place, key, backend, state, bool(checked), sha256)


def _listed(row: ScratchRow) -> ListedObject:
    return ListedObject(*row)
