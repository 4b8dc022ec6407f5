"""Check: compare what rows, the ledger and the storages say, and name each thing that is wrong.

A survey gives suspects; each is read again, in the database and in its storage, in an order that
lets no concurrent commit look like a fault.  It writes nothing, unless it is to repair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import nullcontext

from sqlalchemy import Engine

from filecolumn.maintenance.confirm import Confirmer
from filecolumn.maintenance.findings import CheckReport, Finding, FindingKind, OnFinding
from filecolumn.maintenance.ground import Ground, survey_ground
from filecolumn.maintenance.models import Models, known_metadatas, only_ledger, refuse_autocommit
from filecolumn.maintenance.places import Places
from filecolumn.maintenance.repair import Repairer
from filecolumn.maintenance.required import require_ledger, require_storages
from filecolumn.maintenance.scratch import Scratch
from filecolumn.maintenance.survey import (
    Progress,
    Survey,
    database_time,
    no_progress,
    said,
    why_unreachable,
)
from filecolumn.maintenance.triggers import missing_triggers
from filecolumn.maintenance.unreferenced import mark_shared
from filecolumn.orm.recording import speaking
from filecolumn.registry import storages

__all__ = ("GRACE", "check")

GRACE = 24 * 3600.0
"""Seconds in which an object without a row is no orphan: its transaction may still be running."""

_LISTED = "FROM held h JOIN listed l ON l.place = h.place AND l.key = h.key"
# states are 1 for State.LIVE, 3 for State.GONE
_QUERIES = {
    "missing": "FROM held h WHERE NOT EXISTS "
    "(SELECT 1 FROM listed l WHERE l.place = h.place AND l.key = h.key)",
    "size": f"{_LISTED} WHERE h.size IS NOT NULL AND h.size <> l.size",
    "whole": f"{_LISTED} WHERE h.checksum IS NOT NULL AND (h.size IS NULL OR h.size = l.size)",
    "several": "FROM held h WHERE h.shared = 0 AND EXISTS (SELECT 1 FROM held o WHERE o.place = h.place "
    "AND o.key = h.key AND o.rowid <> h.rowid)",
    "not_live": "FROM held h JOIN entry e ON e.place = h.place AND e.key = h.key "
    "GROUP BY h.rowid HAVING max(e.state = 1) = 0",
    "other": "FROM held h JOIN entry e ON e.place = h.place AND e.key = h.key "
    "WHERE e.sha256 IS NOT NULL AND h.checksum IS NOT NULL AND h.checksum <> 'sha256:' || e.sha256",
    "unrecorded": "FROM held h WHERE NOT EXISTS "
    "(SELECT 1 FROM entry e WHERE e.place = h.place AND e.key = h.key)",
    "unheld": "FROM entry e WHERE e.state = 1 AND NOT EXISTS "
    "(SELECT 1 FROM held h WHERE h.place = e.place AND h.key = e.key)",
    "unknown": "FROM listed l WHERE NOT EXISTS (SELECT 1 FROM held h WHERE h.place = l.place AND h.key = l.key) "
    "AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.place = l.place AND e.key = l.key AND e.state <> 3)",
}


def check(
    engine: Engine,
    *models: Models,
    verify: bool = False,
    repair: bool = False,
    grace: float = GRACE,
    only: Collection[str] | None = None,
    on_finding: OnFinding | None = None,
    progress: Progress = no_progress,
) -> CheckReport:
    """Compare rows, ledger and storages, and return what is wrong.

    *models* are the declarative bases (or `MetaData`) of **all** models in the database.  *verify*
    reads every object and compares its hash.  *repair* does what cannot lose anything: orphans and
    ledger entries without a row are given to the next drain, keys of rows are recorded as live.
    *grace* is in seconds, *only* names the storages to look at.  *on_finding* is told of each
    finding; the report keeps the first 1,000.  Memory does not grow with their number.

    A storage that cannot be reached is a finding, and the check goes on with the others.
    BackendNotRegisteredError, before anything is done, where rows or the ledger name a storage that is
    not registered in this process (or *only* does), and MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    require_ledger(engine, ledger)
    require_storages(engine, ledger, metadatas, only=only)
    with nullcontext() if ledger is None else speaking(ledger):
        ground = survey_ground(engine, ledger, metadatas, claim=repair)
    places = Places(only)
    places.leave_out(name for name in places.names if ground.standings[name].refused)
    survey = Survey(engine, ledger, metadatas, places, progress)
    started = database_time(engine)
    repairer = Repairer(survey, ground) if repair else None
    report = CheckReport()
    with Scratch() as scratch:
        confirmer = Confirmer(survey, ground, grace)
        for finding in _findings(survey, scratch, confirmer, ground, report, verify=verify):
            is_lost = finding.storage is not None and confirmer.is_lost(places.name_of(finding.storage))
            done = finding if repairer is None or is_lost else repairer.repair(finding)
            report.add(done)
            if on_finding is not None:
                on_finding(done)
        if repairer is not None and ledger is not None:
            repairer.record_columns(scratch)
            if places.is_complete and ground.view.is_complete:
                mark_shared(survey, scratch, started)
    return report


def _findings(
    survey: Survey,
    scratch: Scratch,
    confirm: Confirmer,
    ground: Ground,
    report: CheckReport,
    *,
    verify: bool,
) -> Iterator[Finding]:
    yield from _about_the_whole(survey, ground)
    for unreadable in survey.read_rows(scratch):
        yield from confirm.unreadable(unreadable)
    ground.hide(survey)
    survey.read_ledger(scratch)
    for name, error in survey.read_storages(scratch):
        yield _unreachable(name, said(error))
    scratch.index()
    report.files, report.entries, report.objects = map(scratch.count, ("held", "entry", "listed"))
    for name in ("missing", "size"):
        for page in scratch.held(_QUERIES[name]):
            yield from confirm.unlike(page)
            yield from _lost(confirm)
    for page in scratch.held(_QUERIES["several"]):
        yield from confirm.shared(page)
    if verify:
        for page in scratch.held(_QUERIES["whole"]):
            yield from confirm.contents(page)
            yield from _lost(confirm)
            survey.progress("verified", len(page))
    if survey.ledger is not None:
        yield from _against_ledger(scratch, confirm)
    for objects in scratch.listed(_QUERIES["unknown"]):
        yield from confirm.orphans(objects)
        yield from _lost(confirm)


def _lost(confirm: Confirmer) -> Iterator[Finding]:
    """Yield the storages that have stopped to answer since they were listed."""
    for name, why in confirm.newly_lost():
        yield _unreachable(name, why)


def _unreachable(name: str, why: str) -> Finding:
    detail = f"the storage cannot be reached, so nothing is known of what is in it: {why}"
    return Finding(kind=FindingKind.UNREACHABLE, detail=detail, storage=name)


def _about_the_whole(survey: Survey, ground: Ground) -> Iterator[Finding]:
    """Yield what is wrong with storages, columns and triggers as such."""
    for name, standing in ground.standings.items():
        if standing.refused:
            # a bucket that is not there has no mark either
            why = why_unreachable(storages.get(name))
            place = Finding(kind=FindingKind.PLACE, detail=standing.refused, storage=name)
            yield _unreachable(name, why) if why else place
        elif standing.withheld and survey.ledger is not None:
            yield Finding(kind=FindingKind.WITHHELD, detail=standing.withheld, storage=name)
    if not ground.view.is_complete:
        yield Finding(kind=FindingKind.HIDDEN, detail=ground.view.reason)
    if survey.ledger is not None:
        with survey.engine.connect() as connection:
            missing = missing_triggers(connection, survey.metadatas)
        for column in missing:
            detail = f"the triggers of {column} were installed, and are not all there: install them again"
            yield Finding(kind=FindingKind.TRIGGERS, detail=detail)


def _against_ledger(scratch: Scratch, confirm: Confirmer) -> Iterator[Finding]:
    for name in ("not_live", "unrecorded"):
        for page in scratch.held(_QUERIES[name]):
            yield from confirm.unlisted(page)
    for page in scratch.held(_QUERIES["other"]):
        yield from confirm.recorded_otherwise(page)
    for entries in scratch.entries(_QUERIES["unheld"]):
        yield from confirm.unheld(entries)
