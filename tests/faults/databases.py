"""An empty database for one test, with the tables of the models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.session.models import Base

SERVERS = {
    "postgresql": ("FILECOLUMN_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("FILECOLUMN_TEST_MARIADB", "mariadb+pymysql://root@127.0.0.1:3306/mysql"),
}
"""The environment variable that names a server, and where it is looked for without."""


@contextmanager
def own_database(kind: str, folder: Path) -> Iterator[Engine]:
    """Make a database and drop it in the end; it has a sync driver.

    Where there is no server the test is skipped, and fails under CI=true: nothing is left out unseen.
    """
    if kind == "sqlite":
        with tables(make_url(f"sqlite:///{folder}/test.db")) as engine:
            yield engine
        return
    variable, default = SERVERS[kind]
    admin = create_engine(os.environ.get(variable, default), isolation_level="AUTOCOMMIT")
    name = f"filecolumn_{uuid4().hex}"
    force = " WITH (FORCE)" if kind == "postgresql" else ""
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except DBAPIError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no {kind} at {admin.url!r} (name one by {variable}): {error.orig}")
    try:
        with tables(admin.url.set(database=name)) as engine:
            yield engine
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}{force}"))
        admin.dispose()


@contextmanager
def tables(url: URL) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        Base.metadata.create_all(engine)
        yield engine
    finally:
        engine.dispose()
