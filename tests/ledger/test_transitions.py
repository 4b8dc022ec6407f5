"""The ledger's statements stand in one module: whoever looks for what dooms a key need not look elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import filecolumn
from filecolumn.ledger import transitions

PACKAGE = Path(filecolumn.__file__).parent
HOME = "ledger/transitions.py"
WRITERS = {"update", "insert", "delete"}

EXCEPTIONS = {
    "ledger/triggers.py": "triggers are SQL text, which databases keep",
    "ledger/table.py": "facts about the database, in the other table",
    "ledger/columns.py": "facts about the database, in the other table",
    "ledger/owner.py": "facts about the database, in the other table",
    "ledger/proofs.py": "proofs of commits, in the other table",
    "ledger/locks.py": "an UPDATE of no row takes SQLite's lock",
}
"""Files that write something else, or otherwise."""


def names_of_writers(tree: ast.Module) -> dict[str, str]:
    """Return by which names a module has SQLAlchemy's functions that write."""
    return {
        each.asname or each.name: each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sqlalchemy"
        for each in node.names
        if each.name in WRITERS
    }


def writes(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what SQL is written to: `x` of `update(x)`, and of `x.table.update()`."""
    names = names_of_writers(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[target, *_]) if name in names:
                yield target
            case ast.Call(func=ast.Attribute(value=target, attr=name), args=[]) if name in WRITERS:
                yield target
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name), args=[target, *_]) if (
                name in WRITERS and module in {"sqlalchemy", "sa", "postgresql", "sqlite", "mysql"}
            ):
                yield target
            case _:
                continue


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield the strings that are not docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


@pytest.mark.parametrize(
    "code",
    [
        "from sqlalchemy import update as change\nchange(ledger.table)",
        "from sqlalchemy.dialects.postgresql import insert\ninsert(ledger.table)",
        "import sqlalchemy as sa\nsa.delete(ledger.table)",
        "ledger.table.update().where()",
    ],
)
def test_a_statement_is_seen_however_it_is_made(code: str) -> None:
    assert [ast.unparse(target) for target in writes(ast.parse(code))] == ["ledger.table"]


def test_the_ledger_is_written_by_one_module_and_by_its_triggers() -> None:
    """What others write is the other table: `....meta`, or a table of their own that is no attribute."""
    strays = [
        (file, target.lineno, ast.unparse(target))
        for file, tree in parsed()
        if file != HOME
        for target in writes(tree)
        if ast.unparse(target).endswith(".table")
        or (file not in EXCEPTIONS and "ledger" in ast.unparse(target))
    ]
    assert strays == []


def test_exceptions_write_to_the_other_table_only() -> None:
    written = {
        file: {ast.unparse(target) for target in writes(tree)}
        for file, tree in parsed()
        if file in EXCEPTIONS
    }
    assert {file: targets for file, targets in written.items() if not targets} == {
        "ledger/triggers.py": set()
    }
    assert {target.rpartition(".")[2] for targets in written.values() for target in targets} == {
        "meta",
        "bare",  # any table, whose rows stay as they are
    }


def test_sql_text_names_the_ledger_in_its_triggers_only() -> None:
    strays = [
        (file, text)
        for file, tree in parsed()
        if file not in EXCEPTIONS
        for text in texts(tree)
        if any(f"{verb} filecolumn_" in text for verb in ("UPDATE", "INTO", "FROM"))
    ]
    assert strays == []


def test_the_docstring_names_each_transition() -> None:
    text = str(transitions.__doc__)
    tree = ast.parse(PACKAGE.joinpath(HOME).read_text())
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and writes_state(node)
    }
    assert public
    assert [name for name in sorted(public) if f"`{name}`" not in text] == []


def writes_state(function: ast.FunctionDef) -> bool:
    """Return whether a function sets the state of keys, or makes or ends entries."""
    calls = {
        node.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    sets = {node.arg for node in ast.walk(function) if isinstance(node, ast.keyword) and node.arg == "state"}
    makers = {
        "insert",
        "inserted",
        "delete_from",
        "_live_again",
        "_doom",
        "_doom_apart",
        "_insert_apart",
        "_insert_live",
    }
    return function.name != "inserted" and bool(sets or calls & makers)
