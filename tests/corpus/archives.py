"""The archives of the listed packages: downloaded by pip and apt, with their configuration, and read.

No code of a package runs, and nothing is unpacked to disk.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from filecolumn.content.sniffing import HEAD_SIZE
from tests.corpus.listing import Package

LIMIT = 600
"""Seconds for the download of one package."""

PIP = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--timeout=30", "--retries=1")
# One platform for all, so that everyone measures the same files
WHEEL = (
    *("--only-binary=:all:", "--python-version=3.11", "--implementation=cp"),
    *(f"--platform=manylinux_2_{glibc}_x86_64" for glibc in (28, 27, 24, 17)),
)
# pip asks a source package for its metadata; `backend` answers for all of them
SDIST = ("--no-binary=:all:", "--no-build-isolation", "--use-pep517", "--ignore-requires-python")
BACKEND = Path(__file__).with_name("backend")

PATTERNS = {
    "debian": "{name}_{version}.orig.tar.*",
    "sdist": "{name}-{version}.*",
    "wheel": "{name}-{version}-*.whl",
}


class MissingPackageError(Exception):
    """The package cannot be had here; the text says why, in a line."""


def archive_of(package: Package, folder: Path) -> Path:
    """Return the archive of *package* in *folder*, downloaded if it is not there."""
    if found := _find(package, folder):
        return found
    (_download_debian if package.kind == "debian" else _download_pypi)(package, folder)
    if found := _find(package, folder):
        return found
    raise MissingPackageError("the download has another name than the listing")


def heads_of(archive: Path, paths: frozenset[str]) -> dict[str, bytes]:
    """Return the first bytes of those *paths* that the archive has."""
    read = _heads_of_zip if zipfile.is_zipfile(archive) else _heads_of_tar
    try:
        return dict(read(archive, paths))
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise MissingPackageError(f"{archive.name} cannot be read: {error}") from error


def _heads_of_zip(archive: Path, paths: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for path in paths.intersection(opened.namelist()):
            with opened.open(path) as file:
                yield path, file.read(HEAD_SIZE)


def _heads_of_tar(archive: Path, paths: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as opened:
        # in the order of the archive: it is compressed as a whole
        for member in opened:
            path = member.name.partition("/")[2]
            if path in paths and (file := opened.extractfile(member)):
                yield path, file.read(HEAD_SIZE)


def _find(package: Package, folder: Path) -> Path | None:
    pattern = PATTERNS[package.kind].format(name=package.name, version=package.version)
    return next((path for path in folder.glob(pattern) if path.suffix != ".asc"), None)


def _download_pypi(package: Package, folder: Path) -> None:
    options = WHEEL if package.kind == "wheel" else SDIST
    wanted = f"{package.name}=={package.version}"
    _run(*PIP, *options, f"--dest={folder}", wanted, folder=folder, PYTHONPATH=str(BACKEND))


def _download_debian(package: Package, folder: Path) -> None:
    known = _run("apt-cache", "--only-source", "showsrc", package.name, folder=folder)
    versions = re.findall(r"^Version: (.+)$", known, re.MULTILINE)
    for version in versions:
        # [epoch:]upstream[-revision]
        if re.sub(r"^\d+:|-[^-]+$", "", version) == package.version:
            wanted = f"{package.name}={version}"
            _run(
                "apt-get",
                "-qq",
                "source",
                "--tar-only",
                "--download-only",
                "--only-source",
                wanted,
                folder=folder,
            )
            return
    raise MissingPackageError(f"apt has the sources of {', '.join(versions) or 'no version'}")


def _run(*command: str, folder: Path, **environment: str) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            check=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise MissingPackageError(said[-1]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPackageError(str(error)) from error
    return done.stdout
