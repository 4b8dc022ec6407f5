"""The databases and storages that each scenario runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.session import models, more_models
from tests.session.databases import SCHEMES, Database, driver_for, empty_database
from tests.session.drivers import AsyncDriver, Driver, SyncDriver

DATABASES = ("sync-file", "sync-memory", "async-file", "async-memory")
STORAGES = ("obstore-local", "obstore-memory", "fsspec-local", "fsspec-memory")
STORAGES_OF_SCENARIOS = ("obstore-local", "fsspec-memory")


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


@pytest.fixture(params=STORAGES_OF_SCENARIOS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """The storage "docs" of the models."""
    return storages.register_backend(make_storage(request.param, tmp_path))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out servers with another storage than the first: what storages differ in, SQLite shows."""

    def is_wanted(item: pytest.Item) -> bool:
        params = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        kind = str(params.get("driver")).partition(" ")[0]
        return kind not in SCHEMES or params.get("storage") in {None, STORAGES_OF_SCENARIOS[0]}

    items[:] = filter(is_wanted, items)


def server_database(name: str) -> Database:
    """Return this process's database on a server, with the tables of the models, which are empty."""
    return empty_database(name, models.Base.metadata, more_models.Base.metadata)


def make_driver(kind: str, tmp_path: Path, **options: object) -> Driver:
    """Make a driver on one of `DATABASES` or `SCHEMES`; the tables of SQLite are still to be made."""
    if kind in SCHEMES:
        server = SCHEMES[kind].partition("+")[0]
        return driver_for(server_database(server), kind, **options)
    mode, place = kind.split("-")
    path = f"/{tmp_path}/test.db" if place == "file" else ""
    if mode == "sync":
        return SyncDriver(f"sqlite://{path}", **options)
    return AsyncDriver(f"sqlite+aiosqlite://{path}", **options)


@pytest.fixture(params=(*DATABASES, *SCHEMES))
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database with the tables of the models."""
    made = make_driver(request.param, tmp_path)
    if made.dialect == "sqlite":
        await made.create()
    yield made
    await made.dispose()


@pytest.fixture
def lost_answer(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMMIT is carried out, and its answer never arrives."""
    dialect = driver.sync_engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: object) -> None:
        commit(connection)
        monkeypatch.undo()
        raise dialect.loaded_dbapi.OperationalError("the connection was lost")

    monkeypatch.setattr(dialect, "do_commit", do_commit)
