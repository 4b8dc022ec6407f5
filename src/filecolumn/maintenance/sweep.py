"""Sweep: find objects that no row refers to, and claim them for the next drain.

A claim is an entry in the ledger under the object's key: from then on no transaction can give the
key to a row.  So nothing depends on clocks being right; the grace only keeps uploads that are slow
from being refused.  A drain looks for a reference once more before it deletes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from filecolumn.backends.parts import batches
from filecolumn.errors import MaintenanceRefusedError
from filecolumn.failpoints import failpoint
from filecolumn.maintenance.claims import doom_gone, doom_live, entries_of, fence
from filecolumn.maintenance.models import Models, known_metadatas, only_ledger
from filecolumn.maintenance.owning import claim_storages
from filecolumn.maintenance.places import Places
from filecolumn.maintenance.scratch import ListedObject, Scratch, Suspect, Suspicion
from filecolumn.maintenance.survey import PAGE, Progress, Survey, database_time, listing_pages, no_progress
from filecolumn.orm import bridge
from filecolumn.orm.draining import delete_objects
from filecolumn.orm.ledger import State
from filecolumn.orm.recording import speaking
from filecolumn.orm.references import referenced
from filecolumn.orm.slots import MAX_ATTACH_AGE
from filecolumn.orm.unit import Place

__all__ = ("SWEEP_GRACE", "SweepReport", "sweep")

SWEEP_GRACE = 24 * 3600.0
"""Seconds in which an object may wait for its row."""
ALLOWED = 100
ALLOWED_SHARE = 0.01


@dataclass(slots=True, kw_only=True)
class SweepReport:
    """What a sweep has seen and claimed, in numbers of objects."""

    listed: int = 0
    orphans: int = 0
    """Objects that no row and no ledger knew."""
    returned: int = 0
    """Objects that were deleted and came back, by an upload that arrived late."""
    unreferenced: int = 0
    """Keys that the ledger had as live, and no row refers to."""
    undated: int = 0
    """Objects of unknown age, which are left alone."""
    claimed: int = 0
    """Of these, how many are now to be deleted by a drain; none in a dry run."""
    left: int = 0
    """Of these, how many were left alone: in use, or found to be referred to."""
    unfinished: int = 0
    """Left-overs of uploads that did not end, which were deleted; only counted in a dry run.

    Those in the cloud are not listed: a rule of the bucket has to end them.
    """

    @property
    def found(self) -> int:
        """The number of objects that no row refers to."""
        return self.orphans + self.returned + self.unreferenced


def sweep(
    engine: Engine,
    *models: Models,
    grace: float = SWEEP_GRACE,
    dry_run: bool = False,
    force: bool = False,
    rate: float | None = None,
    only: Collection[str] | None = None,
    progress: Progress = no_progress,
) -> SweepReport:
    """Claim every object without a row that is older than *grace* seconds, and return what was found.

    *models* are the declarative bases (or `MetaData`) of **all** models in the database.  *rate* is
    the number of objects to list in a second at most; *only* names the storages to sweep.  Without
    a ledger the objects are deleted at once.

    Raises MaintenanceRefusedError when one storage lies inside another, a storage belongs to another
    database, or, unless *force* is true, more than 100 objects and 1 % of all would be claimed.
    """
    metadatas = known_metadatas(models)
    places = Places(only)
    places.refuse_nested()
    ledger = only_ledger(metadatas)
    if ledger is None and grace < MAX_ATTACH_AGE:
        raise ValueError(f"without a ledger the grace must be {MAX_ATTACH_AGE:g} seconds or more")
    survey = Survey(engine, ledger, metadatas, places, progress)
    if ledger is not None:
        with speaking(ledger):
            claim_storages(engine, ledger, places)
    oldest = database_time(engine) - grace
    with Scratch() as scratch:
        run = _Sweep(survey, scratch, oldest, rate)
        run.look()
        if not force and not dry_run:
            run.refuse_too_many()
        if not dry_run:
            run.claim()
        run.clear_unfinished(dry_run=dry_run)
    return run.report


class _Sweep:
    """One sweep."""

    def __init__(self, survey: Survey, scratch: Scratch, oldest: float, rate: float | None) -> None:
        self._survey = survey
        self._scratch = scratch
        self._oldest = oldest
        self._rate = rate
        self.report: SweepReport = SweepReport()

    def look(self) -> None:
        """Find suspects: what no row referred to when it was looked at."""
        for _ in self._survey.read_rows(self._scratch):
            pass
        self._survey.read_ledger(self._scratch, State.LIVE)
        for name, backend in self._survey.places.backends():
            for page in listing_pages(backend):
                started = time.monotonic()
                self._suspect([ListedObject(name, stat.key, stat.size, stat.last_modified) for stat in page])
                self._survey.progress("objects", self.report.listed)
                self._slow_down(len(page), started)
        failpoint("sweep.after_list")
        self._scratch.index()
        self._scratch.suspect_unheld()
        counts = self._scratch.count_suspects()
        self.report.orphans = counts.get(Suspicion.ORPHAN, 0)
        self.report.returned = counts.get(Suspicion.RETURNED, 0)
        self.report.unreferenced = counts.get(Suspicion.UNREFERENCED, 0)

    def _suspect(self, page: list[ListedObject]) -> None:
        self.report.listed += len(page)
        self.report.undated += sum(listed.modified is None for listed in page)
        old = [listed for listed in page if listed.modified is not None and listed.modified <= self._oldest]
        entries = entries_of(
            self._survey.engine, self._survey.ledger, self._survey.places, {(o.place, o.key) for o in old}
        )
        suspects: list[tuple[str, Suspect]] = []
        for listed in old:
            entry = entries.get((listed.place, listed.key))
            if entry is None:
                suspects.append((listed.place, Suspect(listed.place, listed.key, Suspicion.ORPHAN)))
            elif entry.state == State.GONE:
                suspects.append((listed.place, Suspect(entry.backend, listed.key, Suspicion.RETURNED)))
        self._scratch.add_suspects(suspects)

    def refuse_too_many(self) -> None:
        """Raise MaintenanceRefusedError when so much looks unused that it is more likely a mistake."""
        allowed = max(ALLOWED, int(self.report.listed * ALLOWED_SHARE))
        if self.report.found > allowed:
            raise MaintenanceRefusedError(
                f"{self.report.found} of {self.report.listed} objects have no row, which is more than {allowed}: "
                "are all models named, and is this the right database, restored in full? See what it would "
                "claim with a dry run; force=True (--force) claims it"
            )

    def claim(self) -> None:
        """Claim the suspects that still are."""
        for suspicion in Suspicion:
            for page in self._scratch.suspects(suspicion):
                places = self._unreferenced(page)
                failpoint("sweep.before_claim")
                claimed = self._claimed(suspicion, places)
                failpoint("sweep.after_claim")
                self.report.claimed += claimed
                self.report.left += len(page) - claimed
                self._survey.progress("claimed", self.report.claimed)

    def _claimed(self, suspicion: Suspicion, places: list[Place]) -> int:
        engine, ledger = self._survey.engine, self._survey.ledger
        if ledger is None:
            return len(places) - len(delete_objects(places))
        match suspicion:
            case Suspicion.ORPHAN:
                return len(fence(engine, ledger, places)) if places else 0
            case Suspicion.RETURNED:
                return doom_gone(engine, ledger, places)
            case Suspicion.UNREFERENCED:
                return doom_live(engine, ledger, places)

    def _unreferenced(self, page: Iterable[Suspect]) -> list[Place]:
        places = [(suspect.backend, suspect.key) for suspect in page]
        with self._survey.engine.connect() as connection:
            held = referenced(connection, self._survey.columns, {key for _, key in places})
        return [place for place in places if place[1] not in held]

    def clear_unfinished(self, *, dry_run: bool) -> None:
        """Delete what uploads have left that did not end."""
        for _, backend in self._survey.places.backends():
            old = (
                stat.key
                for stat in backend.list_unfinished()
                if stat.last_modified is not None and stat.last_modified <= self._oldest
            )
            for batch in _pages(old):
                if not dry_run:
                    bridge.blocking(lambda: backend.delete_unfinished(batch), limit=backend.total_timeout)  # noqa: B023
                self.report.unfinished += len(batch)

    def _slow_down(self, count: int, started: float) -> None:
        if self._rate is not None:
            bridge.pause(max(count / self._rate - (time.monotonic() - started), 0.0))


def _pages(keys: Iterator[str]) -> Iterator[list[str]]:
    pages = batches(keys, PAGE)
    while page := bridge.blocking(lambda: next(pages, list[str]()), limit=600.0):
        yield page
