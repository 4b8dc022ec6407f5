"""The live application of the tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.litestar.application import application
from tests.litestar.server import LiveServer, serve

__all__ = ("http", "live")


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Forgive a connection whose server was stopped while SQLAlchemy closed it, in a task of its own.

    It does so for a request that was cancelled.  The tests of cancellation count connections themselves.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:<aiosqlite.core.Connection:ResourceWarning"))


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Collect what a module's servers have left within the module."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path)) as server:
        yield server


@pytest.fixture
def http(live: LiveServer) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client
