"""Keep storages and rows in agreement: for operators, and for the background of an application."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance.adopt import adopt, undelete
from filecolumn.maintenance.check import (
    GRACE,
    CheckReport,
    Finding,
    FindingKind,
    OnFinding,
    RowReference,
    check,
)
from filecolumn.maintenance.columns import (
    ColumnReport,
    copy_files,
    forget_file_column,
    list_file_columns,
    rename_file_column,
)
from filecolumn.maintenance.drain import DrainReport, drain
from filecolumn.maintenance.migrate import migrate
from filecolumn.maintenance.required import Models
from filecolumn.maintenance.status import ColumnStatus, StatusReport, status
from filecolumn.maintenance.survey import Progress, no_progress
from filecolumn.maintenance.sweep import QUARANTINE, SWEEP_GRACE, SweepReport, sweep, sweep_when_due
from filecolumn.maintenance.triggers import (
    OnTrigger,
    TriggerChange,
    attach_triggers,
    install_triggers,
    remove_triggers,
)

__all__ = (
    "QUARANTINE",
    "SWEEP_GRACE",
    "CheckReport",
    "ColumnReport",
    "ColumnStatus",
    "DrainReport",
    "Finding",
    "FindingKind",
    "Models",
    "OnFinding",
    "OnTrigger",
    "Progress",
    "RowReference",
    "StatusReport",
    "SweepReport",
    "TriggerChange",
    "adopt",
    "adopt_async",
    "attach_triggers",
    "check",
    "check_async",
    "copy_files",
    "copy_files_async",
    "drain",
    "drain_async",
    "forget_file_column",
    "forget_file_column_async",
    "install_triggers",
    "install_triggers_async",
    "list_file_columns",
    "list_file_columns_async",
    "migrate",
    "migrate_async",
    "remove_triggers",
    "remove_triggers_async",
    "rename_file_column",
    "rename_file_column_async",
    "status",
    "status_async",
    "sweep",
    "sweep_async",
    "sweep_when_due",
    "sweep_when_due_async",
    "undelete",
    "undelete_async",
)


async def drain_async(
    engine: AsyncEngine,
    *models: Models,
    limit: int | None = None,
    batch: int = 100,
    lease: float = 300.0,
    rate: float | None = None,
    only: Collection[str] | None = None,
) -> DrainReport:
    """Call `drain` asynchronously."""
    return await greenlet_spawn(
        drain, engine.sync_engine, *models, limit=limit, batch=batch, lease=lease, rate=rate, only=only
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
    quarantine: float = QUARANTINE,
    unreferenced: bool = False,
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
        quarantine=quarantine,
        unreferenced=unreferenced,
        dry_run=dry_run,
        force=force,
        rate=rate,
        only=only,
        progress=progress,
    )


async def status_async(
    engine: AsyncEngine, *models: Models, only: Collection[str] | None = None
) -> StatusReport:
    """Call `status` asynchronously."""
    return await greenlet_spawn(status, engine.sync_engine, *models, only=only)


async def sweep_when_due_async(
    engine: AsyncEngine,
    *models: Models,
    interval: float = 24 * 3600.0,
    unreferenced: bool = False,
    only: Collection[str] | None = None,
) -> SweepReport | None:
    """Call `sweep_when_due` asynchronously."""
    return await greenlet_spawn(
        sweep_when_due, engine.sync_engine, *models, interval=interval, unreferenced=unreferenced, only=only
    )


async def adopt_async(
    engine: AsyncEngine,
    *models: Models,
    only: Collection[str] | None = None,
    moved: bool = False,
    new_place: bool = False,
    sole: bool = False,
) -> list[str]:
    """Call `adopt` asynchronously."""
    return await greenlet_spawn(
        adopt, engine.sync_engine, *models, only=only, moved=moved, new_place=new_place, sole=sole
    )


async def undelete_async(engine: AsyncEngine, *models: Models, key: str, storage: str | None = None) -> str:
    """Call `undelete` asynchronously."""
    return await greenlet_spawn(undelete, engine.sync_engine, *models, key=key, storage=storage)


async def migrate_async(engine: AsyncEngine, *models: Models, dry_run: bool = False) -> list[str]:
    """Call `migrate` asynchronously."""
    return await greenlet_spawn(migrate, engine.sync_engine, *models, dry_run=dry_run)


async def list_file_columns_async(engine: AsyncEngine, *models: Models) -> list[ColumnReport]:
    """Call `list_file_columns` asynchronously."""
    return await greenlet_spawn(list_file_columns, engine.sync_engine, *models)


async def rename_file_column_async(engine: AsyncEngine, *models: Models, old: str, new: str) -> None:
    """Call `rename_file_column` asynchronously."""
    await greenlet_spawn(rename_file_column, engine.sync_engine, *models, old=old, new=new)


async def forget_file_column_async(engine: AsyncEngine, *models: Models, name: str) -> None:
    """Call `forget_file_column` asynchronously."""
    await greenlet_spawn(forget_file_column, engine.sync_engine, *models, name=name)


async def copy_files_async(engine: AsyncEngine, *models: Models, source: str, target: str) -> int:
    """Call `copy_files` asynchronously."""
    return await greenlet_spawn(copy_files, engine.sync_engine, *models, source=source, target=target)


async def install_triggers_async(
    engine: AsyncEngine, *models: Models, on_trigger: OnTrigger | None = None
) -> list[str]:
    """Call `install_triggers` asynchronously."""
    return await greenlet_spawn(install_triggers, engine.sync_engine, *models, on_trigger=on_trigger)


async def remove_triggers_async(
    engine: AsyncEngine, *models: Models, on_trigger: OnTrigger | None = None
) -> None:
    """Call `remove_triggers` asynchronously."""
    await greenlet_spawn(remove_triggers, engine.sync_engine, *models, on_trigger=on_trigger)
