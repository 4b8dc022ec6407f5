"""Fresh environments, made by uv, and the Pythons that are to be had."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.release.project import ROOT

LIMIT = 7200


class CommandFailedError(Exception):
    """A command ended with an error; the message is what it printed."""


def run(
    *command: str | Path, folder: Path, variables: Mapping[str, str] | None = None, is_shown: bool = False
) -> str:
    """Run the command and return its output; CommandFailedError has the output of one that fails.

    With *is_shown* the output is printed while the command runs, and not returned.
    """
    ours = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**ours, "PYTHONDONTWRITEBYTECODE": "1", **(variables or {})},
        stdout=None if is_shown else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    if done.returncode:
        raise CommandFailedError(f"{' '.join(map(str, command))}\n{done.stdout or ''}")
    return done.stdout or ""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment; commands run in it from *outside*, a folder without sources."""

    folder: Path
    outside: Path

    def install(self, *what: str) -> None:
        """Install in the versions that CI uses."""
        pins = ("--constraint", str(ROOT / "constraints.txt"))
        run("uv", "pip", "install", "--quiet", "--python", self.folder, *pins, *what, folder=self.outside)

    def run(
        self,
        program: str,
        *arguments: str,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
        is_shown: bool = False,
    ) -> str:
        """Run a program of the environment."""
        command = (self.folder / "bin" / program, *arguments)
        return run(*command, folder=folder or self.outside, variables=variables, is_shown=is_shown)


@contextmanager
def fresh_environment(python: str) -> Iterator[Environment]:
    """Make an environment that is removed at the end; nothing is installed in it, not even pip."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        outside = Path(folder, "outside")
        outside.mkdir()
        made = Path(folder, "venv")
        run("uv", "venv", "--quiet", "--no-python-downloads", "--python", python, made, folder=outside)
        yield Environment(made, outside)


def find_pythons(versions: Sequence[str]) -> dict[str, str | None]:
    """Return the interpreter of each version, as 3.11; None where the machine has none."""
    return {version: _find_python(version) for version in versions}


def _find_python(version: str) -> str | None:
    # the shims of pyenv start what this variable names, and uv tries them
    chosen = {"PYENV_VERSION": ":".join(names)} if (names := _installed_by_pyenv()) else {}
    command = ("uv", "python", "find", "--system", "--no-python-downloads", version)
    try:
        return run(*command, folder=ROOT, variables=chosen).splitlines()[-1]
    except CommandFailedError:
        return None


def _installed_by_pyenv() -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    return sorted(each.name for each in root.iterdir() if each.is_dir()) if root.is_dir() else []
