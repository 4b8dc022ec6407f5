"""What a caller may give as content, and the `Source` that it becomes.

`source_of` looks at the value only: nothing is opened or read, and what cannot be content is
refused with a hint.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Protocol, cast

from filecolumn.async_sources import AsyncIterableSource, AsyncReader, UploadSource, reads_in_pieces
from filecolumn.source import CHUNK_SIZE, Source
from filecolumn.sync_sources import BytesSource, FileSource, IterableSource, PathSource, Reader

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

_Refused = str | io.TextIOBase | dict[str, object]


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
        case AsyncReader() if reads_in_pieces(content.read):
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
