"""Keep storages and rows in agreement: for operators, and for the background of an application."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance.check import GRACE, check
from filecolumn.maintenance.drain import DrainReport, drain
from filecolumn.maintenance.findings import CheckReport, Finding, FindingKind, OnFinding, RowReference
from filecolumn.maintenance.models import Models
from filecolumn.maintenance.owning import adopt
from filecolumn.maintenance.status import StatusReport, status
from filecolumn.maintenance.survey import Progress, no_progress
from filecolumn.maintenance.sweep import SWEEP_GRACE, SweepReport, sweep
from filecolumn.maintenance.triggers import attach_triggers, install_triggers, remove_triggers

__all__ = (
    "SWEEP_GRACE",
    "CheckReport",
    "DrainReport",
    "Finding",
    "FindingKind",
    "Models",
    "OnFinding",
    "Progress",
    "RowReference",
    "StatusReport",
    "SweepReport",
    "adopt",
    "adopt_async",
    "attach_triggers",
    "check",
    "check_async",
    "drain",
    "drain_async",
    "install_triggers",
    "install_triggers_async",
    "remove_triggers",
    "remove_triggers_async",
    "status",
    "status_async",
    "sweep",
    "sweep_async",
)


async def drain_async(
    engine: AsyncEngine,
    *models: Models,
    limit: int | None = None,
    batch: int = 100,
    lease: float = 300.0,
    rate: float | None = None,
) -> DrainReport:
    """Call `drain` asynchronously."""
    return await greenlet_spawn(
        drain, engine.sync_engine, *models, limit=limit, batch=batch, lease=lease, rate=rate
    )


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


async def sweep_async(
    engine: AsyncEngine,
    *models: Models,
    grace: float = SWEEP_GRACE,
    dry_run: bool = False,
    force: bool = False,
    rate: float | None = None,
    only: Collection[str] | None = None,
    progress: Progress = no_progress,
) -> SweepReport:
    """Call `sweep` asynchronously."""
    return await greenlet_spawn(
        sweep,
        engine.sync_engine,
        *models,
        grace=grace,
        dry_run=dry_run,
        force=force,
        rate=rate,
        only=only,
        progress=progress,
    )


async def status_async(engine: AsyncEngine, *models: Models) -> StatusReport:
    """Call `status` asynchronously."""
    return await greenlet_spawn(status, engine.sync_engine, *models)


async def adopt_async(engine: AsyncEngine, *models: Models, only: Collection[str] | None = None) -> list[str]:
    """Call `adopt` asynchronously."""
    return await greenlet_spawn(adopt, engine.sync_engine, *models, only=only)


async def install_triggers_async(engine: AsyncEngine, *models: Models) -> list[str]:
    """Call `install_triggers` asynchronously."""
    return await greenlet_spawn(install_triggers, engine.sync_engine, *models)


async def remove_triggers_async(engine: AsyncEngine, *models: Models) -> None:
    """Call `remove_triggers` asynchronously."""
    await greenlet_spawn(remove_triggers, engine.sync_engine, *models)
