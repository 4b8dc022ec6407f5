"""What a caller may give as content, and the `Source` that reads it.

A `Source` is content that waits to be stored, whatever it comes from: bytes, a path, a binary file, an
upload object of a framework, an iterable, synchronous or not.  `source_of` makes one.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Protocol, cast

from filecolumn._threads import read_in_thread
from filecolumn.content.handles import (
    AsyncReader,
    Reader,
    bytes_of,
    file_behind,
    innermost,
    is_async_reader,
    is_closed,
    is_empty_input,
    is_reader,
    is_seekable,
    is_text,
    known_length,
    local_path,
    reads_its_file,
    size_of,
)
from filecolumn.errors import ContentRejectedError, SourceConsumedError, SourceReadError

__all__ = (
    "CHUNK_SIZE",
    "AsyncIterableSource",
    "BytesSource",
    "Content",
    "FileSource",
    "IterableSource",
    "PathSource",
    "Source",
    "TwoWaySource",
    "Upload",
    "UploadSource",
    "asynchronous",
    "bytes_in",
    "checked_chunk",
    "checked_source",
    "closed",
    "not_rewound",
    "source_of",
    "spent",
)

CHUNK_SIZE = 1024 * 1024
"""Bytes read from a source at a time."""

NO_LOOP = "no running event loop"
"""What asyncio says in a thread without a loop."""


class Source(ABC):
    """Content that waits to be stored."""

    replayable: bool = True
    is_async: bool = False
    any_thread: bool = False
    """Whether another thread may read it while the caller's goes on."""
    in_memory: bool = False
    """Whether reading it does not block."""
    moves: object = None
    """What a pass moves along or uses up, for every other source of the same object too."""
    opened: bool = False
    """Whether a pass has begun."""

    @property
    def whole(self) -> bytes | None:
        """The content, if it is in memory in one piece of at most `CHUNK_SIZE`."""
        return None

    @property
    def is_spent(self) -> bool:
        """Whether no other pass is possible."""
        return self.opened and not self.replayable

    def _open(self) -> None:
        """Begin a pass; SourceConsumedError if there can be none."""
        if self.is_spent:
            raise spent(self)
        self.opened = True

    def check(self) -> None:
        """Raise what reading would raise at once, before anything is stored."""

    def known_size(self) -> int | None:
        """Return the bytes that reading gives at least, if that is known without reading."""
        return None

    @abstractmethod
    def chunks(self) -> Generator[bytes]:
        """Read the content from its start."""

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        """Read the content from its start, each blocking read in a worker thread."""
        chunks = self.chunks()
        while (chunk := await read_in_thread(partial(next, chunks, None))) is not None:
            yield chunk


def checked_chunk(chunk: object) -> bytes:
    """Return as `bytes` what foreign code gave for a chunk; TypeError if it is something else."""
    if isinstance(chunk, bytes):
        return chunk
    if (view := bytes_in(chunk)) is not None:
        return view.tobytes()
    raise TypeError(f"the content yielded a {type(chunk).__name__}; every chunk must be bytes")


def bytes_in(value: object) -> memoryview | None:
    """Return the memory of what has bytes, as a bytearray or the `Bytes` of obstore; None if *value* has none."""
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    # arrays of numbers are no bytes, though they have a memory
    return view if isinstance(value, memoryview) or view.itemsize == 1 else None


def spent(source: Source) -> SourceConsumedError:
    """Return the error for a source of which no pass is left."""
    return SourceConsumedError(
        f"this {_kind(source.moves)} can be read only once, and was read already; give the file fresh content"
    )


def closed(file: object) -> SourceConsumedError:
    """Return the error for a file that is closed."""
    return SourceConsumedError(
        f"this {_kind(file)} is closed: save or flush the file before that (a framework closes an upload when "
        "its request has been answered), or give it fresh content"
    )


def not_rewound(file: object, error: Exception) -> SourceReadError:
    """Return the error for a file that says it can seek, and does not go back to its beginning."""
    if isinstance(error, RuntimeError) and str(error) == NO_LOOP:
        return asynchronous(file)
    return SourceReadError(
        f"this {_kind(file)} cannot be set back to its beginning ({type(error).__name__}: {error}); "
        "to store what is left of it, pass iter(partial(file.read, 1 << 20), b'')"
    )


def asynchronous(file: object) -> SourceReadError:
    """Return the error for a file whose methods are asynchronous, and are no coroutine functions that would show it."""
    return SourceReadError(
        f"this {_kind(file)} can be read only by an event loop: pass an asynchronous generator that yields what "
        "`await file.read(1 << 20)` returns until that is empty, and save it by save_async() or an async session"
    )


def _kind(content: object) -> str:
    """Return what to call a caller's object: classes such as that of `NamedTemporaryFile` are private."""
    name = type(content).__name__
    return "file" if name.startswith("_") else name


class BytesSource(Source):
    """Bytes that the caller has in memory, handed on in chunks."""

    any_thread: bool = True
    in_memory: bool = True
    whole: bytes | None = None

    def __init__(self, data: bytes | bytearray | memoryview[int] | memoryview[bytes]) -> None:
        if isinstance(data, memoryview) and not (data.c_contiguous and data.nbytes):
            # `cast` takes no view with gaps, and none that is empty
            data = data.tobytes()
        self._data = data
        if isinstance(data, bytes) and len(data) <= CHUNK_SIZE:
            # read as the property is, without a call
            self.whole = data  # pyright: ignore[reportIncompatibleMethodOverride]

    def known_size(self) -> int:
        return memoryview(self._data).nbytes

    def chunks(self) -> Generator[bytes]:
        if (whole := self.whole) is not None:
            yield whole
            return
        view = memoryview(self._data).cast("B")
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

    @property
    def whole(self) -> bytes | None:
        return bytes_of(self._file, CHUNK_SIZE)

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


class AsyncSeekable(Protocol):
    """An `AsyncReader` that can be set back."""

    def seek(self, offset: int, /) -> Awaitable[object] | int: ...


class AsyncSource(Source):
    """Content that only an event loop can read."""

    is_async: bool = True

    def chunks(self) -> Generator[bytes]:
        raise TypeError(
            "asynchronous content needs an async session or save_async(); "
            "for a sync session, read it first and pass bytes or a path"
        )


class AsyncIterableSource(AsyncSource):
    """Chunks of an asynchronous iterable, in one pass only."""

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
            if checked := checked_chunk(chunk):
                yield checked


class TwoWaySource(AsyncIterableSource):
    """Chunks of what any code can iterate over, and an event loop too, as the answers of obstore; in one pass only."""

    def chunks(self) -> Generator[bytes]:
        self._open()
        yield from IterableSource(cast("Iterable[bytes]", self._chunks)).chunks()


class UploadSource(AsyncSource):
    """An upload object or an asynchronous file: the whole of it if it can seek, whoever has read from it."""

    def __init__(self, upload: AsyncReader) -> None:
        self._upload = upload
        self._file = file_behind(upload)
        self.moves: object = innermost(upload)
        self.replayable: bool = self._can_seek()

    @property
    def whole(self) -> bytes | None:
        # what another class reads may be something else than its file has
        return bytes_of(self._file, CHUNK_SIZE) if self.replayable and reads_its_file(self._upload) else None

    def check(self) -> None:
        if is_closed(self._upload):
            raise closed(self._upload)

    def chunks(self) -> Generator[bytes]:
        if self._file is None:
            return super().chunks()
        return self._chunks_of(FileSource(self._file))

    def _chunks_of(self, file: FileSource) -> Generator[bytes]:
        self._open()
        yield from file.chunks()

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        self._open()
        if inspect.iscoroutinefunction(seekable := getattr(self._upload, "seekable", None)):
            self.replayable = bool(await seekable())
        if self.replayable:
            await self._rewind()
        while chunk := await self._read():
            yield checked_chunk(chunk)

    def _can_seek(self) -> bool:
        """Return whether it can be set back, as far as that is known without waiting."""
        seekable: object = getattr(self._upload, "seekable", None)
        if not callable(getattr(self._upload, "seek", None)) or inspect.iscoroutinefunction(seekable):
            return False
        return is_seekable(self._upload if self._file is None else self._file)

    async def _rewind(self) -> None:
        try:
            moved = cast("AsyncSeekable", self._upload).seek(0)
            if inspect.isawaitable(moved):
                await moved
        except Exception as error:
            self.check()
            raise not_rewound(self._upload, error) from error

    async def _read(self) -> object:
        try:
            return await self._upload.read(CHUNK_SIZE)
        except ValueError:
            # that is what reading a closed file raises
            self.check()
            raise


_Refused = str | io.TextIOBase | dict[str, object]


class Upload(Protocol):
    """A part of a form, as Litestar, Starlette and Flask have it."""

    @property
    def filename(self) -> str | None: ...

    @property
    def content_type(self) -> str | None: ...


Content = (
    bytes
    | bytearray
    | memoryview
    | os.PathLike[str]
    | Reader
    | SpooledTemporaryFile[bytes]
    | AsyncReader
    | Iterable[bytes]
    | AsyncIterable[bytes]
)
"""What `FileObject(content=...)` takes."""


def source_of(content: Content | _Refused) -> Source:
    """Wrap what a caller gave as content; raises TypeError with a hint for what cannot be."""
    if isinstance(content, bytes | bytearray | memoryview):
        return BytesSource(content)
    if hint := _hint(content):
        raise TypeError(hint)
    match content:
        case os.PathLike():
            return PathSource(local_path(content))
        case _ if is_async_reader(content) or isinstance(content, AsyncIterable):
            return _async_source(content)
        # an upload that is no file itself, as those of aiohttp and Bottle, has one
        case _ if (file := content if is_reader(content) else file_behind(content)) is not None:
            return FileSource(file)
        case Iterable():
            return IterableSource(cast("Iterable[bytes]", content))
        case _ if (view := bytes_in(content)) is not None:
            return BytesSource(view)
        case _:
            raise TypeError(
                f"content is a {type(content).__name__}; pass bytes, a Path, a binary file, "
                "an upload object, or a (possibly asynchronous) iterable of bytes"
            )


def checked_source(content: Content) -> Source:
    """Wrap content that can be read now; raises as `source_of`, and SourceConsumedError for what is closed.

    An input of a form that was left empty is refused (ContentRejectedError): stored as an empty file
    it would take the place of the one that the form was to keep.
    """
    if isinstance(content, bytes):
        return BytesSource(content)
    source = source_of(content)
    source.check()
    if is_empty_input(content):
        raise ContentRejectedError(
            "no file was chosen: the upload has neither a name nor content", code="no_file"
        )
    return source


def _async_source(content: AsyncReader | AsyncIterable[bytes]) -> Source:
    if is_async_reader(content):
        return UploadSource(content)
    chunks = cast("AsyncIterable[bytes]", content)
    return TwoWaySource(chunks) if isinstance(chunks, Iterable) else AsyncIterableSource(chunks)


def _hint(content: object) -> str | None:
    """Return what to pass in place of what is often taken for content."""
    if isinstance(content, str):
        return "content is a str: pass Path(...) for a file on disk, or .encode() the text"
    if isinstance(content, dict):
        return "content is a dict; pass bytes, a Path, a binary file or an iterable of bytes"
    return "content is a file opened in text mode; open it with mode='rb'" if is_text(content) else None
