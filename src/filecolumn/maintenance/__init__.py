"""Keep storages and rows in agreement: for operators, and for the background of an application."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance.check import GRACE, check
from filecolumn.maintenance.drain import DrainReport, drain
from filecolumn.maintenance.findings import CheckReport, Finding, FindingKind, OnFinding, RowReference
from filecolumn.maintenance.models import Models
from filecolumn.maintenance.survey import Progress, no_progress

__all__ = (
    "CheckReport",
    "DrainReport",
    "Finding",
    "FindingKind",
    "Models",
    "OnFinding",
    "Progress",
    "RowReference",
    "check",
    "check_async",
    "drain",
    "drain_async",
)


async def drain_async(
    engine: AsyncEngine, *models: Models, limit: int | None = None, batch: int = 100, lease: float = 300.0
) -> DrainReport:
    """Call `drain` asynchronously."""
    return await greenlet_spawn(drain, engine.sync_engine, *models, limit=limit, batch=batch, lease=lease)


async def check_async(
    engine: AsyncEngine,
    *models: Models,
    verify: bool = False,
    repair: bool = False,
    grace: float = GRACE,
    only: Collection[str] | None = None,
    on_finding: OnFinding | None = None,
    progress: Progress = no_progress,
) -> CheckReport:
    """Call `check` asynchronously."""
    return await greenlet_spawn(
        check,
        engine.sync_engine,
        *models,
        verify=verify,
        repair=repair,
        grace=grace,
        only=only,
        on_finding=on_finding,
        progress=progress,
    )
