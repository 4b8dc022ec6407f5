"""The benchmarks run, in sizes that say nothing about speed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import filecolumn

pytest.importorskip("aiosqlite")

ROOT = Path(__file__).parents[2]
SUBJECTS = {
    "saves": ["sync: ours v floor", "async: ours v floor"],
    "selects": ["Core: StoredObject v String", "ORM: StoredObject v String"],
    "flushes": ["no file column", "untouched file column"],
    "calls": ["flush: calls", "save in a folder: all calls"],
    "latency": ["sync: 50 files in a flush", "async: 50 files in a flush"],
    "large": ["1 MiB up: ours v raw obstore", "1 MiB down: ours v raw obstore"],
    "web": ["1 MiB down, local: FileObjectResponse v Stream", "1 MiB up, local: file_from_body v obstore"],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent)},
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subject_prints_its_figures(subject: str) -> None:
    done = run("--tiny", subject)
    assert done.returncode == 0, done.stdout + done.stderr
    for figure in SUBJECTS[subject]:
        assert figure in done.stdout
    assert "budget" in done.stdout
    if subject in {"saves", "selects"}:
        peer = find_spec("advanced_alchemy") is not None
        assert ("v advanced-alchemy" in done.stdout or "advanced-alchemy's" in done.stdout) is peer


def test_unknown_subject_is_refused() -> None:
    done = run("everything")
    assert done.returncode == 2
    assert "there are saves, selects, flushes, calls, latency, large" in done.stderr
