"""Fixtures for the storages of rarer models, and a `storage` that follows the kind of session."""

from __future__ import annotations

from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import make_storage

__all__ = ("archive", "old_storage", "storage")


@pytest.fixture
def storage(driver: Driver, tmp_path: Path) -> StorageBackend:
    """The storage "docs": each kind of session has both kinds of storage, with one database or the other."""
    in_memory = driver.dialect == "sqlite" and not driver.sync_engine.url.database
    kind = "fsspec-memory" if in_memory == driver.is_async else "obstore-local"
    return storages.register_backend(make_storage(kind, tmp_path))


@pytest.fixture
def archive(tmp_path: Path) -> StorageBackend:
    """The storage of `Archived`."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))


@pytest.fixture
def old_storage(tmp_path: Path) -> StorageBackend:
    """The storage that rows of `Moved` may still point to."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "old"))
