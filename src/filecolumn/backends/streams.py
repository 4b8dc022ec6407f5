"""Content in parts: a first part and the rest, keys in batches, a seekable file over ranges of an object."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO, Protocol, TypeVar, cast

from filecolumn._threads import closing

__all__ = (
    "PART_SIZE",
    "NamedReader",
    "RangeReader",
    "Ranges",
    "batches",
    "each_key",
    "first_part",
    "first_part_async",
)

T = TypeVar("T")

PART_SIZE = 8 * 1024 * 1024
"""Bytes sent in one request; larger content goes in parts of it."""

BUFFER_SIZE = 1024 * 1024
"""Bytes that a seekable file asks for at a time."""


def first_part(chunks: Iterable[bytes], size: int) -> tuple[bytes, Iterator[bytes] | None]:
    """Read at most about *size* bytes ahead.

    Returns all of the content and None if that was its end, else nothing and an iterator over
    the whole content, from its start.
    """
    iterator = iter(chunks)
    read: list[bytes] = []
    total = 0
    for chunk in iterator:
        read.append(chunk)
        total += len(chunk)
        if total > size:
            return b"", chain(read, iterator)
    return _joined(read), None


async def first_part_async(
    chunks: AsyncIterable[bytes], size: int
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Call `first_part` asynchronously."""
    iterator = aiter(chunks)
    read: list[bytes] = []
    total = 0
    async for chunk in iterator:
        read.append(chunk)
        total += len(chunk)
        if total > size:
            return b"", _chain_async(read, iterator)
    return _joined(read), None


def each_key(keys: str | Iterable[str]) -> Iterable[str]:
    """Return *keys* to be iterated over: a string is one key, not its characters."""
    return (keys,) if isinstance(keys, str) else keys


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut *items* into lists of at most *size*."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _joined(chunks: list[bytes]) -> bytes:
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _chain_async(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    first.clear()
    async for chunk in rest:
        yield chunk


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
