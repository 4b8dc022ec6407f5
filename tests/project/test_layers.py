"""Imports go down only: a module imports from its own layer or from those below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import filecolumn

PACKAGE = Path(filecolumn.__file__).parent
ORDER = (
    {
        "errors",
        "redaction",
        "_failpoints",
        "_public",
        "_workers",
        "_threads",
        "naming",
        "signing",
        "logs",
    },  # these may import each other
    {"content"},
    {"backends"},
    {"files"},
    {"ledger", "http"},
    {"orm"},
    {"maintenance"},
    {"alembic", "testing", "cli"},
    {"litestar", "__main__"},
)
"""Modules and folders, those at the bottom first; what stands together imports nothing of each other."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, also below functions and `TYPE_CHECKING`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield from (
                    submodule if (submodule := f"{module}.{name.name}") in MODULES else module
                    for name in names
                )
            case ast.ImportFrom():
                raise AssertionError(f"a relative import in {path}")
            case _:
                continue


def folder_of(module: str) -> str:
    return [*module.split("."), ""][1]


def level_of(module: str) -> int:
    return next(level for level, folders in enumerate(ORDER) if folder_of(module) in folders)


def test_imports_go_down_only() -> None:
    upward = [
        (module, other)
        for module, path in MODULES.items()
        for other in imports(path)
        if module != "filecolumn"
        and other in MODULES
        and folder_of(other) != folder_of(module)
        and (level_of(other) > level_of(module) or (level_of(other) == level_of(module) and level_of(module)))
    ]
    assert upward == []


def test_imports_form_no_circle() -> None:
    waiting = {name: {other for other in imports(path) if other in MODULES} for name, path in MODULES.items()}
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


def test_what_is_not_for_sqlalchemy_does_not_import_it() -> None:
    users = {
        module
        for module, path in MODULES.items()
        if module != "filecolumn"
        if level_of(module) < level_of("filecolumn.ledger") or folder_of(module) == "http"
        if "sqlalchemy" in {name.partition(".")[0] for name in imports(path)}
    }
    # errors that its events may raise; its greenlet carries transfers from a synchronous flush to the event loop
    assert users <= {"filecolumn.errors", "filecolumn.files.execution"}


@pytest.mark.parametrize(
    ("package", "module"),
    [("fsspec", "filecolumn.backends._filesystems")],
)
def test_a_package_that_may_be_replaced_is_imported_by_its_own_module_only(package: str, module: str) -> None:
    users = {
        name
        for name, path in MODULES.items()
        for other in imports(path)
        if other.partition(".")[0] == package
    }
    assert users == {module}


def test_imports_stand_at_the_top() -> None:
    inner = [
        (module, node.lineno)
        for module, path in MODULES.items()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inner == []
