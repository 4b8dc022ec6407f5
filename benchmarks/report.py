"""Tables for the terminal, progress, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.budgets import FLOOR, Outcome
from benchmarks.measuring import Measure
from benchmarks.runner import Taken

PACKAGES = (
    "filecolumn",
    "SQLAlchemy",
    "obstore",
    "aiosqlite",
    "psycopg",
    "asyncpg",
    "litestar",
    "starlette",
    "advanced-alchemy",
    "sqlalchemy-file",
    "filedepot",
    "Django",
    "fastapi-storages",
)
SCALES = {"cpu": 1e6, "wall": 1e6, "all cpu": 1e6}
UNITS = {"cpu": "cpu us", "wall": "wall us", "all cpu": "all cpu us"}
Average = Callable[[Sequence[float]], float]
"""Makes one figure of those of all rounds."""
ANSI_ERASE = "\r\x1b[K"


class Progress:
    """One line on a terminal, over and over; elsewhere a line for each measure."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def start(self, what: str) -> None:
        """Tell what is measured now."""
        self.what = what
        if not self._terminal:
            sys.stderr.write(f"{what} ...\n")

    def told(self, text: str) -> None:
        """Tell how far it is."""
        if self._terminal:
            sys.stderr.write(f"{ANSI_ERASE}{self.what}: {text}"[:120])
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for a table."""
        if self._terminal:
            sys.stderr.write(ANSI_ERASE)
            sys.stderr.flush()


def environment() -> dict[str, Any]:
    """Return what a reader of figures must know of the machine."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def show_environment(facts: Mapping[str, Any]) -> None:
    """Print it."""
    print(f"Python {facts['python']}, {facts['system']}, {facts['processors']} processors;", end=" ")
    print(", ".join(f"{name} {number}" for name, number in facts["packages"].items()))


def show_contenders(classes: Iterable[type[Any]], left_out: Mapping[str, str]) -> None:
    """Print what each does besides, so that nobody compares what is not the same."""
    rows = [("contender", "hashes", "on the disk before the row", "deletes files that were")]
    rows += [(class_.name, class_.hashes, class_.durable, class_.deletes) for class_ in classes]
    print()
    _table(rows, "<<<<")
    print(
        "  In the tables: `hash` and `fsync` of content; deletes files [R]eplaced, [D]eleted, rolled [B]ack"
    )
    for name, why in left_out.items():
        print(f"  {name} is left out: {why}")


def _work(class_: type[Any]) -> tuple[str, str, str]:
    """Return in short what `show_contenders` says of one."""
    deletes = {"replaced": "R", "deleted": "D", "rolled back": "B"}
    return (
        "-" if class_.hashes == "-" else "hash",
        "-" if class_.durable.startswith("-") else "fsync",
        "".join(letter for what, letter in deletes.items() if what in class_.deletes) or "-",
    )


def show_measure(
    name: str,
    measure: Measure,
    taken: Mapping[str, Taken],
    outcomes: Sequence[Outcome],
    *,
    average: Average,
    classes: Mapping[str, type[Any]],
) -> None:
    """Print one table, and the budgets under it."""
    print(f"\n{name}: {measure.title}, each {measure.item}")
    floor = taken[FLOOR].values(measure.metrics[0]) if FLOOR in taken else []
    reference = average(floor) if floor else None
    against = f"x {FLOOR}" if reference else ""
    libraries = all(hasattr(classes[name], "hashes") for name in taken)
    work = ("hash", "fsync", "deletes") if libraries else ()
    rows = [("", *work, *(UNITS.get(metric, metric) for metric in measure.metrics), against)]
    for contender, record in taken.items():
        values = [record.values(metric) for metric in measure.metrics]
        averages = [average(each) if each else None for each in values]
        ratio = f"{averages[0] / reference:.2f}" if reference and averages[0] else ""
        figures = [
            "" if value is None else f"{value * SCALES.get(metric, 1):,.1f}"
            for metric, value in zip(measure.metrics, averages, strict=True)
        ]
        work = _work(classes[contender]) if libraries else ()
        rows.append((contender, *work, *figures, "failed" if record.failure else ratio))
    _table(rows, "<" * (1 + len(work)) + ">" * (len(measure.metrics) + 1))
    for contender, record in taken.items():
        if record.failure:
            print(f"    {contender} failed: {record.failure}")
    _show_outcomes(outcomes, long=False)


def show_figures(name: str, title: str, outcomes: Sequence[Outcome], figures: Mapping[str, float]) -> None:
    """Print figures that have no contenders."""
    print(f"\n{name}: {title}")
    _table([(what, f"{value:,.4g}") for what, value in figures.items()], "<>")
    _show_outcomes(outcomes, long=False)


def show_summary(outcomes: Sequence[Outcome], not_measured: Mapping[str, str]) -> None:
    """Print all budgets together."""
    print("\nBudgets")
    _show_outcomes(outcomes, long=True)
    for name, why in not_measured.items():
        print(f"  {name} is not measured: {why}")
    measured = [outcome for outcome in outcomes if outcome.value is not None]
    over = sum(outcome.over for outcome in measured)
    print(f"  {len(measured) - over} of {len(measured)} are held")


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the same as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def as_json(
    measures: Mapping[str, tuple[Measure, Mapping[str, Taken]]],
    figures: Mapping[str, Mapping[str, float]],
    outcomes: Sequence[Outcome],
) -> dict[str, Any]:
    """Return all that was measured: seconds for each item, medians, minima, and each round."""
    return {
        "measures": {
            name: {
                "title": measure.title,
                "item": measure.item,
                "amount": measure.amount,
                "contenders": {contender: _figures(record) for contender, record in taken.items()},
            }
            for name, (measure, taken) in measures.items()
        },
        "figures": figures,
        "budgets": [
            {
                "measure": outcome.budget.measure,
                "contender": outcome.budget.contender,
                "budget": outcome.budget.text,
                "most": outcome.budget.most,
                "value": outcome.value,
                "over": outcome.over,
            }
            for outcome in outcomes
        ],
    }


def work_of(classes: Iterable[type[Any]]) -> dict[str, Any]:
    """Return what `show_contenders` prints, for JSON."""
    return {
        "contenders": {
            class_.name: {"hashes": class_.hashes, "durable": class_.durable, "deletes": class_.deletes}
            for class_ in classes
        }
    }


def _figures(record: Taken) -> dict[str, Any]:
    if record.failure:
        return {"failure": record.failure}
    metrics = sorted({metric for sample in record.samples for metric in sample})
    return {
        metric: {
            "median": median(record.values(metric)),
            "minimum": min(record.values(metric)),
            "rounds": record.values(metric),
        }
        for metric in metrics
    }


def _show_outcomes(outcomes: Sequence[Outcome], *, long: bool) -> None:
    rows = []
    for outcome in outcomes:
        budget = outcome.budget
        if outcome.value is None:
            value, mark = "", "not measured"
        else:
            digits = ".2f" if outcome.value >= 0.1 else ".2g"
            value, mark = f"{outcome.value:{digits}}", "OVER" if outcome.over else "ok"
        name = f"{budget.measure}, " if long else ""
        rows.append((f"  {name}{budget.contender}", budget.text, value, mark))
    if rows:
        _table(rows, "<<><")


def _table(rows: Sequence[Sequence[str]], align: str) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
