"""Do the same to rows with files in each library that is installed, and print what is left.

`python -m benchmarks.behaviour` prints a table; `--json` prints it as `docs/_data/behaviour.json` has it, of which
`benchmarks.behaviour.report` makes the tables of `docs/comparison.md`.

Each library works in a process of its own, and each scenario in a fork of it, with a SQLite file and a folder;
another fork looks what is left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from importlib import import_module
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.behaviour.base import KILLED, Library
from benchmarks.behaviour.libraries import MODULES
from benchmarks.behaviour.report import NOT_ASYNC
from benchmarks.behaviour.scenarios import FILE, LARGE, NEW, OLD, SCENARIOS, RaisedError, Scenario
from benchmarks.contenders.base import Place

NAMES = {FILE: "file", OLD: "old file", NEW: "new file", LARGE: "file"}

_forking = multiprocessing.get_context("fork")
WITHIN = 60
"""Seconds that a scenario may take."""


def left(library: Library, folder: Path) -> str:
    """Say which rows and files there are."""
    rows = library.rows()
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    parts = [f"row with {NAMES[row]}" if row else "row without file" for row in rows]
    for content in rows:
        if content in files:
            files.remove(content)
    parts += [
        f"orphan ({NAMES[content]})" if content in {OLD, NEW} else "orphan"
        for content in files
        if content in NAMES
    ]
    parts += [
        "part of a file"
        for content in files
        if content not in NAMES and content and LARGE.startswith(content)
    ]
    return ", ".join(parts) or "nothing"


def _do(library: type[Library], scenario: Scenario, place: Place, answer: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # what libraries log of a failure
    try:
        told = scenario.act(library(place))
    except RaisedError:
        answer.send("raises; ")
    else:
        answer.send(told or "")


def _look(library: type[Library], scenario: Scenario, place: Place, answer: Connection) -> None:
    opened = library(place)
    answer.send([left(opened, Path(place.folder)), opened.maintain() and left(opened, Path(place.folder))])


def _in_fork(work: Any, *arguments: object) -> Any:
    """Return what a function answers in a process of its own; None if that killed itself."""
    here, there = _forking.Pipe(duplex=False)
    process = _forking.Process(target=work, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(WITHIN):
            raise SystemExit(f"{arguments} did not answer within {WITHIN} s")
        answer = here.recv()
    except EOFError:
        answer = None
    process.join(WITHIN)
    if process.exitcode != (KILLED if answer is None else 0):
        raise SystemExit(f"{arguments} ended with {process.exitcode}")
    return answer


def outcome(library: type[Library], scenario: Scenario) -> str:
    """Return what is left of a scenario."""
    if scenario.is_async and not library.is_async:
        return NOT_ASYNC
    with tempfile.TemporaryDirectory() as folder:
        database = f"{folder}/rows.db"
        place = Place(
            key="files",
            folder=f"{folder}/files",
            url=f"sqlite:///{database}",
            async_url=f"sqlite+aiosqlite:///{database}",
        )
        told = _in_fork(_do, library, scenario, place) or ""
        if told and not told.endswith("; "):
            return str(told)
        before, after = _in_fork(_look, library, scenario, place)
        until = f"; after maintenance {after}" if after and after != before else ""
        return f"{told}{before}{until}"


def _library(module: str) -> type[Library]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imported = import_module(f"benchmarks.behaviour.libraries.{module}")
    (found,) = (
        value
        for value in vars(imported).values()
        if issubclass(type(value), type) and value.__module__ == imported.__name__ and "name" in vars(value)
    )
    return found


def measure(module: str) -> dict[str, Any]:
    """Return what is left in each scenario by one library, in this process."""
    warnings.simplefilter("ignore")
    library = _library(module)
    return {
        "name": library.name,
        "package": library.package,
        "version": version(library.package),
        "left": {name: outcome(library, scenario) for name, scenario in SCENARIOS.items()},
    }


def measure_all() -> dict[str, Any]:
    """Return what is left in each scenario by each library that is installed, and their versions."""
    results = []
    for module in MODULES:
        command = [sys.executable, "-m", "benchmarks.behaviour", "--library", module]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{module}: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        results.append(json.loads(run.stdout))
    packages = {result["package"]: result["version"] for result in results}
    return {
        "versions": {**packages, "SQLAlchemy": version("SQLAlchemy")},
        "scenarios": [
            {
                "name": name,
                "group": scenario.group,
                "title": scenario.title,
                "agrees": scenario.left,
                "left": {result["name"]: result["left"][name] for result in results},
            }
            for name, scenario in SCENARIOS.items()
        ],
    }


def table(results: dict[str, Any]) -> str:
    """Return results as lines, a block for each scenario."""
    lines = [", ".join(f"{package} {number}" for package, number in results["versions"].items())]
    for scenario in results["scenarios"]:
        lines += ["", f"{scenario['title']} (rows and files agree: {scenario['agrees']})"]
        lines += [
            f"  {library:24} {told if told != scenario['agrees'] else '='}"
            for library, told in scenario["left"].items()
        ]
    return "\n".join(lines)


def main() -> None:
    """Print what is left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--library", choices=MODULES, help="this one only, in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.library:
        print(json.dumps(measure(arguments.library)))
        return
    results = measure_all()
    print(json.dumps(results, indent=2) if arguments.json else table(results))


if __name__ == "__main__":
    main()
