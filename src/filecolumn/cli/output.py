"""How commands speak: to a person with tables and a progress bar, to a program in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import Any, Self, cast

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from filecolumn.maintenance import Finding

__all__ = ("Output",)


class Output:
    """Where a command's words go; what is not its result goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(soft_wrap=True, highlight=False)
        self._err = Console(stderr=True)
        # nothing of it is seen where stderr is no terminal
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,}"),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=as_json or not self._err.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, what: str, count: int) -> None:
        """Show how far the work is."""
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=None)
        self._bar.update(self._tasks[what], completed=count)

    def finding(self, finding: Finding) -> None:
        """Print a finding at once: there may be a million of them."""
        if self.as_json:
            click.echo(json.dumps({"finding": _plain(finding)}, default=str))
            return
        row = finding.row
        where = "" if row is None else f"{row.table}.{row.column} {', '.join(map(str, row.primary_key))}"
        mended = " (repaired)" if finding.repaired else ""
        place = ":".join(filter(None, (finding.storage, finding.key)))
        click.echo("  ".join(filter(None, (finding.kind.value, place, where, finding.detail + mended))))

    def report(self, report: object, *, title: str) -> None:
        """Print the numbers of a report."""
        numbers = _plain(report)
        numbers.pop("findings", None)
        if self.as_json:
            click.echo(json.dumps(numbers, default=str))
            return
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for name, value in _flat(numbers):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        self._out.print(table)

    def say(self, text: str) -> None:
        """Tell a person something."""
        click.echo(text, err=True)


def _plain(value: object) -> dict[str, Any]:
    assert is_dataclass(value)  # noqa: S101 - reports and findings are
    assert not isinstance(value, type)  # noqa: S101 - see above
    return asdict(value)


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            rows.extend(_flat(cast("Mapping[str, Any]", value), f"{prefix}{name} "))
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
