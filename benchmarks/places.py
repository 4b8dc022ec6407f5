"""Where contenders work: folders in memory or on a disk, databases, a bucket."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

MEMORY = "/dev/shm"
VARIABLE = "FILECOLUMN_TEST_POSTGRES"

Places = dict[str, dict[str, Any]]
"""By the contender's name, what `Place` is made of."""
Around = Callable[[], Callable[[], dict[str, float]]]


class UnavailableError(Exception):
    """A place is not to be had here; the text says why."""


@contextmanager
def sqlite(names: Sequence[str], *, disk: bool = False) -> Iterator[tuple[Places, Around | None]]:
    """Give each a folder, and a database in SQLite beside it."""
    with _folder(disk=disk) as folder:
        yield {name: _beside_sqlite(folder, number) for number, name in enumerate(names)}, None


@contextmanager
def on_disk(names: Sequence[str]) -> Iterator[tuple[Places, Around | None]]:
    """As `sqlite`, where temporary files usually are."""
    with sqlite(names, disk=True) as given:
        yield given


@contextmanager
def postgresql(names: Sequence[str]) -> Iterator[tuple[Places, Around | None]]:
    """Give each a database on a server, and a folder in memory."""
    with _folder() as folder, _server() as url:
        places: Places = {}
        for number, name in enumerate(names):
            database = f"filecolumn_benchmark_{os.getpid()}_{number}"
            _execute(url, f"CREATE DATABASE {database}")
            mine = make_url(url).set(database=database)
            places[name] = _beside_sqlite(folder, number) | {
                "url": _text(mine, "postgresql+psycopg"),
                "async_url": _text(mine, "postgresql+asyncpg"),
            }
        try:
            yield places, None
        finally:
            for number in range(len(names)):
                _execute(url, f"DROP DATABASE filecolumn_benchmark_{os.getpid()}_{number} WITH (FORCE)")


@contextmanager
def mariadb(names: Sequence[str]) -> Iterator[tuple[Places, Around | None]]:
    """Give each a database on the server that tests use, and a folder in memory."""
    try:
        from _pytest.outcomes import OutcomeException  # noqa: PLC0415 - both are only needed here

        from tests.servers.databases import need_server  # noqa: PLC0415 - see above
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed") from error
    try:
        url = need_server("mariadb").url
    except (OutcomeException, ImportError) as error:
        raise UnavailableError(str(error)) from error
    names_of = {name: f"filecolumn_benchmark_{os.getpid()}_{number}" for number, name in enumerate(names)}
    with _folder() as folder:
        for database in names_of.values():
            _execute(url, f"CREATE DATABASE {database}")
        try:
            yield (
                {
                    name: _beside_sqlite(folder, number)
                    | {"url": _text(url.set(database=names_of[name]), "mariadb+pymysql"), "async_url": ""}
                    for number, name in enumerate(names)
                },
                None,
            )
        finally:
            for database in names_of.values():
                _execute(url, f"DROP DATABASE {database}")


@contextmanager
def s3(names: Sequence[str]) -> Iterator[tuple[Places, Around | None]]:
    """Give all a bucket on a server in this process, which counts requests, and each SQLite."""
    from tests.servers.s3_faults import S3Server  # noqa: PLC0415 - of the repository, not of the package

    with _folder() as folder, S3Server() as server:

        def around() -> Callable[[], dict[str, float]]:
            server.clear()
            return lambda: {"requests": float(len(server.requests))}

        yield (
            {
                name: _beside_sqlite(folder, number) | {"s3": server.obstore_options()}
                for number, name in enumerate(names)
            },
            around,
        )


@contextmanager
def nowhere(names: Sequence[str]) -> Iterator[tuple[Places, Around | None]]:
    """For contenders that need no place."""
    yield {name: {"key": "nowhere"} for name in names}, None


def _beside_sqlite(folder: str, number: int) -> dict[str, Any]:
    mine = Path(folder, str(number))
    mine.mkdir()
    return {
        "key": f"storage{number}",
        "folder": str(mine / "files"),
        "url": f"sqlite:///{mine}/rows.db",
        "async_url": f"sqlite+aiosqlite:///{mine}/rows.db",
    }


@contextmanager
def _folder(*, disk: bool = False) -> Iterator[str]:
    memory = None if disk or not os.access(MEMORY, os.W_OK) else MEMORY
    with tempfile.TemporaryDirectory(prefix="filecolumn-benchmark-", dir=memory) as folder:
        yield str(Path(folder).resolve())


@contextmanager
def _server() -> Iterator[str]:
    """Yield the server that is named in the environment, or start one."""
    if url := os.environ.get(VARIABLE):
        yield url
        return
    try:
        from _pytest.outcomes import OutcomeException  # noqa: PLC0415 - both are only needed here

        from tests.servers.private_postgres import private_postgres  # noqa: PLC0415 - see above
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed, and {VARIABLE} names no server") from error
    server = private_postgres()
    try:
        url = server.__enter__()
    except (OutcomeException, OSError) as error:
        raise UnavailableError(f"{error}; name a server by {VARIABLE}") from error
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


def _execute(url: str | URL, statement: str) -> None:
    made = make_url(url)
    driver = made.drivername if made.drivername.startswith("mariadb") else "postgresql+psycopg"
    try:
        engine = create_engine(_text(made, driver), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed") from error


def _text(url: Any, driver: str) -> str:
    text: str = url.set(drivername=driver).render_as_string(hide_password=False)
    return text
