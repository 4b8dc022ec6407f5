"""The benchmarks run, in sizes that say nothing about speed, with whatever peers are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import filecolumn
from benchmarks.__main__ import FIGURES, NORMAL, TINY, takes_a_minute
from benchmarks.__main__ import QUICK as QUICK_SIZE
from benchmarks.budgets import BUDGETS, judge
from benchmarks.contenders import find
from benchmarks.contenders.floor import Floor
from benchmarks.runner import Taken, in_turn, processes
from benchmarks.subjects import SUBJECTS

pytest.importorskip("aiosqlite")

# each run starts a process for each contender, which imports most of what it needs
pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent)},
        timeout=170,
        check=False,
    )


QUICK = {"sqlite", "reads", "http"}
MARKS = dict.fromkeys(
    (
        "postgresql",
        "facts-postgresql",
        "facts-mariadb",
        "maintenance-postgresql",
        "maintenance-mariadb",
        "maintenance-million",
    ),
    pytest.mark.server,
)


@pytest.mark.parametrize(
    "subject",
    [
        name if name in QUICK else pytest.param(name, marks=MARKS.get(name, pytest.mark.extended))
        for name in SUBJECTS
    ],
)
def test_subject_measures_everyone_who_takes_part(subject: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = run("--tiny", subject, "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(path.read_text())
    for measure in SUBJECTS[subject].measures:
        entry = document["measures"][f"{subject}/{measure.name}"]
        assert entry["contenders"].keys() == set(SUBJECTS[subject].taking_part(measure))
        for name, figures in entry["contenders"].items():
            assert "failure" not in figures, (measure.name, name, figures)
            assert figures["cpu"]["minimum"] > 0
            assert figures.keys() >= set(measure.metrics)


def test_calls_are_printed() -> None:
    done = run("--tiny", "calls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flush: calls" in done.stdout


def test_peers_that_are_not_installed_are_left_out_and_named() -> None:
    found, left_out = find()
    assert {"filecolumn", "floor+L", "floor"} <= found.keys()
    assert ("advanced_alchemy" in left_out) is (find_spec("advanced_alchemy") is None)


def test_unknown_subject_is_refused() -> None:
    done = run("everything")
    assert done.returncode == 2
    assert "there are sqlite" in done.stderr


def test_check_fails_where_a_budget_is_missed(tmp_path: Path) -> None:
    done = run("--tiny", "--only", "select-core", "--json", str(tmp_path / "figures.json"), "--check")
    document = json.loads((tmp_path / "figures.json").read_text())
    assert done.returncode == any(budget["over"] for budget in document["budgets"])


def test_budgets_name_measures_that_there_are() -> None:
    there = {f"{name}/{measure.name}" for name, subject in SUBJECTS.items() for measure in subject.measures}
    there |= {"", *FIGURES}
    assert {budget.measure for budget in BUDGETS} | {budget.of for budget in BUDGETS} <= there


def test_a_quick_run_has_fewer_keys_and_a_normal_one_all() -> None:
    (measure,) = (m for m in SUBJECTS["maintenance-sqlite"].measures if m.name == "sweep-200000")
    assert [measure.amount_in(size) for size in (NORMAL, QUICK_SIZE, TINY)] == [200_000, 2_000, 2]


def test_a_million_keys_are_no_part_of_a_quick_run() -> None:
    quick = {budget.measure for budget in BUDGETS if takes_a_minute(budget)}
    assert "maintenance-sqlite/sweep-200000" in quick
    assert not {measure for measure in quick if measure.startswith("maintenance-million/")}


def test_a_budget_compares_medians() -> None:
    ours = Taken(samples=[{"cpu": 1.0}, {"cpu": 3.0}, {"cpu": 9.0}])
    floor = Taken(samples=[{"cpu": 2.0}])
    (outcome,) = [
        outcome
        for outcome in judge({"sqlite/save": {"filecolumn": ours, "floor+L": floor}})
        if outcome.value is not None
    ]
    assert outcome.value == 1.5
    assert outcome.over


def test_a_contender_that_cannot_work_is_shown_as_failed() -> None:
    nowhere = {"key": "nowhere", "url": "no database"}
    with processes("sqlite", {"floor": Floor}, {"floor": nowhere}) as running:
        taken = in_turn(running, SUBJECTS["sqlite"].measures[0], TINY, lambda _: None)
    assert taken["floor"].failure
    assert not taken["floor"].values("cpu")


def test_a_contender_that_failed_is_not_judged() -> None:
    outcomes = judge({"sqlite/save": {"filecolumn": Taken(failure="it fell over"), "floor+L": Taken()}})
    assert {outcome.value for outcome in outcomes} == {None}
    assert not any(outcome.over for outcome in outcomes)
