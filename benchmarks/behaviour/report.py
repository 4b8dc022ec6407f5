"""Write the tables of `docs/comparison.md`: `python -m benchmarks.behaviour.report RESULTS.json [FOLDER]`.

*RESULTS* is what `python -m benchmarks.behaviour --json` printed.  The folder, by default `docs/_data`, gets a table
for each group of scenarios, the sentence that says what was run, and `behaviour.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.behaviour.scenarios import GROUPS

FOLDER = Path("docs/_data")
NONE = "-"
"""What stands where a library has no such transactions."""
NOT_ASYNC = "no async transactions"


def cell(told: str, agrees: str) -> str:
    """Return what a cell shows: bold where rows and files do not agree at once."""
    if told == NOT_ASYNC:
        return NONE
    return told if told == agrees else f"**{told}**"


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the files by name."""
    written = {"behaviour-versions.txt": _versions(results["versions"])}
    for group in GROUPS:
        scenarios = [scenario for scenario in results["scenarios"] if scenario["group"] == group]
        libraries = list(scenarios[0]["left"])
        lines = [_line("", *libraries), _line(*(["---"] * (1 + len(libraries))))]
        lines += [
            _line(scenario["title"], *(cell(told, scenario["agrees"]) for told in scenario["left"].values()))
            for scenario in scenarios
        ]
        written[f"behaviour-{group}.txt"] = "\n".join(lines) + "\n"
    return written


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _versions(versions: Mapping[str, str]) -> str:
    told = ", ".join(f"{package} {number}" for package, number in versions.items())
    return f"Measured with {told}, on SQLite and a local folder.\n"


def main(results: Path, folder: Path = FOLDER) -> None:
    """Write all files into a folder."""
    measured = json.loads(results.read_text())
    (folder / "behaviour.json").write_text(json.dumps(measured, indent=2) + "\n")
    for name, text in tables(measured).items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
