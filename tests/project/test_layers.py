"""Layers are folders, and imports go down only; importing a module does nothing but define names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.project.imports import MODULES, imports, part_of, source

ORDER = (
    {"errors", "redaction", "_failpoints", "logs", "naming", "signing", "_threads", "_workers"},
    {"content"},
    {"backends"},
    {"files"},
    {"ledger", "http"},
    {"orm"},
    {"maintenance", "query"},
    {"alembic", "cli", "testing"},
    {"litestar"},
    {""},  # `import filecolumn`: the public names
    {"__main__"},
)
"""From the lowest; those in one line do not import each other, but for the modules of the first."""
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}

REGISTRATIONS = {
    "atexit.register",
    "before_closing",
    "event.listen",
    "os.register_at_fork",
    "pytest.register_assert_rewrite",
    "Operations.register_operation",
    "Operations.implementation_for",
}
"""What may be called when a module is imported: others call us later."""
USES_SQLALCHEMY = {"filecolumn.files.execution"}
"""It runs transfers in SQLAlchemy's greenlet."""

# Exceptions, by module: those marked (stays) have a reason, the others are to be removed.
UPWARDS: set[tuple[str, str]] = set()
IMPORTED_WITHIN = {
    # (stays) msgspec may be missing, and to import it takes longer than to read a few rows without it
    ("filecolumn.files.facts", "filecolumn.files._msgspec"),
    # (stays) pydantic may be missing: what needs it is imported when a model of pydantic has a file
    ("filecolumn.files.file", "filecolumn.files._pydantic"),
    ("filecolumn.files.file_list", "filecolumn.files._pydantic"),
}
CALLED_AT_IMPORT = {
    ("filecolumn.cli.commands", "main.add_command"),  # (stays) commands join their own group
    ("filecolumn.cli.commands", "triggers.add_command"),  # (stays)
}
NOT_FOR_TYPE_CHECKERS = {
    "filecolumn.orm.asynchronous",  # (stays) greenlet may be missing: stand-ins of which nothing is an instance
}


def test_each_folder_and_each_module_beside_the_folders_has_a_level() -> None:
    assert {part_of(module) for module in MODULES} - LEVEL.keys() == set()


def test_imports_go_down_by_folder() -> None:
    upwards = {
        (module, other)
        for module in MODULES
        for other in imports(module)
        if other in MODULES
        and part_of(other) != part_of(module)
        and LEVEL[part_of(other)] >= max(LEVEL[part_of(module)], 1)
    }
    assert upwards == UPWARDS


def test_imports_form_no_circle() -> None:
    waiting = {module: {other for other in imports(module) if other in MODULES} for module in MODULES}
    while ready := [module for module, others in waiting.items() if not others & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert waiting == {}


def test_what_is_not_for_sqlalchemy_does_not_import_it() -> None:
    """Only the errors of the first line may know it: some are errors of SQLAlchemy, too."""
    users = {
        module for module in MODULES if "sqlalchemy" in {name.partition(".")[0] for name in imports(module)}
    }
    assert {
        user for user in users if part_of(user) in {"content", "backends", "files", "http"}
    } == USES_SQLALCHEMY
    assert {user for user in users if LEVEL[part_of(user)] == 0} == {"filecolumn.errors"}


@pytest.mark.parametrize(("package", "module"), [("fsspec", "filecolumn.backends._filesystems")])
def test_a_package_that_may_be_replaced_is_imported_by_its_own_module_only(package: str, module: str) -> None:
    assert {user for user in MODULES for other in imports(user) if other.partition(".")[0] == package} == {
        module
    }


def test_imports_stand_at_the_top() -> None:
    within = {
        (module, name)
        for module in MODULES
        for function in ast.walk(source(module))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert within == IMPORTED_WITHIN


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that an import runs, those in classes and branches included."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in ast.iter_child_nodes(statement):
                parts = inner.body if isinstance(inner, ast.ExceptHandler) else [inner]
                yield from at_import([part for part in parts if isinstance(part, ast.stmt)])


def test_an_import_calls_nothing_but_listeners() -> None:
    """The value of a name or a decorator may be a call; a call for its effect may not."""
    called = {
        (module, ast.unparse(statement.value.func).partition("(")[0])
        for module in MODULES
        if part_of(module) != "__main__"
        for statement in at_import(source(module).body)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    }
    assert {(module, name) for module, name in called if name not in REGISTRATIONS} == CALLED_AT_IMPORT


def test_type_checkers_see_what_runs() -> None:
    """`if TYPE_CHECKING:` may import what is not there at run time; nothing runs instead of it."""
    hidden = {
        module
        for module in MODULES
        for node in ast.walk(source(module))
        if isinstance(node, ast.If)
        and (
            ast.unparse(node.test) == "not TYPE_CHECKING"
            or (node.orelse and ast.unparse(node.test) == "TYPE_CHECKING")
        )
    }
    assert hidden == NOT_FOR_TYPE_CHECKERS
