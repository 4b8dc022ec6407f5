"""What one file costs in calls, and how long a function may be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import filecolumn
from benchmarks.calls import LONGEST, function_lines

ROOT = Path(__file__).parents[2]
# On Python 3.11; later ones call no function for a comprehension. To be lowered with the flush, never raised.
MOST = {
    "flush: calls": 175,
    "flush: modules": 25,
    "replace and commit: calls": 390,
    "replace and commit: modules": 33,
    "save in a folder: all calls": 1140,
}
LONGER: set[str] = set()
"""Functions to be made shorter."""


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    """Count in a process of its own, where no other test has left listeners or caches."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.calls"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent)},
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", MOST)
def test_one_file_takes_no_more_calls_than_before(counted: dict[str, int], what: str) -> None:
    assert counted[what] <= MOST[what]


def test_no_function_is_longer_than_a_screen() -> None:
    assert {name for name, lines in function_lines().items() if lines > LONGEST} == LONGER
