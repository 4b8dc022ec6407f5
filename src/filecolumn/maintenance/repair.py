"""What a check may put right: nothing that could lose content."""

from __future__ import annotations

from dataclasses import replace

from filecolumn.maintenance.claims import adopt_live, doom_gone, doom_live, fence, restore
from filecolumn.maintenance.findings import Finding, FindingKind
from filecolumn.maintenance.survey import Survey

__all__ = ("Repairer",)


class Repairer:
    """Corrects the ledger by what the rows say, and gives what no row refers to to the next drain.

    A drain looks for a reference once more before it deletes.  What is missing or corrupt is left as
    it is: only a person can say where the right content is.
    """

    def __init__(self, survey: Survey) -> None:
        self._survey = survey

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
                return bool(fence(engine, ledger, [place]) or doom_gone(engine, ledger, [place]))
            case FindingKind.LEDGER if finding.row is None:
                return bool(doom_live(engine, ledger, [place]))
            case FindingKind.LEDGER:
                # what the ledger has as gone is looked up by the next drain, as every key that may live again
                return bool(restore(engine, ledger, [place]) or doom_gone(engine, ledger, [place]))
            case FindingKind.UNRECORDED:
                return bool(restore(engine, ledger, [place]) or adopt_live(engine, ledger, [place]))
            case FindingKind.MISSING | FindingKind.CORRUPT | FindingKind.FOREIGN:
                return False
