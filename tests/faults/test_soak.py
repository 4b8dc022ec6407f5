"""Mixed load for hours, on a storage that fails and with workers that are killed: nothing grows, nothing is late.

Of each kind of worker one is killed again and again, and one lives to the end and is measured.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median
from typing import IO

import psutil
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import status
from tests.faults.oracle import look, put_right
from tests.profiles import PROFILE
from tests.scenarios.models import Base, Document
from tests.servers.databases import own_database

SECONDS = PROFILE.soak_seconds
KILL_EVERY = min(20.0, SECONDS / 4)
SAMPLE_EVERY = min(10.0, SECONDS / 20)
LIMIT = SECONDS + 120
"""Seconds after which a worker ends if nobody ends it."""
KINDS = ("sync", "async", "drain")
MIB = 1024 * 1024
HOUR = 3600.0
SLOPE_ALLOWED = 1 * MIB
"""In an hour, when it is measured for as long."""
GROWTH_ALLOWED = 16 * MIB
"""In less: what is only seen once may be a buffer."""
HANDLES_ALLOWED = 4
"""Connections that the pool opens late."""
LATE = 120.0
"""Seconds that the oldest key may be due."""


@dataclass
class Worker:
    """A process of the load, and what was seen of it."""

    kind: str
    process: subprocess.Popen[str]
    errors: IO[str]
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """Bytes of memory, with their times."""
    handles: list[int] = field(default_factory=list)
    """Numbers of open files."""

    def wait_until_it_begins(self) -> None:
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            self.process.wait(10)
            self.assert_runs()

    def measure(self) -> None:
        process = psutil.Process(self.process.pid)
        self.sizes.append((time.monotonic(), process.memory_info().rss))
        self.handles.append(process.num_fds())

    def assert_runs(self) -> None:
        if self.process.poll() is not None:
            self.errors.seek(0)
            pytest.fail(f"a worker ({self.kind}) ended by itself: {self.errors.read()[-3000:]}")


class Load:
    """Starts, kills and measures workers."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._random = random.Random(1)
        self._started = 0
        self.killed = 0
        self._stack = ExitStack()
        self.steady = [self.start(kind) for kind in (*KINDS, "sweep")]
        self.short_lived = [self.start(kind) for kind in KINDS]
        for worker in (*self.steady, *self.short_lived):
            worker.wait_until_it_begins()

    def start(self, kind: str) -> Worker:
        self._started += 1
        name = self._folder.parent / f"errors-{self._started}"
        errors = self._stack.enter_context(name.open("w+"))
        what = [self._url, str(self._folder), kind, str(self._started), str(LIMIT)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.load", *what],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        return Worker(kind, process, errors)

    def kill_one(self) -> None:
        place = self._random.randrange(len(self.short_lived))
        victim = self.short_lived[place]
        victim.assert_runs()
        end(victim.process)
        self.killed += 1
        self.short_lived[place] = self.start(victim.kind)

    def result(self, worker: Worker) -> dict[str, int]:
        worker.process.terminate()
        output, _ = worker.process.communicate(timeout=60)
        if worker.process.returncode:
            worker.assert_runs()
        counts: dict[str, int] = json.loads(output)
        return counts

    def close(self) -> None:
        for worker in (*self.steady, *self.short_lived):
            end(worker.process)
        self._stack.close()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


@contextmanager
def load_on(engine: Engine, folder: Path) -> Iterator[Load]:
    load = Load(engine.url.render_as_string(hide_password=False), folder)
    try:
        yield load
    finally:
        load.close()


def mark_empty(engine: Engine) -> None:
    """Have the folder marked while it is empty.

    If it could not be for the first worker, the next one would find objects that may be anybody's, and
    no sweep removes such ones.
    """
    with Session(engine) as session:
        first = Document(id=0, file=FileObject("first", content=b"x"))
        session.add(first)
        session.commit()
        session.delete(first)
        session.commit()


def soak(load: Load, engine: Engine) -> float:
    """Kill and measure until the time is over, and return for how long a key was due at most."""
    latest = 0.0
    start = time.monotonic()
    next_kill = start + KILL_EVERY
    while (now := time.monotonic()) < start + SECONDS:
        for worker in load.steady:
            worker.assert_runs()
            worker.measure()
        latest = max(latest, status(engine, Base).oldest_due_seconds)
        if now >= next_kill:
            load.kill_one()
            next_kill += KILL_EVERY
        time.sleep(SAMPLE_EVERY)
    return latest


def settled(values: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
    """Return what was measured when everything had been used once."""
    return values[len(values) // 3 :]


def slope(worker: Worker) -> float:
    """Return the bytes by which the memory grows in an hour."""
    times, sizes = zip(*settled(worker.sizes), strict=True)
    return linear_regression(times, sizes).slope * HOUR


def growth(values: Sequence[int]) -> float:
    """Return by how much the last values are above those before."""
    third = len(values) // 3
    return median(values[-third:]) - median(values[third : 2 * third])


@pytest.mark.server
@pytest.mark.sized
@pytest.mark.timeout(SECONDS + 300)
def test_nothing_grows_and_nothing_is_late(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=False))
    with own_database("postgresql", tmp_path, Base.metadata) as engine:
        mark_empty(engine)
        with load_on(engine, folder) as load:
            latest = soak(load, engine)
            counts = {worker.kind: load.result(worker) for worker in load.steady}
            steady, killed = load.steady, load.killed
        report = {
            worker.kind: {
                "MiB": worker.sizes[-1][1] / MIB,
                "MiB more": growth([size for _, size in worker.sizes]) / MIB,
                "MiB more in an hour": slope(worker) / MIB,
                "open files": worker.handles[-1],
                "open files more": growth(worker.handles),
                **counts[worker.kind],
            }
            for worker in steady
        }
        sys.stdout.write(json.dumps({"killed": killed, "due for": latest, **report}, indent=1))
        assert killed >= 2
        assert counts["sync"]["wrong"] == counts["async"]["wrong"] == 0
        for kind in ("sync", "async"):
            assert counts[kind]["replace"] > 0
            assert counts[kind]["read"] > 0
        assert latest < LATE
        for worker in steady:
            assert growth(worker.handles) <= HANDLES_ALLOWED, worker.kind
            if SECONDS >= HOUR:
                assert slope(worker) <= SLOPE_ALLOWED, worker.kind
            assert growth([size for _, size in worker.sizes]) <= GROWTH_ALLOWED, worker.kind
        put_right(engine)
        finding = look(engine, folder)
        assert finding.nothing_is_lost, finding
        assert finding.orphans == []
