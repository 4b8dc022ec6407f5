"""A pytest plugin: the databases and storages of the scenarios.

A scenario that uses both runs once on each driver, and each driver has one storage: all pairs of
sync or async, database and storage occur (`STORAGE_OF`).  A test whose outcome depends on both
parametrizes both itself, and gets the full product.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from zlib import crc32

import pytest
from _pytest.mark.structures import ParameterSet

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.profiles import NAME
from tests.scenarios import mapped_tables, models, more_models
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver
from tests.servers.databases import SCHEMES, Database, empty_database

ON_SQLITE = ("sync-file", "async-file")


def on_servers(names: Iterable[str]) -> list[ParameterSet]:
    """Return parameters that need a server, such as the drivers of `SCHEMES`."""
    return [pytest.param(name, marks=pytest.mark.server) for name in names]


ON_SERVERS = on_servers(SCHEMES)

STORAGES = ("obstore-local", "obstore-memory", "fsspec-local", "fsspec-memory")
STORAGES_OF_SCENARIOS = ("obstore-local", "fsspec-memory")
STORAGE_OF = {
    "sync-file": "obstore-local",
    "async-file": "fsspec-memory",
    "sync-memory": "fsspec-memory",
    "async-memory": "obstore-local",
    "psycopg": "fsspec-memory",
    "asyncpg": "obstore-local",
    "pymysql": "obstore-local",
    "asyncmy": "fsspec-memory",
}
"""The storage that a scenario has on each driver."""


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


def server_database(name: str) -> Database:
    """Return this process's database on a server, with the tables of the models, which are empty."""
    return empty_database(name, models.Base.metadata, more_models.Base.metadata, mapped_tables.Base.metadata)


def driver_for(database: Database, name: str, **options: object) -> Driver:
    """Return a driver of `SCHEMES` on a database."""
    options = {"isolation_level": "READ COMMITTED", "connect_args": database.server.connect, **options}
    kind = AsyncDriver if name.startswith("async") else SyncDriver
    return kind(database.url(SCHEMES[name]), **options)


def make_driver(kind: str, tmp_path: Path, **options: object) -> Driver:
    """Make a driver of `STORAGE_OF`; the tables of SQLite are still to be made."""
    if kind in SCHEMES:
        server = SCHEMES[kind].partition("+")[0]
        return driver_for(server_database(server), kind, **options)
    mode, place = kind.split("-")
    path = f"/{tmp_path}/test.db" if place == "file" else ""
    if mode == "sync":
        return SyncDriver(f"sqlite://{path}", **options)
    return AsyncDriver(f"sqlite+aiosqlite://{path}", **options)


@asynccontextmanager
async def open_driver(kind: str, tmp_path: Path) -> AsyncIterator[Driver]:
    """Make a driver with the tables of the models."""
    made = make_driver(kind, tmp_path)
    if made.dialect == "sqlite":
        await made.create()
    try:
        yield made
    finally:
        await made.dispose()


@pytest.fixture(params=(*ON_SQLITE, *ON_SERVERS))
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database with the tables of the models."""
    async with open_driver(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=STORAGES_OF_SCENARIOS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """The storage "docs" of the models."""
    return storages.register_backend(make_storage(request.param, tmp_path))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one storage for each driver, and one of the four drivers of servers."""
    kept = [item for item in items if _is_paired(item) and _is_in_turn(item)]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def _is_paired(item: pytest.Item) -> bool:
    """Return whether a test has the storage of its driver, if it did not choose both itself."""
    if not (isinstance(item, pytest.Function) and hasattr(item, "callspec")):
        return True
    params = item.callspec.params
    chosen = {name for mark in item.iter_markers("parametrize") for name in _names(mark)}
    kind = str(params.get("driver")).partition(" ")[0]
    if "storage" in chosen or "storage" not in params or kind not in STORAGE_OF:
        return True
    return params["storage"] == STORAGE_OF[kind]


DRIVERS_IN_TURN = (
    ("psycopg", "async-file"),
    ("asyncmy", "sync-file"),
    ("asyncpg", "sync-file"),
    ("pymysql", "async-file"),
)
"""One driver of a server for each scenario and its parameters, sync and async: the product is for hours."""

TURNS = (*SCHEMES, *ON_SQLITE) if os.environ.get("FILECOLUMN_TEST_TURNS") == "all" else (*SCHEMES,)
"""The drivers that take turns: with `all` those of SQLite too, as for the oldest versions."""


def _is_in_turn(item: pytest.Item) -> bool:
    """Return whether a scenario, if it did not choose its drivers itself, has this one outside of soak."""
    if NAME == "soak" or not (isinstance(item, pytest.Function) and hasattr(item, "callspec")):
        return True
    kind = item.callspec.params.get("driver")
    chosen = {name for mark in item.iter_markers("parametrize") for name in _names(mark)}
    if kind not in TURNS or "driver" in chosen or not _has_common_driver(item):
        return True
    others = [
        str(value) for name, value in item.callspec.indices.items() if name not in {"driver", "storage"}
    ]
    turn = crc32(f"{item.nodeid.partition('[')[0]} {others}".encode())
    return kind in DRIVERS_IN_TURN[turn % len(DRIVERS_IN_TURN)]


def _has_common_driver(item: pytest.Function) -> bool:
    """Return whether a test's driver is that of this module, not one of its own."""
    definitions = item._fixtureinfo.name2fixturedefs.get("driver", ())
    return [each.func.__module__ for each in definitions][-1:] == [__name__]


def _names(mark: pytest.Mark) -> list[str]:
    names = mark.args[0]
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


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


# Folders behind both libraries, and what lies outside of them


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
