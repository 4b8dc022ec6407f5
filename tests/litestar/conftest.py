"""The live application of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.litestar.application import application
from tests.litestar.server import LiveServer, serve
from tests.servers.radosgw import radosgw

__all__ = ("http", "live", "radosgw")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path)) as server:
        yield server


@pytest.fixture
def http(live: LiveServer) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client
