"""Sources that an event loop reads: upload objects, asynchronous files and iterables.

Without a loop an upload is read by the file behind it; `chunks` of the others raises TypeError with a hint.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable
from typing import Protocol, cast

from filecolumn.handles import AsyncReader, file_behind, innermost, is_closed, is_seekable
from filecolumn.source import CHUNK_SIZE, Source, checked_chunk, closed, not_rewound, spent
from filecolumn.sync_sources import FileSource, IterableSource

__all__ = ("AsyncIterableSource", "TwoWaySource", "UploadSource")


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
