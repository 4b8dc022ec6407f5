"""The fixture `driver` on SQLite only, for a module whose tests do not depend on the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import ON_SQLITE, open_driver

__all__ = ("driver",)


@pytest.fixture(params=ON_SQLITE)
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """A database with the tables of the models."""
    async with open_driver(request.param, tmp_path) as made:
        yield made
