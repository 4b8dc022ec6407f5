"""A plugin of pytest that refuses to run where filecolumn is not the installed one: `-p tests.release.installed`."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

import filecolumn


def pytest_configure() -> None:
    """End the run, in each process of it, unless filecolumn comes from site-packages."""
    found, expected = Path(filecolumn.__file__), Path(sysconfig.get_path("purelib"))
    if not found.is_relative_to(expected):
        raise pytest.UsageError(f"filecolumn is imported from {found}, not from {expected}")
