"""What a check may put right: nothing that could lose content."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy import select, update

from filecolumn.maintenance.claims import adopt_live, doom_gone, fence, insist, restore
from filecolumn.maintenance.findings import Finding, FindingKind
from filecolumn.maintenance.ground import Ground
from filecolumn.maintenance.scratch import Scratch
from filecolumn.maintenance.survey import UNREACHABLE, Survey, pages_of
from filecolumn.maintenance.sweep import QUARANTINE
from filecolumn.maintenance.unreferenced import note_unreferenced
from filecolumn.orm import bridge
from filecolumn.orm.columns import name_of, note_columns
from filecolumn.orm.ledger import State
from filecolumn.orm.recording import is_one_of
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("Repairer",)


class Repairer:
    """Corrects the ledger by what the rows say, and claims what nobody can miss, as a sweep does.

    A drain looks for a reference once more before it deletes.  What is missing or corrupt is left as
    it is: only a person can say where the right content is.  A live key without a row is noted only.
    """

    def __init__(self, survey: Survey, ground: Ground) -> None:
        self._survey = survey
        self._ground = ground

    def repair(self, finding: Finding) -> Finding:
        """Return *finding*, as repaired if it was."""
        if finding.storage is None or finding.key is None or self._survey.ledger is None:
            return finding
        return replace(finding, repaired=self._correct(finding, (finding.storage, finding.key)))

    def _correct(self, finding: Finding, place: tuple[str, str]) -> bool:
        engine, ledger = self._survey.engine, self._survey.ledger
        assert ledger is not None  # noqa: S101 - see `repair`
        match finding.kind:
            case FindingKind.ORPHAN:
                if self._ground.why_not(self._survey.places.name_of(place[0])) or self._is_young(place):
                    return False
                after = max(QUARANTINE, storages.retention)
                claimed = fence(engine, ledger, [place], after=after)
                return bool(claimed or doom_gone(engine, ledger, [place], after=after))
            case FindingKind.LEDGER if finding.row is None:
                note_unreferenced(self._survey, [place])
                return False
            case FindingKind.LEDGER:
                # what the ledger has as gone is looked up by the next drain, as every key that may live again
                return bool(restore(engine, ledger, [place]) or doom_gone(engine, ledger, [place]))
            case FindingKind.UNRECORDED:
                return bool(restore(engine, ledger, [place]) or adopt_live(engine, ledger, [place]))
            case _:
                return False

    def _is_young(self, place: Place) -> bool:
        """Return whether an object is younger than the ledger's newest entry, as for a database that was restored."""
        backend = storages.get(place[0])
        try:
            stat = bridge.asked(backend, partial(backend.stat, place[1]), f"describe {place[1]!r}")
        except UNREACHABLE:
            return True
        return stat.last_modified is None or stat.last_modified > self._ground.newest

    def record_columns(self, scratch: Scratch) -> None:
        """Record which columns hold the keys of entries that do not say it: those of older releases."""
        engine, ledger = self._survey.engine, self._survey.ledger
        assert ledger is not None  # noqa: S101 - see `repair`
        with engine.begin() as connection:
            names = [
                name_of(connection, ledger, column.table, column.name) for column in self._survey.columns
            ]
            ids = note_columns(connection, ledger, names)
        columns = ledger.table.c
        query = select(columns.backend, columns.key).where(
            columns.state == State.LIVE.value, columns.held_in.is_(None)
        )
        for page in pages_of(engine, query, (columns.backend, columns.key)):
            place_of = {
                (row.backend, row.key): (self._survey.places.name_of(row.backend), row.key) for row in page
            }
            sources = scratch.sources_of(list(place_of.values()))
            for source, name in enumerate(names):
                places = [entry for entry, place in place_of.items() if sources.get(place) == source]
                if places:
                    statement = (
                        update(ledger.table).where(is_one_of(ledger, places)).values(held_in=ids[name])
                    )
                    insist(engine, lambda connection: connection.execute(statement))  # noqa: B023 - called at once
