"""What a caller may give as content, and the `Source` that it becomes.

`source_of` looks at the value only: nothing is opened, read or moved, and what cannot be content is
refused with a hint.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, Iterable
from tempfile import SpooledTemporaryFile
from typing import Protocol, cast

from filecolumn.async_sources import AsyncIterableSource, TwoWaySource, UploadSource
from filecolumn.errors import ContentRejectedError
from filecolumn.handles import (
    AsyncReader,
    Reader,
    file_behind,
    is_async_reader,
    is_empty_input,
    is_reader,
    is_text,
    local_path,
)
from filecolumn.source import Source, bytes_in
from filecolumn.sync_sources import BytesSource, FileSource, IterableSource, PathSource

__all__ = (
    "Content",
    "Upload",
    "checked_source",
    "source_of",
)

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
    if hint := _hint(content):
        raise TypeError(hint)
    match content:
        case bytes() | bytearray() | memoryview():
            return BytesSource(content)
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
    if isinstance(content, bytes):
        return None
    if isinstance(content, dict):
        return "content is a dict; pass bytes, a Path, a binary file or an iterable of bytes"
    return "content is a file opened in text mode; open it with mode='rb'" if is_text(content) else None
