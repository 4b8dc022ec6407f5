"""A database of each kind, sync and async, and a storage that can be looked into."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from tests.maintenance.world import WAYS, database, storage, world
from tests.profiles import NAME

__all__ = ("database", "storage", "world")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one way to call each server, sync or async: both are for hours."""
    left = [item for item in items if NAME != "soak" and HERE in item.path.parents and not _is_in_turn(item)]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


def _is_in_turn(item: pytest.Item) -> bool:
    """Return whether a test is sync on one server and async on the other, which of them by its name."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return True
    kind, _, way = str(item.callspec.params.get("world")).partition("-")
    if kind not in {"postgresql", "mariadb"}:
        return True
    others = [str(value) for name, value in item.callspec.indices.items() if name != "world"]
    turn = crc32(f"{item.nodeid.partition('[')[0]} {others}".encode())
    return way == WAYS[(turn + (kind == "mariadb")) % len(WAYS)]
