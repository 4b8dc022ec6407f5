"""A test that fails names the promise that broke, in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = '''
import pytest

def test_rows_keep_their_files():
    assert 1 == 2

def test_named_by_its_docstring():
    """A drain deletes nothing of a live row."""
    raise ValueError("gone")

@pytest.mark.promise("a COMMIT is asked for")
@pytest.mark.parametrize("way", ["sync"])
def test_machine(way):
    assert not way

@pytest.fixture
def broken():
    raise OSError("no place")

def test_that_cannot_begin(broken): ...

def test_that_passes(): ...
'''


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.extended)])
def test_each_failure_is_a_line_with_its_promise(tmp_path: Path, processes: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = promise\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.promises"]
    done = subprocess.run(
        [*command, "-n", processes, "-o", f"pythonpath={ROOT}", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    lines = done.stdout.partition("promises that broke")[2].splitlines()
    assert sorted(line for line in lines if " | " in line) == [
        "A drain deletes nothing of a live row | test_it.py::test_named_by_its_docstring | ValueError: gone",
        "a COMMIT is asked for | test_it.py::test_machine[sync] | AssertionError: assert not 'sync'",
        "rows keep their files | test_it.py::test_rows_keep_their_files | assert 1 == 2",
        "that cannot begin | test_it.py::test_that_cannot_begin | OSError: no place",
    ]
