"""A worker process is killed at every named place, and what it leaves is put right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing.failpoints import FAILPOINTS, VARIABLE
from tests.faults.databases import own_database
from tests.faults.oracle import look, put_right

STEPS = 40
LIMIT = 60
"""Seconds for one worker."""
SCHEDULES = int(os.environ.get("FILECOLUMN_SCHEDULES", "50"))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of its own."""
    with own_database(request.param, tmp_path) as engine:
        yield engine


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


@pytest.mark.parametrize("hit", [1, 2, 3])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_process_killed_anywhere_loses_nothing(engine: Engine, folder: Path, name: str, hit: int) -> None:
    for seed in range(1, 6):
        if work(engine, folder, seed, f"{name}=kill@{hit}"):
            break
    else:
        pytest.fail(f"no history came to {name} {hit} times")
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding
    put_right(engine)
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding


@pytest.mark.parametrize("number", range(SCHEDULES))
def test_processes_killed_at_random_lose_nothing(engine: Engine, folder: Path, number: int) -> None:
    chosen = random.Random(number)
    for seed in chosen.sample(range(1000), k=2):
        work(engine, folder, seed, f"{chosen.choice(FAILPOINTS)}=kill@{chosen.randint(1, 12)}")
        finding = look(engine, folder)
        assert finding.nothing_is_lost, finding
    put_right(engine)
    finding = look(engine, folder)
    assert finding.nothing_is_lost, finding
