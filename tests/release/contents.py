"""What must be in a wheel and in an sdist, and what must not; each function returns the faults that it finds."""

from __future__ import annotations

import configparser
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path, PurePosixPath

from tests.release.project import EXTRAS, PROJECT, PYPROJECT, ROOT

SOURCES = ROOT / "src"
DIST_INFO = f"filecolumn-{PROJECT['version']}.dist-info"
ADDED_TO_SDIST = frozenset({"PKG-INFO"})
NEEDED_BY_TESTS = (
    *("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "pyproject.toml", "noxfile.py"),
    *("constraints.txt", "src/filecolumn/py.typed", "tests/conftest.py", "docs/index.md"),
    *("examples/quickstart.py", "benchmarks/__main__.py"),
)
LEFT_BY_WORK = re.compile(
    r"(^|/)(\.nox|\.venv|\.git|__pycache__|\.ipynb_checkpoints|node_modules|dist|_build|gallery-data|\.\w+_cache)/"
    r"|\.(pyc|db|db-\w+|sqlite3?|egg-info|log|pem|key)$"
    r"|(^|/)\.(env|coverage.*|DS_Store)$"
)
"""Paths of environments, caches, databases, checkpoints of notebooks and secrets."""


def faults_of_wheel(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    modules = {
        file.relative_to(SOURCES).as_posix(): file.read_bytes()
        for file in SOURCES.rglob("*")
        if file.is_file() and not LEFT_BY_WORK.search(file.as_posix())
    }
    yield from (f"the wheel has no {name}" for name in sorted(modules.keys() - packed.keys()))
    yield from (f"{name} is not that of src" for name in modules if packed.get(name, b"") != modules[name])
    others = {name for name in packed.keys() - modules.keys() if not name.startswith(f"{DIST_INFO}/")}
    yield from (f"the wheel has {name}, which is not in src" for name in sorted(others))
    if f"{DIST_INFO}/licenses/LICENSE" not in packed:
        yield "the wheel has no licence"
    yield from _faults_of_entry_points(packed[f"{DIST_INFO}/entry_points.txt"].decode())
    yield from _faults_of_metadata(message_from_string(packed[f"{DIST_INFO}/METADATA"].decode()))


def faults_of_sdist(path: Path) -> Iterator[str]:
    with tarfile.open(path) as sdist:
        names = {member.name for member in sdist.getmembers() if member.isfile()}
    folder = f"filecolumn-{PROJECT['version']}"
    yield from (f"{name} is outside {folder}/" for name in names if PurePosixPath(name).parts[0] != folder)
    packed = {name.removeprefix(f"{folder}/") for name in names}
    yield from (f"the sdist has no {name}" for name in NEEDED_BY_TESTS if name not in packed)
    yield from (f"the sdist has {name}" for name in sorted(packed) if LEFT_BY_WORK.search(name))
    if (committed := _committed()) is not None:
        unknown = packed - committed - ADDED_TO_SDIST
        yield from (f"the sdist has {name}, which is not committed" for name in sorted(unknown))
        missing = {name for name in committed if name.startswith(("src/", "tests/"))} - packed
        yield from (f"the sdist has no {name}, which is committed" for name in sorted(missing))


def metadata_of_wheel(path: Path) -> Message:
    with zipfile.ZipFile(path) as wheel:
        return message_from_string(wheel.read(f"{DIST_INFO}/METADATA").decode())


def _faults_of_entry_points(text: str) -> Iterator[str]:
    parser = configparser.ConfigParser(delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    parser.read_string(text)
    packed = {section: dict(parser[section]) for section in parser.sections()}
    declared = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    if packed != declared:
        yield f"the wheel has the entry points {packed}, and pyproject.toml {declared}"


def _faults_of_metadata(metadata: Message) -> Iterator[str]:
    declared: dict[str, Iterable[str]] = {
        "Name": [PROJECT["name"]],
        "Version": [PROJECT["version"]],
        "License-Expression": [PROJECT["license"]],
        "Requires-Python": [PROJECT["requires-python"]],
        "Provides-Extra": EXTRAS,
        "Classifier": PROJECT["classifiers"],
        "Project-URL": [f"{label}, {url}" for label, url in PROJECT["urls"].items()],
        "Description-Content-Type": [
            PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["content-type"]
        ],
    }
    for name, values in declared.items():
        if sorted(metadata.get_all(name, ())) != sorted(values):
            yield f"{name} in the wheel is {metadata.get_all(name)}, and in pyproject.toml {values}"


def _committed() -> set[str] | None:
    """Return the files that git has; None where this is not a checkout, or another user's."""
    command = ["git", "ls-files", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        return None
    return set(done.stdout.split("\0")) - {""}
