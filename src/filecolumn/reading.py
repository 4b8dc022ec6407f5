"""The calls of a file that read: content and facts."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from io import SEEK_SET
from pathlib import Path
from typing import BinaryIO

from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.reader import NamedReader
from filecolumn.backends.threads import aclosing, closing, completed
from filecolumn.errors import ChecksumMismatchError, NotSupportedError
from filecolumn.facts import known_time
from filecolumn.meter import Meter, Rechunker
from filecolumn.naming import uuid7_hex
from filecolumn.source import CHUNK_SIZE
from filecolumn.value import FileValue

__all__ = ("AsyncFile", "ReadableFile")


class AsyncFile:
    """A seekable, read-only file of an event loop, from `FileObject.open_async`."""

    def __init__(self, backend: StorageBackend, key: str, size: int, name: str) -> None:
        self.name: str = name
        self._backend = backend
        self._key = key
        self._size = size
        self._position = 0

    async def read(self, size: int = -1) -> bytes:
        """Return the next *size* bytes, fewer only at the end; all that are left if it is negative."""
        left = max(self._size - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        async with aclosing(
            await self._backend.get_async(self._key, start=self._position, length=wanted)
        ) as chunks:
            content = b"".join([chunk async for chunk in chunks])
        self._position += len(content)
        return content

    async def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move to a byte and return it; *whence* as for `io.IOBase.seek`."""
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise ValueError(f"cannot seek to byte {position}")
        self._position = position
        return position

    async def tell(self) -> int:
        """Return the byte that the next `read` starts at."""
        return self._position


class ReadableFile(FileValue):
    """See `FileObject`."""

    __slots__ = ()

    def get_content(self) -> bytes:
        """Return the whole content; ObjectNotFoundError if it is not there."""
        backend, key = self._located()
        return backend.get_bytes(key)

    async def get_content_async(self) -> bytes:
        """Call `get_content` asynchronously."""
        backend, key = self._located()
        return await backend.get_bytes_async(key)

    def stream(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[bytes]:
        """Yield the content from byte *start*, at most *length* bytes, in chunks of *chunk_size* bytes."""
        backend, key = self._located()
        cut = Rechunker(chunk_size)
        with closing(backend.get(key, start=start, length=length)) as chunks:
            for chunk in chunks:
                yield from cut.feed(chunk)
        yield from cut.end()

    async def stream_async(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> AsyncGenerator[bytes]:
        """Call `stream` asynchronously."""
        backend, key = self._located()
        cut = Rechunker(chunk_size)
        # else it holds its descriptor or connection until the event loop comes to it
        async with aclosing(await backend.get_async(key, start=start, length=length)) as chunks:
            async for chunk in chunks:
                for piece in cut.feed(chunk):
                    yield piece
        for piece in cut.end():
            yield piece

    def open(self, mode: str = "rb") -> BinaryIO:
        """Return a seekable, read-only binary file; its `name` is the file's.  ValueError for another mode."""
        _check_mode(mode)
        backend, key = self._located()
        return NamedReader.over(backend.open(key), self.filename)

    @asynccontextmanager
    async def open_async(self, mode: str = "rb") -> AsyncGenerator[AsyncFile]:
        """Open asynchronously: `async with file.open_async() as f`, with `read`, `seek` and `tell`."""
        _check_mode(mode)
        backend, key = self._located()
        yield AsyncFile(backend, key, (await backend.stat_async(key)).size, self.filename)

    def download(self, path: str | os.PathLike[str]) -> Path:
        """Write the content to a local file and return its path; it appears whole or not at all.

        In a folder that is there the file is called as this one is, by its `filename`.  A file that
        is there is replaced, and a symbolic link is too, not what it points to.
        """
        target = self._target(path, is_folder=os.path.isdir(path))
        part = target.with_name(f".{uuid7_hex()}.part")
        try:
            with part.open("xb") as file, closing(self.stream()) as chunks:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return target

    async def download_async(self, path: str | os.PathLike[str]) -> Path:
        """Call `download` asynchronously."""
        target = self._target(path, is_folder=await completed(Path(path).is_dir))
        part = target.with_name(f".{uuid7_hex()}.part")
        try:
            await completed(partial(part.touch, exist_ok=False))
            async with aclosing(self.stream_async()) as chunks:
                async for chunk in chunks:
                    await completed(partial(_append, part, chunk))
            await completed(partial(os.replace, part, target))
        finally:
            await completed(partial(part.unlink, missing_ok=True))
        return target

    def _target(self, path: str | os.PathLike[str], *, is_folder: bool) -> Path:
        """Return the file that a download goes to: a cleaned name leads to no other folder."""
        if is_folder:
            return Path(path) / self.filename
        if os.fspath(path).endswith(os.sep):
            raise FileNotFoundError(f"there is no folder {os.fspath(path)!r} to download into; make it first")
        return Path(path)

    def exists(self) -> bool:
        """Return whether the content is in the storage; False for a file that is not saved."""
        if not self.is_saved:
            return False
        backend, key = self._located()
        return backend.exists(key)

    async def exists_async(self) -> bool:
        """Call `exists` asynchronously."""
        if not self.is_saved:
            return False
        backend, key = self._located()
        return await backend.exists_async(key)

    def refresh(self) -> None:
        """Read size, etag, version and time from the storage again; what differs is written by the next flush."""
        backend, key = self._located()
        self._refreshed(backend.stat(key))

    async def refresh_async(self) -> None:
        """Call `refresh` asynchronously."""
        backend, key = self._located()
        self._refreshed(await backend.stat_async(key))

    def verify(self) -> None:
        """Read the content and compare it with the facts; ChecksumMismatchError if they differ.

        Raises NotSupportedError for a row without a checksum, such as advanced-alchemy wrote.
        """
        meter = Meter()
        with closing(self._verifiable().stream()) as chunks:
            for chunk in chunks:
                meter.feed(chunk)
        self._compare(meter)

    async def verify_async(self) -> None:
        """Call `verify` asynchronously."""
        meter = Meter()
        async with aclosing(self._verifiable().stream_async()) as chunks:
            async for chunk in chunks:
                meter.feed(chunk)
        self._compare(meter)

    def _verifiable(self) -> ReadableFile:
        if self.checksum is None and self.is_saved:
            raise NotSupportedError(f"nothing to verify {self.filename!r} by: its row has no checksum")
        return self

    def _compare(self, meter: Meter) -> None:
        if (meter.checksum, meter.size) != (self.checksum, self.size):
            raise ChecksumMismatchError(
                f"the content of {self.filename!r} is {meter.size} bytes with {meter.checksum}, "
                f"and its facts say {self.size} bytes with {self.checksum}"
            )

    def _refreshed(self, stat: Stat) -> None:
        facts = self._known()
        self._change(
            replace(
                facts,
                size=stat.size,
                etag=stat.etag or facts.etag,
                version_id=stat.version_id or facts.version_id,
                last_modified=known_time(stat.last_modified, facts.last_modified),
            )
        )


def _check_mode(mode: str) -> None:
    if mode not in {"rb", "br"}:
        raise ValueError(
            f"a stored file opens in mode 'rb' only, not {mode!r}: io.TextIOWrapper(file.open(), encoding='utf-8') "
            "reads text, and new content is a new FileObject in the attribute"
        )


def _append(path: Path, chunk: bytes) -> None:
    # opened for each chunk: a file that is open between two of them would stay open after a cancellation
    with path.open("ab") as file:
        file.write(chunk)
