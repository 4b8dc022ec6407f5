"""Files of a filesystem that shows them while they are written, such as SFTP: a stage, and a rename."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from filecolumn.backends.filesystem import PlainFiles, info_of, is_folder
from filecolumn.backends.local import FOLDER_ATTEMPTS, FileChunks
from filecolumn.naming import RESERVED_FOLDER, uuid7_hex

__all__ = ("STAGE_FOLDER", "StagedFiles")

T = TypeVar("T")

STAGE_FOLDER = f"{RESERVED_FOLDER}/stage"
"""That of the stages, below the prefix."""


class StagedFiles:
    """The files of one filesystem, by their paths in it; *prefix* is the folder that has the stage.

    *uploads_on_close* is true of a filesystem that finds out only then whether there is the folder.
    """

    def __init__(self, fs: PlainFiles, prefix: str, *, uploads_on_close: bool = False) -> None:
        self._fs = fs
        self._uploads_on_close = uploads_on_close
        self._folder = "/".join(filter(None, (prefix, STAGE_FOLDER)))

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Store *chunks* at *path*, all or nothing, in the place of what is there."""
        stage = f"{self._folder}/{uuid7_hex()}"
        try:
            if self._uploads_on_close:
                self._fs.makedirs(self._folder, exist_ok=True)
            with self._in_folder(stage, lambda: self._fs.open(stage, "wb")) as file:
                for chunk in chunks:
                    file.write(chunk)
            self._in_folder(path, lambda: self._fs.mv(stage, path))
        except BaseException:
            # what fails here, as after a lost connection, must not take the place of the first error
            with suppress(Exception):
                self._fs.rm_file(stage)
            raise

    def read(self, path: str, start: int, length: int | None) -> Iterator[bytes]:
        """Open the file and return its chunks."""
        file = self._fs.open(path, "rb")
        file.seek(start)
        return FileChunks(file, length)

    def remove(self, path: str) -> None:
        """Delete the file, if it is there and no folder."""
        try:
            # rm() would take the path for a pattern
            self._fs.rm_file(path)
        except FileNotFoundError:
            return
        except OSError:
            if not self._is_folder(path):
                raise

    def _is_folder(self, path: str) -> bool:
        try:
            info = info_of(self._fs, path)
        except Exception:  # noqa: BLE001 - the caller raises its own
            return False
        return info is not None and is_folder(info)

    def _in_folder(self, path: str, call: Callable[[], T]) -> T:
        """Return what *call* does at *path*, for which the folders are made, also if others remove them meanwhile."""
        for _ in range(FOLDER_ATTEMPTS - 1):
            try:
                return call()
            except FileNotFoundError:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        return call()
