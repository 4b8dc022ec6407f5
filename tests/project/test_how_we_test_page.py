"""The numbers of the page "How we test" are what its commands print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import filecolumn
from filecolumn.testing.failpoints import FAILPOINTS
from tests.faults.mutants import MUTANTS
from tests.profiles import PROFILES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-we-test.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+) \| ([\d,]+) \| `python (-c .+)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("number", "command"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_command_prints_the_number_on_the_page(number: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.strip() == number, done.stderr


def test_the_text_has_the_same_numbers() -> None:
    soak = PROFILES["soak"]
    assert f"each of {len(FAILPOINTS)} named places" in PAGE
    assert f"Each of {len(MUTANTS)} guards" in PAGE
    assert f"{soak.kills:,} kill schedules and {soak.histories:,} histories" in PAGE
    assert soak.soak_seconds == 2 * 3600


def test_each_file_of_tests_on_the_page_is_there() -> None:
    assert not [
        name for name in re.findall(r"`(test_\w+)`", PAGE) if not (ROOT / f"tests/faults/{name}.py").exists()
    ]
