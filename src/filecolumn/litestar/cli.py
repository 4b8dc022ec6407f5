"""`litestar files`: commands about storages."""

from __future__ import annotations

import asyncio
import secrets

import click
from litestar import Litestar
from litestar.cli._utils import LitestarGroup  # gives the application to commands that ask for it
from rich_click import RichCommand

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


files_group: LitestarGroup = LitestarGroup(name="files", help="Look after the storages of files.")
files_group.add_command(RichCommand(name="storages", callback=list_storages, help=list_storages.__doc__))
files_group.add_command(RichCommand(name="probe", callback=probe_storages, help=probe_storages.__doc__))
files_group.add_command(
    RichCommand(name="new-signing-key", callback=new_signing_key, help=new_signing_key.__doc__)
)
