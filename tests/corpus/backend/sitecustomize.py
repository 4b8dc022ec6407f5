"""The build backend of every source package: it tells pip a name and a version, and runs nothing of the package.

Python imports this module when it starts, where `PYTHONPATH` has its folder; pip calls the hooks of
https://peps.python.org/pep-0517/ in a process of their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__legacy__ = sys.modules[__name__]
"""The object of `setuptools.build_meta` that has the hooks for packages without a pyproject.toml."""

FIELDS = ("Metadata-Version:", "Name:", "Version:")


def get_requires_for_build_wheel(_settings: object = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(folder: str, _settings: object = None) -> str:
    header = Path("PKG-INFO").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    made = Path(folder, "package.dist-info")
    made.mkdir()
    lines = [line for line in header.splitlines() if line.startswith(FIELDS)]
    (made / "METADATA").write_text("\n".join(lines), encoding="utf-8")
    return made.name


if backend := os.environ.get("_PYPROJECT_HOOKS_BUILD_BACKEND"):
    sys.modules[backend.partition(":")[0]] = sys.modules[__name__]
