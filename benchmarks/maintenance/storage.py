"""A storage that makes up its listing and forgets what it is given: what is measured is the database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.errors import ObjectNotFoundError
from filecolumn.naming import RESERVED_FOLDER

FOLDER = "20260101/00"
SIZE = 4096


def key_of(number: int) -> str:
    """Return a key; numbers sort as their keys do."""
    return f"{FOLDER}/{number:032x}.bin"


class MadeUp(StorageBackend):
    """Lists the keys of numbers, counts deletions, and keeps only the library's own marks, in a folder."""

    protocol = "made-up"

    def __init__(self, key: str, folder: str) -> None:
        super().__init__(key)
        self._folder = Path(folder)
        self.numbers: Iterable[int] = ()
        """Those of the objects that are there, in order."""
        self.deleted = 0

    @property
    def location(self) -> str:
        return f"made-up://{self._folder}"

    def put(self, key: str, chunks: Iterable[bytes], **_options: Any) -> Stat:
        content = b"".join(chunks)
        if key.startswith(RESERVED_FOLDER):
            path = self._folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            # seen whole or not at all by the other process
            unfinished = path.with_name(f"{path.name}.{os.getpid()}")
            unfinished.write_bytes(content)
            unfinished.replace(path)
        return Stat(key=key, size=len(content), last_modified=1.0)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        self.stat(key)
        content = (self._folder / key).read_bytes()
        return iter([content[start : None if length is None else start + length]])

    def stat(self, key: str) -> Stat:
        if key.startswith(f"{FOLDER}/0"):
            return Stat(key=key, size=SIZE, last_modified=1.0)
        try:
            return Stat(key=key, size=(self._folder / key).stat().st_size, last_modified=1.0)
        except OSError as error:
            raise ObjectNotFoundError(key) from error

    def delete(self, keys: str | Iterable[str]) -> None:
        self.deleted += len([keys] if isinstance(keys, str) else list(keys))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        keys = map(key_of, self.numbers)
        return (
            Stat(key=key, size=SIZE, last_modified=1.0)
            for key in keys
            if key.startswith(prefix) and (after is None or key > after)
        )
