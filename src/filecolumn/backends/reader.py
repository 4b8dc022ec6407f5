"""A seekable binary file over ranges of an object."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

from filecolumn.backends.threads import closing

__all__ = ("NamedReader", "RangeReader", "Ranges")

BUFFER_SIZE = 1024 * 1024
"""Bytes asked for at a time."""


class Ranges(Protocol):
    """Reads a range of one object."""

    def __call__(self, *, start: int = 0, length: int | None = None) -> Iterator[bytes]: ...


class RangeReader(io.RawIOBase):
    """Unbuffered: each `readinto` is one request. Use `RangeReader.buffered`."""

    mode = "rb"

    def __init__(self, ranges: Ranges, size: int) -> None:
        self._ranges = ranges
        self._size = size
        self._position = 0

    @classmethod
    def buffered(cls, ranges: Ranges, size: int) -> BinaryIO:
        """Return a binary file of *size* bytes that asks for `BUFFER_SIZE` at a time."""
        return cast("BinaryIO", io.BufferedReader(cls(ranges, size), BUFFER_SIZE))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to byte {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._size - self._position)
        filled = 0
        if wanted > 0:
            with closing(self._ranges(start=self._position, length=wanted)) as chunks:
                for chunk in chunks:
                    buffer[filled : filled + len(chunk)] = chunk
                    filled += len(chunk)
        self._position += filled
        return filled


class NamedReader(io.BufferedReader):
    """A binary file with the name that people know it by."""

    def __init__(self, raw: io.RawIOBase, name: str) -> None:
        super().__init__(raw, BUFFER_SIZE)
        self._name = name

    @classmethod
    def over(cls, file: BinaryIO, name: str) -> BinaryIO:
        """Return what a storage has opened, with a name; a file of a kind of its own stays as it is."""
        return cls(file.detach(), name) if type(file) is io.BufferedReader else file

    @property
    def name(self) -> str:
        """The file's name, which is no path."""
        return self._name
