"""A database of each kind, sync and async, and a storage that can be looked into."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Executable, create_engine, event, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, maintenance, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.orm.ledger import State, ledger_of
from tests.maintenance.models import Base, Document
from tests.session.conftest import make_storage

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table

DRIVERS = {
    "sqlite": ("sqlite", "sqlite+aiosqlite"),
    "postgresql": ("postgresql+psycopg", "postgresql+asyncpg"),
    "mariadb": ("mariadb+pymysql", "mariadb+asyncmy"),
}
SERVERS = {"postgresql": "postgres@127.0.0.1:5432/postgres", "mariadb": "root@127.0.0.1:3306/mysql"}


def is_up(kind: str) -> bool:
    url = make_url(f"{DRIVERS[kind][0]}://{SERVERS[kind]}")
    try:
        with closing(socket.create_connection((url.host, url.port), timeout=2)):
            return True
    except OSError:
        return False


@dataclass
class World:
    """A database with the tables of the models, and the storage "docs"."""

    kind: str
    way: str
    place: str
    """User, host and database of the URL."""
    engine: Engine

    @property
    def url(self) -> str:
        return f"{DRIVERS[self.kind][0]}://{self.place}"

    async def maintain(self, what: str, *models: Any, **options: Any) -> Any:
        """Call a function of `filecolumn.maintenance`, or its twin."""
        models = models or (Base,)
        if self.way == "sync":
            return getattr(maintenance, what)(self.engine, *models, **options)
        async with self.async_engine() as engine:
            return await getattr(maintenance, f"{what}_async")(engine, *models, **options)

    @asynccontextmanager
    async def async_engine(self) -> AsyncIterator[Any]:
        engine = create_async_engine(f"{DRIVERS[self.kind][1]}://{self.place}")
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


def make_world(kind: str, way: str, folder: Path) -> Iterator[World]:
    name = f"fc_maintenance_{uuid4().hex[:12]}"
    if kind == "sqlite":
        place = f"/{folder}/test.db"
        engine = create_engine(f"sqlite://{place}")
        yield from _with_tables(World(kind, way, place, engine))
        return
    if not is_up(kind):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{kind} must run in CI")
        pytest.skip(f"no {kind} runs here")
    server = SERVERS[kind]
    admin = create_engine(f"{DRIVERS[kind][0]}://{server}", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    place = f"{server.rpartition('/')[0]}/{name}"
    try:
        yield from _with_tables(World(kind, way, place, create_engine(f"{DRIVERS[kind][0]}://{place}")))
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        admin.dispose()


def _with_tables(world: World) -> Iterator[World]:
    if world.kind == "sqlite":
        event.listen(world.engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
    Base.metadata.create_all(world.engine)
    try:
        yield world
    finally:
        world.engine.dispose()


@pytest.fixture(params=[f"{kind}-{way}" for kind in DRIVERS for way in ("sync", "async")])
def world(request: pytest.FixtureRequest, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    kind, way = request.param.split("-")
    yield from make_world(kind, way, tmp_path)


@pytest.fixture(params=list(DRIVERS))
def database(request: pytest.FixtureRequest, tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """Each kind of database once, for what is the same sync and async."""
    yield from make_world(request.param, "sync", tmp_path)
