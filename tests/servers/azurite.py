"""Azurite: Microsoft's emulator of Azure's blobs; from npm, into `.nox/node` or anywhere on the PATH.

`npm install --prefix .nox/node --ignore-scripts azurite@3.35.0`; the container names of a test have
three letters or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import Endpoint, free_port, program, running

ACCOUNT = "devstoreaccount1"
# Published by Microsoft for its emulators
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PROGRAM = Path(__file__).parents[2] / ".nox/node/node_modules/.bin/azurite-blob"


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint of an account."""
    if named := Endpoint.named("FILECOLUMN_TEST_AZURE"):
        yield Endpoint(named.url, ACCOUNT, KEY)
        return
    command = program(str(PROGRAM), "azurite-blob", hint="npm install --prefix .nox/node azurite@3.35.0")
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
    address = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running([command, *options, *address], port, folder / "log"):
        yield Endpoint(f"http://127.0.0.1:{port}/{ACCOUNT}", ACCOUNT, KEY)
