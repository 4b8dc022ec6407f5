"""Every Python block of the documentation runs, page by page, from top to bottom.

The blocks of a page share one namespace, one event loop and one empty working folder.  A block
whose first line is a comment with a file name is written to that file instead; if one of them is
a test file, pytest runs the folder at the end of the page.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark.structures import ParameterSet
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

import filecolumn
from filecolumn import storages

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if path.exists())
COLUMNS = tomllib.loads((ROOT / "docs" / "ruff.toml").read_text())["line-length"]
"""What a code block has room for, in a window of 1280 pixels."""
NOT_RUN = frozenset({"shell", "toml", "text", "ini"})
OF_APPS = {
    "docs/howto/admin.md": ("sqladmin",),
    "docs/howto/fastapi.md": ("fastapi",),
    "docs/howto/sqlmodel.md": ("fastapi", "sqlmodel"),
    "docs/thumbnails.md": ("fastapi", "httpx2", "python_multipart", "PIL"),
}
"""Pages with packages of the dependency groups `apps` and `gallery`, which the quick tests do without."""
MODULE = "documented"

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|:{3,}|~{3,})(?P<info>.*)$")
_SETUP = re.compile(r"^<!-- setup$")
_FILE_NAME = re.compile(r"# (?P<name>[\w/]+\.py)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, or a hidden set-up."""

    language: str
    line: int
    """Line of the fence, from 1."""
    text: str
    is_shown: bool = True

    @property
    def file_name(self) -> str | None:
        """The file that the block is."""
        match = _FILE_NAME.match(self.text.partition("\n")[0])
        return match["name"] if match else None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page; a directive of MyST is none, but the blocks in it are."""
    lines = iter(enumerate(text.splitlines(), start=1))
    directives: list[str] = []
    for number, line in lines:
        if _SETUP.match(line):
            yield Block("python", number, _until(lines, "-->"), is_shown=False)
        elif fence := _FENCE.match(line):
            info = fence["info"].strip()
            if info.startswith("{"):
                directives.append(fence["ticks"])
            elif not info and directives and fence["ticks"] == directives[-1]:
                directives.pop()
            else:
                yield Block(info, number, _until(lines, fence["ticks"], len(fence["indent"])))


def _until(lines: Iterator[tuple[int, str]], end: str, indent: int = 0) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == end:
            return "\n".join(body) + "\n"
        body.append(line[indent:])
    raise AssertionError(f"a block is not closed by {end!r}")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give a page its namespace, as a module that SQLAlchemy and pickle can find, and its folder."""
    module = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield module
    for name in _written(tmp_path):
        del sys.modules[name]


def _written(folder: Path) -> dict[str, ModuleType]:
    """Return the modules that blocks of the page are."""
    return {
        name: known
        for name, known in list(sys.modules.items())
        if (file := getattr(known, "__file__", None)) is not None and Path(file).is_relative_to(folder)
    }


def test_no_page_has_two_versions_of_a_passage() -> None:
    """A merge that was not finished leaves its markers, between blocks where nothing runs them."""
    unfinished = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert not [page_id(page) for page in PAGES if unfinished.search(page.read_text())]


def runnable(page: Path) -> ParameterSet:
    marks = (pytest.mark.extended,) if page_id(page) in OF_APPS else ()
    return pytest.param(page, marks=marks, id=page_id(page))


@pytest.mark.timeout(180)  # a page may run a whole suite
@pytest.mark.parametrize("page", [runnable(page) for page in PAGES])
def test_page_runs(page: Path, module: ModuleType, tmp_path: Path) -> None:
    for package in OF_APPS.get(page_id(page), ()):
        pytest.importorskip(package)
    with asyncio.Runner() as runner:
        try:
            for block in blocks(page.read_text(encoding="utf-8")):
                if block.language == "python":
                    run_block(block, page, module, runner)
        finally:
            runner.run(_tidy(module, *_written(tmp_path).values()))
    if any(tmp_path.glob("test_*.py")):
        _run_tests(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_block_languages_are_known(page: Path) -> None:
    unknown = [
        f"{page_id(page)}:{block.line} {block.language or '(none)'}"
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language != "python" and block.language not in NOT_RUN
    ]
    assert unknown == []


def too_wide(text: str) -> list[int]:
    """Return the lines of code on a page that are longer than a block is wide, and could be shorter."""
    return [
        block.line + number
        for block in blocks(text)
        if block.is_shown
        for number, line in enumerate(block.text.splitlines(), start=1)
        if len(line) > COLUMNS and " " in line.strip()
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_code_blocks_are_not_cut_off(page: Path) -> None:
    found = too_wide(page.read_text(encoding="utf-8"))
    assert found == [], f"of lines in {page_id(page)} more than {COLUMNS} columns are used"


def test_a_line_that_would_be_cut_off_is_found() -> None:
    widest, word = "a = " + "1" * (COLUMNS - 4), "x" * (COLUMNS + 1)
    page = (
        f"{'words ' * 30}\n```python\n{widest}\n{widest}1\n```\n- item\n\n  ```text\n  {widest}\n  {word}\n  ```\n"
        f"<!-- setup\n{widest}1\n-->\n"
    )
    assert too_wide(page) == [4]


def test_a_block_without_a_language_is_found() -> None:
    page = (
        "text\n```\nrm -rf\n```\n\n- item\n\n  ```python\n  a = 1\n  ```\n\n<!-- setup\nb = 2\n-->\n"
        "````{tab} one\n```toml\nc = 3\n```\n````\n"
    )
    assert [(block.language, block.line, block.text) for block in blocks(page)] == [
        ("", 2, "rm -rf\n"),
        ("python", 8, "a = 1\n"),
        ("python", 12, "b = 2\n"),
        ("toml", 16, "c = 3\n"),
    ]


def run_block(block: Block, page: Path, module: ModuleType, runner: asyncio.Runner) -> None:
    if block.file_name is not None:
        Path(block.file_name).write_text(block.text, encoding="utf-8")
        return
    # the empty lines make tracebacks point into the page
    code = compile("\n" * block.line + block.text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(eval(code, module.__dict__))
    else:
        exec(code, module.__dict__)


async def _tidy(*modules: ModuleType) -> None:
    """Close what a page left open, so that pages need not show it every time."""
    for value in [value for module in modules for value in list(vars(module).values())]:
        # a configuration of advanced-alchemy makes its own
        engine = getattr(value, "engine_instance", value)
        if isinstance(engine, Engine):
            engine.dispose()
        elif isinstance(engine, AsyncEngine):
            await engine.dispose()
    await storages.aclose()


def _run_tests(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    run = subprocess.run(
        [*command, "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent)},
        timeout=150,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
