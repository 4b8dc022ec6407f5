"""What each extra promises, as programs that must end well where it is installed."""

from __future__ import annotations

# Proves that nothing optional is needed, and that what is missing is named.
BARE = """
import sys
from importlib.util import find_spec

import filecolumn

optional = (
    "advanced_alchemy", "alembic", "click", "fsspec", "greenlet", "hypothesis", "litestar", "pytest", "rich",
)
present = [name for name in optional if find_spec(name) or name in sys.modules]
if present:
    sys.exit(f"this environment is not bare, it has {present}")
for module in ("alembic", "backends.obstore", "http", "maintenance", "query", "signing"):
    __import__(f"filecolumn.{module}")
needed = {"backends.fsspec": "fsspec", "testing": "testing", "cli": "cli"}
for module, extra in needed.items():
    try:
        __import__(f"filecolumn.{module}")
    except filecolumn.MissingDependencyError as error:
        if "pip install" not in str(error) or f"filecolumn[{extra}]" not in str(error):
            sys.exit(f"the error gives no pip command: {error}")
    else:
        sys.exit(f"filecolumn.{module} was imported without its extra")
print("filecolumn needs none of", *optional)
"""

FSSPEC = """
import filecolumn.backends.fsspec
import fsspec
from filecolumn import storages

storage = storages.register_backend(filecolumn.backends.fsspec.FSSpecBackend("probe", fs=fsspec.filesystem("memory")))
print(storage)
"""

ASYNC = """
import asyncio

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import await_only, greenlet_spawn

import filecolumn

async def one():
    return 1

print(AsyncSession, asyncio.run(greenlet_spawn(lambda: await_only(one()))))
"""

TESTING = """
import filecolumn.testing
import filecolumn.testing.stateful

print(filecolumn.testing.BackendSuite)
"""

LITESTAR = """
import litestar
import multipart
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin

print(litestar.Litestar([], plugins=[FileColumnPlugin(FileColumnConfig())]))
"""

SPEED = """
from filecolumn.files._msgspec import decoded_row

print(decoded_row('{"filename": "a", "to_filename": "b", "v": 1}').filename)
"""

FOREIGN = "ignore:The declarative_mixin decorator"
"""A warning of advanced-alchemy's import under SQLAlchemy 2.1, as in pyproject.toml."""

COMMANDS: tuple[tuple[str, ...], ...] = (("filecolumn", "--help"), ("filecolumn", "drain", "--help"))

PROGRAMS = {
    "": BARE,
    "fsspec": FSSPEC,
    "async": ASYNC,
    "testing": TESTING,
    "litestar": LITESTAR,
    "speed": SPEED,
}
"""Extra -> a program for `python -c`; "" is no extra."""


def probes_of(extra: str) -> list[tuple[str, ...]]:
    """Return the commands that must work with the extra; `all` promises what each other does."""
    if extra == "cli":
        return list(COMMANDS)
    if extra == "all":
        programs = [program for name, program in PROGRAMS.items() if name]
        return [*map(_python, programs), *COMMANDS]
    return [_python(PROGRAMS[extra])]


def _python(program: str) -> tuple[str, ...]:
    # isolated: neither the working folder nor PYTHONPATH can lend a module
    return ("python", "-I", "-W", "error", "-W", FOREIGN, "-c", program)
