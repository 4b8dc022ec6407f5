"""A worker process is killed at every named place, and what it leaves is put right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text, update

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from filecolumn.orm.ledger import State, ledger_of
from filecolumn.testing.failpoints import FAILPOINTS, VARIABLE
from tests.faults.oracle import Finding, look
from tests.session.models import Base

STEPS = 40
LIMIT = 60
"""Seconds for one worker."""
SCHEDULES = int(os.environ.get("FILECOLUMN_SCHEDULES", "50"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    server = os.environ.get(
        "FILECOLUMN_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    )
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"filecolumn_{uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    storages.register_backend(ObstoreBackend("docs", f"file://{tmp_path}/docs/", fsync=False))
    return tmp_path / "docs"


def work(engine: Engine, folder: Path, seed: int, failpoints: str) -> int:
    """Run a worker and return how it ended."""
    url = engine.url.render_as_string(hide_password=False)
    worker = subprocess.run(
        [sys.executable, "-m", "tests.faults.histories", url, str(folder), str(seed), str(STEPS)],
        env={**os.environ, VARIABLE: failpoints},
        timeout=LIMIT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert worker.returncode in {0, -signal.SIGKILL}, worker.stderr
    return worker.returncode


def put_right(engine: Engine) -> None:
    """Drain what the killed process left in the ledger, as if its time had come."""
    ledger = ledger_of(Base.metadata)
    assert ledger is not None
    with engine.begin() as connection:
        due = update(ledger.table).where(ledger.table.c.state == State.DOOMED.value).values(due_at=0)
        connection.execute(due)
    drain(engine, Base)


def nothing_is_lost(finding: Finding) -> bool:
    return not (finding.missing or finding.corrupt or finding.shared or finding.unrecorded)


@pytest.mark.parametrize("hit", [1, 2, 3])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_process_killed_anywhere_loses_nothing(engine: Engine, folder: Path, name: str, hit: int) -> None:
    for seed in range(1, 6):
        if work(engine, folder, seed, f"{name}=kill@{hit}"):
            break
    else:
        pytest.fail(f"no history came to {name} {hit} times")
    finding = look(engine, folder)
    assert nothing_is_lost(finding), finding
    put_right(engine)
    finding = look(engine, folder)
    assert nothing_is_lost(finding), finding


@pytest.mark.parametrize("number", range(SCHEDULES))
def test_processes_killed_at_random_lose_nothing(engine: Engine, folder: Path, number: int) -> None:
    chosen = random.Random(number)
    for seed in chosen.sample(range(1000), k=2):
        work(engine, folder, seed, f"{chosen.choice(FAILPOINTS)}=kill@{chosen.randint(1, 12)}")
        finding = look(engine, folder)
        assert nothing_is_lost(finding), finding
    put_right(engine)
    finding = look(engine, folder)
    assert nothing_is_lost(finding), finding
