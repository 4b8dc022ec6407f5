"""What each measure may cost: ratios of medians within one run; absolute where somebody waits.

One line is one promise; `--check` fails where one is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from benchmarks.runner import Taken

OURS, UNPROMISED = "filecolumn", "filecolumn, fsync=False, ledger=False"
FLOOR, AA, S_FILE = "floor+L", "advanced-alchemy", "sqlalchemy-file"
TEXT, JSON = "String column", "JSON column"
IN_LITESTAR, BARE, STARLETTE = "filecolumn in Litestar", "Litestar, raw obstore", "Starlette FileResponse"
STREAM = "Litestar Stream of our storage"
WITHOUT = "without filecolumn"
INDEX, NO_INDEX, PLAIN_JSON = "filecolumn, index", "filecolumn, no index", "plain JSON functions"
FACTS = (
    "text",
    "filename",
    "prefix",
    "path",
    "integer",
    "range",
    "float",
    "time",
    "metadata-text",
    "metadata-integer",
    "metadata-float",
    "metadata-boolean",
)
MAINTAINED = (
    "sweep",
    "check",
    "sweep-orphans",
    "check-rowless",
    "sweep-rowless",
    "status",
    "drain-unchecked",
    "drain",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit for one contender's figure."""

    measure: str
    """`subject/measure`"""
    most: float
    reference: str = FLOOR
    """The contender that it is compared with; with "" the figure itself is."""
    contender: str = OURS
    metric: str = "cpu"
    kind: Literal["ratio", "added", "value"] = "ratio"
    of: str = ""
    """The measure that the reference is of, if it is another."""
    scale: float = 1.0
    unit: str = "x"

    @property
    def text(self) -> str:
        """What is promised."""
        what = {"cpu": "", "wall": "wall time "}.get(self.metric, f"{self.metric} ")
        other = f"{self.reference} of {self.of}" if self.of else self.reference
        match self.kind:
            case "ratio":
                return f"{what}<= {self.most:.3g} x {other}"
            case "added":
                return f"{what}<= {self.most:g} {self.unit} more than {other}"
            case "value":
                return f"{what}<= {self.most:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A budget against what was measured."""

    budget: Budget
    value: float | None
    """None if one of the two was not measured."""

    @property
    def over(self) -> bool:
        """Whether the budget is missed."""
        return self.value is not None and self.value > self.budget.most


def _against(measures: str, most: float, **options: Any) -> tuple[Budget, ...]:
    return tuple(Budget(measure=measure, most=most, **options) for measure in measures.split())


_SHARED = (
    "sqlite/save sqlite/save-50 sqlite/save-300 sqlite/replace sqlite/delete-200 "
    "postgresql/save postgresql/save-50 postgresql/replace"
)

_LISTS = (
    "reads/select-lists-3-core reads/select-lists-3-orm reads/select-lists-20-core reads/select-lists-20-orm"
)
_REQUESTS = {"reference": "", "kind": "value", "metric": "requests", "unit": "a file"}
_FIGURE: dict[str, Any] = {"reference": "", "kind": "value"}
_MICROSECONDS = {"kind": "added", "scale": 1e6, "unit": "us"}

BUDGETS: tuple[Budget, ...] = (
    # saves
    *_against("sqlite/save sqlite/save-50 sqlite/save-300 sqlite/delete-200", 1.25),
    *_against("sqlite/save-async", 1.1),
    *_against("sqlite/save-async", 1.05, reference=AA),
    *_against("sqlite/save-50-async", 1.0),
    *_against("sqlite/replace", 1.3),
    *_against("postgresql/save postgresql/save-async postgresql/save-50", 1.25),
    *_against("postgresql/replace", 1.3),
    *_against("sqlite/save", 1.15, contender=UNPROMISED, reference=AA),
    *_against(
        "sqlite/save-async sqlite/save-50 sqlite/save-50-async sqlite/save-300 sqlite/replace sqlite/delete-200",
        1.0,
        contender=UNPROMISED,
        reference=AA,
    ),
    *_against(_SHARED, 1.0, reference=S_FILE),
    *_against("s3/save s3/save-async s3/save-50 s3/save-50-async", 1, **_REQUESTS),
    # lists
    *_against("lists/append-1000", 10, reference="", kind="value", scale=1e3, unit="ms"),
    *_against("lists/clear-2000", 1.5, reference=OURS, of="lists/clear-500"),
    *_against("lists/delete-2000", 1.5, reference=OURS, of="lists/delete-500"),
    # reads
    *_against("reads/select-core", 1.5, reference=TEXT),
    *_against("reads/select-orm", 1.4, reference=TEXT),
    *_against("reads/select-core-one-fact", 1.0, reference=AA),
    *_against("reads/select-orm-one-fact", 1.15, reference=AA),
    *_against("reads/select-orm-one-fact", 1.2, reference=JSON),
    *_against(_LISTS, 1.3, reference=JSON),
    *_against(_LISTS, 1.0, reference=AA),
    *_against("reads/memory", 1.15, reference=TEXT, metric="bytes"),
    # facts in SQL
    *_against(
        " ".join(f"facts-sqlite/{name}" for name in FACTS), 1 / 50, contender=INDEX, reference=NO_INDEX
    ),
    *_against("facts-sqlite/text facts-sqlite/integer", 2, contender=NO_INDEX, reference=PLAIN_JSON),
    # HTTP
    *_against("http/download http/range", 1.1, contender=IN_LITESTAR, reference=STARLETTE),
    *_against("http/upload", 1.3, contender=IN_LITESTAR, reference=BARE),
    *_against("http/large-download", 1.1, contender=IN_LITESTAR, reference=STARLETTE),
    *_against("http/large-download", 1 / 0.95, contender=IN_LITESTAR, reference=STREAM, metric="wall"),
    *_against("http/large-upload", 1 / 0.9, contender=IN_LITESTAR, reference=BARE),
    # what has no files
    *_against("flushes/no-files", 1, reference=WITHOUT, **_MICROSECONDS),
    *_against("flushes/execute-select", 10, reference=WITHOUT, **_MICROSECONDS),
    *_against(
        "flushes/untouched-insert flushes/untouched-update",
        3,
        contender="filecolumn's column",
        reference=JSON,
        **_MICROSECONDS,
    ),
    *_against("import/import", 0.15, reference="sqlalchemy.orm", kind="added", unit="s"),
    # large files, slow storages
    *_against("large/up large/down", 1 / 0.95, reference="raw obstore with SHA-256"),
    *_against("large/up large/down", 64, reference="", kind="value", metric="growth MiB", unit="MiB"),
    *_against(
        "latency/flush-50 latency/flush-50-async",
        # seven times eight at a time
        round(1.3 * 7 * 20),
        reference="",
        kind="value",
        metric="wall",
        scale=1e3,
        unit="ms",
    ),
    # maintenance: what a key costs among four times as many; servers work as much as we do
    *(
        Budget(
            measure=f"maintenance-{database}/{operation}-200000",
            most=1.5,
            reference=OURS,
            of=f"maintenance-{database}/{operation}-50000",
            metric=metric,
        )
        for database, metric in (("sqlite", "cpu"), ("postgresql", "all cpu"), ("mariadb", "all cpu"))
        for operation in MAINTAINED
    ),
    *_against(
        " ".join(
            f"maintenance-beside/{journal}-{operation}"
            for journal in ("delete", "wal")
            for operation in ("sweep", "check", "drain", "drain-unchecked")
        ),
        100,
        metric="longest ms",
        **_FIGURE,
        unit="ms",
    ),
    *(
        Budget(measure=f"maintenance-million/{operation}", most=most, metric=metric, unit=unit, **_FIGURE)
        for operation in ("sweep", "check", "drain")
        for most, metric, unit in ((300, "wall s", "s"), (64, "growth MiB", "MiB"))
    ),
    # calls
    *(
        Budget(measure="calls", metric=what, most=most, reference="", kind="value", unit="")
        for what, most in (
            ("flush: calls", 120),
            ("flush: modules", 15),
            ("save in a folder: all calls", 1300),
        )
    ),
    *_against("latency/stall", 50, reference="", kind="value", metric="stall ms", unit="ms"),
)


def judge(
    taken: Mapping[str, Mapping[str, Taken]], average: Callable[[Sequence[float]], float] = median
) -> list[Outcome]:
    """Compare what was measured, by `subject/measure` and contender, with each budget of it.

    *average* makes one figure of those of all rounds.
    """
    return [
        Outcome(budget=budget, value=_value(budget, taken, average))
        for budget in BUDGETS
        if budget.measure in taken and budget.contender in taken[budget.measure]
    ]


def _value(
    budget: Budget,
    taken: Mapping[str, Mapping[str, Taken]],
    average: Callable[[Sequence[float]], float],
) -> float | None:
    def figure(measure: str, contender: str) -> float | None:
        record = taken.get(measure, {}).get(contender)
        values = [] if record is None else record.values(budget.metric)
        return average(values) if values else None

    ours = figure(budget.measure, budget.contender)
    if ours is None or budget.kind == "value":
        return None if ours is None else ours * budget.scale
    other = figure(budget.of or budget.measure, budget.reference)
    if not other:
        return None
    return ours / other if budget.kind == "ratio" else (ours - other) * budget.scale
