"""`litestar files`: the commands of maintenance for an application, and some about its storages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from litestar import Litestar
from litestar.cli._utils import LitestarGroup  # gives the application to commands that ask for it

from filecolumn.backends.health import check_storages
from filecolumn.backends.registry import storages
from filecolumn.cli.commands import COMMANDS, TRIGGERS, TRIGGERS_HELP, json_option, with_options
from filecolumn.cli.output import Output
from filecolumn.cli.running import FOUND, JSON, OPENING, MaintenanceCommand, end
from filecolumn.litestar.project import project_of, started

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
    async with started(app, output):
        for backend in storages.all():
            signer = "the storage" if backend.capabilities.signs else "the application"
            facts = {"key": backend.key, "location": backend.location, "signer": signer}
            text = f"{backend.key}\t{backend.location}\tURLs signed by {signer}"
            output.fact({"storage": facts}, text)


async def _probe(app: Litestar, output: Output) -> bool:
    async with started(app, output):
        health = await check_storages()
    for key, found in health.items():
        text = f"{key}\t{'ok' if found.is_healthy else found.error}\t{found.seconds:.3f} s"
        output.fact({"probe": {"key": key, **asdict(found)}}, text)
    return all(found.is_healthy for found in health.values())


def _output() -> Output:
    return Output(as_json=bool(click.get_current_context().meta.get(JSON)))


def _of_application(command: MaintenanceCommand) -> MaintenanceCommand:
    """Return a command that works on what the plugin of the application knows."""
    body: Callable[..., object] = command.callback or (lambda: None)

    def run(app: Litestar, **options: Any) -> object:  # noqa: ANN401 - the command's own
        click.get_current_context().meta[OPENING] = lambda: project_of(app)
        return body(**options)

    made = with_options(command, [json_option()])
    made.callback = run
    return made


def files_group() -> LitestarGroup:
    """Return the commands `litestar files`."""
    group = LitestarGroup(
        name="files",
        help="Look after files: their storages, their rows and the ledger.",
        params=[json_option()],
    )
    triggers = LitestarGroup(name="triggers", help=TRIGGERS_HELP, params=[json_option()])
    for command in COMMANDS:
        group.add_command(_of_application(command))
    for command in TRIGGERS:
        triggers.add_command(_of_application(command))
    group.add_command(triggers)
    for name, body in (("storages", list_storages), ("probe", probe_storages)):
        group.add_command(
            MaintenanceCommand(name=name, callback=body, help=body.__doc__, params=[json_option()])
        )
    group.add_command(
        MaintenanceCommand(name="new-signing-key", callback=new_signing_key, help=new_signing_key.__doc__)
    )
    return group
