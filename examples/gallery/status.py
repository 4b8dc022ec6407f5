"""The health of the storages, and whether they and the rows agree."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from filecolumn.litestar import check_storages
from filecolumn.maintenance import Finding, check_async, status_async

from .models import Item, ItemService

__all__ = ("probe_storages", "show_status")

EXAMPLES = 20
"""Findings that are shown, at most; all of them are counted."""


class StorageOut(msgspec.Struct):
    """One storage."""

    name: str
    healthy: bool
    seconds: float
    error: str | None


class FindingOut(msgspec.Struct):
    """A fault."""

    kind: str
    detail: str
    row: str | None
    key: str | None


class CheckOut(msgspec.Struct):
    """The result of a comparison of rows, ledger and storages."""

    is_clean: bool
    files: int
    """Files that rows refer to, thumbnails too."""
    objects: int
    """Objects in the storages."""
    counts: dict[str, int]
    """Findings, by kind."""
    findings: list[FindingOut]
    """The first of them."""


class Backlog(msgspec.Struct):
    """Pending deletions."""

    waiting: int
    due: int
    oldest_seconds: float
    stuck: int


class Status(msgspec.Struct):
    """The data of the status page."""

    files: int
    size: int
    """Bytes of all files, as their rows say; thumbnails are not counted."""
    check: CheckOut
    backlog: Backlog


@get("/api/status", summary="Compare the rows with the storages", tags=["status"])
async def show_status(items: NamedDependency[ItemService], db_engine: NamedDependency[AsyncEngine]) -> Status:
    """Add up the sizes in the rows, and look for faults; nothing is written.

    Every object is listed and every row is read: a large application lets a job do that, once a day.
    """
    sizes = select(func.count(), func.coalesce(func.sum(Item.file["size"].as_integer()), 0)).select_from(Item)
    files, size = (await items.repository.session.execute(sizes)).one()
    return Status(files, size, await compare(db_engine), await backlog(db_engine))


@post("/api/status/probe", status_code=200, summary="Probe the storages", tags=["status"])
async def probe_storages() -> list[StorageOut]:
    """Write, read and delete a few bytes in each storage; not a GET, since it has effects."""
    health = await check_storages()
    return [
        StorageOut(name, found.is_healthy, found.seconds, found.error)
        for name, found in sorted(health.items())
    ]


async def compare(engine: AsyncEngine) -> CheckOut:
    """Compare the rows with the storages."""
    report = await check_async(engine, Item.metadata)
    counts = {kind.value: count for kind, count in report.counts.items()}
    findings = [described(finding) for finding in report.findings[:EXAMPLES]]
    return CheckOut(report.is_clean, report.files, report.objects, counts, findings)


async def backlog(engine: AsyncEngine) -> Backlog:
    """Return the pending deletions of the ledger."""
    report = await status_async(engine, Item.metadata)
    return Backlog(report.doomed, report.due, report.oldest_due_seconds, report.stuck)


def described(finding: Finding) -> FindingOut:
    """Describe a finding."""
    row = finding.row
    place = None if row is None else f"{row.table}.{row.column}, row {', '.join(map(str, row.primary_key))}"
    return FindingOut(finding.kind, finding.detail, place, finding.key)
