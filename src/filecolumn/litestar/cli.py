"""`litestar files`: commands about storages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any

import click
from litestar import Litestar
from litestar.cli._utils import LitestarGroup  # gives the application to commands that ask for it

from filecolumn.backends.health import check_storages
from filecolumn.backends.registry import storages
from filecolumn.cli.commands import COMMANDS, TRIGGERS, TRIGGERS_HELP, json_option, with_options
from filecolumn.cli.output import Output
from filecolumn.cli.running import FOUND, JSON, OPENING, MaintenanceCommand, end

__all__ = ("files_group",)


def list_storages(app: Litestar) -> None:
    """List the storages that the application registers, and who signs their URLs."""
    asyncio.run(_list_storages(app, _output()))


def probe_storages(app: Litestar) -> None:
    """Write, read and delete a few bytes in each storage; exit code 1 if one fails."""
    if not asyncio.run(_probe(app, _output())):
        end(FOUND)


def new_signing_key() -> None:
    """Print a new value for `signing_key`."""
    click.echo(secrets.token_urlsafe(32))


async def _list_storages(app: Litestar, output: Output) -> None:
    async with _project().started(app, output):
        for backend in storages.all():
            signer = "the storage" if backend.capabilities.signs else "the application"
            facts = {"key": backend.key, "location": backend.location, "signer": signer}
            text = f"{backend.key}\t{backend.location}\tURLs signed by {signer}"
            output.fact({"storage": facts}, text)


async def _probe(app: Litestar, output: Output) -> bool:
    async with _project().started(app, output):
        health = await check_storages()
    for key, found in health.items():
        text = f"{key}\t{'ok' if found.is_healthy else found.error}\t{found.seconds:.3f} s"
        output.fact({"probe": {"key": key, **asdict(found)}}, text)
    return all(found.is_healthy for found in health.values())


def _output() -> Output:
    return Output(as_json=bool(click.get_current_context().meta.get(JSON)))


def _project() -> Any:  # noqa: ANN401 - a module
    """Return what runs the application; the plugin has this module's commands, so it is imported late."""
    return import_module("filecolumn.litestar.project")


def _of_application(command: MaintenanceCommand) -> MaintenanceCommand:
    """Return a command that works on what the plugin of the application knows."""
    body: Callable[..., object] = command.callback or (lambda: None)

    def run(app: Litestar, **options: Any) -> object:  # noqa: ANN401 - the command's own
        click.get_current_context().meta[OPENING] = lambda: _project().project_of(app)
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
for _name, _body in (("storages", list_storages), ("probe", probe_storages)):
    files_group.add_command(
        MaintenanceCommand(name=_name, callback=_body, help=_body.__doc__, params=[json_option()])
    )
files_group.add_command(
    MaintenanceCommand(name="new-signing-key", callback=new_signing_key, help=new_signing_key.__doc__)
)
