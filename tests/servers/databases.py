"""PostgreSQL and MariaDB: found by a URL in the environment, or on their default ports of this machine.

Each process has databases of its own there, and drops them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from sqlalchemy import URL, Dialect, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from filecolumn.ledger.table import DATABASE_ID, Ledger, add_meta, ledger_of, read_meta
from filecolumn.naming import uuid7_hex
from tests.servers.process import needed, unavailable

LOCK_TIMEOUT = 20
"""Seconds after which a test that waits for a lock fails."""


@dataclass(frozen=True)
class Server:
    """A server, by how it is found."""

    variable: str
    default: str
    settings: tuple[str, ...]
    """What makes a new database quick to test on, and its waits bounded."""
    connect: dict[str, object] = field(default_factory=dict)

    @property
    def url(self) -> URL:
        """Where it is, with the sync driver that the tests themselves use."""
        scheme = make_url(self.default).drivername
        return make_url(os.environ.get(self.variable) or self.default).set(drivername=scheme)


SERVERS = {
    "postgresql": Server(
        "FILECOLUMN_TEST_POSTGRES",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
        (
            # no test cuts the server's power
            "ALTER DATABASE {name} SET synchronous_commit = off",
            f"ALTER DATABASE {{name}} SET lock_timeout = '{LOCK_TIMEOUT}s'",
        ),
    ),
    "mariadb": Server(
        "FILECOLUMN_TEST_MARIADB",
        "mariadb+pymysql://root@127.0.0.1:3306/",
        (),
        {"init_command": f"SET SESSION innodb_lock_wait_timeout = {LOCK_TIMEOUT}"},
    ),
}

# the servers are on this machine: TLS costs more than most tests do (asyncpg and libpq read this)
os.environ.setdefault("PGSSLMODE", "disable")


@event.listens_for(Engine, "do_connect")
def _without_tls(dialect: Dialect, _record: object, _args: object, options: dict[str, object]) -> None:
    if dialect.driver == "pymysql":
        options.setdefault("ssl_disabled", True)


DRIVERS = {
    "sqlite": ("sqlite", "sqlite+aiosqlite"),
    "postgresql": ("postgresql+psycopg", "postgresql+asyncpg"),
    "mariadb": ("mariadb+pymysql", "mariadb+asyncmy"),
}
"""For each kind of database, the names of its sync and its async driver."""

SCHEMES = {
    "psycopg": "postgresql+psycopg",
    "asyncpg": "postgresql+asyncpg",
    "pymysql": "mariadb+pymysql",
    "asyncmy": "mariadb+asyncmy",
}


class Database:
    """A database of this process's own."""

    def __init__(self, server: Server, url: URL, suffix: str = "") -> None:
        self.name = f"filecolumn_test_{os.getpid()}{suffix}"
        self.server = server
        self._url = url.set(database=self.name)
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._run(f"DROP DATABASE IF EXISTS {self.name}", f"CREATE DATABASE {self.name}")
        self._run(*(setting.format(name=self.name) for setting in server.settings))
        self.engine: Engine = create_engine(self._url, connect_args=server.connect)
        self._facts: dict[Ledger, dict[str, str]] = {}
        """What `create_all` has written into the meta tables."""
        self._tables: list[str] = []
        atexit.register(self.drop)

    def url(self, scheme: str) -> URL:
        """Return the URL for a driver."""
        return self._url.set(drivername=scheme)

    def create(self, *metadatas: MetaData) -> None:
        """Make tables, once."""
        for metadata in metadatas:
            metadata.create_all(self.engine)
            self._tables += [str(table.name) for table in reversed(metadata.sorted_tables)]
            if (ledger := ledger_of(metadata)) is not None:
                with self.engine.connect() as connection:
                    self._facts[ledger] = read_meta(connection, ledger)

    def clear(self) -> None:
        """Empty the tables as if they were new: it takes less than TRUNCATE, and much less than making them again."""
        with self.engine.begin() as connection:
            deletes = [f"DELETE FROM {table}" for table in self._tables]
            # pymysql takes one statement at a time
            for statement in ["; ".join(deletes)] if connection.dialect.name == "postgresql" else deletes:
                connection.exec_driver_sql(statement)
            for ledger, facts in self._facts.items():
                add_meta(connection, ledger, {**facts, DATABASE_ID: uuid7_hex()})

    def drop(self) -> None:
        """Drop the database, also under connections that a test left open."""
        atexit.unregister(self.drop)
        self.engine.dispose()
        force = " WITH (FORCE)" if self.engine.dialect.name == "postgresql" else ""
        self._run(f"DROP DATABASE IF EXISTS {self.name}{force}")

    def _run(self, *statements: str) -> None:
        with self._admin.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@cache
def _reason_why_not(name: str) -> str | None:
    """Return why a server cannot be used."""
    server = SERVERS[name]
    try:
        with create_engine(server.url, poolclass=NullPool).connect():
            return None
    except DBAPIError as error:
        at = server.url.render_as_string(hide_password=True)
        return f"no {name} at {at} (name one by {server.variable}): {error.orig}"


def need_server(name: str) -> Server:
    """Return a server; where there is none, see `unavailable`."""
    needed(name)
    if reason := _reason_why_not(name):
        unavailable(reason)
    return SERVERS[name]


_templates = TemporaryDirectory()


def copy_tables(engine: Engine, metadata: MetaData) -> bool:
    """Make the tables of *metadata* in a file of SQLite that is not there yet; return whether it is one.

    The file is a copy of one that has the tables, with an id of its own: to make them takes a third of a
    test's time.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or Path(path).exists():
        return False
    shutil.copyfile(_template(metadata, frozenset(metadata.tables)), path)
    if (ledger := ledger_of(metadata)) is not None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                f"UPDATE {ledger.meta.name} SET value = ? WHERE name = ?", (uuid7_hex(), DATABASE_ID)
            )
    return True


@cache
def _template(metadata: MetaData, names: frozenset[str]) -> Path:
    path = Path(_templates.name, f"{uuid7_hex()}.db")
    engine = create_engine(f"sqlite:///{path}")
    # of no tables it makes no file either
    path.touch()
    metadata.create_all(engine)
    engine.dispose()
    return path


@contextmanager
def own_database(kind: str, folder: Path, metadata: MetaData) -> Iterator[Engine]:
    """Make a database with the tables of *metadata* for one test, and drop it in the end; the driver is sync."""
    if kind == "sqlite":
        engine = create_engine(f"sqlite:///{folder}/test.db")
        try:
            if not copy_tables(engine, metadata):
                metadata.create_all(engine)
            yield engine
        finally:
            engine.dispose()
        return
    server = need_server(kind)
    database = Database(server, server.url, f"_{uuid4().hex[:12]}")
    try:
        database.create(metadata)
        yield database.engine
    finally:
        database.drop()


@cache
def _database(name: str, suffix: str) -> Database:
    server = SERVERS[name]
    return Database(server, server.url, suffix)


def empty_database(name: str, *metadatas: MetaData, suffix: str = "") -> Database:
    """Return this process's database on a server with the tables of *metadatas*, which are empty."""
    need_server(name)
    database = _database(name, suffix)
    if not database._tables:
        database.create(*metadatas)
    database.clear()
    return database
