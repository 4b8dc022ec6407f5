"""Sources that any code can read: bytes in memory, a path, a binary file, an iterable.

`Source.chunks_async` reads them in a worker thread.  A binary file is left open, since it is the
caller's, and is read from where it stood.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from filecolumn.source import CHUNK_SIZE, Source, checked_chunk, spent

__all__ = ("BytesSource", "FileSource", "IterableSource", "PathSource", "Reader")


@runtime_checkable
class Reader(Protocol):
    """A binary file: `read(n)` returns at most `n` bytes, `b""` at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class SeekableReader(Reader, Protocol):
    """A binary file that can be read again from where it stood."""

    def seek(self, offset: int, whence: int = 0, /) -> object: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...


class BytesSource(Source):
    """Bytes that the caller has in memory, handed on in chunks."""

    any_thread: bool = True
    in_memory: bool = True

    def __init__(self, data: bytes | bytearray | memoryview[int] | memoryview[bytes]) -> None:
        if isinstance(data, memoryview) and not (data.c_contiguous and data.nbytes):
            # `cast` takes no view with gaps, and none that is empty
            data = data.tobytes()
        self._data = data

    def known_size(self) -> int:
        return memoryview(self._data).nbytes

    def chunks(self) -> Generator[bytes]:
        view = memoryview(self._data).cast("B")
        if isinstance(self._data, bytes) and len(view) <= CHUNK_SIZE:
            yield self._data
            return
        for start in range(0, len(view), CHUNK_SIZE):
            yield bytes(view[start : start + CHUNK_SIZE])


class PathSource(Source):
    """A regular file on disk, opened anew for each pass; OSError for a link, a FIFO or a device."""

    any_thread: bool = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        os.close(self._descriptor())

    def known_size(self) -> int:
        return self._path.stat().st_size

    def chunks(self) -> Generator[bytes]:
        with open(self._descriptor(), "rb", buffering=0) as file:
            while chunk := file.read(CHUNK_SIZE):
                yield chunk

    def _descriptor(self) -> int:
        """Open a regular file; O_NONBLOCK so that a FIFO cannot hold us."""
        if self._path.is_symlink():
            raise OSError(f"{str(self._path)!r} is a symbolic link; pass its target: path.resolve()")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self._path, flags | getattr(os, "O_BINARY", 0))
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise OSError(f"{str(self._path)!r} is not a regular file; only files can be stored")


class FileSource(Source):
    """A binary file object, read from where it stood when it was given; the caller closes it."""

    def __init__(self, file: Reader) -> None:
        self.moves: object = file
        self._file = file
        self._seekable = file if isinstance(file, SeekableReader) and file.seekable() else None
        self.replayable: bool = self._seekable is not None
        self._start = 0 if self._seekable is None else self._seekable.tell()

    def chunks(self) -> Generator[bytes]:
        if self._seekable is not None:
            if not self.opened:
                # it may have been set back since
                self._start = min(self._start, self._seekable.tell())
            self._seekable.seek(self._start)
        self._open()
        while chunk := _received(self._file.read(CHUNK_SIZE)):
            yield chunk


class IterableSource(Source):
    """Chunks of anything to iterate over; only a sequence is sure to give them again."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.replayable: bool = isinstance(chunks, Sequence)
        self.moves: object = None if self.replayable else chunks

    def check(self) -> None:
        if (
            inspect.isgenerator(self._chunks)
            and inspect.getgeneratorstate(self._chunks) == inspect.GEN_CLOSED
        ):
            raise spent(self)

    def chunks(self) -> Generator[bytes]:
        self._open()
        for chunk in self._chunks:
            if checked := checked_chunk(chunk):
                yield checked


def _received(chunk: object) -> bytes:
    if chunk is None:
        raise BlockingIOError(
            "the file is non-blocking and has no bytes yet; os.set_blocking(file.fileno(), True) makes it wait"
        )
    return checked_chunk(chunk)
