"""The comparison with other libraries shows what was measured, and filecolumn still behaves as it says there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.behaviour import report
from benchmarks.behaviour.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
DATA = ROOT / report.FOLDER
RESULTS = json.loads((DATA / "behaviour.json").read_text())
TABLES = report.tables(RESULTS)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_program_makes_of_the_results(name: str) -> None:
    assert (DATA / name).read_text() == TABLES[name], (
        "run `python -m benchmarks.behaviour.report docs/_data/behaviour.json`"
    )


def test_each_table_is_on_the_page() -> None:
    page = (ROOT / "docs/comparison.md").read_text()
    assert all(f"_data/{name}" in page for name in TABLES)


def test_the_results_are_of_the_scenarios_that_there_are() -> None:
    told = {result["name"]: (result["title"], result["agrees"]) for result in RESULTS["scenarios"]}
    assert told == {name: (scenario.title, scenario.left) for name, scenario in SCENARIOS.items()}


@pytest.mark.extended
def test_this_library_still_does_what_the_page_says_of_it() -> None:
    command = [sys.executable, "-m", "benchmarks.behaviour", "--library", "ours"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50)
    assert json.loads(run.stdout)["left"] == {
        result["name"]: result["left"]["filecolumn"] for result in RESULTS["scenarios"]
    }
