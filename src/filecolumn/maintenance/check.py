"""Check: compare rows, ledger and storages, and report each difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from sqlalchemy import Engine

from filecolumn._threads import closing
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.registry import ObjectRef, names_of, storages
from filecolumn.content.digest import Meter
from filecolumn.errors import (
    BackendMismatchError,
    BackendNotRegisteredError,
    InvalidKeyError,
    ObjectNotFoundError,
)
from filecolumn.files import execution
from filecolumn.ledger.columns import name_of, note_columns
from filecolumn.ledger.locks import insist
from filecolumn.ledger.table import Ledger, State
from filecolumn.ledger.transitions import (
    DueKey,
    adopt_live,
    doom_gone,
    fence,
    note_column,
    note_unreferenced,
    restore,
    speaking,
)
from filecolumn.maintenance.ground import Ground, survey_ground
from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.maintenance.positions import Positions, TimeLimit
from filecolumn.maintenance.required import Models, require_all
from filecolumn.maintenance.snapshot import Entry, ListedObject, ReferencedFile, Snapshot
from filecolumn.maintenance.survey import (
    PAGE,
    UNREACHABLE,
    ChosenStorages,
    Progress,
    Survey,
    Unreadable,
    database_time,
    listing_pages,
    no_progress,
    said,
    why_unreachable,
)
from filecolumn.maintenance.sweep import QUARANTINE, at_least_retention
from filecolumn.maintenance.triggers import missing_triggers
from filecolumn.maintenance.unreferenced import conclude_pass

__all__ = (
    "GRACE",
    "CheckReport",
    "Confirmer",
    "Finding",
    "FindingKind",
    "OnFinding",
    "Repairer",
    "RowReference",
    "check",
)


EXAMPLES = 1000
"""Findings that a report keeps; all of them are given to the callback."""


class FindingKind(StrEnum):
    """What a finding is about."""

    MISSING = "missing"
    """A row references an object that is not there."""
    CORRUPT = "corrupt"
    """An object differs from what its row says, or the row cannot be read."""
    FOREIGN = "foreign"
    """A row references an object of another row, or names a storage that its column does not read."""
    ORPHAN = "orphan"
    """An object in neither a row nor the ledger; a sweep removes it."""
    LEDGER = "ledger"
    """The ledger and the rows disagree."""
    PLACE = "place"
    """A storage is not the place that the database knows under its key."""
    WITHHELD = "withheld"
    """Nothing is removed from a storage, because the database may be a copy or a restored one."""
    HIDDEN = "hidden"
    """A file column cannot be read completely, so nothing is concluded from what was not found in it."""
    TRIGGERS = "triggers"
    """Installed triggers are missing, or of an older release."""
    UNREACHABLE = "unreachable"
    """A storage, or an object in it, could not be reached; nothing is repaired there."""
    UNRECORDED = "unrecorded"
    """A row's object is not in the ledger, because it was written without one, or the next drain will look it up.

    This is not a fault.
    """


@dataclass(frozen=True, slots=True)
class RowReference:
    """A column of a row."""

    table: str
    """Name of the table, with its schema if it has one."""
    column: str
    """Name of the column in it."""
    primary_key: tuple[object, ...]
    """Values of the row's primary key, in the order of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference between rows, ledger and storages."""

    kind: FindingKind
    """What it is about."""
    detail: str
    """What exactly was found, in words."""
    storage: str | None = None
    """The key of the storage; None if the row cannot be read."""
    key: str | None = None
    """The object's key in it."""
    row: RowReference | None = None
    """The row that references it."""
    repaired: bool = False
    """Whether it was repaired, or the next drain will repair it."""


OnFinding = Callable[[Finding], None]


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """What a check looked at, and found."""

    files: int = 0
    """How many files rows reference."""
    entries: int = 0
    """How many keys the ledger has."""
    objects: int = 0
    """How many objects the storages have."""
    counts: dict[FindingKind, int] = field(default_factory=lambda: dict.fromkeys(FindingKind, 0))
    """How many findings there are of each kind."""
    repaired: int = 0
    """How many findings were repaired."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first 1,000 findings."""
    is_complete: bool = True
    """Whether all objects were looked at; if the time was over earlier, the next run continues there."""

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if it is among the first 1,000."""
        self.counts[finding.kind] += 1
        self.repaired += finding.repaired
        if len(self.findings) < EXAMPLES:
            self.findings.append(finding)

    @property
    def faults(self) -> int:
        """The number of findings that are faults: all but those of the kind `UNRECORDED`."""
        return sum(self.counts.values()) - self.counts[FindingKind.UNRECORDED]

    @property
    def is_clean(self) -> bool:
        """Whether there are no faults."""
        return self.faults == 0

    def of(self, kind: FindingKind) -> list[Finding]:
        """Return the findings of a kind, of the first 1,000."""
        return [finding for finding in self.findings if finding.kind is kind]


GRACE = 24 * 3600.0
"""Seconds in which an object without a row is not an orphan: its transaction may still be running."""

Problem = tuple[FindingKind, str]
"""What is wrong, and how it is said."""

VERIFY_SHARE = 0.8
"""Of the time for objects, the part in which those that are listed are verified."""
LEAST_VERIFIED = 100
"""Files that a run verifies however short its time is."""
READ_LIMIT = 3600.0
"""Seconds that an event loop waits for the content of one object."""


def check(
    engine: Engine,
    *models: Models,
    verify: bool = False,
    repair: bool = False,
    grace: float = GRACE,
    storages: Collection[str] | None = None,
    on_finding: OnFinding | None = None,
    max_seconds: float | None = None,
    progress: Progress = no_progress,
) -> CheckReport:
    """Compare rows, ledger and storages, and return the differences.

    *models*
        The declarative bases (or `MetaData`) of **all** models in the database.
    *verify*
        Whether to read every object and compare its checksum.
    *repair*
        Whether to repair where nothing can be lost: orphans go into the quarantine, and keys of rows are recorded
        as live.
    *grace*
        Seconds for which a new object may be without a row.
    *storages*
        The keys of the storages to look at; by default all.
    *on_finding*
        Is called with each finding.  The report keeps the first 1,000; memory does not grow with their number.
    *max_seconds*
        Seconds after which no more is listed or verified.  The run compares what it has, and the next run with
        *max_seconds* continues behind the last key, until each storage was looked at once.  Rows and ledger are
        compared in each run.  A storage that does not list in order is always listed to its end, and without a
        ledger each run starts at the beginning.  Runs with and without *verify* continue separately.
    *progress*
        Is called with what is being done.

    A storage that cannot be reached is a finding, and the check continues with the others.

    Raises BackendNotRegisteredError, before anything is done, if rows, the ledger or *storages* name a storage that
    is not registered in this process, and MissingLedgerError without the ledger's tables.
    """
    limit = TimeLimit(max_seconds)
    ledger, metadatas = require_all(engine, models, chosen=storages)
    with nullcontext() if ledger is None else speaking(ledger):
        ground = survey_ground(engine, ledger, metadatas, register=repair)
    chosen = ChosenStorages(storages)
    chosen.leave_out(name for name in chosen.names if ground.standings[name].refused)
    survey = Survey(engine, ledger, metadatas, chosen, progress)
    with Snapshot() as snapshot, KeyLookup(progress) as lookup:
        run = _Check(survey, ground, snapshot, lookup, limit, grace=grace, verify=verify)
        repairer = Repairer(survey, ledger, ground, run.confirmer) if repair and ledger is not None else None
        for page in run.findings():
            for finding in page if repairer is None else repairer.repair(page):
                run.report.add(finding)
                if on_finding is not None:
                    on_finding(finding)
        if repairer is not None:
            repairer.record_columns(snapshot)
            if chosen.is_complete and ground.file_columns.is_complete:
                conclude_pass(survey, snapshot, run.started)
        run.note_positions()
    return run.report


class _Check:
    """One check: reads everything into the snapshot, compares, and confirms each suspicion by a second look."""

    def __init__(
        self,
        survey: Survey,
        ground: Ground,
        snapshot: Snapshot,
        lookup: KeyLookup,
        limit: TimeLimit,
        *,
        grace: float,
        verify: bool,
    ) -> None:
        self._survey = survey
        self._ground = ground
        self._snapshot = snapshot
        self._lookup = lookup
        self._limit = limit
        self._positions = Positions(survey.engine, survey.ledger, "verify" if verify else "check")
        self._reserve = 0.0
        """Seconds to verify in what was listed."""
        self._verify = verify
        self.started: float = database_time(survey.engine)
        self.confirmer: Confirmer = Confirmer(survey, ground, lookup, self.started - grace)
        self._listed = 0
        self._expected: int | None = None
        self.report: CheckReport = CheckReport()

    def findings(self) -> Iterator[list[Finding]]:
        """Yield what is wrong, in pages, as it is found."""
        yield list(self._about_the_whole())
        yield from self._read()
        yield from self._in_storages()
        self._look_up_suspects()
        if self._survey.ledger is not None:
            yield from self._in_ledger()
        yield from self._orphans()

    def _about_the_whole(self) -> Iterator[Finding]:
        """Yield what is wrong with storages, columns and triggers as such."""
        has_ledger = self._survey.ledger is not None
        for name, standing in self._ground.standings.items():
            if standing.refused:
                # a bucket that is not there has no mark either
                why = why_unreachable(storages.get(name))
                other = Finding(kind=FindingKind.PLACE, detail=standing.refused, storage=name)
                yield _unreachable(name, why) if why else other
            elif standing.withheld and has_ledger:
                yield Finding(kind=FindingKind.WITHHELD, detail=standing.withheld, storage=name)
        if not self._ground.file_columns.is_complete:
            yield Finding(kind=FindingKind.HIDDEN, detail=self._ground.file_columns.reason)
        if has_ledger:
            with self._survey.engine.connect() as connection:
                missing = missing_triggers(connection, self._survey.metadatas)
            for column in missing:
                detail = f"some triggers of {column} are missing, or of an older release: install them again"
                yield Finding(kind=FindingKind.TRIGGERS, detail=detail)

    def _read(self) -> Iterator[list[Finding]]:
        """Read rows, ledger and storages, and yield what cannot be read of them."""
        for unreadable in self._survey.read_rows(self._snapshot):
            yield list(self.confirmer.unreadable(unreadable))
        self._ground.hide(self._survey)
        self._survey.read_ledger(self._snapshot)
        self._expected = self._snapshot.expected_objects()
        yield list(self._list_all())
        self._snapshot.index()
        self.report.files = self._snapshot.count("referenced")
        self.report.entries = self._snapshot.count("entry")
        self.report.objects = self._snapshot.count("listed")

    def _list_all(self) -> Iterator[Finding]:
        """List the storages whose turn it is, and yield those that cannot be reached."""
        self._reserve = self._limit.left * VERIFY_SHARE if self._verify else 0.0
        waiting = dict(self._survey.chosen.backends())
        for name, backend in self._positions.turns(waiting.items(), self._limit, self._is_listing_over):
            del waiting[name]
            try:
                self._list(name, backend)
            except UNREACHABLE as error:
                self._snapshot.forget_storage(name)
                self._survey.chosen.leave_out([name])
                yield _unreachable(name, said(error))
        for name in waiting:
            self._snapshot.leave_unlisted(name, before=None, behind="")

    def _is_listing_over(self) -> bool:
        return self._limit.is_over(reserve=self._reserve)

    def _list(self, name: str, backend: StorageBackend) -> None:
        """Add what a storage lists; while there is time, where it lists in order."""
        goes_on = self._limit.is_set and backend.capabilities.lists_in_order
        before = self._positions.of(name) if goes_on else None
        behind = None
        for page in listing_pages(backend, after=before):
            self._snapshot.add_objects(
                ListedObject(name, stat.key, stat.size, stat.last_modified) for stat in page
            )
            self._listed += len(page)
            self._survey.progress("objects", self._listed, self._expected)
            if goes_on and len(page) == PAGE and self._is_listing_over():
                behind = page[-1].key
                break
        self._positions.reached[name] = behind
        self._snapshot.leave_unlisted(name, before=before, behind=behind)

    def note_positions(self) -> None:
        """Note where the next run goes on, and whether this one came to the end."""
        self.report.is_complete = self._positions.is_complete
        for name in list(self._positions.reached):
            if self.confirmer.is_lost(name):
                del self._positions.reached[name]
        self._positions.note()

    def _in_storages(self) -> Iterator[list[Finding]]:
        """Yield the rows whose object is missing, another one, or another row's."""
        if self._verify and self._limit.is_set:
            # what there is no time for is listed by the next run once more
            yield from self._in_contents()
        for name in ("missing", "size"):
            for page in self._snapshot.files(_QUERIES[name]):
                yield [*self.confirmer.unlike(page), *self._lost()]
        for page in self._snapshot.files(_QUERIES["several"]):
            yield list(self.confirmer.shared(page))
        if self._verify and not self._limit.is_set:
            yield from self._in_contents()

    def _in_contents(self) -> Iterator[list[Finding]]:
        """Yield the rows whose object has other content, storage by storage, in the order of their keys."""
        total = self._snapshot.count("referenced")
        count = 0
        for name in list(self._positions.reached):
            # where the listing began behind it, nothing before was listed
            begun = self._positions.of(name) if self._limit.is_set else None
            turn = _Turn(self._limit, max(LEAST_VERIFIED - count, 1))
            for page in self._snapshot.files(_QUERIES["whole"], (name, begun or "")):
                yield [*self.confirmer.contents(turn.of(page)), *self._lost()]
                self._survey.progress("verified", count + turn.count, total)
                if turn.is_over:
                    self._end_at(name, turn.last)
                    break
            count += turn.count

    def _end_at(self, name: str, key: str) -> None:
        """Leave what is behind a key of a storage to the next run."""
        self._positions.reached[name] = key
        if storages.get(name).capabilities.lists_in_order:
            self._snapshot.end_listing(name, behind=key)
            self.report.objects = self._snapshot.count("listed")

    def _look_up_suspects(self) -> None:
        """Look up what seems to have no row in all file columns, also those that no model names, in one pass."""
        for entries in self._snapshot.entries(_QUERIES["unreferenced"]):
            self._lookup.seek(entry.key for entry in entries)
        for objects in self._snapshot.listed(_QUERIES["unknown"]):
            self._lookup.seek(listed.key for listed in objects if self.confirmer.is_old(listed))
        self._lookup.look(self._survey.engine, self._ground.file_columns)

    def _in_ledger(self) -> Iterator[list[Finding]]:
        """Yield where rows and ledger disagree."""
        for name in ("not_live", "unrecorded"):
            for page in self._snapshot.files(_QUERIES[name]):
                yield list(self.confirmer.unlisted(page))
        for page in self._snapshot.files(_QUERIES["other"]):
            yield list(self.confirmer.recorded_otherwise(page))
        for entries in self._snapshot.entries(_QUERIES["unreferenced"]):
            yield list(self.confirmer.unreferenced(entries))

    def _orphans(self) -> Iterator[list[Finding]]:
        for objects in self._snapshot.listed(_QUERIES["unknown"]):
            yield [*self.confirmer.orphans(objects), *self._lost()]

    def _lost(self) -> Iterator[Finding]:
        """Yield the storages that have stopped answering since they were listed."""
        for name, why in self.confirmer.newly_lost():
            yield _unreachable(name, why)


class _Turn:
    """What a run verifies of a storage: files in the order of their keys, those of one key together."""

    def __init__(self, limit: TimeLimit, least: int) -> None:
        self._limit = limit
        self._least = least
        self.count: int = 0
        self.last: str = ""
        self.is_over: bool = False

    def of(self, page: Iterable[ReferencedFile]) -> Iterator[ReferencedFile]:
        """Yield files while there is time."""
        for file in page:
            if self.count >= self._least and file.key != self.last and self._limit.is_over():
                self.is_over = True
                return
            self.last = file.key
            self.count += 1
            yield file


def _unreachable(name: str, why: str) -> Finding:
    detail = f"the storage cannot be reached, so nothing in it was checked: {why}"
    return Finding(kind=FindingKind.UNREACHABLE, detail=detail, storage=name)


class Confirmer:
    """Reads again what a survey suspects."""

    def __init__(self, survey: Survey, ground: Ground, lookup: KeyLookup, oldest: float) -> None:
        self._survey = survey
        self._ground = ground
        self._lookup = lookup
        self._oldest = oldest
        """Epoch seconds: what is younger may still get its row."""
        self._lost: dict[str, str] = {}
        """Why a storage no longer answers, by its name."""
        self._told: set[str] = set()
        self.doomed: dict[ObjectRef, DueKey] = {}
        """What the ledger says of the doomed keys of the last page of rows, by the rows' names of the storages."""

    def newly_lost(self) -> Iterator[tuple[str, str]]:
        """Yield the storages that have stopped answering, each once, and why: nothing more is asked of them."""
        for name, why in self._lost.items():
            if name not in self._told:
                self._told.add(name)
                yield name, why

    def is_lost(self, name: str) -> bool:
        """Return whether a storage has stopped answering."""
        return name in self._lost

    def unreadable(self, page: Sequence[Unreadable]) -> Iterator[Finding]:
        """Yield the rows that still cannot be read, or name a storage that is not their column's."""
        unnamed = [suspect for suspect in page if not suspect.primary_key]
        for now in (*unnamed, *self._survey.reread(suspect for suspect in page if suspect.primary_key)):
            if isinstance(now, Unreadable):
                foreign = isinstance(now.problem, BackendMismatchError)
                kind = FindingKind.FOREIGN if foreign else FindingKind.CORRUPT
                row = self._reference(now.source, now.primary_key)
                yield Finding(kind=kind, detail=str(now.problem), row=row)

    def unlike(self, page: Iterable[ReferencedFile]) -> Iterator[Finding]:
        """Yield the rows whose object is not there, or has another size."""
        return self._still_referenced((file, self._unlike(file)) for file in page)

    def _unlike(self, file: ReferencedFile) -> Problem | None:
        if file.storage in self._lost:
            return None
        try:
            stat = self._stat(file.storage, file.key)
        except (BackendNotRegisteredError, InvalidKeyError) as error:
            return FindingKind.MISSING, str(error)
        except UNREACHABLE as error:
            return self._unreachable(file.storage, error)
        if stat is None:
            return FindingKind.MISSING, "the row references an object that is not there"
        if file.size not in {None, stat.size}:
            return FindingKind.CORRUPT, f"the object has {stat.size} bytes, the row says {file.size}"
        return None

    def contents(self, page: Iterable[ReferencedFile]) -> Iterator[Finding]:
        """Yield the rows whose object has other content."""
        return self._still_referenced((file, self._other_content(file)) for file in page)

    def _unreachable(self, storage: str, error: Exception) -> Problem | None:
        """Return that an object cannot be read; None if that is because its storage does not answer at all."""
        if why := why_unreachable(storages.get(storage)):
            self._lost[storage] = why
            return None
        return FindingKind.UNREACHABLE, f"the object cannot be read: {said(error)}"

    def _other_content(self, file: ReferencedFile) -> Problem | None:
        if file.storage in self._lost:
            return None
        try:
            found = self._checksum(file)
        except (ObjectNotFoundError, BackendNotRegisteredError, InvalidKeyError):
            return self._unlike(file)
        except UNREACHABLE as error:
            return self._unreachable(file.storage, error)
        if found == file.checksum:
            return None
        return FindingKind.CORRUPT, f"the content is {found}, the row says {file.checksum}"

    def shared(self, page: Iterable[ReferencedFile]) -> Iterator[Finding]:
        """Yield the rows that refer to an object of another row; advanced-alchemy's may."""
        return self._still_referenced(
            (file, (FindingKind.FOREIGN, "another row references the same object")) for file in page
        )

    def unlisted(self, page: Sequence[ReferencedFile]) -> Iterator[Finding]:
        """Yield the rows whose key the ledger does not have as live."""
        entries = self._entries(page)
        # read before the rows are read again
        self.doomed = {
            (file.backend, file.key): DueKey((entry.backend, entry.key), entry.due_at, 0, is_orphan=False)
            for file in page
            if (entry := entries.get((file.storage, file.key))) is not None and entry.due_at is not None
        }
        return self._still_referenced(
            (file, _unlisted(entries.get((file.storage, file.key)))) for file in page
        )

    def recorded_otherwise(self, page: Iterable[ReferencedFile]) -> Iterator[Finding]:
        """Yield the rows that describe other content than the ledger does."""
        problem = (FindingKind.LEDGER, "the row and the ledger have different checksums")
        return self._still_referenced((file, problem) for file in page)

    def unreferenced(self, page: Sequence[Entry]) -> Iterator[Finding]:
        """Yield what the ledger has as live, and no row refers to."""
        referenced = self._referenced(entry.key for entry in page)
        entries = self._entries(page)
        for suspect in page:
            entry = entries.get((suspect.storage, suspect.key))
            if suspect.key not in referenced and entry is not None and entry.state == State.LIVE:
                yield Finding(
                    kind=FindingKind.LEDGER,
                    detail="the ledger has it as live, but no row references it",
                    storage=suspect.backend,
                    key=suspect.key,
                )

    def orphans(self, page: Sequence[ListedObject]) -> Iterator[Finding]:
        """Yield the objects that no row and no ledger knows, or that the ledger has as deleted.

        Nothing is said of what neither ever knew where others store too, or lay before.
        """
        old = [listed for listed in page if self.is_old(listed)]
        referenced = self._referenced(listed.key for listed in old)
        entries = self._entries(old)
        for listed in old:
            entry = entries.get((listed.storage, listed.key))
            late = entry is not None and entry.state == State.GONE
            if listed.key in referenced or (entry is not None and not late):
                continue
            if entry is None and self._ground.why_mixed(listed.storage):
                continue
            if (problem := self._orphan(listed, late=late)) is not None:
                kind, detail = problem
                name = entry.backend if entry is not None else listed.storage
                yield Finding(kind=kind, detail=detail, storage=name, key=listed.key)

    def _orphan(self, listed: ListedObject, *, late: bool) -> Problem | None:
        if listed.storage in self._lost:
            return None
        try:
            if self._stat(listed.storage, listed.key) is None:
                return None
        except UNREACHABLE as error:
            return self._unreachable(listed.storage, error)
        detail = (
            "it was deleted, and has come back"
            if late
            else "no row references it, and the ledger does not have it"
        )
        return FindingKind.ORPHAN, detail

    def is_old(self, listed: ListedObject) -> bool:
        """Return whether an object is older than the grace; one without a date is so for a grace of 0."""
        return listed.modified is not None and listed.modified <= self._oldest

    def _still_referenced(
        self, suspects: Iterable[tuple[ReferencedFile, Problem | None]]
    ) -> Iterator[Finding]:
        """Yield the problems of files that their rows still refer to, after everything else was read."""
        wrong = [(file, problem) for file, problem in suspects if problem is not None]
        found = self._survey.reread(file for file, _ in wrong if file.primary_key)
        now = {file for file in found if isinstance(file, ReferencedFile)}
        for file, (kind, detail) in wrong:
            if file in now or not file.primary_key:
                row = self._reference(file.source, file.primary_key)
                yield Finding(kind=kind, detail=detail, storage=file.backend, key=file.key, row=row)

    def _stat(self, storage: str, key: str) -> Stat | None:
        backend = storages.get(storage)
        try:
            return execution.asked(backend, partial(backend.stat, key), f"describe {key!r}")
        except ObjectNotFoundError:
            return None

    def _checksum(self, file: ReferencedFile) -> str:
        backend = storages.get(file.storage)

        def read() -> str:
            meter = Meter()
            with closing(backend.get(file.key)) as chunks:
                for chunk in chunks:
                    meter.feed(chunk)
            return meter.checksum

        return execution.blocking(
            read, limit=READ_LIMIT, doing=f"read {file.key!r} in storage {backend.key!r}"
        )

    def _entries(self, suspects: Iterable[ReferencedFile | Entry | ListedObject]) -> dict[ObjectRef, Entry]:
        keys = {(suspect.storage, suspect.key) for suspect in suspects}
        return self._survey.entries_of(keys)

    def _referenced(self, keys: Iterable[str]) -> set[str]:
        """Return which suspected keys a row references, or may reference."""
        suspected = set(keys)
        # what cannot be read may hold all of them
        is_complete = self._ground.file_columns.is_complete
        return suspected - self._lookup.unreferenced(suspected) if is_complete else suspected

    def _reference(self, source: int, primary_key: tuple[object, ...]) -> RowReference:
        column = self._survey.columns[source]
        return RowReference(str(column.table), column.name, primary_key)


def _unlisted(entry: Entry | None) -> Problem | None:
    if entry is None:
        return FindingKind.UNRECORDED, "the ledger does not have it"
    if entry.state == State.LIVE:
        return None
    if entry.state == State.DOOMED and not entry.checked:
        return FindingKind.UNRECORDED, "the next drain looks for the row and restores it"
    state = State(entry.state).name.lower()
    return FindingKind.LEDGER, f"the row references it, but the ledger has it as {state}"


class Repairer:
    """Corrects the ledger by what the rows say, and dooms what no row can miss, as a sweep does.

    A drain looks for a reference once more before it deletes.  What is missing or corrupt is left as
    it is: only a person can say where the right content is.  A live key without a row is noted only.
    """

    def __init__(self, survey: Survey, ledger: Ledger, ground: Ground, confirmer: Confirmer) -> None:
        self._survey = survey
        self._ledger = ledger
        self._confirmer = confirmer
        self._ground = ground

    def repair(self, page: Sequence[Finding]) -> Iterator[Finding]:
        """Yield the findings of a page, as repaired if they were: all of a kind at once."""
        by_way: defaultdict[tuple[FindingKind, bool], dict[ObjectRef, None]] = defaultdict(dict)
        for finding in page:
            if (ref := self._repairable(finding)) is not None:
                by_way[finding.kind, finding.row is not None][ref] = None
        repaired = {way: self._correct(*way, list(refs)) for way, refs in by_way.items()}
        for finding in page:
            ref = self._repairable(finding)
            keys = repaired.get((finding.kind, finding.row is not None), ())
            yield finding if ref is None else replace(finding, repaired=ref in keys)

    def _repairable(self, finding: Finding) -> ObjectRef | None:
        """Return the object of a finding; None for one without, and in a storage that does not answer any more."""
        if finding.storage is None or finding.key is None:
            return None
        is_lost = self._confirmer.is_lost(self._survey.chosen.name_of(finding.storage))
        return None if is_lost else (finding.storage, finding.key)

    def _correct(self, kind: FindingKind, has_row: bool, refs: list[ObjectRef]) -> set[ObjectRef]:
        """Correct what is wrong with keys, and return those for which that was done."""
        engine, ledger = self._survey.engine, self._ledger
        match kind:
            case FindingKind.ORPHAN:
                return self._doomed([ref for ref in refs if self._may_doom(ref)])
            case FindingKind.LEDGER if not has_row:
                note_unreferenced(engine, ledger, refs)
                return set()
            case FindingKind.LEDGER:
                # what the ledger has as gone is looked up by the next drain, as every key that may live again
                restored = self._restored(refs)
                others = [ref for ref in refs if ref not in restored]
                return restored | _among(others, doom_gone(engine, ledger, others))
            case FindingKind.UNRECORDED:
                unknown = [ref for ref in refs if ref not in self._confirmer.doomed]
                return self._restored(refs) | _among(unknown, adopt_live(engine, ledger, unknown))
            case _:
                return set()

    def _may_doom(self, ref: ObjectRef) -> bool:
        return not (self._ground.why_not(self._survey.chosen.name_of(ref[0])) or self._is_young(ref))

    def _doomed(self, refs: list[ObjectRef]) -> set[ObjectRef]:
        """Doom objects that no row has, and return those that were."""
        after = at_least_retention(QUARANTINE)
        again = _among(refs, doom_gone(self._survey.engine, self._ledger, refs, after=after))
        unknown = [ref for ref in refs if ref not in again]
        return again | _among(unknown, fence(self._survey.engine, self._ledger, unknown, after=after))

    def _restored(self, refs: list[ObjectRef]) -> set[ObjectRef]:
        """Return the doomed keys that live again, because nothing happened to them since their rows were read."""
        known = self._confirmer.doomed
        listed = {doomed.ref: doomed for ref in refs if (doomed := known.get(ref)) is not None}
        if not listed:
            return set()
        restored = set(restore(self._survey.engine, self._ledger, list(listed.values())))
        return {ref for ref in refs if ref in known and known[ref].ref in restored}

    def _is_young(self, ref: ObjectRef) -> bool:
        """Return whether an object is younger than the ledger's newest entry, as for a database that was restored."""
        backend = storages.get(ref[0])
        try:
            stat = execution.asked(backend, partial(backend.stat, ref[1]), f"describe {ref[1]!r}")
        except UNREACHABLE:
            return True
        return stat.last_modified is None or stat.last_modified > self._ground.newest

    def record_columns(self, snapshot: Snapshot) -> None:
        """Record which columns hold the keys of entries that do not say it: those of older releases."""
        engine, ledger = self._survey.engine, self._ledger
        with engine.begin() as connection:
            names = [
                name_of(connection, ledger, column.table, column.name) for column in self._survey.columns
            ]
            ids = note_columns(connection, ledger, names)
        for page in snapshot.sources():
            by_source: defaultdict[int, list[ObjectRef]] = defaultdict(list)
            for ref, source in page:
                by_source[source].append(ref)
            for source, refs in by_source.items():
                column = ids[names[source]]
                insist(engine, partial(note_column, ledger=ledger, refs=refs, column=column))


def _among(refs: list[ObjectRef], changed: Collection[ObjectRef]) -> set[ObjectRef]:
    """Return which of *refs* were changed, under any names of their storages."""
    done = set(changed)
    return {(name, key) for name, key in refs if any((other, key) in done for other in names_of(name))}


_LISTED = "FROM referenced r JOIN listed l ON l.storage = r.storage AND l.key = r.key"
# states are 1 for State.LIVE, 3 for State.GONE
_QUERIES = {
    "missing": "FROM referenced r WHERE NOT EXISTS "
    "(SELECT 1 FROM listed l WHERE l.storage = r.storage AND l.key = r.key) AND NOT EXISTS "
    "(SELECT 1 FROM unlisted u WHERE u.storage = r.storage "
    "AND (r.key <= u.before OR r.key > u.behind OR u.behind = ''))",
    "size": f"{_LISTED} WHERE r.size IS NOT NULL AND r.size <> l.size",
    "whole": f"{_LISTED} WHERE r.checksum IS NOT NULL AND (r.size IS NULL OR r.size = l.size) "
    "AND r.storage = ? AND r.key > ? ORDER BY r.key",
    "several": "FROM referenced r WHERE r.shared = 0 AND EXISTS (SELECT 1 FROM referenced o "
    "WHERE o.storage = r.storage AND o.key = r.key AND o.rowid <> r.rowid)",
    "not_live": "FROM referenced r JOIN entry e ON e.storage = r.storage AND e.key = r.key "
    "GROUP BY r.rowid HAVING max(e.state = 1) = 0",
    "other": "FROM referenced r JOIN entry e ON e.storage = r.storage AND e.key = r.key "
    "WHERE e.sha256 IS NOT NULL AND r.checksum IS NOT NULL AND r.checksum <> 'sha256:' || e.sha256",
    "unrecorded": "FROM referenced r WHERE NOT EXISTS "
    "(SELECT 1 FROM entry e WHERE e.storage = r.storage AND e.key = r.key)",
    "unreferenced": "FROM entry e WHERE e.state = 1 AND NOT EXISTS "
    "(SELECT 1 FROM referenced r WHERE r.storage = e.storage AND r.key = e.key)",
    "unknown": "FROM listed l WHERE NOT EXISTS "
    "(SELECT 1 FROM referenced r WHERE r.storage = l.storage AND r.key = l.key) "
    "AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.storage = l.storage AND e.key = l.key AND e.state <> 3)",
}
