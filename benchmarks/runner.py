"""Contenders as processes that are kept and work in turn, one round each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measuring import Measure, Sample, Size

START_LIMIT = 300.0
"""Seconds that a contender's process has to start."""


class ContenderFailedError(Exception):
    """A contender's process could not do what it was asked."""


class Process:
    """A child process, asked over its input and answering on its output."""

    def __init__(self, subject: str, name: str, class_: type) -> None:
        self.name = name
        self.broken = ""
        """Why it can do nothing more."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", subject, f"{class_.__module__}:{class_.__name__}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PGSSLMODE": "disable"},
        )

    def send(self, request: dict[str, Any]) -> None:
        """Ask, without waiting for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `receive` says why

    def receive(self, seconds: float = START_LIMIT) -> dict[str, Any]:
        """Wait for the answer; ContenderFailedError if it says so, or none comes."""
        assert self._process.stdout is not None
        limit = threading.Timer(seconds, self._process.kill)
        limit.start()
        line = self._process.stdout.readline()
        limit.cancel()
        if not line:
            raise ContenderFailedError(f"its process ended: {self.log()[-300:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderFailedError(answer["error"])
        return answer

    def log(self) -> str:
        """Return what it has written to its error output."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # what a process that has died did not read is still there
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()
        self._log.close()


@dataclass(slots=True)
class Taken:
    """What one contender took for one measure."""

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def values(self, metric: str) -> list[float]:
        """Return the figure of each round."""
        if self.failure:
            return []
        return [sample[metric] for sample in self.samples if metric in sample]


@contextmanager
def processes(
    subject: str, classes: dict[str, type], places: dict[str, dict[str, Any]]
) -> Iterator[list[Process]]:
    """Start a process for each contender at its place; all start at once."""
    with ExitStack() as stack:
        started = []
        for name, place in places.items():
            process = Process(subject, name, classes[name])
            stack.callback(process.end)
            process.send({"place": place})
            started.append(process)
        for process in started:
            try:
                process.receive()
            except ContenderFailedError as error:
                process.broken = str(error)
        yield started


def in_turn(
    running: Sequence[Process],
    measure: Measure,
    size: Size,
    told: Callable[[str], None],
    around: Callable[[], Callable[[], dict[str, float]]] | None = None,
) -> dict[str, Taken]:
    """Let each contender work once a round, each round beginning with another; the first is not counted.

    A measure that names its rounds has no such first one.

    *around* is called before each run, and what it returns after it: figures of the whole run, seen from
    outside; they are divided by the items of the run.
    """
    taken = {process.name: Taken(failure=process.broken) for process in running}
    request = {
        "measure": measure.name,
        "times": size.repetitions(measure.usual),
        "amount": measure.amount_in(size),
    }
    rounds = min(size.rounds, measure.rounds or size.rounds)
    for turn in range(1 if measure.rounds else 0, rounds + 1):
        start = turn % len(running)
        for process in (*running[start:], *running[:start]):
            record = taken[process.name]
            if record.failure:
                continue
            told(f"round {turn} of {rounds}, {process.name}" if turn else f"warm-up, {process.name}")
            ended = around() if around else dict[str, float]
            try:
                process.send(request)
                sample: Sample = process.receive(measure.limit)["sample"]
            except ContenderFailedError as error:
                record.failure = str(error)
                continue
            if turn:
                record.samples.append(
                    sample | {name: figure / sample["items"] for name, figure in ended().items()}
                )
    return taken
