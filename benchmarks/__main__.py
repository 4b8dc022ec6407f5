"""Speed, memory and calls against the floor and against peers: `python -m benchmarks [subject ...]`.

Contenders are processes of their own that work in turn, and what counts are ratios of their medians:
seconds of different machines, or of different hours, do not compare.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import applications, calls, contenders, report
from benchmarks.budgets import BUDGETS, OURS, Budget, Outcome, judge
from benchmarks.measuring import Measure, Size
from benchmarks.places import UnavailableError
from benchmarks.runner import Taken, in_turn, processes
from benchmarks.subjects import SUBJECTS

NORMAL = Size(rounds=7, share=1)
FULL = Size(rounds=15, share=1)
QUICK = Size(rounds=2, share=0.25, shrink=8)
TINY = Size(rounds=1, share=0, shrink=100_000)

FIGURES: dict[str, tuple[str, Callable[[], Mapping[str, float]]]] = {
    "calls": ("calls of one file, lines of the longest functions", calls.figures),
}
"""What has no contenders."""


class Run:
    """One run: what was measured, and what could not be."""

    def __init__(self, size: Size, only: Sequence[str], average: report.Average) -> None:
        self.size = size
        self.average = average
        self.only = only
        self.progress = report.Progress()
        self.measured: dict[str, tuple[Measure, dict[str, Taken]]] = {}
        self.figures: dict[str, Mapping[str, float]] = {}
        self.not_measured: dict[str, str] = {}

    def chosen(self, name: str) -> bool:
        """Whether `--only` lets a measure run."""
        return not self.only or any(fnmatch(name, pattern) for pattern in self.only)

    def subject(self, name: str) -> None:
        """Measure what has contenders."""
        subject = SUBJECTS[name]
        measures = [measure for measure in subject.measures if self.chosen(f"{name}/{measure.name}")]
        taking_part = {measure.name: subject.taking_part(measure) for measure in measures}
        classes = {
            contender: class_
            for contender, class_ in subject.contenders().items()
            if any(contender in names for names in taking_part.values())
        }
        if not classes:
            return
        self.progress.start(f"{name}: {subject.title}")
        try:
            with (
                subject.place(list(classes)) as (places, around),
                processes(name, classes, places) as running,
            ):
                for measure in measures:
                    full = f"{name}/{measure.name}"
                    self.progress.start(full)
                    mine = [process for process in running if process.name in taking_part[measure.name]]
                    taken = in_turn(mine, measure, self.size, self.progress.told, around)
                    self._keep(full, measure, taken, classes)
        except UnavailableError as error:
            self.progress.clear()
            for measure in measures:
                self.not_measured[f"{name}/{measure.name}"] = str(error)
            print(f"\n{name}: not measured: {error}")

    def figure(self, name: str) -> None:
        """Measure what has none."""
        title, measured = FIGURES[name]
        self.progress.start(name)
        self.figures[name] = measured()
        self.progress.clear()
        outcomes = [outcome for outcome in self.judged() if outcome.budget.measure == name]
        report.show_figures(name, title, outcomes, self.figures[name])

    def _keep(
        self, name: str, measure: Measure, taken: dict[str, Taken], classes: Mapping[str, type[Any]]
    ) -> None:
        self.measured[name] = (measure, taken)
        self.progress.clear()
        outcomes = [outcome for outcome in self.judged() if outcome.budget.measure == name]
        report.show_measure(name, measure, taken, outcomes, average=self.average, classes=classes)
        sys.stdout.flush()

    def judged(self) -> list[Outcome]:
        """Compare what was measured with the budgets."""
        return judge(self.taken(), self.average)

    def taken(self) -> dict[str, dict[str, Taken]]:
        """Return what was measured, by measure and contender."""
        figures = {name: {OURS: Taken(samples=[dict(found)])} for name, found in self.figures.items()}
        return {name: taken for name, (_, taken) in self.measured.items()} | figures


NAMES = (*SUBJECTS, *FIGURES)


def takes_a_minute(budget: Budget) -> bool:
    """Return whether a `--quick` run without names has the budget's measure."""
    subject, _, _ = budget.measure.partition("/")
    return subject not in SUBJECTS or SUBJECTS[subject].quick


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="*", help=f"of {', '.join(NAMES)}; all if none is named")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="measures with this in their names"
    )
    sizes = parser.add_mutually_exclusive_group()
    for option, size, text in (
        (
            "--quick",
            QUICK,
            "two rounds, less of everything; without names only what has a budget: about a minute",
        ),
        ("--full", FULL, "twice as many rounds"),
        ("--tiny", TINY, "only see that it works"),
    ):
        sizes.add_argument(option, dest="size", action="store_const", const=size, help=text)
    parser.add_argument(
        "--json", type=Path, default=Path(".benchmarks/latest.json"), help="default: %(default)s"
    )
    parser.add_argument(
        "--minima",
        dest="average",
        action="store_const",
        const=min,
        help="show and compare minima of rounds in place of medians: for a machine that is busy",
    )
    parser.add_argument("--check", action="store_true", help="exit 1 where a budget is missed")
    parser.add_argument("--list", action="store_true", help="name all measures, and end")
    parser.set_defaults(size=NORMAL, average=median)
    return parser


def main() -> int:
    """Run what the command line says."""
    # else folders and servers would stay
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = _parser()
    arguments = parser.parse_args()
    if unknown := set(arguments.subject) - set(NAMES):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if arguments.list:
        _list()
        return 0
    only = [f"*{pattern}*" for pattern in arguments.only]
    if arguments.size is QUICK and not (only or arguments.subject):
        budgets = [budget for budget in BUDGETS if takes_a_minute(budget)]
        only = [name for budget in budgets for name in (budget.measure, budget.of)]
    run = Run(arguments.size, only, arguments.average)
    return _run(run, arguments.subject or NAMES, arguments.json, check=arguments.check)


def _run(run: Run, names: Sequence[str], path: Path, *, check: bool) -> int:
    facts = report.environment()
    report.show_environment(facts)
    found, left_out = contenders.find()
    left_out = left_out | applications.find()[1]
    report.show_contenders(found.values(), left_out)
    for name in names:
        if name in SUBJECTS:
            run.subject(name)
        elif run.chosen(name):
            run.figure(name)
        # each time, for a run that is ended early
        missing = {"left_out": left_out, "not_measured": run.not_measured}
        measured = report.as_json(run.measured, run.figures, run.judged())
        report.write(path, facts | report.work_of(found.values()) | missing | measured)
    outcomes = run.judged()
    report.show_summary(outcomes, run.not_measured)
    print(f"  {path}")
    failed = any(
        record.failure
        for taken in run.taken().values()
        for name, record in taken.items()
        if name.startswith(OURS)
    )
    return int(failed or (check and any(outcome.over for outcome in outcomes)))


def _list() -> None:
    for name, subject in SUBJECTS.items():
        for measure in subject.measures:
            print(f"{name}/{measure.name}: {subject.title}: {measure.title}")
    for name, (title, _) in FIGURES.items():
        print(f"{name}: {title}")


if __name__ == "__main__":
    sys.exit(main())
