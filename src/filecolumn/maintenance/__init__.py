"""Keep storages and rows in agreement: for operators, and for the background of an application."""

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance.drain import DrainReport, drain
from filecolumn.maintenance.models import Models

__all__ = ("DrainReport", "Models", "drain", "drain_async")


async def drain_async(
    engine: AsyncEngine, *models: Models, limit: int | None = None, batch: int = 100, lease: float = 300.0
) -> DrainReport:
    """Call `drain` asynchronously."""
    return await greenlet_spawn(drain, engine.sync_engine, *models, limit=limit, batch=batch, lease=lease)
