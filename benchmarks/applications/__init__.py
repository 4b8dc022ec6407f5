"""Applications that send and receive files: called without a server for small files, and by uvicorn for large ones."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import find_in

MODULES = ("ours", "litestar", "starlette")


def find() -> tuple[dict[str, type[Any]], dict[str, str]]:
    """Return the applications by name, and why modules are left out."""
    return find_in(__name__, MODULES)
