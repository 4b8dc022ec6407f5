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
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

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


class _Count(ProgressColumn):
    """How many are done, and of how many if that is known."""

    def render(self, task: Task) -> Text:
        done = f"{task.completed:,.0f}"
        return Text(done if task.total is None else f"{done}/{task.total:,.0f}", justify="right")


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", justify="right")


class _Time(ProgressColumn):
    """How long it still takes, or how long it has taken where that is not known."""

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text(_clock(task.elapsed or 0.0))
        return Text(f"{_clock(task.time_remaining)} left")


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json: bool = as_json
        console = Console(stderr=True)
        # FORCE_COLOR makes any file a terminal for the console
        is_shown = not as_json and console.is_terminal and sys.stderr.isatty()
        self._bar = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            _Count(),
            _Rate(),
            _Time(),
            console=console,
            transient=True,
            disable=not is_shown,
            # results go where they are sent, which may be a file
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._current: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, what: str, count: int, total: int | None = None) -> None:
        """Show how far the work is: how many are done, of how many if that is known, how fast, and how much is left.

        On a terminal only.
        """
        if self._bar.disable:
            return
        # not before: a command may ask first
        self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._turn_to(self._tasks[what])
        if total is not None and count > total:
            total = None  # it was an estimate
            self._task(self._tasks[what]).total = None
        self._bar.update(self._tasks[what], completed=count, total=total)

    def _turn_to(self, current: TaskID) -> None:
        """Stop the time of what was done before."""
        if self._current == current:
            return
        if self._current is not None:
            self._bar.stop_task(self._current)
        self._task(current).stop_time = None
        self._current = current

    def _task(self, number: TaskID) -> Task:
        return next(task for task in self._bar.tasks if task.id == number)

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
        self._bar.stop()
        click.echo(text, err=True)

    def _write(self, text: str) -> None:
        if not self._bar.disable and sys.stdout.isatty():
            # until there is more progress: both are on one screen
            self._bar.stop()
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
