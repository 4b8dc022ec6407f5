"""`litestar files`: commands about storages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from litestar import Litestar
from litestar.cli._utils import LitestarGroup  # gives the application to commands that ask for it
from rich_click import RichCommand

from filecolumn.cli.commands import COMMANDS, TRIGGERS, TRIGGERS_HELP, json_option, with_options
from filecolumn.cli.running import OPENING, MaintenanceCommand
from filecolumn.litestar.health import check_storages
from filecolumn.registry import storages

__all__ = ("files_group",)


def list_storages(app: Litestar) -> None:
    """List the storages that the application registers, and who signs their URLs."""
    asyncio.run(_list_storages(app))


def probe_storages(app: Litestar) -> None:
    """Write, read and delete a few bytes in each storage; the exit status is 1 if one fails."""
    if not asyncio.run(_probe(app)):
        raise SystemExit(1)


def new_signing_key() -> None:
    """Print a new value for `signing_key`."""
    click.echo(secrets.token_urlsafe(32))


async def _list_storages(app: Litestar) -> None:
    async with app.lifespan():
        for backend in storages.all():
            signer = "the storage" if backend.capabilities.signs else "the application"
            click.echo(f"{backend.key}\t{backend.location}\tURLs signed by {signer}")


async def _probe(app: Litestar) -> bool:
    async with app.lifespan():
        health = await check_storages()
    for key, found in health.items():
        click.echo(f"{key}\t{'ok' if found.is_healthy else found.error}\t{found.seconds:.3f} s")
    return all(found.is_healthy for found in health.values())


def _of_application(command: MaintenanceCommand) -> MaintenanceCommand:
    """Return a command that works on what the plugin of the application knows."""
    body: Callable[..., object] = command.callback or (lambda: None)

    def run(app: Litestar, **options: Any) -> object:  # noqa: ANN401 - the command's own
        # the plugin has this module's commands
        project_of: Callable[[Litestar], object] = import_module("filecolumn.litestar.project").project_of
        click.get_current_context().meta[OPENING] = lambda: project_of(app)
        return body(**options)

    made = with_options(command, [json_option()])
    made.callback = run
    return made


files_group: LitestarGroup = LitestarGroup(
    name="files",
    help="Look after files: their storages, their rows and the ledger.",
    params=[json_option()],
)
_triggers = LitestarGroup(name="triggers", help=TRIGGERS_HELP, params=[json_option()])
for _each in COMMANDS:
    files_group.add_command(_of_application(_each))
for _each in TRIGGERS:
    _triggers.add_command(_of_application(_each))
files_group.add_command(_triggers)
files_group.add_command(RichCommand(name="storages", callback=list_storages, help=list_storages.__doc__))
files_group.add_command(RichCommand(name="probe", callback=probe_storages, help=probe_storages.__doc__))
files_group.add_command(
    RichCommand(name="new-signing-key", callback=new_signing_key, help=new_signing_key.__doc__)
)
