"""The modules of filecolumn and what each imports, read from their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ("MODULES", "PACKAGE", "imports", "part_of", "source")

PACKAGE = Path(__file__).parents[2] / "src" / "filecolumn"


def _name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def source(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(MODULES[module].read_text())


def imports(module: str) -> Iterator[str]:
    """Yield the modules that a module imports, also below functions and `TYPE_CHECKING`."""
    for node in ast.walk(source(module)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(origin), level=0, names=names):
                yield from (
                    submodule if (submodule := f"{origin}.{name.name}") in MODULES else origin
                    for name in names
                )
            case ast.ImportFrom():
                raise AssertionError(f"a relative import in {MODULES[module]}")
            case _:
                continue


def part_of(module: str) -> str:
    """Return the folder of filecolumn that a module is in, or its name where it is in none; "" is the top."""
    return module.removeprefix("filecolumn").lstrip(".").partition(".")[0]
