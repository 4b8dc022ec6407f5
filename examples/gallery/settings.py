"""Where the gallery keeps its rows and its files: three environment variables, each with a default."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from filecolumn.backends import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend

__all__ = ("Settings",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the application is told."""

    folder: Path
    """Holds the database, the files and the signing key, unless the other two say otherwise."""
    database: str
    """A URL of SQLAlchemy's, with an asynchronous driver."""
    storage: str
    """A URL of a folder or a bucket."""

    @classmethod
    def in_folder(cls, folder: Path) -> Settings:
        """Keep everything in one local folder, which is made if it is missing."""
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            folder=folder,
            database=f"sqlite+aiosqlite:///{folder / 'gallery.db'}",
            storage=f"{(folder / 'files').as_uri()}/",
        )

    @classmethod
    def from_environment(cls) -> Settings:
        """Read `GALLERY_FOLDER`, `GALLERY_DATABASE` and `GALLERY_STORAGE`.

        S3 takes its keys, region and endpoint from the usual `AWS_...` variables; `AWS_ALLOW_HTTP=true`
        is for a server on this machine.
        """
        local = cls.in_folder(Path(os.environ.get("GALLERY_FOLDER", "gallery-data")))
        return cls(
            folder=local.folder,
            database=os.environ.get("GALLERY_DATABASE", local.database),
            storage=os.environ.get("GALLERY_STORAGE", local.storage),
        )

    def backend(self) -> StorageBackend:
        """Make the storage of the files."""
        return ObstoreBackend(key="gallery", fs=self.storage)

    def signing_key(self) -> str:
        """Return the secret of signed URLs, made at the first start."""
        path = self.folder / "signing-key"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        except FileExistsError:
            pass
        return path.read_text()
