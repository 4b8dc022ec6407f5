"""What one run of a measure takes: processor time of all threads beside wall time, collections kept out."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Sample = dict[str, float]
"""What a run took, by metric; `cpu` and `wall` are seconds for each of its `items`."""


@contextmanager
def sampled(items: int) -> Iterator[Sample]:
    """Measure the block, which works on *items*; what is alive before it is never looked at by a collection."""
    sample: Sample = {}
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield sample
    finally:
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.unfreeze()
    sample |= {"cpu": cpu / items, "wall": wall / items, "items": items}


def forget_peak() -> float:
    """Let the peak of this process's memory begin anew; return the MiB that it has now, or 0 where none tells."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return memory("VmRSS")
    except OSError:
        return 0.0


def memory(name: str) -> float:
    """Return a line of this process's status, such as VmHWM, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How often a measure works, for one `--quick`, normal, `--full` or `--tiny` run."""

    rounds: int
    share: float
    """Which part of a measure's usual repetitions a round has."""
    least: int = 1
    """Repetitions that a round has at least."""
    shrink: int = 1
    """What amounts are divided by: rows, files in a list, MiB."""

    def repetitions(self, usual: int) -> int:
        """Return how often a round does what it usually does *usual* times."""
        return max(self.least, round(usual * self.share))

    def amount(self, usual: int) -> int:
        """Return how much there is of what is usually *usual*."""
        return max(1, usual // self.shrink)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of the budgets: work that several contenders do in turn."""

    name: str
    title: str
    work: Callable[[Any, int, int], Sample | Awaitable[Sample]]
    """Called with a contender, how often to do it, and `amount`."""
    needs: str = "sync"
    """What a contender must be able to."""
    usual: int = 1
    """How often a round does it."""
    amount: int = 1
    """How much it works on, as files in a commit."""
    fixed: bool = True
    """Whether `amount` belongs to the measure, so that only `--tiny` may make it smaller."""
    quick: int = 0
    """`amount` in a `--quick` run; 0 if that makes it smaller as it does others."""
    rounds: int = 0
    """Rounds at most, without a warm-up, for what takes long; 0 if there are as many as of others."""
    limit: float = 300.0
    """Seconds after which a contender's process is ended."""
    item: str = "file"
    """What one item of the measure is."""
    metrics: tuple[str, ...] = ("cpu", "wall")
    """The figures shown; the first is what budgets compare."""
    contenders: tuple[str, ...] | None = None
    """Those that take part, if not all that can."""

    def amount_in(self, size: Size) -> int:
        """Return how much it works on in a run of that size."""
        if self.quick and size.shrink > 1:
            return min(self.quick, size.amount(self.amount))
        if self.fixed and size.shrink < 1000:
            return self.amount
        return size.amount(self.amount)
