"""A worker process is killed at every named place, and what it leaves is put right."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from sqlalchemy import Engine

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing.failpoints import FAILPOINTS
from tests.faults import histories
from tests.faults.oracle import look, put_right
from tests.profiles import PROFILE
from tests.scenarios.models import Base
from tests.servers.databases import own_database

Work = Callable[[int, str], int]
"""Runs a worker on the history of a seed, with failpoints, and returns how it ended."""

DATABASES = ("sqlite", "postgresql", "mariadb")
DRIVERS = {
    "sqlite": {"sync": "sqlite", "async": "sqlite+aiosqlite"},
    "postgresql": {"sync": "postgresql+psycopg", "async": "postgresql+asyncpg"},
    "mariadb": {"sync": "mysql+pymysql", "async": "mysql+asyncmy"},
}
STEPS = 40
LIMIT = 60
"""Seconds for one worker."""
MODULES = ("aiosqlite", "asyncmy", "asyncpg", "psycopg", "pymysql")


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of its own."""
    with own_database(request.param, tmp_path, Base.metadata) as engine:
        yield engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    storages.register_backend(ObstoreBackend("docs", f"file://{tmp_path}/docs/", fsync=False))
    return tmp_path / "docs"


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """A process that has imported everything and stored nothing: a fork of it is a worker at once."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.histories", *MODULES])
    return context


@pytest.fixture
def work(
    request: pytest.FixtureRequest, server: ForkServerContext, engine: Engine, folder: Path, way: str
) -> Work:
    """Start workers with sync or async sessions."""
    driver = DRIVERS[request.node.callspec.params["engine"]][way]
    url = engine.url.set(drivername=driver).render_as_string(hide_password=False)

    def work(seed: int, failpoints: str) -> int:
        worker = server.Process(target=histories.work, args=(url, str(folder), seed, STEPS, failpoints))
        worker.start()
        worker.join(LIMIT)
        assert worker.exitcode in {0, -signal.SIGKILL}
        return worker.exitcode

    return work


def assert_nothing_is_lost(engine: Engine, folder: Path) -> None:
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding
    put_right(engine)
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding
    assert finding.orphans == []


EXTENDED, SERVER = pytest.mark.extended, pytest.mark.server
HITS = [
    pytest.param("sqlite", "sync", 1),
    *(pytest.param(*hit, marks=EXTENDED) for hit in (("sqlite", "async", 2), ("sqlite", "sync", 3))),
    pytest.param("postgresql", "async", 1, marks=SERVER),
    pytest.param("postgresql", "sync", 2, marks=SERVER),
    pytest.param("postgresql", "async", 3, marks=SERVER),
    pytest.param("mariadb", "sync", 1, marks=SERVER),
]


def schedules() -> Iterator[ParameterSet]:
    """Yield the databases in turns, sync and async."""
    for number in range(PROFILE.kills):
        kind, way = DATABASES[number % len(DATABASES)], ("sync", "async")[number % 2]
        yield pytest.param(kind, way, number, marks=[pytest.mark.sized] if kind == "sqlite" else [SERVER])


@pytest.mark.parametrize(("engine", "way", "hit"), HITS, indirect=["engine"])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_process_killed_anywhere_loses_nothing(
    engine: Engine, folder: Path, work: Work, name: str, hit: int
) -> None:
    for seed in range(1, 6):
        if work(seed, f"{name}=kill@{hit}"):
            break
    else:
        pytest.fail(f"no history came to {name} {hit} times")
    assert_nothing_is_lost(engine, folder)


@pytest.mark.parametrize(("engine", "way", "number"), list(schedules()), indirect=["engine"])
def test_processes_killed_at_random_lose_nothing(
    engine: Engine, folder: Path, work: Work, number: int
) -> None:
    chosen = random.Random(number)
    for seed in chosen.sample(range(1000), k=2):
        work(seed, f"{chosen.choice(FAILPOINTS)}=kill@{chosen.randint(1, 12)}")
        finding = look(engine, folder)
        assert finding.nothing_is_lost, finding
    put_right(engine)
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding
