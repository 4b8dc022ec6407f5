"""How a command runs and ends, whichever program it is a part of.

Whatever goes wrong is one line on stderr, and with `--json` also a line of JSON on stdout.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

import click
import rich_click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from filecolumn.cli.output import Output, PipeClosedError, silence
from filecolumn.errors import FileColumnError
from filecolumn.maintenance import Models

__all__ = (
    "FAILED",
    "FOUND",
    "JSON",
    "OPENING",
    "Failed",
    "MaintenanceCommand",
    "Project",
    "Running",
    "confirm",
    "end",
    "in_one_line",
    "interruptible",
    "opened",
)

FOUND = 1
FAILED = 3
INTERRUPTED = 130
"""As shells have it for a program that SIGINT ended."""
PIPE_CLOSED = 141
"""As shells have it for a program that SIGPIPE ended."""

OPENING = "filecolumn.opening"
"""Where a context has what opens the project."""
JSON = "filecolumn.json"
"""Where a context has whether results are JSON."""

T = TypeVar("T")


class Failed(click.ClickException):
    """What was to be done was refused, or failed."""

    exit_code: ClassVar[int] = FAILED


class Project(Protocol):
    """An application, ready to be maintained."""

    def run(self, work: Callable[[Running], T], output: Output) -> T:
        """Return what *work* returns, with the database and the storages of the application."""
        ...


class Running:
    """What a command works on."""

    def __init__(self, engine: Engine, models: tuple[Models, ...], output: Output) -> None:
        self.engine: Engine = engine
        self.models: tuple[Models, ...] = models
        self.output: Output = output


class MaintenanceCommand(rich_click.RichCommand):
    """A command that ends with a sentence, and without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        with _ending(ctx):
            return super().invoke(ctx)


@contextmanager
def _ending(context: click.Context) -> Generator[None]:
    try:
        yield
    except click.ClickException as error:
        _say_error(context, error.format_message(), error.exit_code)
    except SystemExit as error:
        # of the set-up, the models or the application
        _say_error(context, f"the project's own code ended the process: {in_one_line(error)}", FAILED)
    except KeyboardInterrupt:
        _say_error(context, "interrupted", INTERRUPTED)
    except PipeClosedError:
        silence()
        end(PIPE_CLOSED)


def _say_error(context: click.Context, message: str, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    if context.meta.get(JSON):
        try:
            Output(as_json=True).line({"error": message, "exit_code": code})
        except PipeClosedError:
            silence()
    end(code)


def end(code: int) -> NoReturn:
    """End the command with an exit code."""
    raise click.exceptions.Exit(code)


def opened(work: Callable[[Running], T]) -> T:
    """Return what *work* returns with the project of the command that runs; its errors end the command."""
    context = click.get_current_context()
    opening: Callable[[], Project] = context.meta[OPENING]
    project = opening()
    output = Output(as_json=bool(context.meta.get(JSON)))
    try:
        with output:
            return project.run(work, output)
    except (FileColumnError, SQLAlchemyError, ValueError, OSError) as error:
        raise Failed(in_one_line(error)) from error


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed."""
    if yes:
        return
    try:
        # an asynchronous engine has an event loop, which the question holds up
        with interruptible():
            agreed = click.confirm(question, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise Failed("no answer, so nothing was changed; --yes answers yes to every question") from None
    if not agreed:
        raise Failed("cancelled: nothing was changed")


@contextmanager
def interruptible() -> Generator[None]:
    """Let Ctrl-C end a call that holds up the event loop, which would handle the signal only afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_CLASS = re.compile(r"^<class '[^']*'>: ")


def in_one_line(error: BaseException) -> str:
    """Return what an error says, without the statement and the links that SQLAlchemy adds."""
    said: object = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        said = error.orig
    elif isinstance(error, SQLAlchemyError) and error.args:
        said = error.args[0]
    lines = _CLASS.sub("", str(said)).splitlines()
    # PostgreSQL quotes the statement from here on
    cut = next((number for number, line in enumerate(lines) if line.startswith("LINE ")), len(lines))
    return " ".join(" ".join(lines[:cut]).split()) or type(error).__name__
