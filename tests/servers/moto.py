"""moto: S3 as AWS answers it, versions and conditional requests included.

It takes any signature, also one that has expired: what is proved of those is proved on radosgw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import Endpoint, free_port, running, unavailable


@dataclass(frozen=True, slots=True)
class MotoServer(Endpoint):
    """The endpoint, and the log of its requests if it was started here."""

    log: Path | None = None


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """The endpoint of an S3 that is empty at first."""
    if named := Endpoint.named("FILECOLUMN_TEST_S3"):
        yield MotoServer(named.url, named.user, named.password)
        return
    try:
        import moto.server  # noqa: PLC0415 - slow, and needed by few
    except ImportError as error:
        unavailable(f"moto is not installed: {error}")
    assert moto.server
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, log):
        yield MotoServer(f"http://127.0.0.1:{port}", log=log)
