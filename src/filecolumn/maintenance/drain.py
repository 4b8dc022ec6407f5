"""Drain: delete the objects that transactions have doomed, whether or not their processes still run.

Any number of drains may run at a time.  One that is killed leaves work that another takes up when
its lease has ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection, Engine

from filecolumn._failpoints import failpoint
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import InvalidKeyError
from filecolumn.files import execution
from filecolumn.ledger.deletion import delete_objects
from filecolumn.ledger.locks import insist
from filecolumn.ledger.marks import has_mark, why_shared
from filecolumn.ledger.owner import generation_in, look_at_places, standing_to_remove
from filecolumn.ledger.proofs import forget_tokens
from filecolumn.ledger.table import Ledger, time_of
from filecolumn.ledger.transitions import (
    DueKey,
    claim,
    due_keys,
    mark_gone,
    mark_refused,
    mark_withheld,
    purge,
    restore_unchanged,
    speaking,
)
from filecolumn.logs import warn
from filecolumn.maintenance.ground import FileColumns, find_file_columns
from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.maintenance.positions import TimeLimit
from filecolumn.maintenance.required import (
    Models,
    ledger_names,
    require_storages,
    require_tables,
)
from filecolumn.maintenance.survey import Progress, no_progress
from filecolumn.maintenance.temporary import TemporaryTables
from filecolumn.naming import check_key

__all__ = ("DrainReport", "drain")

BATCH = 100
DELETE_LIMIT = 120.0
"""Seconds that an event loop waits for a storage to delete a batch; well below the lease."""
LEASE = 300.0
"""Seconds after which another drain may take up what one has leased."""
LEASE_SHARE = 8
"""A group of keys that is claimed at once is to take at most this part of a lease."""
GROUP = 1000
"""Keys that are claimed at once, at most: each time is two transactions."""
LOOKS = (0.0, 0.02, 0.1, 0.5)
"""Seconds before each try to claim keys that others have locked."""
NAMED = 10
"""Keys that a warning names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """What a drain did; each number is of keys."""

    deleted: int = 0
    """Objects deleted, or found to be deleted."""
    refused: int = 0
    """Objects that their storage did not delete; they are tried again later."""
    restored: int = 0
    """Keys that a row still references; their objects are kept."""
    withheld: int = 0
    """Objects that are kept because of a doubt; the next drain tries again."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """The reasons why objects were withheld, each with the number of objects."""
    left: int = 0
    """Due keys that the run did not delete: its time was over, or others had locked them."""
    purged: int = 0
    """Entries that were removed from the ledger, 7 days after their objects were deleted."""


def drain(
    engine: Engine,
    *models: Models,
    limit: int | None = None,
    batch: int = BATCH,
    lease: float = LEASE,
    rate: float | None = None,
    storages: Collection[str] | None = None,
    max_seconds: float | None = None,
    progress: Progress = no_progress,
) -> DrainReport:
    """Delete the objects of due keys that no row references, and return what was done.

    Each key is first looked up in all file columns: those of *models*, and those that the ledger has recorded.  All
    keys of a run are looked up in one pass over each column.

    *models*
        The declarative bases (or `MetaData`) of **all** models in the database.
    *limit*
        How many keys to take at most; by default all that are due.
    *batch*
        How many keys to delete and record at a time.
    *lease*
        Seconds for which a batch belongs to this drain; it must be longer than a batch takes.
    *rate*
        How many objects to delete in a second at most.
    *storages*
        The keys of the storages to delete in; by default all.
    *max_seconds*
        Seconds after which the run ends, with one batch done at least; the next run continues.
    *progress*
        Is called with what is being done.

    A storage that refuses a deletion is not an error: the key is retried later, at growing intervals.  In doubt
    objects are withheld: if a column cannot be read, the storage is not the place that the ledger knows, or the
    database is a copy.

    Raises BackendNotRegisteredError, before anything is done, if the ledger or *storages* names a storage that is
    not registered in this process, and MissingLedgerError without the ledger's tables.
    """
    time_limit = TimeLimit(max_seconds)
    ledger, metadatas = require_tables(engine, models)
    # rows that the ledger does not know have nothing that is due
    require_storages(engine, ledger, metadatas, chosen=storages, in_rows=False)
    with speaking(ledger), engine.connect() as connection:
        file_columns = find_file_columns(connection, ledger, metadatas)
        until = time_of(connection)
        generation = generation_in(connection, ledger)
        names = None if storages is None else ledger_names(connection, ledger, storages)
    with KeyLookup(progress) as lookup, _Backlog() as backlog:
        with engine.connect() as connection:
            for page in due_keys(connection, ledger, until=until, names=names, most=limit):
                backlog.put(dict.fromkeys(page, 0))
        run = _Drain(
            engine=engine,
            ledger=ledger,
            file_columns=file_columns,
            lookup=lookup,
            backlog=backlog,
            generation=generation,
            lease_seconds=lease,
            batch=batch,
            rate=rate,
            time_limit=time_limit,
            progress=progress,
        )
        run.work()
        left = run.locked + backlog.left
    forget_tokens(engine, ledger)
    # what is over its time is long over it: a run that ends early leaves it to the next
    purged = 0 if time_limit.is_over() else purge(engine, ledger)
    return replace(run.report, left=left, purged=purged)


_BACKLOG = """
CREATE TABLE due (number INTEGER PRIMARY KEY, backend TEXT, key TEXT, due_at INT, attempts INT, is_orphan INT,
  locked INT NOT NULL DEFAULT 0);
CREATE INDEX due_key ON due (key);
"""
# with the same keys under other names of their storages: they are one object
_FIRST = """
SELECT backend, key, due_at, attempts, is_orphan, locked, number FROM due
WHERE key IN (SELECT key FROM due ORDER BY number LIMIT ?) ORDER BY number
"""


class _Backlog(TemporaryTables):
    """What was due when the run began, and is still to be done."""

    def __init__(self) -> None:
        super().__init__(_BACKLOG)
        self.left: int = 0

    def put(self, keys: Mapping[DueKey, int]) -> None:
        """Add keys behind all others, each with how often others had it locked."""
        self._add(
            "INSERT INTO due (backend, key, due_at, attempts, is_orphan, locked) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*each.ref, each.due_at, each.attempts, each.is_orphan, locked)
                for each, locked in keys.items()
            ],
        )
        self.left += len(keys)

    def take(self, most: int) -> dict[DueKey, int]:
        """Take out about *most* keys, and return them with how often others had each locked."""
        rows = self._fetch(_FIRST, (most,))
        self._add("DELETE FROM due WHERE number = ?", [(row[-1],) for row in rows])
        self.left -= len(rows)
        return {DueKey((row[0], row[1]), row[2], row[3], bool(row[4])): row[5] for row in rows}

    def all_keys(self) -> Iterator[list[str]]:
        """Yield the keys, in pages."""
        for page in self.pages("SELECT key FROM due"):
            yield [key for (key,) in page]


@dataclass(slots=True, kw_only=True)
class _Drain:
    """One run of a drain."""

    engine: Engine
    ledger: Ledger
    file_columns: FileColumns
    lookup: KeyLookup
    backlog: _Backlog
    generation: int
    lease_seconds: float
    batch: int
    rate: float | None
    time_limit: TimeLimit
    progress: Progress
    report: DrainReport = field(default_factory=DrainReport)
    locked: int = 0
    """Keys that others had locked each time they were tried."""
    _marks: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    _has_looked: bool = False

    def work(self) -> None:
        """Do what is due; at the end of the time at least one group of it is done."""
        total, size = self.backlog.left, self.batch
        for page in self.backlog.all_keys():
            self.lookup.seek(page)
        is_looked_up = False
        while self.backlog.left:
            if not is_looked_up or self.lookup.is_old:
                self.lookup.look(self.engine, self.file_columns)
                is_looked_up = True
            began = time.monotonic()
            self._work_on(self.backlog.take(size))
            self.progress("drained", total - self.backlog.left, total)
            if self.time_limit.is_over():
                break
            size = self._next_size(size, time.monotonic() - began)

    def _next_size(self, size: int, seconds: float) -> int:
        """Return how many keys to claim at once, so that all are done long before the lease ends."""
        allowed = self.lease_seconds / LEASE_SHARE
        if seconds > allowed:
            size //= 2
        elif seconds < allowed / 4:
            size = min(2 * size, GROUP)
        return max(size, self.batch)

    def _work_on(self, listed: Mapping[DueKey, int]) -> None:
        """Restore, or claim and delete; what others have locked is tried again behind all others."""
        execution.pause(LOOKS[max(listed.values())])
        is_complete = self.file_columns.is_complete
        unreferenced = self.lookup.unreferenced({each.ref[1] for each in listed})
        free = [each for each in listed if not is_complete or each.ref[1] in unreferenced]
        held = [each for each in listed if is_complete and each.ref[1] not in unreferenced]
        locked = self._restore(held) if held else []
        if free:
            failpoint("drain.before_claim")
            claiming = partial(claim, ledger=self.ledger, listed=free, seconds=self.lease_seconds)
            ours, busy = insist(self.engine, claiming)
            locked += busy
            if ours:
                self.backlog.put(dict.fromkeys(self._delete(ours), 0))
        again = {each: listed[each] + 1 for each in locked if listed[each] + 1 < len(LOOKS)}
        self.backlog.put(again)
        self.locked += len(locked) - len(again)

    def _restore(self, held: Sequence[DueKey]) -> list[DueKey]:
        """Let keys live again that rows hold; return those that others have locked."""
        restored, locked = insist(self.engine, partial(restore_unchanged, ledger=self.ledger, listed=held))
        if restored:
            warn(
                "%d doomed keys are kept, because rows reference them: %s",
                len(restored),
                sorted(each.ref for each in restored)[:NAMED],
            )
            self.report = replace(self.report, restored=self.report.restored + len(restored))
        return locked

    def _delete(self, claimed: Sequence[DueKey]) -> Sequence[DueKey]:
        """Delete objects in batches, and note what became of each key; return what there was no time for."""
        failpoint("drain.after_claim")
        keys, withheld = self._separate(claimed)
        refused: dict[ObjectRef, str] = {}
        done: dict[ObjectRef, int] = {}
        began = time.monotonic()
        for group in batches(keys, self.batch):
            started = time.monotonic()
            if done and started - began > self.lease_seconds / 2:
                break
            refused |= self._refused_of([each.ref for each in group])
            done |= {each.ref: each.attempts for each in group}
            if self.rate is not None:
                execution.pause(max(len(group) / self.rate - (time.monotonic() - started), 0.0))
        failpoint("drain.after_delete")
        self._note(done, refused, withheld)
        return keys[len(done) :]

    def _refused_of(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, str]:
        """Delete objects, and return why some are still there."""
        refused = {ref: why for ref in refs if (why := _problem_of_key(ref))}
        return refused | _delete_apart([ref for ref in refs if ref not in refused])

    def _note(
        self,
        done: Mapping[ObjectRef, int],
        refused: Mapping[ObjectRef, str],
        withheld: Mapping[ObjectRef, str],
    ) -> None:
        def note(connection: Connection) -> None:
            mark_gone(connection, self.ledger, done.keys() - refused.keys(), exact=True)
            tried = {ref: (done[ref], why) for ref, why in refused.items()}
            mark_refused(connection, self.ledger, tried, exact=True)
            mark_withheld(connection, self.ledger, withheld)
            failpoint("drain.before_gone")

        insist(self.engine, note)
        reasons = Counter(self.report.reasons) + Counter(withheld.values())
        self.report = replace(
            self.report,
            deleted=self.report.deleted + len(done) - len(refused),
            refused=self.report.refused + len(refused),
            withheld=self.report.withheld + len(withheld),
            reasons=dict(reasons),
        )

    def _separate(self, claimed: Sequence[DueKey]) -> tuple[list[DueKey], dict[ObjectRef, str]]:
        """Return what may be deleted, and why the rest may not be."""
        alike = {(each.ref[0], each.is_orphan) for each in claimed}
        reasons = {each: self._reason_against(*each) for each in alike}
        withheld: dict[ObjectRef, str] = {}
        for each in claimed:
            why = reasons[each.ref[0], each.is_orphan]
            if not why and each.is_orphan and self._lies_in_another_place(*each.ref):
                why = "it lies in a folder that is a place of its own"
            if why:
                withheld[each.ref] = why
        return [each for each in claimed if each.ref not in withheld], withheld

    def _reason_against(self, name: str, is_orphan: bool) -> str:
        """Return why nothing, or nothing that no row ever had, may be deleted in a storage."""
        if not self.file_columns.is_complete:
            return self.file_columns.reason
        if not self._is_registered(name):
            return ""  # deleting says so
        backend = storages.get(name)
        standing = standing_to_remove(self.engine, self.ledger, backend, generation=self.generation)
        if standing.withheld or not is_orphan:
            return standing.withheld
        reason = standing.mixed or why_shared(backend)
        return f"no row ever had it, and {reason}" if reason else ""

    def _is_registered(self, name: str) -> bool:
        """Return whether the storage is known, perhaps under a name that its place had before."""
        if not storages.is_registered(name) and not self._has_looked:
            self._has_looked = True
            with self.engine.connect() as connection:
                look_at_places(connection, self.ledger)
        return storages.is_registered(name)

    def _lies_in_another_place(self, name: str, key: str) -> bool:
        """Return whether a folder above the key has a mark of its own; each folder is asked once in a run."""
        folders = key.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = name, "/".join(folders[:depth])
            if folder not in self._marks:
                self._marks[folder] = has_mark(storages.get(name), folder[1])
            if self._marks[folder]:
                return True
        return False


def _problem_of_key(ref: ObjectRef) -> str:
    try:
        check_key(ref[1])
    except InvalidKeyError as error:
        return str(error)
    return ""


def _delete_apart(refs: Sequence[ObjectRef]) -> dict[ObjectRef, str]:
    """Delete objects; of a batch that is refused try each half, so that one object does not hold up others.

    When both halves are refused, the storage is: it is not asked for each object.
    """
    refused = delete_objects(refs, limit=DELETE_LIMIT)
    if len(refused) < 2 or len(refused) < len(refs):
        return refused
    middle = len(refs) // 2
    first = delete_objects(refs[:middle], limit=DELETE_LIMIT)
    second = delete_objects(refs[middle:], limit=DELETE_LIMIT)
    if first and not second:
        return _delete_apart(refs[:middle]) if middle > 1 else first
    if second and not first:
        return _delete_apart(refs[middle:]) if len(refs) - middle > 1 else second
    return {**first, **second}
