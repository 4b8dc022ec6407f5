"""What `packages.txt` lists: packages, and files in them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

LISTING = Path(__file__).with_name("packages.txt")


@dataclass(frozen=True, slots=True)
class Package:
    kind: str
    """`debian`, `sdist` or `wheel`."""
    name: str
    """As the name of its archive has it."""
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a package, not yet read."""

    package: Package
    path: str
    media_type: str | None
    """The one type that shared-mime-info has for its extension."""

    @property
    def extension(self) -> str:
        return PurePosixPath(self.path).suffix.lower()

    @property
    def is_held_out(self) -> bool:
        digest = sha256(f"{self.package.name}\0{self.path}".encode()).digest()
        return int.from_bytes(digest[:4]) % 3 == 0


def read_listing() -> dict[Package, list[Listed]]:
    listed: dict[Package, list[Listed]] = {}
    files: list[Listed] = []
    package = None
    for line in LISTING.read_text().splitlines():
        if line.startswith("["):
            package = Package(*line.strip("[]").split(" "))
            files = listed[package] = []
        elif package and line:
            path, media_type = line.split("\t")
            files.append(Listed(package, path, None if media_type == "-" else media_type))
    return listed
