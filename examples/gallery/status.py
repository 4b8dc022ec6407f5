"""How the storages are."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.di import NamedDependency
from sqlalchemy import func, select

from filecolumn.litestar import check_storages

from .models import Item, ItemService

__all__ = ("show_status",)


class StorageOut(msgspec.Struct):
    """One storage."""

    name: str
    healthy: bool
    seconds: float
    error: str | None


class Status(msgspec.Struct):
    """What the status page shows."""

    storages: list[StorageOut]
    files: int
    size: int
    """Bytes of all files, as their rows say; thumbnails are not counted."""


@get("/api/status", summary="Probe the storages and count the files", tags=["status"])
async def show_status(items: NamedDependency[ItemService]) -> Status:
    """Write, read and delete a few bytes in each storage, and add up what the rows say."""
    health = await check_storages()
    sizes = select(func.count(), func.coalesce(func.sum(Item.file["size"].as_integer()), 0)).select_from(Item)
    files, size = (await items.repository.session.execute(sizes)).one()
    storages = [
        StorageOut(name, found.is_healthy, found.seconds, found.error)
        for name, found in sorted(health.items())
    ]
    return Status(storages, files, size)
