"""Reads suspects again, so that only what is wrong is called wrong.

A row is read last: if it still refers to a key, it did so all along, because a key is never given
to a row a second time.  What was seen of the object or the ledger in between was therefore seen
while the row referred to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from filecolumn.backends.base import Stat
from filecolumn.backends.threads import closing
from filecolumn.errors import (
    BackendMismatchError,
    BackendNotRegisteredError,
    InvalidKeyError,
    ObjectNotFoundError,
)
from filecolumn.maintenance.claims import entries_of
from filecolumn.maintenance.findings import Finding, FindingKind, RowReference
from filecolumn.maintenance.ground import Ground
from filecolumn.maintenance.scratch import Entry, HeldFile, ListedObject
from filecolumn.maintenance.survey import (
    UNREACHABLE,
    Survey,
    Unreadable,
    database_time,
    said,
    why_unreachable,
)
from filecolumn.meter import Meter
from filecolumn.orm import bridge
from filecolumn.orm.ledger import State
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("Confirmer",)

Problem = tuple[FindingKind, str]
"""What is wrong, and how it is said."""

READ_LIMIT = 3600.0
"""Seconds that an event loop waits for the content of one object."""


class Confirmer:
    """Reads again what a survey suspects."""

    def __init__(self, survey: Survey, ground: Ground, grace: float) -> None:
        self._survey = survey
        self._ground = ground
        self._oldest = database_time(survey.engine) - grace
        self._lost: dict[str, str] = {}
        """Why a storage does not answer any more, by its name."""
        self._told: set[str] = set()

    def newly_lost(self) -> Iterator[tuple[str, str]]:
        """Yield the storages that have stopped to answer, each once, and why: nothing more is asked of them."""
        for name, why in self._lost.items():
            if name not in self._told:
                self._told.add(name)
                yield name, why

    def is_lost(self, name: str) -> bool:
        """Return whether a storage has stopped to answer."""
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

    def unlike(self, page: Iterable[HeldFile]) -> Iterator[Finding]:
        """Yield the rows whose object is not there, or has another size."""
        return self._held((file, self._unlike(file)) for file in page)

    def _unlike(self, file: HeldFile) -> Problem | None:
        if file.place in self._lost:
            return None
        try:
            stat = self._stat(file.place, file.key)
        except (BackendNotRegisteredError, InvalidKeyError) as error:
            return FindingKind.MISSING, str(error)
        except UNREACHABLE as error:
            return self._unreachable(file.place, error)
        if stat is None:
            return FindingKind.MISSING, "the row refers to an object that is not there"
        if file.size not in {None, stat.size}:
            return FindingKind.CORRUPT, f"the object has {stat.size} bytes, the row says {file.size}"
        return None

    def contents(self, page: Iterable[HeldFile]) -> Iterator[Finding]:
        """Yield the rows whose object has other content."""
        return self._held((file, self._other_content(file)) for file in page)

    def _unreachable(self, place: str, error: Exception) -> Problem | None:
        """Return that an object cannot be read; None if that is because its storage does not answer at all."""
        if why := why_unreachable(storages.get(place)):
            self._lost[place] = why
            return None
        return FindingKind.UNREACHABLE, f"the object cannot be read: {said(error)}"

    def _other_content(self, file: HeldFile) -> Problem | None:
        if file.place in self._lost:
            return None
        try:
            found = self._checksum(file)
        except (ObjectNotFoundError, BackendNotRegisteredError, InvalidKeyError):
            return self._unlike(file)
        except UNREACHABLE as error:
            return self._unreachable(file.place, error)
        if found == file.checksum:
            return None
        return FindingKind.CORRUPT, f"the content is {found}, the row says {file.checksum}"

    def shared(self, page: Iterable[HeldFile]) -> Iterator[Finding]:
        """Yield the rows that refer to an object of another row; advanced-alchemy's may."""
        return self._held(
            (file, (FindingKind.FOREIGN, "another row refers to the same object")) for file in page
        )

    def unlisted(self, page: Sequence[HeldFile]) -> Iterator[Finding]:
        """Yield the rows whose key the ledger does not have as live."""
        entries = self._entries(page)
        return self._held((file, _unlisted(entries.get((file.place, file.key)))) for file in page)

    def recorded_otherwise(self, page: Iterable[HeldFile]) -> Iterator[Finding]:
        """Yield the rows that describe other content than the ledger does."""
        problem = (FindingKind.LEDGER, "the row and the ledger have different checksums")
        return self._held((file, problem) for file in page)

    def unheld(self, page: Sequence[Entry]) -> Iterator[Finding]:
        """Yield what the ledger has as live, and no row refers to."""
        held = self._referenced(entry.key for entry in page)
        entries = self._entries(page)
        for suspect in page:
            entry = entries.get((suspect.place, suspect.key))
            if suspect.key not in held and entry is not None and entry.state == State.LIVE:
                yield Finding(
                    kind=FindingKind.LEDGER,
                    detail="the ledger has it as live, and no row refers to it",
                    storage=suspect.backend,
                    key=suspect.key,
                )

    def orphans(self, page: Sequence[ListedObject]) -> Iterator[Finding]:
        """Yield the objects that no row and no ledger knows, or that the ledger has as deleted.

        Nothing is said of what neither ever knew where others store too, or lay before.
        """
        old = [listed for listed in page if self.is_old(listed)]
        held = self._referenced(listed.key for listed in old)
        entries = self._entries(old)
        for listed in old:
            entry = entries.get((listed.place, listed.key))
            late = entry is not None and entry.state == State.GONE
            if listed.key in held or (entry is not None and not late):
                continue
            if entry is None and self._ground.why_mixed(listed.place):
                continue
            if (problem := self._orphan(listed, late=late)) is not None:
                kind, detail = problem
                name = entry.backend if entry is not None else listed.place
                yield Finding(kind=kind, detail=detail, storage=name, key=listed.key)

    def _orphan(self, listed: ListedObject, *, late: bool) -> Problem | None:
        if listed.place in self._lost:
            return None
        try:
            if self._stat(listed.place, listed.key) is None:
                return None
        except UNREACHABLE as error:
            return self._unreachable(listed.place, error)
        detail = "it was deleted, and is there again" if late else "no row and no ledger knows it"
        return FindingKind.ORPHAN, detail

    def is_old(self, listed: ListedObject) -> bool:
        """Return whether an object is older than the grace; one without a date is so for a grace of 0."""
        return listed.modified is not None and listed.modified <= self._oldest

    def _held(self, suspects: Iterable[tuple[HeldFile, Problem | None]]) -> Iterator[Finding]:
        """Yield the problems of files that their rows still refer to, after everything else was read."""
        wrong = [(file, problem) for file, problem in suspects if problem is not None]
        found = self._survey.reread(file for file, _ in wrong if file.primary_key)
        now = {file for file in found if isinstance(file, HeldFile)}
        for file, (kind, detail) in wrong:
            if file in now or not file.primary_key:
                row = self._reference(file.source, file.primary_key)
                yield Finding(kind=kind, detail=detail, storage=file.backend, key=file.key, row=row)

    def _stat(self, place: str, key: str) -> Stat | None:
        backend = storages.get(place)
        try:
            return bridge.asked(backend, partial(backend.stat, key), f"describe {key!r}")
        except ObjectNotFoundError:
            return None

    def _checksum(self, file: HeldFile) -> str:
        backend = storages.get(file.place)

        def read() -> str:
            meter = Meter()
            with closing(backend.get(file.key)) as chunks:
                for chunk in chunks:
                    meter.feed(chunk)
            return meter.checksum

        return bridge.blocking(read, limit=READ_LIMIT, doing=f"read {file.key!r} in storage {backend.key!r}")

    def _entries(self, suspects: Iterable[HeldFile | Entry | ListedObject]) -> dict[Place, Entry]:
        keys = {(suspect.place, suspect.key) for suspect in suspects}
        return entries_of(self._survey.engine, self._survey.ledger, self._survey.places, keys)

    def _referenced(self, keys: Iterable[str]) -> set[str]:
        wanted = list(keys)
        if not wanted:
            return set()
        view = self._ground.view
        with self._survey.engine.connect() as connection:
            found = view.referenced(connection, wanted)
        # what cannot be read may hold all of them
        return found if view.is_complete else set(wanted)

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
    return FindingKind.LEDGER, f"the row refers to it, and the ledger has it as {state}"
