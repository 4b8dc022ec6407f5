"""A snapshot of rows, ledger and storages, in a temporary file: the database is asked for pages by primary key."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from filecolumn.backends.registry import ObjectRef
from filecolumn.maintenance.temporary import TemporaryRow, TemporaryTables, head_of, storable
from filecolumn.orm.references import ReferencedKeys

__all__ = (
    "Entry",
    "ListedObject",
    "ReferencedFile",
    "Snapshot",
    "Suspect",
    "Suspicion",
)

_TABLES = """
CREATE TABLE referenced
  (storage TEXT, key TEXT, backend TEXT, size INT, checksum TEXT, shared INT, source INT, pk BLOB);
CREATE TABLE entry (storage TEXT, key TEXT, backend TEXT, state INT, checked INT, sha256 TEXT, noted INT, placed INT);
CREATE TABLE listed (storage TEXT, key TEXT, size INT, modified REAL, PRIMARY KEY (storage, key)) WITHOUT ROWID;
CREATE TABLE unlisted (storage TEXT PRIMARY KEY, before TEXT, behind TEXT) WITHOUT ROWID;
CREATE TABLE named (key TEXT);
CREATE TABLE unread (text TEXT);
CREATE TABLE perhaps (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE suspect (backend TEXT, key TEXT, suspicion TEXT, storage TEXT);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS referenced_key ON referenced (storage, key);
CREATE INDEX entry_key ON entry (storage, key);
CREATE INDEX named_key ON named (key);
"""
# all keys of which a value that cannot be read may name some
_CANDIDATES = """
CREATE TABLE candidate (key TEXT PRIMARY KEY, head TEXT, held INT NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT OR IGNORE INTO candidate SELECT key, head_of(key), 0 FROM
  (SELECT key FROM referenced UNION SELECT key FROM entry UNION SELECT key FROM suspect);
"""
# 1 is State.LIVE
_SUSPECT = """
DELETE FROM suspect WHERE EXISTS
  (SELECT 1 FROM referenced r WHERE r.storage = suspect.storage AND r.key = suspect.key);
INSERT INTO suspect SELECT e.backend, e.key, 'unreferenced', e.storage FROM entry e WHERE e.state = 1
  AND NOT EXISTS (SELECT 1 FROM referenced r WHERE r.storage = e.storage AND r.key = e.key);
DELETE FROM suspect WHERE EXISTS (SELECT 1 FROM named n WHERE n.key = suspect.key)
  OR EXISTS (SELECT 1 FROM perhaps p WHERE p.key = suspect.key);
"""
_REFERENCED = """
SELECT 1 FROM referenced WHERE storage = :storage AND key = :key
UNION ALL SELECT 1 FROM named WHERE key = :key
"""
_SHARED = """
SELECT storage, key FROM referenced GROUP BY storage, key HAVING count(*) > 1
UNION SELECT r.storage, r.key FROM referenced r JOIN named n ON n.key = r.key
UNION SELECT e.storage, e.key FROM entry e WHERE (SELECT count(*) FROM named n WHERE n.key = e.key) > 1
UNION SELECT e.storage, e.key FROM entry e JOIN perhaps p ON p.key = e.key
"""
_FOUND_AGAIN = """
SELECT e.backend, e.key FROM entry e WHERE e.state = 1 AND e.noted AND (
  EXISTS (SELECT 1 FROM referenced r WHERE r.storage = e.storage AND r.key = e.key)
  OR EXISTS (SELECT 1 FROM named n WHERE n.key = e.key) OR EXISTS (SELECT 1 FROM perhaps p WHERE p.key = e.key))
"""
_SOURCES = """
SELECT e.backend, e.key, min(r.source) FROM entry e
JOIN referenced r ON r.storage = e.storage AND r.key = e.key WHERE e.state = 1 AND NOT e.placed GROUP BY e.rowid
"""
_KNOWN_ELSEWHERE = """
CREATE INDEX entry_by_key ON entry (key);
DELETE FROM suspect WHERE suspicion = 'orphan' AND EXISTS
  (SELECT 1 FROM entry e WHERE e.key = suspect.key AND e.state = 1);
"""
_FOLDED = """
CREATE TABLE IF NOT EXISTS folded (key TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT OR IGNORE INTO folded SELECT fold(key) FROM referenced UNION SELECT fold(key) FROM named
  UNION SELECT fold(key) FROM entry WHERE state = 1;
"""


@dataclass(frozen=True, slots=True)
class ReferencedFile:
    """A file that a row references."""

    storage: str
    """The storage, by the one name that a survey uses for it."""
    key: str
    backend: str
    """The name of the storage in the row."""
    size: int | None
    checksum: str | None
    shared: bool
    """Whether other rows may refer to it too: those that advanced-alchemy wrote."""
    source: int
    """The number of its column."""
    primary_key: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a key."""

    storage: str
    key: str
    backend: str
    """The name of the storage in the ledger."""
    state: int
    checked: bool
    sha256: str | None
    is_noted: bool = False
    """Whether it was noted that no row references it."""
    has_column: bool = True
    """Whether it says which column took the key."""
    due_at: int | None = None
    """For one that is read again: whatever happens to a doomed key changes it."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a storage lists."""

    storage: str
    key: str
    size: int
    modified: float | None


class Suspicion(StrEnum):
    """Why an object looks unused."""

    ORPHAN = "orphan"
    """It is in neither a row nor the ledger."""
    RETURNED = "returned"
    """The ledger has it as deleted, and it is there."""
    UNREFERENCED = "unreferenced"
    """The ledger has it as live, but no row references it."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """What looks unused."""

    backend: str
    key: str
    suspicion: Suspicion


class Snapshot(TemporaryTables):
    """Rows, ledger entries and objects, to be compared as sets."""

    def __init__(self) -> None:
        super().__init__(_TABLES)

    def add_files(self, files: Iterable[ReferencedFile]) -> None:
        """Add files of rows."""
        self._add(
            "INSERT INTO referenced VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f.storage,
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

    def add_other_references(self, held: ReferencedKeys) -> None:
        """Add what a row refers to that is not what its column holds, in whatever storage."""
        self._add("INSERT INTO named VALUES (?)", [(storable(key),) for key in held.keys])
        if held.text is not None:
            self._add("INSERT INTO unread VALUES (?)", [(storable(held.text),)])

    def add_entries(self, entries: Iterable[Entry]) -> None:
        """Add entries of the ledger."""
        self._add(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (e.storage, e.key, e.backend, e.state, e.checked, e.sha256, e.is_noted, e.has_column)
                for e in entries
            ],
        )

    def add_objects(self, objects: Iterable[ListedObject]) -> None:
        """Add objects of storages; a page that comes twice counts once."""
        self._add(
            "INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?)",
            [(o.storage, o.key, o.size, o.modified) for o in objects],
        )

    def leave_unlisted(self, storage: str, *, before: str | None, behind: str | None) -> None:
        """Say that objects were not listed: up to the key *before*, and behind the key *behind*; all if it is empty."""
        self._add("INSERT INTO unlisted VALUES (?, ?, ?)", [(storage, before, behind)])

    def end_listing(self, storage: str, *, behind: str) -> None:
        """Forget the objects of a storage behind a key: they are left for another run."""
        self._fetch("DELETE FROM listed WHERE storage = ? AND key > ?", (storage, behind))
        self._fetch("UPDATE unlisted SET behind = ? WHERE storage = ?", (behind, storage))

    def forget_storage(self, storage: str) -> None:
        """Forget all that is known of a storage which cannot be listed."""
        for table in ("referenced", "entry", "listed"):
            self._fetch(f"DELETE FROM {table} WHERE storage = ?", (storage,))  # noqa: S608 - ours

    def add_suspects(self, suspects: Iterable[tuple[str, Suspect]]) -> None:
        """Add objects that look unused, each with the name of its storage."""
        self._add(
            "INSERT INTO suspect VALUES (?, ?, ?, ?)",
            [(s.backend, s.key, s.suspicion, storage) for storage, s in suspects],
        )

    def suspect_unreferenced(self) -> None:
        """Suspect live keys that no row refers to, and clear the objects that one does."""
        self._script(_SUSPECT)

    def clear_known_elsewhere(self) -> None:
        """Clear orphans whose key the ledger has as live in any storage: perhaps under an unknown name of this one."""
        self._script(_KNOWN_ELSEWHERE)

    def clear_folder(self, storage: str, folder: str) -> None:
        """Clear what lies in a folder of a storage."""
        query = "DELETE FROM suspect WHERE storage = ? AND substr(key, 1, ?) = ?"
        self._fetch(query, (storage, len(folder), folder))

    def has_suspects(self, storage: str) -> bool:
        """Return whether an object of a storage is suspected."""
        return bool(self._fetch("SELECT 1 FROM suspect WHERE storage = ? LIMIT 1", (storage,)))

    def clear_folded(self, storage: str, fold: Callable[[str], str]) -> None:
        """Clear what differs only in case or normal form from a key of a row, or one that the ledger has as live."""
        self._file.create_function("fold", 1, fold, deterministic=True)
        self._script(_FOLDED)
        query = (
            "DELETE FROM suspect WHERE storage = ? AND suspicion <> 'unreferenced' "
            "AND fold(key) IN (SELECT key FROM folded)"
        )
        self._fetch(query, (storage,))

    def referenced_among(self, refs: Sequence[ObjectRef]) -> set[ObjectRef]:
        """Return which of *refs* a row refers to, or may refer to."""

        def look() -> set[ObjectRef]:
            return {
                (storage, key)
                for storage, key in refs
                if self._file.execute(_REFERENCED, {"storage": storage, "key": key}).fetchone() is not None
            }

        return self._run(look)

    def found_again(self) -> Iterator[list[ObjectRef]]:
        """Yield the live keys of the ledger, as it has them, that were noted as without a row, and have one."""
        for page in self.pages(_FOUND_AGAIN):
            yield [(backend, key) for backend, key in page]

    def sources(self) -> Iterator[list[tuple[ObjectRef, int]]]:
        """Yield the live keys of the ledger that do not say it, and the number of the column that holds each."""
        for page in self.pages(_SOURCES):
            yield [((backend, key), source) for backend, key, source in page]

    def shared_refs(self) -> Iterator[list[ObjectRef]]:
        """Yield the refs that more than one row refers to, or may refer to, in pages."""
        for page in self.pages(_SHARED):
            yield [(storage, key) for storage, key in page]

    def count_suspects(self) -> dict[Suspicion, int]:
        """Return the number of suspects of each kind."""
        counted = self._fetch("SELECT suspicion, count(*) FROM suspect GROUP BY suspicion")
        return {Suspicion(suspicion): count for suspicion, count in counted}

    def suspects(self, suspicion: Suspicion) -> Iterator[list[Suspect]]:
        """Yield the suspects of a kind, in pages."""
        for page in self.pages("SELECT backend, key FROM suspect WHERE suspicion = ?", (suspicion,)):
            yield [Suspect(backend, key, suspicion) for backend, key in page]

    def index(self) -> None:
        """Make the sets ready to be compared."""
        self._script(_INDEXES)
        if not self.count("unread"):
            return
        self._file.create_function("head_of", 1, head_of, deterministic=True)
        self._script(_CANDIDATES)
        for page in self.pages("SELECT text FROM unread"):
            for (text,) in page:
                keys = [(key,) for key in self._keys_named_in(text, "candidate")]
                self._add("INSERT OR IGNORE INTO perhaps VALUES (?)", keys)
                self._add("UPDATE candidate SET held = 1 WHERE key = ?", keys)

    def expected_objects(self) -> int | None:
        """Return about how many objects there will be, by what rows and ledger say; None if they say nothing."""
        return self.count("entry") or self.count("referenced") or None

    def count(self, table: str) -> int:
        """Return the number of rows in one of the sets."""
        return self._count(f"SELECT count(*) FROM {table}")  # noqa: S608 - ours

    def files(self, query: str, parameters: Sequence[object] = ()) -> Iterator[list[ReferencedFile]]:
        """Yield the rows of `referenced` that follow *query*, a FROM clause in which it is `r`."""
        for page in self.pages(f"SELECT r.* {query}", parameters):
            yield [_referenced_file(row) for row in page]

    def entries(self, query: str) -> Iterator[list[Entry]]:
        """Yield the rows of `entry` that follow *query*, a FROM clause in which it is `e`."""
        for page in self.pages(f"SELECT e.* {query}"):
            yield [_entry(row) for row in page]

    def listed(self, query: str) -> Iterator[list[ListedObject]]:
        """Yield the rows of `listed` that follow *query*, a FROM clause in which it is `l`."""
        for page in self.pages(f"SELECT l.* {query}"):
            yield [_listed(row) for row in page]


def _referenced_file(row: TemporaryRow) -> ReferencedFile:
    storage, key, backend, size, checksum, shared, source, primary_key = row
    # what was pickled here, in a file that nobody else can open
    return ReferencedFile(
        storage,
        key,
        backend,
        size,
        checksum,
        bool(shared),
        source,
        pickle.loads(primary_key),  # noqa: S301
    )


def _entry(row: TemporaryRow) -> Entry:
    storage, key, backend, state, checked, sha256, noted, placed = row
    return Entry(storage, key, backend, state, bool(checked), sha256, bool(noted), bool(placed))


def _listed(row: TemporaryRow) -> ListedObject:
    return ListedObject(*row)
