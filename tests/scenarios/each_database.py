"""A fixture to be imported: each kind of database once, sync or async; the asynchronous SQLite is extended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import on_servers, open_driver

__all__ = ("driver",)


@pytest.fixture(
    params=[
        "sync-file",
        pytest.param("async-file", marks=pytest.mark.extended),
        *on_servers(["psycopg", "asyncmy"]),
    ]
)
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """Each kind of database, sync or async."""
    async with open_driver(request.param, tmp_path) as made:
        yield made
