"""What is known of content by watching it pass: its size and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

__all__ = (
    "Meter",
    "Rechunker",
)


class Meter:
    """Counts and hashes the chunks that pass."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size: int = 0

    @property
    def checksum(self) -> str:
        """The hash of what has passed, as `sha256:<hex>`."""
        return f"sha256:{self._hash.hexdigest()}"

    def feed(self, chunk: bytes) -> bytes:
        """Count *chunk* and hand it on."""
        self._hash.update(chunk)
        self.size += len(chunk)
        return chunk


class Rechunker:
    """Cuts a stream into chunks of *size* bytes; only the last may be shorter."""

    __slots__ = ("_rest", "_size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("chunk_size must be at least 1 byte")
        self._size = size
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take *chunk* and yield the chunks that are full."""
        data = self._rest + chunk if self._rest else chunk
        whole = len(data) - len(data) % self._size
        for start in range(0, whole, self._size):
            yield data[start : start + self._size]
        self._rest = data[whole:]

    def end(self) -> Iterator[bytes]:
        """Yield what is left when the stream has ended."""
        if self._rest:
            yield self._rest
