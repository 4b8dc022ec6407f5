"""How commands speak: results go to stdout, as text for a person or as JSON lines; everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import Any, Self, cast

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from filecolumn.cli.words import FINDINGS, WORDS, spoken
from filecolumn.maintenance import CheckReport, ColumnStatus, Finding, StatusReport, TriggerChange

__all__ = ("Output", "PipeClosedError", "silence")

Line = tuple[str, object, str]
"""A word, its value, and what it means."""


class PipeClosedError(Exception):
    """Nobody reads the output any more."""


def silence() -> None:
    """Let nothing more be written to stdout: the interpreter would try again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json: bool = as_json
        console = Console(stderr=True)
        # nothing of it is seen where stderr is no terminal
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=as_json or not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, what: str, count: int, total: int | None = None) -> None:
        """Show how far the work is: how many are done, and of how many if that is known."""
        # not before: a command may ask first
        self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=count, total=total)

    def finding(self, finding: Finding) -> None:
        """Print a finding at once: there may be a million of them."""
        if self.as_json:
            self.line({"finding": _plain(finding)})
            return
        row = finding.row
        where = "" if row is None else f"{row.table}.{row.column} {', '.join(map(str, row.primary_key))}"
        mended = " (repaired)" if finding.repaired else ""
        place = ":".join(filter(None, (finding.storage, finding.key)))
        self._write("  ".join(filter(None, (finding.kind.value, place, where, finding.detail + mended))))

    def trigger(self, change: TriggerChange) -> None:
        """Print what became of a trigger."""
        self.fact({"trigger": _plain(change)}, f"{change.done:<9}  {change.column}  {change.name}")

    def report(self, report: object, *, title: str) -> None:
        """Print the numbers of a report, each with what it means."""
        if self.as_json:
            numbers = _plain(report)
            numbers.pop("findings", None)
            self.line(numbers)
            return
        lines = list(_lines(report))
        name_width = max(len(name) for name, _, _ in lines)
        value_width = max((len(_shown(value)) for _, value, meaning in lines if meaning), default=0)
        self._write(title)
        for name, value, meaning in lines:
            shown = _shown(value)
            # what has no meaning beside it may be long: a reason in words
            text = f"{shown:>{value_width}}  {meaning}" if meaning else shown
            self._write(f"  {name:<{name_width}}  {text}".rstrip())

    def line(self, value: Mapping[str, object]) -> None:
        """Print a line of JSON."""
        self._write(json.dumps(value, default=str))

    def fact(self, value: Mapping[str, object], text: str) -> None:
        """Print one of several results, as JSON or as text."""
        if self.as_json:
            self.line(value)
        else:
            self._write(text)

    def result(self, value: Mapping[str, object], sentence: str) -> None:
        """Give the outcome: to a program as JSON, to a person as a sentence."""
        if self.as_json:
            self.line(value)
        else:
            self.say(sentence)

    def say(self, text: str) -> None:
        """Tell a person something."""
        click.echo(text, err=True)

    def _write(self, text: str) -> None:
        try:
            click.echo(text)
        except BrokenPipeError as error:
            raise PipeClosedError from error


def _plain(value: object) -> dict[str, Any]:
    assert is_dataclass(value)  # noqa: S101 - reports and findings are
    assert not isinstance(value, type)  # noqa: S101 - see above
    return asdict(value)


def _lines(report: object) -> Iterator[Line]:
    for name, meaning in WORDS[type(report)].items():
        value: object = getattr(report, name)
        if isinstance(value, Mapping):
            yield from _lines_of_mapping(report, name, cast("Mapping[str, object]", value), meaning)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            items = list(cast("Sequence[object]", value))
            yield spoken(name), len(items), meaning
            yield from (("", item, "") for item in items)
        else:
            yield spoken(name), value, meaning


def _lines_of_mapping(report: object, name: str, value: Mapping[str, object], meaning: str) -> Iterator[Line]:
    if isinstance(report, CheckReport):
        kinds = {str(kind): said for kind, said in FINDINGS.items()}
        yield from ((f"  {kind}", count, kinds[kind]) for kind, count in value.items())
        return
    yield spoken(name), len(value), meaning
    for key, each in value.items():
        yield "", f"{key or '(no name)'}: {_of_mapping(each, report, name)}", ""


def _of_mapping(value: object, report: object, name: str) -> str:
    if isinstance(value, ColumnStatus):
        parts = ((spoken(word), getattr(value, word)) for word in WORDS[ColumnStatus])
        return ", ".join(f"{word} {_shown(part)}" for word, part in parts if part is not None)
    if isinstance(value, Mapping):
        counts = cast("Mapping[str, object]", value)
        return ", ".join(f"{state} {_shown(count)}" for state, count in counts.items())
    unit = " keys" if isinstance(report, StatusReport) and name == "withheld" else ""
    return f"{_shown(value)}{unit}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
