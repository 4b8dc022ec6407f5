"""Fixtures for the storages of rarer models."""

from __future__ import annotations

from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.fixtures import make_storage

__all__ = ("archive", "old_storage")


@pytest.fixture
def archive(tmp_path: Path) -> StorageBackend:
    """The storage of `Archived`."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))


@pytest.fixture
def old_storage(tmp_path: Path) -> StorageBackend:
    """The storage that rows of `Moved` may still point to."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "old"))
