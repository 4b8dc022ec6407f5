"""Count the calls of one flush, one replacement and one save, and the lines of the longest functions.

Counts are the same on each machine, so they show what a change costs where times only wave.  The
flush and the replacement use SQLite and a storage in memory; the save is counted in memory, and as
`saves` measures it: a durable file in a local folder, SQLite in a file.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

import filecolumn
from benchmarks.models import Record, model
from filecolumn import FileObject, StoredObject, storages

PACKAGE = os.path.dirname(filecolumn.__file__)
CONTENT = bytes(4096)
WARM_UPS = 3
FUNCTIONS = 5
"""The longest ones shown."""
LONGEST = 55
"""Lines that a function may have, its signature included, its docstring not."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What ran, as a profiler sees it: a generator is called anew each time that it goes on."""

    calls: int
    """Calls of functions of filecolumn."""
    modules: int
    """Modules of filecolumn that they are in."""
    hops: int
    """Calls from one module of filecolumn to another."""
    python: int
    """Calls of all Python functions."""
    every: int
    """The same with those of functions in C."""


def count(work: Callable[[], object]) -> Counts:
    """Run *work*, and count the calls in this thread."""
    called: list[tuple[str, str]] = []
    in_c = 0

    def see(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal in_c
        if event == "call":
            caller = frame.f_back.f_code.co_filename if frame.f_back else ""
            called.append((frame.f_code.co_filename, caller))
        elif event == "c_call":
            in_c += 1

    gc.collect()
    gc.disable()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    ours = [(path, caller) for path, caller in called if path.startswith(PACKAGE)]
    return Counts(
        calls=len(ours),
        modules=len({path for path, _ in ours}),
        hops=sum(path != caller for path, caller in ours if caller.startswith(PACKAGE)),
        python=len(called),
        every=len(called) + in_c,
    )


def count_all() -> dict[str, Counts]:
    """Count each subject after it was done a few times."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with _files("memory://", engine) as class_:
        counted = {
            "flush": _repeated(lambda: _flush(engine, class_)),
            "replace and commit": _repeated(lambda: _replace(engine, class_)),
            "save": _repeated(lambda: count(lambda: _save(engine, class_))),
        }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        engine_on_disk = create_engine(f"sqlite:///{folder / 'rows.db'}")
        with _files(f"{(folder / 'files').as_uri()}/", engine_on_disk) as class_on_disk:
            counted["save in a folder"] = _repeated(
                lambda: count(lambda: _save(engine_on_disk, class_on_disk))
            )
    return counted


def function_lines() -> dict[str, int]:
    """Return how many lines of code each function of filecolumn has, by `module:function`; the longest come first.

    Its docstring does not count: that of a public function describes each parameter.
    """
    lines: dict[str, int] = {}
    for path in sorted(Path(PACKAGE).rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for name, node in _functions(ast.parse(path.read_text())):
            whole = (node.end_lineno or node.lineno) - node.lineno + 1
            lines[f"{module}:{name}"] = whole - (ast.get_docstring(node, clean=False) or "").count("\n")
    return dict(sorted(lines.items(), key=lambda line: -line[1]))


def figures() -> dict[str, int]:
    """Count in a process that has no other library, and name what was counted; then the longest functions."""
    counted: dict[str, int] = json.loads(
        subprocess.run(
            [sys.executable, "-m", "benchmarks.calls"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    )
    return counted | dict(list(function_lines().items())[:FUNCTIONS])


def _named(counted: dict[str, Counts]) -> dict[str, int]:
    return {
        f"{subject}: {what}": value
        for subject, counts in counted.items()
        for what, value in {
            "calls": counts.calls,
            "modules": counts.modules,
            "hops": counts.hops,
            "all calls of Python": counts.python,
            "all calls": counts.every,
        }.items()
    }


@contextmanager
def _files(storage: str, engine: Engine) -> Iterator[type[Record]]:
    storages.register_backend(storage, key="calls")
    class_ = model("calls", StoredObject(backend="calls"))
    class_.__table__.metadata.create_all(engine)  # type: ignore[attr-defined]
    try:
        yield class_
    finally:
        engine.dispose()
        storages.clear_backends()


def _repeated(work: Callable[[], Counts]) -> Counts:
    for _ in range(WARM_UPS):
        work()
    return min((work() for _ in range(2)), key=lambda counts: counts.every)


def _flush(engine: Engine, class_: type[Record]) -> Counts:
    with Session(engine) as session:
        session.add(class_(title="a", file=FileObject("a.bin", content=CONTENT)))
        counts = count(session.flush)
        session.commit()
    return counts


def _replace(engine: Engine, class_: type[Record]) -> Counts:
    with Session(engine) as session:
        record = session.query(class_).limit(1).one()

        def replace() -> None:
            record.file = FileObject("b.bin", content=CONTENT)
            session.commit()

        return count(replace)


def _save(engine: Engine, class_: type[Record]) -> None:
    with Session(engine) as session:
        session.add(class_(title="a", file=FileObject("a.bin", content=CONTENT)))
        session.commit()


def _functions(
    node: ast.AST, within: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{within}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, within)


if __name__ == "__main__":
    print(json.dumps(_named(count_all())))
