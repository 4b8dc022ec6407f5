"""A database of each kind, sync and async, and a storage that can be looked into."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Executable, event, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, maintenance, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, ledger_of
from tests.maintenance.models import Base, Document
from tests.scenarios.fixtures import make_storage, on_servers
from tests.servers.databases import DRIVERS, SERVERS, own_database

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table


@dataclass
class World:
    """A database with the tables of the models, and the storage "docs"."""

    kind: str
    way: str
    engine: Engine
    """Sync, whatever the way."""

    def url(self, way: str = "sync") -> str:
        """Return the URL for one of the two ways."""
        driver = DRIVERS[self.kind][way == "async"]
        return self.engine.url.set(drivername=driver).render_as_string(hide_password=False)

    async def maintain(self, what: str, *models: Any, **options: Any) -> Any:
        """Call a function of `filecolumn.maintenance`, or its twin."""
        models = models or (Base,)
        if self.way == "sync":
            return getattr(maintenance, what)(self.engine, *models, **options)
        async with self.async_engine() as engine:
            return await getattr(maintenance, f"{what}_async")(engine, *models, **options)

    @asynccontextmanager
    async def async_engine(self) -> AsyncIterator[Any]:
        engine = create_async_engine(self.url("async"))
        try:
            yield engine
        finally:
            await engine.dispose()

    async def execute(self, statement: Executable) -> None:
        """Run a statement in a session and commit it."""
        if self.way == "sync":
            with Session(self.engine) as session:
                session.execute(statement)
                session.commit()
            return
        async with self.async_engine() as engine, AsyncSession(engine) as session:
            await session.execute(statement)
            await session.commit()

    def add(self, *bodies: bytes, start: int = 1) -> list[str]:
        """Commit a document for each content, and return their keys."""
        with Session(self.engine) as session:
            documents = [
                Document(id=number, file=FileObject("a.txt", content=body))
                for number, body in enumerate(bodies, start)
            ]
            session.add_all(documents)
            session.commit()
            return [document.file.path for document in documents]

    def sql(self, statement: str, **parameters: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def states(self) -> dict[str, State]:
        with self.engine.connect() as connection:
            return {
                key: State(state) for key, state in connection.execute(select(TABLE.c.key, TABLE.c.state))
            }

    def entry(self, key: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(select(TABLE).where(TABLE.c.key == key)).one()

    def set_entries(self, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(TABLE).values(values))

    def make_due(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(TABLE).where(TABLE.c.due_at.is_not(None)).values(due_at=1))


@pytest.fixture
def storage(tmp_path: Path) -> StorageBackend:
    """The storage of the models, a folder."""
    return storages.register_backend(make_storage("obstore-local", tmp_path))


def keys(backend: str = "docs") -> set[str]:
    return {stat.key for stat in storages.get(backend).list()}


def make_old(*names: str, age: float = 60.0, backend: str = "docs") -> None:
    """Let objects of a folder be *age* seconds old: a sweep leaves alone what is younger than the ledger."""
    folder = Path(storages.get(backend).location.removeprefix("file://"))
    then = time.time() - age
    for name in names:
        os.utime(folder / name, (then, then))


def lay(*names: str, body: bytes = b"x", age: float = 60.0, backend: str = "docs") -> None:
    """Leave objects in a storage that are *age* seconds old, as uploads do whose transaction died."""
    for name in names:
        storages.get(backend).put(name, [body])
    make_old(*names, age=age, backend=backend)


@contextmanager
def make_world(kind: str, way: str, folder: Path) -> Iterator[World]:
    """Make a database of one of `DRIVERS` with the tables of the models."""
    with own_database(kind, folder, Base.metadata) as engine:
        if kind == "sqlite":
            event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
            engine.dispose()
        yield World(kind, way, engine)


WAYS = ("sync", "async")
WORLDS = [
    *(f"sqlite-{way}" for way in WAYS),
    *on_servers(f"{kind}-{way}" for kind in SERVERS for way in WAYS),
]
DATABASES = ["sqlite", *on_servers(SERVERS)]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """Each kind of database, for sync and for async calls."""
    kind, way = request.param.split("-")
    with make_world(kind, way, tmp_path) as made:
        yield made


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """Each kind of database once, for what is the same sync and async."""
    with make_world(request.param, "sync", tmp_path) as made:
        yield made
