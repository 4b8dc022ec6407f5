"""Imports go down only: a module imports from its own layer or from those below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import filecolumn

PACKAGE = Path(filecolumn.__file__).parent
LAYERS: dict[float, tuple[str, ...]] = {
    0: ("errors", "failpoints", "public", "workers"),
    1: (
        "handles",
        "source",
        "sync_sources",
        "async_sources",
        "content",
        "naming",
        "templates",
        "facts",
        "readonly",
        "meter",
        "signatures",
        "mediatypes",
        "sniffing",
        "policy",
        "signing",
        "backends",
        "backends.base",
        "backends.descriptors",
        "backends.local",
        "backends.reader",
        "backends.threads",
        "backends.parts",
        "backends.translate",
        "logs",
        "backends.options",
        "backends.addresses",
    ),
    2: (
        "backends.obstore_store",
        "backends.filesystem",
        "backends.object_stores",
        "backends.serial",
        "backends.staged",
        "backends.obstore_terms",
        "backends.obstore_base",
        "backends.obstore_async",
        "backends.obstore",
        "backends.fsspec",
        "backends.urls",
        "registry",
    ),
    3: (
        "feed",
        "transfer",
        "described",
        "owner",
        "state",
        "value",
        "reading",
        "grants",
        "taking",
        "signed",
        "granted",
        "file",
        "lists",
        "interchange",
        "forms",
        "pydantic_schema",
    ),
    # `testing` itself is above: it brings what compares rows and storages
    2.5: (
        "testing.wrapping",
        "testing.faulty",
        "testing.ways",
        "testing.harness",
        "testing.writing",
        "testing.reading",
        "testing.keeping",
        "testing.identity",
        "testing.stateful",
        "testing.suite",
    ),
    4: (
        "orm",
        "orm.type",
        "orm.ledger",
        "orm.recording",
        "orm.recorder",
        "orm.draining",
        "orm.outcome",
        "orm.watching",
        "orm.references",
        "orm.columns",
        "orm.creation",
        "orm.defaults",
        "orm.engines",
        "orm.locks",
        "orm.place",
        "orm.prepared",
        "orm.rereading",
        "orm.unit",
        "orm.bridge",
        "orm.rows",
        "orm.attributes",
        "orm.keys",
        "orm.sources",
        "orm.unions",
        "orm.frames",
        "orm.conflicts",
        "orm.admission",
        "orm.granting",
        "orm.slots",
        "orm.held",
        "orm.storing",
        "orm.giving",
        "orm.ledger_changes",
        "orm.flush",
        "orm.statements",
        "orm.dml",
        "orm.matching",
        "orm.uniques",
        "orm.statement_unit",
        "orm.inserts",
        "orm.updates",
        "orm.alembic",
    ),
    5: ("orm.events", "orm.bulk", "orm.alembic_plugin"),
    7: ("",),
}
LAYER_OF = {f"filecolumn.{name}".rstrip("."): layer for layer, names in LAYERS.items() for name in names}


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


@pytest.mark.parametrize("module", [module for module in MODULES if module in LAYER_OF])
def test_a_module_imports_from_its_own_layer_or_below(module: str) -> None:
    above = [
        name
        for name in imports(MODULES[module])
        if name.partition(".")[0] == "filecolumn" and LAYER_OF.get(name, 99) > LAYER_OF[module]
    ]
    assert above == []


def test_the_modules_of_the_core_all_have_a_layer() -> None:
    """Rooms above the core (maintenance, litestar, testing, cli) may come; they are above all of these."""
    above = ("maintenance", "litestar", "testing", "cli", "__main__")
    assert [name for name in MODULES if name not in LAYER_OF and name.split(".")[1] not in above] == []


def test_imports_form_no_circle() -> None:
    waiting = {name: {other for other in imports(path) if other in MODULES} for name, path in MODULES.items()}
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


@pytest.mark.parametrize(
    "module",
    [
        "orm.unit",
        *(name for layer in (1, 2, 3) for name in LAYERS[layer] if f"filecolumn.{name}" in MODULES),
    ],
)
def test_what_is_not_for_sqlalchemy_does_not_import_it(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(MODULES[f"filecolumn.{module}"])}
    assert "sqlalchemy" not in roots


@pytest.mark.parametrize(
    ("package", "module"),
    [("fsspec", "filecolumn.backends.filesystem")],
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
