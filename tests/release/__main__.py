"""Check a release: `python -m tests.release --help`, where build, twine and uv are installed.

Wheel and sdist are built from the checkout, and their contents compared with it.  Each is installed with
each extra, on each Python that the machine has, and what the extra promises is used.  With the wheel the
demo and the quick tests run from the unpacked sdist.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

from tests.release.contents import faults_of_sdist, faults_of_wheel, metadata_of_wheel
from tests.release.description import faults_of_description
from tests.release.environments import CommandFailedError, find_pythons, fresh_environment, run
from tests.release.probes import probes_of
from tests.release.project import EXTRAS, PROJECT, ROOT, python_versions

KINDS = ("wheel", "sdist")
NO_EXTRA = ""
DEMO, TESTS = "demo", "tests"
PYTEST = "-m pytest -q -p tests.release.installed -p no:cacheprovider -n auto --dist worksteal".split()
PROFILE = {"FILECOLUMN_TEST_PROFILE": "quick", "FILECOLUMN_TEST_SERVERS": "none"}


@dataclass(slots=True)
class Report:
    """What was checked: an outcome for each Python, distribution and extra."""

    outcomes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def check(self, python: str, kind: str, what: str, work: Callable[[], object]) -> None:
        """Do the work, note its outcome, and print what a failure printed."""
        started = time.monotonic()
        try:
            work()
        except CommandFailedError as error:
            outcome = "FAILED"
            self.faults.append(f"{python} {kind} {what}")
            print(error)
        else:
            outcome = "ok"
        self.outcomes[python, kind, what] = outcome
        name = f"{python} {kind} {what or 'no extra'}"
        print(f"{name}: {outcome}, {time.monotonic() - started:.1f} s", flush=True)

    def table(self) -> Iterator[str]:
        """Yield the lines of a table, a row for each Python and distribution."""
        columns = list(dict.fromkeys(what for _, _, what in self.outcomes))
        headings = ["Python", "", *(column or "no extra" for column in columns)]
        yield "  ".join(f"{heading:8}" for heading in headings).rstrip()
        for python, kind in dict.fromkeys((python, kind) for python, kind, _ in self.outcomes):
            cells = [self.outcomes.get((python, kind, column), "") for column in columns]
            yield "  ".join(f"{cell:8}" for cell in (python, kind, *cells)).rstrip()


def main(arguments: argparse.Namespace) -> int:
    """Return 0 if all is as it must be."""
    report = Report()
    found = find_pythons(python_versions())
    pythons = {version: path for version, path in found.items() if path}
    if arguments.quick:
        current = f"{sys.version_info.major}.{sys.version_info.minor}"
        pythons = {current: pythons.get(current, sys.executable)}
    if arguments.python:
        pythons = {version: pythons[version] for version in arguments.python if version in pythons}
    if not pythons:
        raise SystemExit(f"none of the Pythons {', '.join(arguments.python or found)} is on this machine")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        built = build(Path(folder, "dist"))
        report.faults += faults_of(built)
        tree = unpack(built, Path(folder, "tree"))
        extras = (NO_EXTRA, "all") if arguments.quick else (NO_EXTRA, *EXTRAS)
        for (version, python), kind, extra in product(pythons.items(), KINDS, extras):
            report.check(version, kind, extra, partial(use_extra, python, built[kind], extra))
        for version, python in pythons.items():
            report.check(version, "wheel", DEMO, partial(run_demo, python, built["wheel"], tree))
        # at last, since they take minutes each; the newest first, where most is new
        for version, python in reversed(pythons.items() if arguments.tests and not arguments.quick else ()):
            report.check(
                version, "wheel", TESTS, partial(run_tests, python, built["wheel"], tree, arguments.tests)
            )
    print("", *report.table(), sep="\n")
    missing = [version for version, path in found.items() if not path]
    if missing:
        print(f"\nnot checked, because this machine has no such Python: {', '.join(missing)}")
    print(*(f"fault: {fault}" for fault in report.faults), sep="\n")
    return bool(report.faults)


def build(folder: Path) -> dict[str, Path]:
    """Build the sdist, and the wheel from it."""
    print(run(sys.executable, "-m", "build", "--quiet", "--outdir", folder, ROOT, folder=ROOT), end="")
    name = f"filecolumn-{PROJECT['version']}"
    return {"wheel": folder / f"{name}-py3-none-any.whl", "sdist": folder / f"{name}.tar.gz"}


def faults_of(built: dict[str, Path]) -> list[str]:
    """Look into what was built, with the tools that others use and with our own expectations."""
    faults = [*faults_of_wheel(built["wheel"]), *faults_of_sdist(built["sdist"])]
    faults += faults_of_description(str(metadata_of_wheel(built["wheel"]).get_payload()))
    for command in (
        ("twine", "check", "--strict", *built.values()),
        ("check_wheel_contents", built["wheel"]),
    ):
        try:
            print(run(sys.executable, "-m", *command, folder=ROOT), end="")
        except CommandFailedError as error:
            faults.append(str(error))
    return faults


def unpack(built: dict[str, Path], folder: Path) -> Path:
    """Unpack the sdist, with the wheel's modules in place of its own: tests read and start them there."""
    with tarfile.open(built["sdist"]) as sdist:
        sdist.extractall(folder, filter="data")
    tree = folder / f"filecolumn-{PROJECT['version']}"
    shutil.rmtree(tree / "src")
    with zipfile.ZipFile(built["wheel"]) as wheel:
        wheel.extractall(tree / "src", [name for name in wheel.namelist() if name.startswith("filecolumn/")])
    return tree


def use_extra(python: str, distribution: Path, extra: str) -> None:
    """Install the distribution with the extra in an environment of its own, and use what it promises."""
    with fresh_environment(python) as environment:
        # --refresh-package: an sdist is built anew
        environment.install("--refresh-package", "filecolumn", requirement(distribution, extra))
        for program, *arguments in probes_of(extra):
            environment.run(program, *arguments)


def requirement(distribution: Path, *extras: str) -> str:
    """Return what an installer takes for the distribution with the extras."""
    wanted = f"[{','.join(extras)}]" if any(extras) else ""
    return f"filecolumn{wanted} @ {distribution.as_uri()}"


def run_demo(python: str, wheel: Path, tree: Path) -> None:
    """Run the demo with the wheel."""
    with fresh_environment(python) as environment:
        environment.install(requirement(wheel, "fsspec", "async"), "--group", f"{tree}/pyproject.toml:demo")
        environment.run("python", "-W", "error", f"{tree}/examples/quickstart.py")


def run_tests(python: str, wheel: Path, tree: Path, marks: str) -> None:
    """Run the chosen tests with the wheel; each process of theirs ends at once if it has another filecolumn."""
    with fresh_environment(python) as environment:
        environment.install(requirement(wheel, "fsspec", "async"), "--group", f"{tree}/pyproject.toml:test")
        environment.run("python", *PYTEST, "-m", marks, folder=tree, variables=PROFILE, is_shown=True)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one Python, no extra and all of them, no tests: within a minute"
    )
    parser.add_argument(
        "--tests", metavar="MARKS", help="run the tests that these marks choose, from the wheel"
    )
    parser.add_argument(
        "--python", metavar="VERSION", action="append", help="only this one, as 3.13; may be given again"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(parsed(sys.argv[1:])))
