"""Sources that only an event loop can read: upload objects, asynchronous files and iterables.

`chunks` of each raises TypeError with a hint, for a session without a loop.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Generator
from typing import Protocol, runtime_checkable

from filecolumn.source import CHUNK_SIZE, Source, checked_chunk, spent

__all__ = ("AsyncIterableSource", "AsyncReader", "UploadSource", "reads_in_pieces")


@runtime_checkable
class AsyncReader(Protocol):
    """An upload object as Litestar's and Starlette's `UploadFile`, or an async file: an async `read(n)`."""

    async def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class AsyncSeekable(Protocol):
    """An `AsyncReader` that can be read again."""

    async def seek(self, offset: int, /) -> object: ...


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
            yield checked_chunk(chunk)


def _is_seekable(upload: object) -> bool:
    """Return whether `seek` can be awaited and, where the object tells, works: not on a pipe."""
    if not inspect.iscoroutinefunction(getattr(upload, "seek", None)):
        return False
    seekable = getattr(upload, "seekable", None)
    return seekable is None or inspect.iscoroutinefunction(seekable) or bool(seekable())


def reads_in_pieces(read: object) -> bool:
    """Return whether *read* is asynchronous and takes the number of bytes: some only read everything."""
    if not inspect.iscoroutinefunction(read):
        return False
    try:
        inspect.signature(read).bind(CHUNK_SIZE)
    except TypeError:
        return False
    return True
