"""A worker process is killed at every named place, and what it leaves is put right."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from sqlalchemy import Engine

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import status
from filecolumn.testing.failpoints import FAILPOINTS
from tests.faults import histories
from tests.faults.deployed import DEPLOYMENTS, deployed, schema_of
from tests.faults.oracle import look, put_right
from tests.profiles import NAME, PROFILE
from tests.scenarios.models import Base

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
def how(request: pytest.FixtureRequest) -> str:
    """How the database is deployed, one of `DEPLOYMENTS`."""
    return getattr(request, "param", "plain")


@pytest.fixture
def tenants(request: pytest.FixtureRequest, tmp_path: Path, how: str) -> Iterator[list[Engine]]:
    """A database of its own, as its tenants see it."""
    with deployed(request.param, tmp_path, how) as tenants:
        yield tenants


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
    request: pytest.FixtureRequest, server: ForkServerContext, tenants: list[Engine], folder: Path, way: str
) -> Work:
    """Start workers with sync or async sessions, each for the tenant whose turn it is."""
    driver = DRIVERS[request.node.callspec.params["tenants"]][way]
    turns = cycle(tenants)

    def work(seed: int, failpoints: str) -> int:
        tenant = next(turns)
        url = tenant.url.set(drivername=driver).render_as_string(hide_password=False)
        given = url, schema_of(tenant), str(folder), seed, STEPS, failpoints
        worker = server.Process(target=histories.work, args=given)
        worker.start()
        worker.join(LIMIT)
        assert worker.exitcode in {0, -signal.SIGKILL}
        return worker.exitcode

    return work


def assert_nothing_is_lost(tenants: list[Engine], folder: Path) -> None:
    for tenant in tenants:
        finding = look(tenant, folder)
        assert finding.nothing_is_lost, finding


def assert_is_put_right(tenants: list[Engine], folder: Path) -> None:
    """Assert that nothing is lost by it either; of two tenants in one folder nobody removes what died."""
    for tenant in tenants:
        put_right(tenant, is_sole=len(tenants) == 1)
    assert_nothing_is_lost(tenants, folder)
    if len(tenants) == 1:
        # a worker that has saved a file and is killed leaves the next one a folder that is not empty
        is_mixed = status(tenants[0], Base).places
        assert is_mixed or look(tenants[0], folder).orphans == []


EXTENDED, SERVER = pytest.mark.extended, pytest.mark.server
HITS = [
    pytest.param("sqlite", "sync", 1),
    pytest.param("sqlite", "async", 2, marks=EXTENDED),
    pytest.param("postgresql", "async", 1, marks=SERVER),
    pytest.param("mariadb", "sync", 2, marks=SERVER),
]
if NAME == "soak":
    HITS += [
        pytest.param("sqlite", "sync", 3),
        pytest.param("postgresql", "sync", 2, marks=SERVER),
        pytest.param("postgresql", "async", 3, marks=SERVER),
        pytest.param("mariadb", "sync", 1, marks=SERVER),
    ]


def schedules() -> Iterator[ParameterSet]:
    """Yield the databases in turns, sync and async."""
    for number in range(PROFILE.kills):
        kind, way = DATABASES[number % len(DATABASES)], ("sync", "async")[number % 2]
        yield pytest.param(kind, way, number, marks=[pytest.mark.sized] if kind == "sqlite" else [SERVER])


def deployed_schedules() -> Iterator[ParameterSet]:
    """Yield a twentieth of them for each deployment; SQLite has no schemas."""
    for number in range(max(PROFILE.kills // 20, 1)):
        for how in DEPLOYMENTS[1:]:
            kind = DATABASES[number % 2 + 1] if how == "tenants" else DATABASES[number % len(DATABASES)]
            marks = [pytest.mark.sized] if kind == "sqlite" else [SERVER]
            yield pytest.param(how, kind, ("sync", "async")[number % 2], number, marks=marks)


@pytest.mark.parametrize(("tenants", "way", "hit"), HITS, indirect=["tenants"])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_process_killed_anywhere_loses_nothing(
    tenants: list[Engine], folder: Path, work: Work, name: str, hit: int
) -> None:
    for seed in range(1, 6):
        if work(seed, f"{name}=kill@{hit}"):
            break
    else:
        pytest.fail(f"no history came to {name} {hit} times")
    assert_nothing_is_lost(tenants, folder)
    assert_is_put_right(tenants, folder)


@pytest.mark.parametrize(("tenants", "way", "number"), list(schedules()), indirect=["tenants"])
def test_processes_killed_at_random_lose_nothing(
    tenants: list[Engine], folder: Path, work: Work, number: int
) -> None:
    chosen = random.Random(number)
    for seed in chosen.sample(range(1000), k=2):
        work(seed, f"{chosen.choice(FAILPOINTS)}=kill@{chosen.randint(1, 12)}")
        assert_nothing_is_lost(tenants, folder)
    assert_is_put_right(tenants, folder)


@pytest.mark.parametrize(
    ("how", "tenants", "way", "number"), list(deployed_schedules()), indirect=["how", "tenants"]
)
def test_processes_killed_in_other_deployments_lose_nothing(
    tenants: list[Engine], folder: Path, work: Work, number: int
) -> None:
    chosen = random.Random(number)
    for seed in chosen.sample(range(1000), k=2 * len(tenants)):
        work(seed, f"{chosen.choice(FAILPOINTS)}=kill@{chosen.randint(1, 12)}")
        assert_nothing_is_lost(tenants, folder)
    assert_is_put_right(tenants, folder)
