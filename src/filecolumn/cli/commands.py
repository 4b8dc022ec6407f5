"""The commands, for `filecolumn` and for `litestar files` alike.

Exit codes: 0 nothing is wrong, 1 something was found, 2 wrong usage, 3 refused or failed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import click
import rich_click
from click.core import ParameterSource

from filecolumn import maintenance
from filecolumn.cli.project import Given, read_project
from filecolumn.cli.running import FOUND, JSON, OPENING, MaintenanceCommand, Running, confirm, end, opened
from filecolumn.cli.words import CHECK, COLUMN, DRAIN, FINDINGS, STATUS, SWEEP, explained
from filecolumn.maintenance.required import require_storages_of, require_storages_of_columns

__all__ = ("COMMANDS", "TRIGGERS", "TRIGGERS_HELP", "json_option", "main", "with_options")

_GIVEN = "filecolumn.given"

_yes = click.option("--yes", "-y", is_flag=True, help="Answer yes to every question.")
_storages = click.option(
    "--storage",
    "storages",
    multiple=True,
    metavar="KEY",
    help="Only this storage; may be repeated.",
)
_max_seconds = click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after about this time; the next run with this option continues where this one ended.",
)


def _command(name: str, words: str = "") -> Callable[[Callable[..., None]], MaintenanceCommand]:
    """Make a command of a function; *words* explains its report."""

    def make(body: Callable[..., None]) -> MaintenanceCommand:
        text = f"{(body.__doc__ or '').rstrip()}\n\n{words}" if words else body.__doc__
        made: MaintenanceCommand = rich_click.command(name, cls=MaintenanceCommand, help=text)(body)
        return made

    return make


@_command("drain", explained(DRAIN))
@click.option("--limit", type=click.IntRange(min=1), help="Delete at most this many objects.")
@click.option(
    "--batch", type=click.IntRange(1, 1000), default=100, show_default=True, help="Objects in a batch."
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds until another drain may take over.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Delete at most this many objects a second."
)
@click.option(
    "--dry-run", is_flag=True, help="Only show what is due; exit code 1 if a run would change something."
)
@_max_seconds
@_storages
@_yes
def drain(
    *,
    limit: int | None,
    batch: int,
    lease: float,
    rate: float | None,
    dry_run: bool,
    max_seconds: float | None,
    storages: Sequence[str],
    yes: bool,
) -> None:
    """Delete the objects that are due: those that transactions released and sweeps claimed.

    Exit code 1: a storage refused to delete an object, or an object stays because something is in doubt.
    """
    names = storages or None

    def work(run: Running) -> bool:
        if dry_run or not yes:
            require_storages_of(run.engine, *run.models, chosen=names, in_rows=False)
            due = maintenance.status(run.engine, *run.models, storages=names)
            if dry_run:
                run.output.report(due, title="Due")
                return bool(due.due or due.forgettable)
            if due.due:
                confirm(f"Delete {due.due} objects that no row references?", yes=yes)
        report = maintenance.drain(
            run.engine,
            *run.models,
            limit=limit,
            batch=batch,
            lease=lease,
            rate=rate,
            storages=names,
            max_seconds=max_seconds,
            progress=run.output.progress,
        )
        run.output.report(report, title="Drained")
        return bool(report.refused or report.withheld)

    _end_if_found(work)


@_command("sweep", explained(SWEEP))
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=maintenance.SWEEP_GRACE,
    show_default=True,
    help="Seconds that a new object may wait for its row.",
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
    "--rate", type=click.FloatRange(min=0, min_open=True), help="List at most this many objects a second."
)
@click.option(
    "--force", is_flag=True, help="Claim more than 100 objects and 1 % of all, or 10 and 1 % of a column."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would be claimed; exit code 1 if a run would change something.",
)
@_max_seconds
@_storages
@_yes
def sweep(
    *,
    grace: float,
    quarantine: float,
    unreferenced: bool,
    rate: float | None,
    force: bool,
    dry_run: bool,
    max_seconds: float | None,
    storages: Sequence[str],
    yes: bool,
) -> None:
    """Find objects that no row refers to, and claim them for the next drain.

    Exit code 1: a storage could not be reached.
    """
    names = storages or None

    def work(run: Running) -> bool:
        if not (dry_run or yes):
            require_storages_of(run.engine, *run.models, chosen=names)
            confirm("Let the next drain delete every object that no row references?", yes=yes)
        report = maintenance.sweep(
            run.engine,
            *run.models,
            grace=grace,
            quarantine=quarantine,
            unreferenced=unreferenced,
            rate=rate,
            force=force,
            dry_run=dry_run,
            storages=names,
            max_seconds=max_seconds,
            progress=run.output.progress,
        )
        run.output.report(report, title="Would be swept" if dry_run else "Swept")
        return bool(report.pending or report.unreachable)

    _end_if_found(work)


@_command("check", explained({**CHECK, **{str(kind): meaning for kind, meaning in FINDINGS.items()}}))
@click.option("--verify", is_flag=True, help="Read every object and compare its hash.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired without loss.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=maintenance.SWEEP_GRACE,
    show_default=True,
    help="Seconds that a new object may wait for its row.",
)
@_max_seconds
@_storages
@_yes
def check(
    *,
    verify: bool,
    repair: bool,
    grace: float,
    max_seconds: float | None,
    storages: Sequence[str],
    yes: bool,
) -> None:
    """Compare rows, ledger and storages, and report each difference.

    Exit code 1: something is wrong.  Without --repair nothing is changed.
    """
    names = storages or None

    def work(run: Running) -> bool:
        if repair and not yes:
            require_storages_of(run.engine, *run.models, chosen=names)
            confirm("Correct the ledger, and let the next drain delete what no row references?", yes=yes)
        report = maintenance.check(
            run.engine,
            *run.models,
            verify=verify,
            repair=repair,
            grace=grace,
            storages=names,
            on_finding=run.output.finding,
            max_seconds=max_seconds,
            progress=run.output.progress,
        )
        run.output.report(report, title="Checked")
        return not report.is_clean

    _end_if_found(work)


@_command("status", explained(STATUS))
@click.option(
    "--max-age", type=click.FloatRange(min=0), help="Exit with 1 if anything is due for more seconds."
)
@_storages
def status(*, max_age: float | None, storages: Sequence[str]) -> None:
    """Show pending deletions: how many, how old, which are stuck or withheld, and what a sweep cannot judge.

    Exit code 1: something is stuck or withheld, a column cannot be read, triggers are missing, or something
    is due for longer than --max-age.
    """

    def work(run: Running) -> bool:
        report = maintenance.status(run.engine, *run.models, storages=storages or None)
        run.output.report(report, title="Ledger")
        is_late = max_age is not None and report.oldest_due_seconds > max_age
        return bool(report.stuck or report.withheld or report.hidden or report.missing_triggers or is_late)

    _end_if_found(work)


@_command("adopt")
@click.option("--moved", is_flag=True, help="The content was copied to the storages' new location.")
@click.option("--new-place", is_flag=True, help="The storages start empty at a new location.")
@click.option(
    "--sole", is_flag=True, help="No other database stores there, and objects without a row are not needed."
)
@_storages
@_yes
def adopt(*, moved: bool, new_place: bool, sole: bool, storages: Sequence[str], yes: bool) -> None:
    """Adopt the storages for this database, after it was moved or restored."""
    names = storages or None
    question = "Is this the database whose files are in these storages? From now on it may delete them"
    if sole:
        question = "Is this the only database that stores there? Sweeps will claim every object that no row refers to"

    def work(run: Running) -> None:
        if not yes:
            require_storages_of(run.engine, *run.models, chosen=names)
            confirm(question, yes=yes)
        adopted = maintenance.adopt(
            run.engine, *run.models, storages=names, moved=moved, new_place=new_place, sole=sole
        )
        run.output.result(
            {"adopted": adopted}, f"adopted: {', '.join(adopted) or 'no storage is registered'}"
        )

    opened(work)


@_command("migrate")
@click.option("--dry-run", is_flag=True, help="Only show what would be done; exit code 1 if anything.")
def migrate(*, dry_run: bool) -> None:
    """Bring the ledger's tables to this release, for databases without Alembic."""

    def work(run: Running) -> bool:
        done = maintenance.migrate(run.engine, *run.models, dry_run=dry_run)
        run.output.result({"changes": done, "dry_run": dry_run}, "\n".join(done) or "nothing to do")
        return dry_run and bool(done)

    _end_if_found(work)


@_command("undelete")
@click.argument("key")
@click.option("--storage", metavar="KEY", help="The storage, if several have the key.")
def undelete(*, key: str, storage: str | None) -> None:
    """Undo the pending deletion of KEY."""

    def work(run: Running) -> None:
        name = maintenance.undelete(run.engine, *run.models, key=key, storage=storage)
        run.output.result({"undeleted": {"storage": name, "key": key}}, f"{key} in {name} is kept")

    opened(work)


@_command("columns", explained(COLUMN))
@click.option("--renamed", nargs=2, metavar="OLD NEW", help="A migration renamed table.column.")
@click.option("--forget", metavar="NAME", help="This table.column was dropped for good.")
def columns(*, renamed: tuple[str, str] | None, forget: str | None) -> None:
    """List the file columns that the ledger has recorded, or record that one was renamed or dropped.

    Exit code 1: one of them cannot be read, so that nothing is deleted.
    """

    def work(run: Running) -> bool:
        if renamed is not None:
            old, new = renamed
            maintenance.rename_file_column(run.engine, *run.models, old=old, new=new)
        if forget is not None:
            maintenance.forget_file_column(run.engine, *run.models, name=forget)
        found = maintenance.list_file_columns(run.engine, *run.models)
        for column in found:
            run.output.report(column, title=column.name)
        return any(column.problem for column in found)

    _end_if_found(work)


@_command("copy-files")
@click.argument("source")
@click.argument("target")
def copy_files(*, source: str, target: str) -> None:
    """Record that a migration copied files by SQL from the column SOURCE to TARGET, as table.column.

    Columns of one table: rows without a file in TARGET get that of SOURCE first.
    """

    def work(run: Running) -> None:
        count = maintenance.copy_files(run.engine, *run.models, source=source, target=target)
        run.output.result(
            {"keys": count}, f"{count} keys: each is looked up in all columns before it is deleted"
        )

    opened(work)


@_command("install")
def install() -> None:
    """Create or replace the triggers, and show for each whether it was created, replaced or unchanged.

    They store how long deleted files are kept (`storages.retention`), so the storages must be registered.
    """

    def work(run: Running) -> None:
        changes: list[maintenance.TriggerChange] = []
        require_storages_of_columns(run.engine, *run.models)
        warnings = maintenance.install_triggers(run.engine, *run.models, on_trigger=changes.append)
        _tell(run, changes, nothing="the database has no table with a file column")
        for warning in warnings:
            run.output.result({"warning": warning}, f"warning: {warning}")

    opened(work)


@_command("remove")
def remove() -> None:
    """Drop the triggers, and show which."""

    def work(run: Running) -> None:
        changes: list[maintenance.TriggerChange] = []
        maintenance.remove_triggers(run.engine, *run.models, on_trigger=changes.append)
        _tell(run, changes, nothing="there are no triggers")

    opened(work)


def _tell(run: Running, changes: Sequence[maintenance.TriggerChange], *, nothing: str) -> None:
    for change in changes:
        run.output.trigger(change)
    if not changes:
        run.output.say(nothing)


def _end_if_found(work: Callable[[Running], bool]) -> None:
    """Do *work* with the project, and end with exit code 1 if it found something."""
    if opened(work):
        end(FOUND)


COMMANDS: tuple[MaintenanceCommand, ...] = (
    check,
    sweep,
    drain,
    status,
    adopt,
    migrate,
    undelete,
    columns,
    copy_files,
)
TRIGGERS: tuple[MaintenanceCommand, ...] = (install, remove)
TRIGGERS_HELP = "Let the database record what raw SQL removes."


def with_options(command: MaintenanceCommand, options: Sequence[click.Option]) -> MaintenanceCommand:
    """Return a command with more options, which are listed after its own."""
    made = copy.copy(command)
    made.params = [*command.params, *options]
    return made


def json_option() -> click.Option:
    """Return the option by which results are JSON, for a group or a command."""
    return click.Option(
        ["--json", "as_json"],
        is_flag=True,
        expose_value=False,
        callback=_note_json,
        help="Print results as JSON lines.",
    )


def _note_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[JSON] = True


def project_options() -> list[click.Option]:
    """Return the options that say what to work on, which may stand before and after a command's name."""
    option = partial(click.Option, expose_value=False, callback=_note)
    return [
        option(
            ["--app"],
            multiple=True,
            metavar="MODULE:NAME",
            help="The declarative base or MetaData of the models; repeat it for all of the database. Or a Litestar "
            "application with FileColumnPlugin, or a function that returns one.",
        ),
        option(
            ["--url"],
            envvar="FILECOLUMN_URL",
            metavar="URL",
            help="The database, with a sync or async driver (FILECOLUMN_URL).",
        ),
        option(["--setup"], metavar="MODULE:CALL", help="A function that registers the storages."),
        json_option(),
    ]


def _note(context: click.Context, option: click.Parameter, value: str | Sequence[str] | None) -> None:
    """Take note of an option; one on the command line counts more than the environment, the last one most."""
    given: Given = context.meta.setdefault(_GIVEN, Given())
    if not value:
        return
    if not isinstance(value, str):
        given.app += value
        return
    is_written = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    if is_written or getattr(given, option.name) is None:
        setattr(given, option.name, value)


@rich_click.group(context_settings={"help_option_names": ["-h", "--help"]}, params=project_options())
@click.version_option(package_name="filecolumn")
@click.pass_context
def main(context: click.Context) -> None:
    """Keep storages and rows in agreement.

    Options that are the same every time may stand in pyproject.toml: [tool.filecolumn] with app, url
    and setup.  They may stand before and after a command's name.

    Exit codes: 0 nothing is wrong, 1 something was found, 2 wrong usage, 3 refused or failed, 130 Ctrl-C.
    """
    given: Given = context.meta.setdefault(_GIVEN, Given())
    context.meta[OPENING] = partial(read_project, given)


@main.group(params=project_options(), help=TRIGGERS_HELP)
def triggers() -> None:
    """Take the options of the commands."""


for _each in COMMANDS:
    main.add_command(with_options(_each, project_options()))
for _each in TRIGGERS:
    triggers.add_command(with_options(_each, project_options()))
