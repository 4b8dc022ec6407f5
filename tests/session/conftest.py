"""The databases and storages that each scenario runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.session.drivers import AsyncDriver, Driver, SyncDriver

DATABASES = ("sync-file", "sync-memory", "async-file", "async-memory")
STORAGES = ("obstore-local", "obstore-memory", "fsspec-local", "fsspec-memory")


def make_storage(kind: str, folder: Path, key: str = "docs") -> StorageBackend:
    """Make one of `STORAGES`, empty."""
    match kind:
        case "obstore-local":
            return ObstoreBackend(key, f"file://{folder}/{key}/", fsync=False)
        case "obstore-memory":
            return ObstoreBackend(key, "memory://")
        case "fsspec-local":
            return FSSpecBackend(key, "file", prefix=str(folder / key), fsync=False)
        case "fsspec-memory":
            return FSSpecBackend(key, "memory", prefix=f"{folder}/{key}")
        case _:
            raise ValueError(kind)


@pytest.fixture(params=("obstore-local", "fsspec-memory"))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """The storage "docs" of the models."""
    return storages.register_backend(make_storage(request.param, tmp_path))


@pytest.fixture(params=DATABASES)
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database with the tables of the models."""
    kind, place = request.param.split("-")
    path = f"/{tmp_path}/test.db" if place == "file" else ""
    made: Driver = (
        SyncDriver(f"sqlite://{path}") if kind == "sync" else AsyncDriver(f"sqlite+aiosqlite://{path}")
    )
    await made.create()
    yield made
    await made.dispose()
