"""The fixture `tables`, for a module whose tests use `more_models`."""

from __future__ import annotations

import pytest

from tests.scenarios.drivers import Driver
from tests.scenarios.more_models import create_tables

__all__ = ("tables",)


@pytest.fixture
async def tables(driver: Driver) -> None:
    """The tables of `more_models`, which `driver` does not make."""
    await create_tables(driver)
