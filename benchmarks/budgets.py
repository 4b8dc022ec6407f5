"""What each measure may cost: ratios of medians within one run, never absolute times but for growth.

One line is one promise; `--check` fails where one is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.runner import Taken

OURS, UNPROMISED = "filecolumn", "filecolumn, fsync=False, ledger=False"
FLOOR, AA, S_FILE = "floor+L", "advanced-alchemy", "sqlalchemy-file"
TEXT, JSON = "String column", "JSON column"


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
                return f"{what}<= {self.most:g} x {other}"
            case "added":
                return f"{what}<= {self.most:g} {self.unit} more than {other}"
            case "value":
                return f"{what}<= {self.most:g} {self.unit}"


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


def _against(measures: str, most: float, **options: str) -> tuple[Budget, ...]:
    return tuple(Budget(measure=measure, most=most, **options) for measure in measures.split())  # type: ignore[arg-type]


_SHARED = (
    "sqlite/save sqlite/save-50 sqlite/save-300 sqlite/replace sqlite/delete-200 "
    "postgresql/save postgresql/save-50 postgresql/replace"
)

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
    # reads
    *_against("reads/select-core", 1.5, reference=TEXT),
    *_against("reads/select-orm", 1.4, reference=TEXT),
    *_against("reads/select-core-one-fact", 1.0, reference=AA),
    *_against("reads/select-orm-one-fact", 1.15, reference=AA),
    *_against("reads/select-orm-one-fact", 1.2, reference=JSON),
    *_against(
        "reads/select-lists-3-core reads/select-lists-3-orm reads/select-lists-20-core reads/select-lists-20-orm",
        1.3,
        reference=JSON,
    ),
    *_against(
        "reads/select-lists-3-core reads/select-lists-3-orm reads/select-lists-20-core reads/select-lists-20-orm",
        1.0,
        reference=AA,
    ),
)


def judge(taken: Mapping[str, Mapping[str, Taken]]) -> list[Outcome]:
    """Compare what was measured, by `subject/measure` and contender, with each budget of it."""
    return [
        Outcome(budget=budget, value=_value(budget, taken))
        for budget in BUDGETS
        if budget.measure in taken and budget.contender in taken[budget.measure]
    ]


def _value(budget: Budget, taken: Mapping[str, Mapping[str, Taken]]) -> float | None:
    ours = taken[budget.measure][budget.contender].median(budget.metric)
    if ours is None or budget.kind == "value":
        return None if ours is None else ours * budget.scale
    reference = taken.get(budget.of or budget.measure, {}).get(budget.reference)
    other = None if reference is None else reference.median(budget.metric)
    if not other:
        return None
    return ours / other if budget.kind == "ratio" else (ours - other) * budget.scale
