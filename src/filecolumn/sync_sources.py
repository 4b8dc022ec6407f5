"""Sources that any code can read: bytes in memory, a path, a binary file, an iterable.

`Source.chunks_async` reads them in a worker thread.  A binary file is left open, since it is the
caller's.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import cast

from filecolumn.handles import Reader, innermost, is_closed, is_seekable, known_length, size_of
from filecolumn.source import CHUNK_SIZE, Source, asynchronous, checked_chunk, closed, not_rewound, spent

__all__ = ("BytesSource", "FileSource", "IterableSource", "PathSource")


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
    """A regular file on disk, opened anew for each pass; OSError for a link, a FIFO or a device.

    One that grows meanwhile, as a log does, is read to the end that it has then.
    """

    any_thread: bool = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        os.close(self._descriptor())

    def known_size(self) -> int | None:
        return known_length(self._path.stat())

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
    """A binary file object: the whole of it if it can seek, whoever has read from it, else what is left of it."""

    def __init__(self, file: Reader) -> None:
        self._file = file
        self.moves: object = innermost(file)
        self.replayable: bool = is_seekable(file)

    def check(self) -> None:
        if is_closed(self._file):
            raise closed(self._file)

    def known_size(self) -> int | None:
        return size_of(self._file)

    def chunks(self) -> Generator[bytes]:
        self._open()
        if self.replayable:
            self._rewind()
        while chunk := _received(self._read()):
            yield chunk

    def _rewind(self) -> None:
        try:
            moved = cast("object", self._file.seek(0))  # type: ignore[attr-defined]
        except Exception as error:
            self.check()
            raise not_rewound(self._file, error) from error
        if inspect.isawaitable(moved):
            raise asynchronous(self._file)

    def _read(self) -> object:
        try:
            return self._file.read(CHUNK_SIZE)
        except ValueError:
            # that is what reading a closed file raises
            self.check()
            raise


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
