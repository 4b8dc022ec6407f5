"""What pyproject.toml says of the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
SOURCE_URL: str = PROJECT["urls"]["Source"]
EXTRAS: tuple[str, ...] = tuple(PROJECT["optional-dependencies"])

_A_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def python_versions() -> list[str]:
    """Return the Python versions of the classifiers, as 3.11."""
    return [found[1] for each in PROJECT["classifiers"] if (found := _A_PYTHON.fullmatch(each))]
