"""Sessions of both kinds, local folders behind both libraries, and what lies outside of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from tests.session.conftest import make_storage
from tests.session.drivers import AsyncDriver, Driver, SyncDriver


@pytest.fixture(params=("sync", "async"))
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database with the tables of `tests.session.models`."""
    path = f"/{tmp_path}/test.db"
    made: Driver = (
        SyncDriver(f"sqlite://{path}")
        if request.param == "sync"
        else AsyncDriver(f"sqlite+aiosqlite://{path}")
    )
    await made.create()
    yield made
    await made.dispose()


@pytest.fixture(params=("obstore-local", "fsspec-local"))
def local(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """The storage "docs" of the models, in the folder `root`."""
    return storages.register_backend(make_storage(request.param, tmp_path))


@pytest.fixture
def root(local: StorageBackend, tmp_path: Path) -> Path:
    """The folder of `local`."""
    return tmp_path / "docs"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no key leads to, with the file `secret`."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def other(tmp_path: Path) -> StorageBackend:
    """A storage that no column of the models uses, with the object `secret`."""
    storage = storages.register_backend(make_storage("obstore-memory", tmp_path, "other"))
    storage.put("secret", [b"secret"])
    return storage
