"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from filecolumn import storages


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    """Give each test the global registry empty."""
    storages.clear_backends()
    yield
    storages.clear_backends()
