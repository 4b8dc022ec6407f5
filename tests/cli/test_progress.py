"""Progress: on a terminal, beside the results and never among them."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from tests.maintenance.test_million import DOCUMENTS, ENTRIES, FILL
from tests.maintenance.world import make_world

ROOT = Path(__file__).parents[2]
NUMBER = 2000
"""Rows, of which no object is there."""

ESTIMATING = """
from filecolumn.cli.output import Output

seconds = 0.0

def report(*progress):
    # A second later, and drawn at once: the bar itself draws ten times a second, and would skip what comes between.
    global seconds
    seconds += 1
    output.progress(*progress)
    output._bar.refresh()

with Output(as_json=False) as output:
    output._bar.get_time = lambda: seconds
    for count in range(1000, 4001, 1000):
        report("looked up", count, 10_000)
    output.say("a sentence")
    report("rows", 5000, 4000)
    report("looked up", 8000, 10_000)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose objects are lost."""
    with make_world("sqlite", "sync", tmp_path) as world:
        for into in (DOCUMENTS["sqlite"], ENTRIES["sqlite"]):
            world.sql(FILL["sqlite"].format(into=into), last=NUMBER - 1)
        url = world.url()
    (tmp_path / "docs").mkdir()
    (tmp_path / "project_storages.py").write_text(
        "from filecolumn import storages\n"
        f"def register(): storages.register_backend('file://{tmp_path}/docs/', key='docs')\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[tool.filecolumn]\napp = "tests.maintenance.models:Base"\n'
        f'setup = "project_storages:register"\nurl = "{url}"\n'
    )
    return tmp_path


def on_a_terminal(folder: Path, *arguments: str, whole: bool = False, **environment: str) -> tuple[str, str]:
    """Run Python with stderr on a terminal; return what is written to stdout, a file, and to the terminal.

    With *whole* stdout is the terminal, too.
    """
    terminal, end = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # as Linux says that nobody can write to it any more
                return
            if not part:
                return
            shown.append(part)

    reader = Thread(target=read)
    reader.start()
    with (folder / "stdout").open("w") as stdout:
        subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "CI"}},
                "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), str(folder))),
                "TERM": "xterm-256color",
                "COLUMNS": "120",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=end if whole else stdout,
            stderr=end,
            timeout=50,
            check=False,
        )
    os.close(end)
    reader.join()
    os.close(terminal)
    return (folder / "stdout").read_text(), b"".join(shown).decode()


def test_a_terminal_shows_how_many_how_fast_and_how_long(project: Path) -> None:
    stdout, shown = on_a_terminal(project, "-m", "filecolumn", "check")
    assert stdout.count("missing  docs:") == NUMBER, "results go where they are sent"
    assert "Checked" in stdout
    assert "missing  docs:" not in shown
    assert "rows" in shown
    assert f"{NUMBER:,}" in shown
    assert "/s" in shown
    assert "0:00:0" in shown


def test_a_drain_shows_of_how_many_and_what_is_left(project: Path) -> None:
    with sqlite3.connect(project / "test.db") as database:
        database.execute("DELETE FROM documents")
        database.execute("UPDATE filecolumn_ledger SET state = 2, due_at = 1")
    database.close()
    stdout, shown = on_a_terminal(project, "-m", "filecolumn", "drain", "--yes", "--batch", "10")
    assert "Drained" in stdout
    assert f"/{NUMBER:,}" in shown
    assert "/s" in shown
    assert re.search(r"\d:\d\d:\d\d left", shown)


def test_what_is_left_is_shown_where_the_total_is_known(tmp_path: Path) -> None:
    _, shown = on_a_terminal(tmp_path, "-c", ESTIMATING)
    assert "1,000/10,000" in shown
    assert "8,000/10,000" in shown
    assert "1,000/s" in shown
    assert "0:00:06 left" in shown, "after 4,000 of 10,000, a thousand in a second"
    assert "a sentence\r\n" in shown
    assert "5,000/" not in shown, "of more than there should be nobody knows the total"


def test_on_one_terminal_results_are_lines_of_their_own(project: Path) -> None:
    _, shown = on_a_terminal(project, "-m", "filecolumn", "check", whole=True)
    lines = [line.rpartition("\x1b[2K")[2].rpartition("\x1b[?25h")[2] for line in shown.split("\r\n")]
    assert sum(line.lstrip("\r").startswith("missing  docs:") for line in lines) == NUMBER
    assert "/s" in shown


def test_json_has_no_progress_beside_it(project: Path) -> None:
    stdout, shown = on_a_terminal(project, "-m", "filecolumn", "check", "--json")
    assert shown == ""
    assert [*map(json.loads, stdout.splitlines())][-1]["counts"]["missing"] == NUMBER


def test_without_a_terminal_there_is_no_progress_whatever_the_environment_says(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "filecolumn", "check"],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), str(project))),
            "FORCE_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
