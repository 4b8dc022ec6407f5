"""The commands.

Exit codes: 0 nothing is wrong, 1 something was found, 2 wrong usage, 3 refused or failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, TypeVar

import click
import rich_click
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from filecolumn import maintenance
from filecolumn.cli.output import Output
from filecolumn.cli.project import Project, read_project
from filecolumn.errors import FileColumnError

__all__ = ("main",)

FOUND = 1
FAILED = 3

T = TypeVar("T")

Options = Callable[[T], T]


class Failed(click.ClickException):
    """What was to be done was refused, or failed."""

    exit_code = FAILED


@rich_click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--app",
    multiple=True,
    metavar="MODULE:BASE",
    help="The models: a declarative base or MetaData. All of the database; repeat it.",
)
@click.option("--url", envvar="FILECOLUMN_URL", help="The database, with a sync or async driver.")
@click.option("--setup", metavar="MODULE:CALL", help="A function that registers the storages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each thing.")
@click.version_option(package_name="filecolumn")
@click.pass_context
def main(
    context: click.Context, app: Sequence[str], url: str | None, setup: str | None, as_json: bool
) -> None:
    """Keep storages and rows in agreement.

    Options that are the same every time may stand in pyproject.toml: [tool.filecolumn] with app, url
    and setup.

    Exit codes: 0 nothing is wrong, 1 something was found, 2 wrong usage, 3 refused or failed.
    """
    context.obj = partial(_Command, app, url, setup, as_json)


class _Command:
    """One command that runs."""

    def __init__(self, app: Sequence[str], url: str | None, setup: str | None, as_json: bool) -> None:
        self.project: Project = read_project(app, url, setup)
        self.output: Output = Output(as_json=as_json)

    def run(self, work: Callable[[Engine], T]) -> T:
        """Return what *work* returns; its errors end the command."""
        try:
            with self.output:
                return self.project.run(work)
        except (FileColumnError, SQLAlchemyError, ValueError, OSError) as error:
            raise Failed(str(error)) from error

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is deleted."""
        if yes:
            return
        try:
            agreed = click.confirm(question, err=True)
        except click.Abort:
            raise Failed("nobody answered, so nothing is done; --yes answers beforehand") from None
        if not agreed:
            raise Failed("nothing is done")


def _end(code: int) -> NoReturn:
    raise click.exceptions.Exit(code)


_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_only = click.option("--storage", "only", multiple=True, metavar="KEY", help="Only this storage; repeat it.")


@main.command()
@click.option("--limit", type=click.IntRange(min=1), help="At most so many objects.")
@click.option(
    "--batch", type=click.IntRange(1, 1000), default=100, show_default=True, help="Objects at a time."
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds until another drain may take over.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many objects a second.")
@click.option("--dry-run", is_flag=True, help="Only say how much is due.")
@_yes
@click.pass_obj
def drain(
    command_of: Callable[[], _Command],
    *,
    limit: int | None,
    batch: int,
    lease: float,
    rate: float | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete what transactions have given up and what sweeps have claimed.

    Exit code 1: a storage refused some of it, or something is in doubt and nothing was deleted for it.
    """
    command = command_of()
    models = command.project.models
    due = command.run(lambda engine: maintenance.status(engine, *models))
    if dry_run:
        command.output.report(due, title="Due")
        return
    if due.due:
        command.confirm(f"Delete {due.due} objects that no row refers to?", yes=yes)
    report = command.run(
        lambda engine: maintenance.drain(engine, *models, limit=limit, batch=batch, lease=lease, rate=rate)
    )
    command.output.report(report, title="Drained")
    if report.refused or report.withheld:
        _end(FOUND)


@main.command()
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=maintenance.SWEEP_GRACE,
    show_default=True,
    help="Seconds that an object may wait for its row.",
)
@click.option(
    "--quarantine",
    type=click.FloatRange(min=0),
    default=maintenance.QUARANTINE,
    show_default=True,
    help="Seconds that an object without a row waits before it is deleted.",
)
@click.option(
    "--unreferenced", is_flag=True, help="Also claim live keys that have had no row for the quarantine."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="List at most so many objects a second."
)
@click.option(
    "--force", is_flag=True, help="Claim more than 100 objects and 1 % of all, or 10 and 1 % of a column."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be claimed; exit code 1 if anything.")
@_only
@_yes
@click.pass_obj
def sweep(
    command_of: Callable[[], _Command],
    *,
    grace: float,
    quarantine: float,
    unreferenced: bool,
    rate: float | None,
    force: bool,
    dry_run: bool,
    only: Sequence[str],
    yes: bool,
) -> None:
    """Find objects that no row refers to, and give them to the next drain."""
    command = command_of()
    if not dry_run:
        command.confirm("Claim every object without a row, for the next drain to delete?", yes=yes)
    report = command.run(
        lambda engine: maintenance.sweep(
            engine,
            *command.project.models,
            grace=grace,
            quarantine=quarantine,
            unreferenced=unreferenced,
            rate=rate,
            force=force,
            dry_run=dry_run,
            only=only or None,
            progress=command.output.progress,
        )
    )
    command.output.report(report, title="Would be swept" if dry_run else "Swept")
    if dry_run and report.found:
        _end(FOUND)


@main.command()
@click.option("--verify", is_flag=True, help="Read every object and compare its hash.")
@click.option("--repair", is_flag=True, help="Put right what can be without losing anything.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=maintenance.SWEEP_GRACE,
    show_default=True,
    help="Seconds that an object may wait for its row.",
)
@_only
@_yes
@click.pass_obj
def check(
    command_of: Callable[[], _Command],
    *,
    verify: bool,
    repair: bool,
    grace: float,
    only: Sequence[str],
    yes: bool,
) -> None:
    """Compare rows, ledger and storages, and name each thing that is wrong.

    Exit code 1: something is.
    """
    command = command_of()
    if repair:
        command.confirm("Change the ledger, and give what no row refers to to the next drain?", yes=yes)
    report = command.run(
        lambda engine: maintenance.check(
            engine,
            *command.project.models,
            verify=verify,
            repair=repair,
            grace=grace,
            only=only or None,
            on_finding=command.output.finding,
            progress=command.output.progress,
        )
    )
    command.output.report(report, title="Checked")
    if not report.is_clean:
        _end(FOUND)


@main.command()
@click.option(
    "--max-age", type=click.FloatRange(min=0), help="Exit with 1 if anything is due for more seconds."
)
@click.pass_obj
def status(command_of: Callable[[], _Command], max_age: float | None) -> None:
    """Show pending deletions: how many, how old, which are stuck or withheld, and what a sweep cannot judge.

    Exit code 1: something is stuck or withheld, triggers are missing, or something is due for longer than --max-age.
    """
    command = command_of()
    report = command.run(lambda engine: maintenance.status(engine, *command.project.models))
    command.output.report(report, title="Ledger")
    is_late = max_age is not None and report.oldest_due_seconds > max_age
    if report.stuck or report.withheld or report.hidden or report.missing_triggers or is_late:
        _end(FOUND)


@main.command()
@click.option("--moved", is_flag=True, help="The content was copied to where the storages are now.")
@click.option("--new-place", is_flag=True, help="The storages start anew where they are now.")
@click.option(
    "--sole", is_flag=True, help="Nobody else stores there, and nothing is to be kept that has no row."
)
@_only
@_yes
@click.pass_obj
def adopt(
    command_of: Callable[[], _Command],
    *,
    moved: bool,
    new_place: bool,
    sole: bool,
    only: Sequence[str],
    yes: bool,
) -> None:
    """Say that the storages are this database's: after it moved, or was restored."""
    command = command_of()
    question = "Is this the database whose files are in these storages? From now on it may delete them"
    if sole:
        question = "Is this the only database that stores there? Sweeps will claim every object that no row refers to"
    command.confirm(question, yes=yes)
    names = command.run(
        lambda engine: maintenance.adopt(
            engine, *command.project.models, only=only or None, moved=moved, new_place=new_place, sole=sole
        )
    )
    command.output.say(f"adopted: {', '.join(names)}")


@main.command()
@click.pass_obj
def migrate(command_of: Callable[[], _Command]) -> None:
    """Bring the ledger's tables to this release, for databases without Alembic."""
    command = command_of()
    done = command.run(lambda engine: maintenance.migrate(engine, *command.project.models))
    for sentence in done or ["nothing to do"]:
        command.output.say(sentence)


@main.command()
@click.argument("key")
@click.option("--storage", metavar="KEY", help="The storage, if several have the key.")
@click.pass_obj
def undelete(command_of: Callable[[], _Command], key: str, storage: str | None) -> None:
    """Take KEY back from the quarantine or the retention."""
    command = command_of()
    name = command.run(
        lambda engine: maintenance.undelete(engine, *command.project.models, key=key, storage=storage)
    )
    command.output.say(f"{key} in {name} stays")


@main.command()
@click.option("--renamed", nargs=2, metavar="OLD NEW", help="A migration has renamed table.column.")
@click.option("--forget", metavar="NAME", help="This table.column is gone for good.")
@click.pass_obj
def columns(command_of: Callable[[], _Command], renamed: tuple[str, str] | None, forget: str | None) -> None:
    """Show the file columns that the ledger has recorded, or say what became of one.

    Exit code 1: one of them cannot be read, so that nothing is deleted.
    """
    command = command_of()
    models = command.project.models
    if renamed is not None:
        old, new = renamed
        command.run(lambda engine: maintenance.rename_file_column(engine, *models, old=old, new=new))
    if forget is not None:
        command.run(lambda engine: maintenance.forget_file_column(engine, *models, name=forget))
    found = command.run(lambda engine: maintenance.list_file_columns(engine, *models))
    for column in found:
        command.output.report(column, title=column.name)
    if any(column.problem for column in found):
        _end(FOUND)


@main.command("copy-files")
@click.argument("source")
@click.argument("target")
@click.pass_obj
def copy_files(command_of: Callable[[], _Command], source: str, target: str) -> None:
    """Say that a migration copied files by SQL from the column SOURCE to TARGET, as table.column.

    Columns of one table: rows without a file in TARGET get that of SOURCE first.
    """
    command = command_of()
    count = command.run(
        lambda engine: maintenance.copy_files(engine, *command.project.models, source=source, target=target)
    )
    command.output.say(f"{count} keys are looked up before they are deleted")


@main.group()
def triggers() -> None:
    """Let the database note what raw SQL takes away."""


@triggers.command()
@click.pass_obj
def install(command_of: Callable[[], _Command]) -> None:
    """Create the triggers, anew where they are there."""
    command = command_of()
    warnings = command.run(lambda engine: maintenance.install_triggers(engine, *command.project.models))
    for warning in warnings:
        command.output.say(f"warning: {warning}")


@triggers.command()
@click.pass_obj
def remove(command_of: Callable[[], _Command]) -> None:
    """Drop the triggers."""
    command = command_of()
    command.run(lambda engine: maintenance.remove_triggers(engine, *command.project.models))
