"""Any source of content becomes chunks of `bytes`.

`source_of` turns what a caller gave into a `Source`.  A source is read in one pass, by
`chunks` or by `chunks_async`; `replayable` says whether a second pass starts again at the
same place.  Nothing is taken for replayable that may be used up: bytes lost that way are
lost without an error.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Generator,
    Iterable,
    Sequence,
)
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Protocol, cast, runtime_checkable

from anyio import to_thread

from filecolumn.errors import SourceConsumedError

__all__ = (
    "CHUNK_SIZE",
    "AsyncReader",
    "Content",
    "Reader",
    "Source",
    "Upload",
    "content_of_upload",
    "source_of",
)

CHUNK_SIZE = 1024 * 1024
"""Bytes read from a source at a time."""

_Refused = str | io.TextIOBase | dict[str, object]


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


@runtime_checkable
class AsyncReader(Protocol):
    """An upload object as Litestar's and Starlette's `UploadFile`, or an async file: an async `read(n)`."""

    async def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class AsyncSeekable(Protocol):
    """An `AsyncReader` that can be read again."""

    async def seek(self, offset: int, /) -> object: ...


class Upload(Protocol):
    """A part of a multipart form, as Litestar and Starlette have it."""

    @property
    def filename(self) -> str | None: ...

    @property
    def content_type(self) -> str | None: ...

    async def read(self, size: int = -1, /) -> bytes: ...


Content = (
    bytes
    | bytearray
    | memoryview
    | Path
    | Reader
    | SpooledTemporaryFile[bytes]
    | AsyncReader
    | Iterable[bytes]
    | AsyncIterable[bytes]
)
"""What `FileObject(content=...)` takes."""


class Source(ABC):
    """Content that waits to be stored."""

    replayable: bool = True
    is_async: bool = False
    any_thread: bool = False
    """Whether another thread may read it while the caller's goes on."""
    moves: object = None
    """What a pass moves along or uses up, for every other source of the same object too."""
    opened: bool = False
    """Whether a pass has begun."""

    @property
    def is_spent(self) -> bool:
        """Whether no other pass is possible."""
        return self.opened and not self.replayable

    def _open(self) -> None:
        """Begin a pass; SourceConsumedError if there can be none."""
        if self.is_spent:
            raise spent(self)
        self.opened = True

    in_memory: bool = False
    """Whether reading it does not block."""

    def check(self) -> None:
        """Raise what reading would raise at once, before anything is stored."""

    def known_size(self) -> int | None:
        """Return the bytes that reading would give, if that is known without reading."""
        return None

    @abstractmethod
    def chunks(self) -> Generator[bytes]:
        """Read the content from its start."""

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        """Read the content from its start, each blocking read in a worker thread."""
        chunks = self.chunks()
        while (chunk := await to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk


class BytesSource(Source):
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
            if checked := _checked(chunk):
                yield checked


class AsyncSource(Source):
    """Content that only an event loop can read."""

    is_async: bool = True

    def chunks(self) -> Generator[bytes]:
        raise TypeError(
            "asynchronous content needs an async session or save_async(); "
            "for a sync session, read it first and pass bytes or a path"
        )


class AsyncIterableSource(AsyncSource):
    replayable: bool = False

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self.moves: object = chunks
        self._chunks = chunks

    def check(self) -> None:
        if inspect.isasyncgen(self._chunks) and self._chunks.ag_frame is None:
            raise spent(self)

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        self._open()
        async for chunk in self._chunks:
            if checked := _checked(chunk):
                yield checked


class UploadSource(AsyncSource):
    """An upload object or an asynchronous file: always the whole of it, whoever has read from it."""

    def __init__(self, upload: AsyncReader) -> None:
        self.moves: object = upload
        self._upload = upload
        self._seekable = upload if isinstance(upload, AsyncSeekable) and _is_seekable(upload) else None
        self.replayable: bool = self._seekable is not None

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        if self._seekable is not None:
            await self._seekable.seek(0)
        self._open()
        while chunk := await self._upload.read(CHUNK_SIZE):
            yield _checked(chunk)


def source_of(content: Content | _Refused) -> Source:
    """Wrap what a caller gave as content; raises TypeError with a hint for what cannot be."""
    match content:
        case bytes() | bytearray() | memoryview():
            return BytesSource(content)
        case str():
            raise TypeError("content is a str: pass Path(...) for a file on disk, or .encode() the text")
        case Path():
            return PathSource(content)
        case io.TextIOBase():
            raise TypeError("content is a file opened in text mode; open it with mode='rb'")
        case dict():
            raise TypeError("content is a dict; pass bytes, a Path, a binary file or an iterable of bytes")
        case AsyncReader() if _reads_in_pieces(content.read):
            return UploadSource(content)
        case AsyncIterable():
            return AsyncIterableSource(content)
        case Reader() if not inspect.iscoroutinefunction(content.read):
            return FileSource(content)
        case Iterable():
            return IterableSource(content)
        case _:
            raise TypeError(
                f"content is a {type(content).__name__}; pass bytes, a Path, a binary file, "
                "an upload object, or a (possibly asynchronous) iterable of bytes"
            )


def content_of_upload(upload: Upload) -> Content:
    """Return the file behind an upload object where there is one: sync code can read that too."""
    file = getattr(upload, "file", None)
    return cast("SpooledTemporaryFile[bytes]", file) if isinstance(file, SpooledTemporaryFile) else upload


def _is_seekable(upload: object) -> bool:
    """Return whether `seek` can be awaited and, where the object tells, works: not on a pipe."""
    if not inspect.iscoroutinefunction(getattr(upload, "seek", None)):
        return False
    seekable = getattr(upload, "seekable", None)
    return seekable is None or inspect.iscoroutinefunction(seekable) or bool(seekable())


def _reads_in_pieces(read: object) -> bool:
    """Return whether *read* is asynchronous and takes the number of bytes: some only read everything."""
    if not inspect.iscoroutinefunction(read):
        return False
    try:
        inspect.signature(read).bind(CHUNK_SIZE)
    except TypeError:
        return False
    return True


def _received(chunk: object) -> bytes:
    if chunk is None:
        raise BlockingIOError(
            "the file is non-blocking and has no bytes yet; os.set_blocking(file.fileno(), True) makes it wait"
        )
    return _checked(chunk)


def _checked(chunk: object) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray):
        return bytes(chunk)
    if isinstance(chunk, memoryview):
        return chunk.tobytes()
    raise TypeError(f"the content yielded a {type(chunk).__name__}; every chunk must be bytes")


def spent(source: Source) -> SourceConsumedError:
    """Return the error for a source of which no pass is left."""
    return SourceConsumedError(
        f"this {type(source.moves).__name__} can be read only once, and that is done; give the file fresh content"
    )
