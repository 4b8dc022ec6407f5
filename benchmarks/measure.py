"""Pairs measured in turn within one run, medians, and the table with the budgets beside."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Contender = Callable[[], float]
"""Does it once, and returns the seconds that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done."""

    saves: int
    """Files saved by each contender."""
    rows: int
    """Rows of a SELECT."""
    instances: int
    """Instances of a flush."""
    rounds: int
    """Rounds of selects and flushes."""
    megabytes: int
    """MiB of the large file."""
    large_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str = "x"
    budget: float | None = None
    detail: str = ""

    @property
    def over(self) -> bool:
        """Whether it costs more than it may."""
        return self.budget is not None and self.value > self.budget


def in_turn(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Let each contender work once a round, each round beginning with another; the first round is not counted."""
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gc.collect(0)
            seconds = contenders[name]()
            if turn:
                taken[name].append(seconds)
    return taken


def medians(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each contender."""
    return {name: median(seconds) for name, seconds in taken.items()}


def child(module: str, *arguments: object) -> dict[str, float]:
    """Run a module in a fresh process, and return the JSON object that it prints last."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table."""
    print(f"\n{title}")
    width = max(len(figure.what) for figure in figures)
    for figure in figures:
        budget = "" if figure.budget is None else f"budget {figure.budget:.4g} {figure.unit}"
        mark = "" if figure.budget is None else ("OVER BUDGET" if figure.over else "ok")
        number = f"{figure.value:8}" if isinstance(figure.value, int) else f"{figure.value:8.2f}"
        value = f"{number} {figure.unit}"
        print(f"  {figure.what:{width}}  {value:12} {budget:14} {mark:12} {figure.detail}".rstrip())
