"""The reference has every public name, and of each class every public field, property and method."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PUBLIC = (
    "filecolumn",
    "filecolumn.alembic",
    "filecolumn.backends",
    "filecolumn.backends.base",
    "filecolumn.backends.fsspec",
    "filecolumn.backends.obstore",
    "filecolumn.content",
    "filecolumn.errors",
    "filecolumn.files",
    "filecolumn.http",
    "filecolumn.litestar",
    "filecolumn.maintenance",
    "filecolumn.alembic.operations",
    "filecolumn.query",
    "filecolumn.testing",
    "filecolumn.testing.failpoints",
)
"""Modules whose names are all public; of others only those that the reference has."""

_DIRECTIVE = re.compile(r"^\.\. (?P<kind>auto\w+|py:\w+):: (?P<name>[\w.]+)(?:\([\w, ]*\))?$")
_OPTION = re.compile(r"^   :(?P<option>[\w-]+):(?P<value>.*)$")


@dataclass(frozen=True)
class Entry:
    """What the reference has of one name."""

    kind: str
    name: str
    options: Mapping[str, str]

    def names(self, option: str) -> set[str]:
        """Return the members that an option names."""
        return {name.strip() for name in self.options.get(option, "").split(",") if name.strip()}

    @property
    def shows_all(self) -> bool:
        return self.options.get("members") == ""


def entries() -> Iterator[Entry]:
    for page in sorted(REFERENCE.glob("*.md")):
        found: Entry | None = None
        options: dict[str, str] = {}
        for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
            if found is not None and (option := _OPTION.match(line)):
                options[option["option"]] = option["value"].strip()
                continue
            if found is not None:
                yield found
            options = {}
            directive = _DIRECTIVE.match(line)
            found = Entry(directive["kind"], directive["name"], options) if directive else None


SHOWN = list(entries())
ENTRIES = {entry.name: entry for entry in SHOWN}
CLASSES = [entry for entry in ENTRIES.values() if entry.kind in {"autoclass", "autoexception"}]


def load(name: str) -> object:
    """Return what a dotted name is; a test is skipped without the package that it needs."""
    if name.startswith("filecolumn.alembic"):
        pytest.importorskip("alembic")
    first, *parts = name.split(".")
    found: object = importlib.import_module(first)
    for part in parts:
        if isinstance(found, ModuleType) and not hasattr(found, part):
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError as error:
                if str(error.name).startswith("filecolumn"):
                    raise AssertionError(f"there is no {name}") from error
                pytest.skip(f"an optional package is missing: {error}")
        else:
            # a function before the module of the same name
            found = getattr(found, part)
    return found


def is_shown(module: str, name: str) -> bool:
    """Return whether the reference has the name, or, for a twin, the call that it is one of."""
    names = {name, name.removesuffix("_async")}
    within = ENTRIES.get(module)
    return any(entry.rpartition(".")[2] in names for entry in ENTRIES) or (
        within is not None and name in within.names("members")
    )


def members_apart(entry: Entry) -> set[str]:
    """Return the members of a class that have entries of their own, as those of a long class do in sections."""
    parts = (name.rpartition(".") for name in ENTRIES)
    return {member for owner, _, member in parts if owner == entry.name}


@cache
def documented(kind: type[object]) -> dict[str, bool]:
    """Return the names that the body of a class binds, and whether each has a text, as Sphinx reads them."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, bool] = {}
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = bool(ast.get_docstring(node)) or found.get(name, False)
            case _:
                pass
    return found


def public_members(kind: type[object]) -> dict[str, bool]:
    """Return what a class adds to its bases, and whether each has a text; every field of a dataclass."""
    inherited = {name for base in kind.__mro__[1:] for name in vars(base)}
    own = {
        name: has_text
        for name, has_text in documented(kind).items()
        if name[0] != "_" and name not in inherited and not name.startswith("test_")
    }
    if is_dataclass(kind):
        own.update(
            {field.name: False for field in fields(kind) if field.name[0] != "_" and field.name not in own}
        )
    return own


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_each_public_name(module: str) -> None:
    loaded = load(module)
    assert isinstance(loaded, ModuleType)
    assert [name for name in loaded.__all__ if not is_shown(module, name)] == []


def test_the_reference_has_each_name_once() -> None:
    names = [entry.name for entry in SHOWN]
    names += [f"{entry.name}.{member}" for entry in CLASSES for member in entry.names("members")]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    twice = [entry.name for entry in CLASSES if entry.shows_all and members_apart(entry)]
    assert [
        name for name in twice if not members_apart(ENTRIES[name]) <= ENTRIES[name].names("exclude-members")
    ] == []


@pytest.mark.parametrize("name", ENTRIES)
def test_each_name_of_the_reference_is_there(name: str) -> None:
    assert load(name) is not None


@pytest.mark.parametrize("entry", CLASSES, ids=lambda entry: entry.name)
def test_the_reference_has_each_member_of_a_class_and_each_has_a_text(entry: Entry) -> None:
    kind = load(entry.name)
    assert isinstance(kind, type)
    assert kind.__doc__
    if getattr(kind, "_is_protocol", False):
        # what it asks for is somebody else's
        return
    members = public_members(kind)
    named = entry.names("members") | entry.names("exclude-members")
    apart = members_apart(entry)
    assert [name for name in members if not entry.shows_all and name not in named and name not in apart] == []
    assert [name for name, has_text in members.items() if not has_text and name not in named] == []


def test_the_options_of_the_plugin_are_shown_with_their_defaults() -> None:
    kind = load("filecolumn.litestar.FileColumnConfig")
    assert isinstance(kind, type)
    defaults = kind()
    for option in fields(kind):
        shown = ENTRIES[f"filecolumn.litestar.FileColumnConfig.{option.name}"].options["annotation"]
        value = repr(getattr(defaults, option.name)) if option.name != "response_defaults" else "Serving()"
        assert shown.rpartition(" = ")[2] == value, option.name
