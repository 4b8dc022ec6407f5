"""Sweep: find objects that no row references, and claim them for the next drain.

A claim is an entry in the ledger under the object's key: from then on no transaction can give the
key to a row.  So nothing depends on clocks being right; the grace only keeps uploads that are slow
from being refused.  A drain looks for a reference once more before it deletes.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, Engine

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import FileColumnError, MaintenanceRefusedError
from filecolumn.files import execution
from filecolumn.ledger.deletion import delete_objects
from filecolumn.ledger.keys import select_keys
from filecolumn.ledger.table import Ledger, State, read_meta, set_meta, time_of
from filecolumn.ledger.transitions import doom_gone, doom_live, fence, note_unreferenced, speaking
from filecolumn.maintenance.ground import Ground, survey_ground
from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.maintenance.positions import Positions, TimeLimit
from filecolumn.maintenance.required import (
    Models,
    known_metadatas,
    only_ledger,
    require_all,
    require_ledger,
    require_storages,
)
from filecolumn.maintenance.snapshot import ListedObject, Snapshot, Suspect, Suspicion
from filecolumn.maintenance.survey import (
    PAGE,
    UNREACHABLE,
    ChosenStorages,
    Progress,
    Survey,
    database_time,
    listing_pages,
    no_progress,
    said,
)
from filecolumn.maintenance.unreferenced import (
    conclude_pass,
    count_unreferenced,
    note_found_again,
    unreferenced_since,
)
from filecolumn.naming import RESERVED_FOLDER, ReservedKey
from filecolumn.orm.slots import MAX_ATTACH_AGE

__all__ = ("QUARANTINE", "SWEEP_GRACE", "SweepReport", "at_least_retention", "sweep", "sweep_when_due")

SWEEP_GRACE = 24 * 3600.0
"""Seconds in which an object may wait for its row."""
QUARANTINE = 7 * 24 * 3600.0
"""Seconds that an object which no row ever had waits before it is deleted."""
DAY = 24 * 3600.0
SWEPT = "swept"
"""Name of the fact in the meta table that says when a sweep in the background began."""
WITHOUT_LEDGER = 5.0
"""Seconds after which a sweep without a ledger, which deletes at once, looks at all rows again."""
ALLOWED = 100
ALLOWED_SHARE = 0.01


@dataclass(slots=True, kw_only=True)
class SweepReport:
    """What a sweep found and claimed; each number is of objects."""

    listed: int = 0
    """Objects that the storages listed."""
    orphans: int = 0
    """Objects in neither a row nor the ledger."""
    returned: int = 0
    """Objects that were deleted and came back, by an upload that arrived late."""
    unreferenced: int = 0
    """Live keys that no row references; they are kept unless `unreferenced=True` is given."""
    by_column: dict[str, int] = field(default_factory=dict[str, int])
    """The unreferenced keys, by the column that took them."""
    undated: int = 0
    """Objects of unknown age, which are left alone."""
    claimed: int = 0
    """Objects that a drain will delete after the quarantine; none in a dry run."""
    left: int = 0
    """Suspected objects that were not claimed: in use, referenced after all, or not allowed to be claimed."""
    unfinished: int = 0
    """Remains of interrupted uploads, which were deleted; a dry run only counts them.

    Those in the cloud are not listed: give the bucket a rule that ends them.
    """
    pending: int = 0
    """In a dry run, how many keys and remains of uploads a real run would claim, note or delete."""
    withheld: dict[str, str] = field(default_factory=dict[str, str])
    """The storages in which nothing was claimed, with the reason; an empty name stands for all of them."""
    unreachable: dict[str, str] = field(default_factory=dict[str, str])
    """The storages that did not answer, and so were not swept, with the error."""
    is_complete: bool = True
    """Whether all storages were listed to their end; if the time was over earlier, the next run continues there."""

    @property
    def found(self) -> int:
        """The number of objects that no row references."""
        return self.orphans + self.returned + self.unreferenced


def sweep(
    engine: Engine,
    *models: Models,
    grace: float = SWEEP_GRACE,
    quarantine: float = QUARANTINE,
    unreferenced: bool = False,
    dry_run: bool = False,
    force: bool = False,
    rate: float | None = None,
    storages: Collection[str] | None = None,
    max_seconds: float | None = None,
    progress: Progress = no_progress,
) -> SweepReport:
    """Find objects that no row references, claim those that are not needed, and return what was found.

    An object that neither a row nor the ledger knows is claimed if it is older than *grace*: a drain deletes it
    after *quarantine*, if it still has no row.  This happens only in a place where this database is the only one
    that stores, and which was empty before it came.

    A live key without a row is not claimed.  It is noted and reported by its column; with *unreferenced* it is
    claimed after it was noted for as long as the quarantine.

    *models*
        The declarative bases (or `MetaData`) of **all** models in the database.
    *grace*
        Seconds for which a new object may be without a row; 24 hours by default.
    *quarantine*
        Seconds between the claim and the deletion; 7 days by default, and never less than `storages.retention`.
    *unreferenced*
        Whether live keys without a row are claimed too.
    *dry_run*
        Whether to change nothing; the report's `pending` then says how much a real run would change.
    *force*
        Whether to claim however much is found.
    *rate*
        How many objects to list in a second at most.
    *storages*
        The keys of the storages to sweep; by default all.
    *max_seconds*
        Seconds after which no more is listed.  The run evaluates what it has, and the next run with *max_seconds*
        continues behind the last key, until each storage was listed once.  A storage that does not list in order
        is always listed to its end, and without a ledger each run starts at the beginning.
    *progress*
        Is called with what is being done.

    A storage that does not answer is in the report's `unreachable`, and the others are swept.  Without a ledger
    objects are deleted at once, but none where a database with a ledger stores.

    Raises MaintenanceRefusedError if one storage lies inside another or, without *force*, if more than 100 objects
    and 1 % of all would be claimed, or of one column more than 10 keys and 1 %.  Raises BackendNotRegisteredError,
    before anything is done, if rows, the ledger or *storages* name a storage that is not registered in this
    process, and MissingLedgerError without the ledger's tables.
    """
    limit = TimeLimit(max_seconds)
    ledger, metadatas = require_all(engine, models, chosen=storages)
    if ledger is None:
        _refuse_short(grace)
    with nullcontext() if ledger is None else speaking(ledger):
        ground = survey_ground(engine, ledger, metadatas, register=not dry_run)
    chosen = ChosenStorages(storages)
    chosen.refuse_nested()
    survey = Survey(engine, ledger, metadatas, chosen, progress)
    started = database_time(engine)
    rules = _Rules(started - grace, at_least_retention(quarantine), unreferenced, force)
    with Snapshot() as snapshot, KeyLookup(progress) as lookup:
        run = _Sweep(survey, snapshot, lookup, ground, rules, rate, limit)
        run.work(started, dry_run=dry_run)
    return run.report


def _refuse_short(grace: float) -> None:
    if grace < MAX_ATTACH_AGE:
        raise ValueError(f"without a ledger the grace must be {MAX_ATTACH_AGE:g} seconds or more")


def at_least_retention(quarantine: float) -> float:
    """Return the seconds after which what a sweep claims is deleted: not before a deleted file would be."""
    return max(quarantine, storages.retention)


def sweep_when_due(
    engine: Engine,
    *models: Models,
    interval: float = DAY,
    unreferenced: bool = False,
    storages: Collection[str] | None = None,
) -> SweepReport | None:
    """Sweep, unless another process started a sweep of this database less than *interval* seconds ago.

    Returns None if there was no sweep, else its report.  Raises what `sweep` does; after BackendNotRegisteredError
    another process may still sweep.
    """
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    if ledger is None:
        return None
    require_ledger(engine, ledger)
    with speaking(ledger), engine.connect() as connection:
        if _due_now(connection, ledger, interval) is None:
            return None
    require_storages(engine, ledger, metadatas, chosen=storages)
    with engine.begin() as connection:
        now = _due_now(connection, ledger, interval)
        if now is None:
            return None
        set_meta(connection, ledger, SWEPT, f"{now:.0f}")
    return sweep(engine, *models, unreferenced=unreferenced, storages=storages)


def _due_now(connection: Connection, ledger: Ledger, interval: float) -> float | None:
    """Return the database's time if a sweep is due; else None."""
    now = time_of(connection) / 1000
    last = float(read_meta(connection, ledger, SWEPT).get(SWEPT, "0"))
    return now if now - last >= interval else None


@dataclass(frozen=True, slots=True)
class _Rules:
    """What may be claimed."""

    oldest: float
    """Epoch seconds: what is younger may still get its row."""
    quarantine: float
    unreferenced: bool
    force: bool


class _Sweep:
    """One sweep."""

    def __init__(  # noqa: PLR0917 - what it works with
        self,
        survey: Survey,
        snapshot: Snapshot,
        lookup: KeyLookup,
        ground: Ground,
        rules: _Rules,
        rate: float | None,
        limit: TimeLimit,
    ) -> None:
        self._survey = survey
        self._snapshot = snapshot
        self._lookup = lookup
        self._ground = ground
        self._rules = rules
        self._rate = rate
        self._limit = limit
        self._positions = Positions(survey.engine, survey.ledger, "sweep")
        self._expected: int | None = None
        self._reserve = 0.0
        """Seconds that it takes to read the rows once more."""
        self._nested_places: set[tuple[str, str]] = set()
        self.report: SweepReport = SweepReport()

    def work(self, started: float, *, dry_run: bool) -> None:
        """Find suspects, and claim them unless it is a dry run; it began at *started*, by the database's clock."""
        self.look()
        if dry_run:
            self.count_pending()
        else:
            self.refuse_too_many()
            self.claim()
            if self._survey.chosen.is_complete and self._ground.file_columns.is_complete:
                conclude_pass(self._survey, self._snapshot, started)
            self._positions.note()
        if self.report.is_complete:
            self.clear_unfinished(dry_run=dry_run)

    def look(self) -> None:
        """Find suspects: what no row referred to when it was looked at."""
        began = self._limit.elapsed
        for _ in self._survey.read_rows(self._snapshot):
            pass
        self._reserve = self._limit.elapsed - began
        self._ground.hide(self._survey)
        if not self._ground.file_columns.is_complete:
            self.report.withheld[""] = self._ground.file_columns.reason
        self._survey.read_ledger(self._snapshot, State.LIVE)
        self._expected = self._snapshot.expected_objects()
        backends = dict(self._survey.chosen.backends())
        self.report.withheld |= {name: why for name in backends if (why := self._ground.why_not(name))}
        for name, backend in self._positions.turns(backends.items(), self._limit, self._is_time_over):
            try:
                self._look_into(name, backend)
            except UNREACHABLE as error:
                self._leave_out(name, error)
        self.report.is_complete = self._positions.is_complete
        failpoint("sweep.after_list")
        self._snapshot.index()
        self._snapshot.suspect_unreferenced()
        self._snapshot.clear_known_elsewhere()
        for storage, folder in self._nested_places:
            self._snapshot.clear_folder(storage, folder)
        for name, backend in self._survey.chosen.backends():
            if self._snapshot.has_suspects(name) and _folds_names(backend):
                self._snapshot.clear_folded(name, _folded)
        self._look_up_suspects()
        counts = self._snapshot.count_suspects()
        self.report.orphans = counts.get(Suspicion.ORPHAN, 0)
        self.report.returned = counts.get(Suspicion.RETURNED, 0)
        self.report.unreferenced = counts.get(Suspicion.UNREFERENCED, 0)

    def _is_time_over(self) -> bool:
        """Return whether there is no more time than it takes to look the suspects up."""
        return self._limit.is_over(reserve=self._reserve)

    def _look_into(self, name: str, backend: StorageBackend) -> None:
        goes_on = self._limit.is_set and backend.capabilities.lists_in_order
        for page in listing_pages(backend, after=self._positions.of(name) if goes_on else None):
            started = time.monotonic()
            self._suspect([ListedObject(name, stat.key, stat.size, stat.last_modified) for stat in page])
            self._survey.progress("objects", self.report.listed, self._expected)
            self._slow_down(len(page), started)
            if goes_on and len(page) == PAGE and self._is_time_over():
                self._positions.reached[name] = page[-1].key
                return
        self._positions.reached[name] = None

    def _leave_out(self, name: str, error: Exception) -> None:
        """Conclude nothing about the objects of a storage that does not answer, and go on with the others."""
        self._snapshot.clear_folder(name, "")
        self._survey.chosen.leave_out([name])
        self.report.withheld.pop(name, None)
        self.report.unreachable[name] = said(error)

    def _suspect(self, page: list[ListedObject]) -> None:
        self.report.listed += len(page)
        self.report.undated += sum(listed.modified is None for listed in page)
        self._nested_places.update(
            (listed.storage, listed.key.partition(f"/{RESERVED_FOLDER}/")[0] + "/")
            for listed in page
            if f"/{RESERVED_FOLDER}/" in listed.key
        )
        newest = self._ground.newest
        old = [
            listed
            for listed in page
            if listed.modified is not None and listed.modified <= min(self._rules.oldest, newest)
        ]
        entries = self._survey.entries_of({(listed.storage, listed.key) for listed in old})
        suspects: list[tuple[str, Suspect]] = []
        for listed in old:
            entry = entries.get((listed.storage, listed.key))
            if entry is None and not self._ground.why_mixed(listed.storage):
                suspects.append((listed.storage, Suspect(listed.storage, listed.key, Suspicion.ORPHAN)))
            elif entry is not None and entry.state == State.GONE:
                suspects.append((listed.storage, Suspect(entry.backend, listed.key, Suspicion.RETURNED)))
        self._snapshot.add_suspects(suspects)

    def count_pending(self) -> None:
        """Count what a run would claim or note, and the live keys that no row refers to in any column."""
        for suspicion in (Suspicion.ORPHAN, Suspicion.RETURNED):
            for page in self._snapshot.suspects(suspicion):
                judged = (suspect for suspect in page if self._may_judge(suspect))
                self.report.pending += len(self._unreferenced(judged))
        self.report.unreferenced = 0
        for page in self._snapshot.suspects(Suspicion.UNREFERENCED):
            refs = self._unreferenced(page)
            self.report.unreferenced += len(refs)
            if self._survey.ledger is not None:
                self.report.pending += self._count_noted_now(self._survey.ledger, refs)

    def _count_noted_now(self, ledger: Ledger, refs: list[ObjectRef]) -> int:
        """Return how many live keys without a row a run would note, or claim because they were noted long ago."""
        columns = ledger.table.c
        with self._survey.engine.connect() as connection:
            latest = time_of(connection) - int(self._rules.quarantine * 1000)
            wanted = columns.state, columns.held_in, columns.unreferenced_since
            return sum(
                state == State.LIVE
                and (since is None or (self._rules.unreferenced and held_in is not None and since <= latest))
                for state, held_in, since in select_keys(connection, ledger, refs, *wanted)
            )

    def refuse_too_many(self) -> None:
        """Raise MaintenanceRefusedError if more would be claimed than can be right."""
        if self._rules.force:
            return
        found = self.report.orphans + self.report.returned
        allowed = max(ALLOWED, int(self.report.listed * ALLOWED_SHARE))
        if found > allowed:
            raise MaintenanceRefusedError(
                f"{found} of {self.report.listed} objects have no row, which is more than {allowed}: "
                "are all models named, and is this the right database, restored in full? See what it would "
                "claim with a dry run; force=True (--force) claims it"
            )

    def claim(self) -> None:
        """Claim the suspects that still are, and note what has no row."""
        ledger = self._survey.ledger
        if ledger is not None:
            note_found_again(self._survey, self._snapshot)
        for suspicion in (Suspicion.ORPHAN, Suspicion.RETURNED):
            for page in self._snapshot.suspects(suspicion):
                refs = self._unreferenced(suspect for suspect in page if self._may_judge(suspect))
                failpoint("sweep.before_claim")
                claimed = self._claimed(suspicion, refs)
                failpoint("sweep.after_claim")
                self.report.claimed += claimed
                self.report.left += len(page) - claimed
                self._survey.progress("claimed", self.report.claimed, None)
        if ledger is not None:
            for page in self._snapshot.suspects(Suspicion.UNREFERENCED):
                note_unreferenced(self._survey.engine, ledger, self._unreferenced(page))
        self._claim_unreferenced()

    def _may_judge(self, suspect: Suspect) -> bool:
        return not self._ground.why_not(self._survey.chosen.name_of(suspect.backend))

    def _claimed(self, suspicion: Suspicion, refs: list[ObjectRef]) -> int:
        engine, ledger = self._survey.engine, self._survey.ledger
        if not refs:
            return 0
        if ledger is None:
            return len(refs) - len(delete_objects(refs))
        if suspicion is Suspicion.RETURNED:
            return len(doom_gone(engine, ledger, refs, after=self._rules.quarantine))
        return len(fence(engine, ledger, refs, after=self._rules.quarantine))

    def _claim_unreferenced(self) -> None:
        """Report the keys that have no row by column, and claim them if that is asked for and may be right."""
        ledger = self._survey.ledger
        if ledger is None:
            return
        counts = count_unreferenced(self._survey, self._ground)
        self.report.unreferenced = sum(each.unreferenced for each in counts)
        for each in counts:
            if each.unreferenced:
                name = str(each.column or "")
                self.report.by_column[name] = self.report.by_column.get(name, 0) + each.unreferenced
        if not self._rules.unreferenced or not self._ground.file_columns.is_complete:
            self.report.left += self.report.unreferenced
            return
        judged = [each for each in counts if each.id is not None]
        for each in judged:
            if (why := each.why_too_many()) and not self._rules.force:
                raise MaintenanceRefusedError(why)
        claimed = 0
        for page in unreferenced_since(self._survey, {each.id for each in judged}, self._rules.quarantine):
            refs = [ref for ref in page if not self._ground.why_withheld(ref[0])]
            claimed += doom_live(self._survey.engine, ledger, self._still_unreferenced(refs))
        self.report.claimed += claimed
        self.report.left += self.report.unreferenced - claimed

    def _unreferenced(self, page: Iterable[Suspect]) -> list[ObjectRef]:
        return self._still_unreferenced([(suspect.backend, suspect.key) for suspect in page])

    def _look_up_suspects(self) -> None:
        """Look up all suspects in all file columns, also those that no model of the run names, in one pass."""
        file_columns = self._ground.file_columns
        for suspicion in Suspicion:
            for page in self._snapshot.suspects(suspicion):
                self._lookup.seek(suspect.key for suspect in page)
        self._lookup.look(self._survey.engine, file_columns)
        if not file_columns.is_complete:
            self.report.withheld[""] = file_columns.reason

    def _still_unreferenced(self, refs: list[ObjectRef]) -> list[ObjectRef]:
        """Return those of *refs* that no row referenced when all suspects were looked up."""
        if not self._ground.file_columns.is_complete:
            return []
        if self._survey.ledger is None and self._lookup.is_older_than(WITHOUT_LEDGER):
            # no drain looks again
            self._lookup.look(self._survey.engine, self._ground.file_columns)
            return self._still_unreferenced(refs)
        free = self._lookup.unreferenced({key for _, key in refs})
        return [ref for ref in refs if ref[1] in free]

    def clear_unfinished(self, *, dry_run: bool) -> None:
        """Delete what uploads have left that did not end."""
        for name, backend in self._survey.chosen.backends():
            try:
                self._clear_unfinished_in(backend, dry_run=dry_run)
            except UNREACHABLE as error:
                self._leave_out(name, error)

    def _clear_unfinished_in(self, backend: StorageBackend, *, dry_run: bool) -> None:
        old = (
            stat.key
            for stat in backend.list_unfinished()
            if stat.last_modified is not None and stat.last_modified <= self._rules.oldest
        )
        for batch in _pages(old, f"list what uploads left in storage {backend.key!r}"):
            if not dry_run:
                doing = f"delete {len(batch)} unfinished uploads, the first {batch[0]!r}"
                execution.asked(backend, partial(backend.delete_unfinished, batch), doing)
            else:
                self.report.pending += len(batch)
            self.report.unfinished += len(batch)

    def _slow_down(self, count: int, started: float) -> None:
        if self._rate is not None:
            execution.pause(max(count / self._rate - (time.monotonic() - started), 0.0))


def _pages(keys: Iterator[str], doing: str) -> Iterator[list[str]]:
    pages = batches(keys, PAGE)
    while page := execution.blocking(lambda: next(pages, list[str]()), limit=600.0, doing=doing):
        yield page


def _folded(key: str) -> str:
    """Return the form that all names have in common which a folder may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def _folds_names(backend: StorageBackend) -> bool:
    """Return whether a storage takes names that differ in case or normal form for one."""
    if backend.protocol != "file":
        return False
    probe = "e\N{COMBINING ACUTE ACCENT}"
    decomposed, composed, upper = (
        ReservedKey(f"{RESERVED_FOLDER}/{name}")
        for name in (probe, unicodedata.normalize("NFC", probe), "PLACE")
    )
    try:
        if execution.asked(backend, partial(backend.exists, upper), f"look for {upper!r}"):
            return True
        put = partial(backend.put, decomposed, [b""], mode="overwrite")
        execution.asked(backend, put, f"store {decomposed!r}")
        folds = execution.asked(backend, partial(backend.exists, composed), f"look for {composed!r}")
        execution.asked(backend, partial(backend.delete, [decomposed]), f"delete {decomposed!r}")
    except FileColumnError:
        return True
    return folds
