"""Azurite: Microsoft's emulator of Azure's blobs; from npm, into `.nox/node` or anywhere on the PATH.

`npm install --prefix .nox/node --ignore-scripts azurite@3.35.0`; the container names of a test have
three letters or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import Endpoint, free_port, program, running

ACCOUNT = "devstoreaccount1"
# Published by Microsoft for its emulators
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PROGRAM = Path(__file__).parents[2] / ".nox/node/node_modules/.bin/azurite-blob"


@contextmanager
def serving(folder: Path) -> Iterator[Endpoint]:
    """Start an account that lives in memory."""
    command = program(str(PROGRAM), "azurite-blob", hint="npm install --prefix .nox/node azurite@3.35.0")
    port = free_port()
    options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
    address = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running([command, *options, *address], port, folder / "log"):
        yield Endpoint(f"http://127.0.0.1:{port}/{ACCOUNT}", ACCOUNT, KEY)
