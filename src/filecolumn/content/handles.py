"""What file objects of applications and frameworks are: their shapes, and what they say of themselves.

Attributes are asked for, and no `isinstance` with a protocol: `NamedTemporaryFile` and werkzeug's
`FileStorage` hand attributes on by `__getattr__`, which protocols do not see from Python 3.12 on
(https://docs.python.org/3/whatsnew/3.12.html#typing).
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPResponse
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import FunctionType
from typing import BinaryIO, Protocol, TypeGuard, cast

__all__ = (
    "AsyncReader",
    "Reader",
    "bytes_of",
    "file_behind",
    "innermost",
    "is_async_reader",
    "is_closed",
    "is_empty_input",
    "is_reader",
    "is_seekable",
    "is_text",
    "known_length",
    "local_path",
    "name_of",
    "reads_its_file",
    "size_of",
)

_BEHIND = ("file", "stream")
"""Where uploads have their file: those of Litestar, Starlette, aiohttp and Bottle, and werkzeug's."""

_LAYERS = (*_BEHIND, "wrapped", "_file")
"""Where file objects have one that they wrap: also anyio's, those of aiofiles, and `SpooledTemporaryFile`."""

_DECOMPRESSORS = frozenset({"gzip", "bz2", "lzma"})


class Reader(Protocol):
    """A binary file: `read(n)` returns at most `n` bytes, `b""` at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class AsyncReader(Protocol):
    """An upload object as Litestar's and Starlette's `UploadFile`, or an async file: an async `read(n)`."""

    async def read(self, size: int = -1, /) -> bytes: ...


def is_reader(content: object) -> TypeGuard[Reader]:
    """Return whether *content* is a file that any code can read in pieces."""
    read: object = getattr(content, "read", None)
    return not inspect.iscoroutinefunction(read) and _takes_size(read)


def is_async_reader(content: object) -> TypeGuard[AsyncReader]:
    """Return whether *content* is a file that only an event loop can read, in pieces."""
    read: object = getattr(content, "read", None)
    return inspect.iscoroutinefunction(read) and _takes_size(read)


def _takes_size(read: object) -> bool:
    """Return whether *read* takes the number of bytes: some only read everything."""
    if inspect.isbuiltin(read) or not callable(read):
        # those in C do, and some do not say it
        return callable(read)
    function: object = getattr(read, "__func__", None)
    if inspect.ismethod(read) and isinstance(function, FunctionType):
        return _binds_once(function)
    return _binds(read, 1)


@lru_cache(maxsize=256)
def _binds_once(method: FunctionType) -> bool:
    """Return whether *method* takes a size: a signature takes longer than all else about a file of a form."""
    return _binds(method, None, 1)


def _binds(function: Callable[..., object], *arguments: object) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def file_behind(upload: object) -> Reader | None:
    """Return the file of an upload object, which code without an event loop can read too."""
    for name in _BEHIND:
        file: object = getattr(upload, name, None)
        if is_reader(file):
            return file if hasattr(upload, "filename") else None
    return None


def is_seekable(file: object) -> bool:
    """Return whether a file can be set back; one that has `seek` and no `seekable` is taken at its word.

    `mmap` has no `seekable` before Python 3.13 (https://docs.python.org/3/library/mmap.html#mmap.mmap.seekable).
    """
    try:
        seekable: object = getattr(file, "seekable", None)
        can_seek = True if seekable is None else bool(cast("Callable[[], object]", seekable)())
        return can_seek and callable(getattr(file, "seek", None))
    except Exception:  # noqa: BLE001 - a member of a tar stream raises AttributeError, others what they like
        return False


def is_closed(file: object) -> bool:
    """Return whether a file, or that of an upload, says that it is closed."""
    # `is True`: a double of a test has every attribute
    return any(getattr(layer, "closed", None) is True for layer in _layers(file))


def is_empty_input(content: object) -> bool:
    """Return whether content is what a browser sends for an `<input type="file">` that was left empty.

    That is an upload with an empty name and no bytes; a named file may have none, and some clients name none.
    """
    # asking a `GzipFile` for its `filename` is deprecated
    if type(content).__module__ in _DECOMPRESSORS or getattr(content, "filename", None) != "":
        return False
    file = content if is_reader(content) else file_behind(content)
    if file is None or is_closed(file) or not is_seekable(file):
        return False
    try:
        return _length(cast("BinaryIO", file)) == 0
    except (AttributeError, OSError, ValueError):
        # what cannot be read says so when it is read
        return False


def _length(file: BinaryIO) -> int:
    position = file.tell()
    try:
        file.seek(0, io.SEEK_END)
        return file.tell()
    finally:
        file.seek(position)


def is_text(file: object) -> bool:
    """Return whether a file was opened in text mode, or wraps one that was."""
    return any(isinstance(layer, io.TextIOBase) for layer in _layers(file))


def _layers(file: object) -> list[object]:
    layers = [file]
    # a double of a test is endless
    for _ in range(4):
        if type(layers[-1]) is io.BytesIO:
            break
        for name in _LAYERS:
            wrapped: object = getattr(layers[-1], name, None)
            if wrapped is not None and hasattr(wrapped, "read"):
                layers.append(wrapped)
                break
        else:
            break
    return layers


def innermost(file: object) -> object:
    """Return the file that is moved along when *file* is read: two that wrap one take turns."""
    return _layers(file)[-1]


def bytes_of(file: object, most: int) -> bytes | None:
    """Return the content of a file that is in memory, if that is *most* bytes at most; None for any other file."""
    # of exactly these kinds: another one may give something else when it is read
    buffer = file
    if type(file) is SpooledTemporaryFile and "read" not in vars(cast("object", file)):
        buffer = getattr(cast("object", file), "_file", None)
    if type(buffer) is not io.BytesIO or buffer.closed:
        return None
    # not the length of `getbuffer()`, which copies what the file shares with the bytes that it was made of
    content = buffer.getvalue()
    return content if len(content) <= most else None


_UPLOADS = frozenset(
    {"fastapi.datastructures", "litestar.datastructures.upload_file", "starlette.datastructures"}
)


def reads_its_file(upload: object) -> bool:
    """Return whether what an upload object reads is what its `file` has: an application's own class may change it."""
    return type(upload).__module__ in _UPLOADS and "read" not in getattr(upload, "__dict__", {})


def size_of(file: object) -> int | None:
    """Return the bytes that a file says it has: one on disk, or a response with a `Content-Length`."""
    if isinstance(file, HTTPResponse):
        return file.length
    # of exactly these kinds: another one may decompress what it reads
    raw: object = getattr(file, "raw", None) if type(file) in {io.BufferedReader, io.BufferedRandom} else file
    return known_length(os.fstat(raw.fileno())) if type(raw) is io.FileIO else None


def known_length(status: os.stat_result) -> int | None:
    """Return the size of a regular file; None for the kernel's own, which say 4096 and have no blocks."""
    if not stat.S_ISREG(status.st_mode) or getattr(status, "st_blocks", 1) == 0:
        return None
    return status.st_size


def local_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Path:
    """Return any path as one of pathlib."""
    return Path(os.fsdecode(path))


def name_of(content: object) -> str | None:
    """Return the name that content has: of a path, an upload, or a file on disk; None if it is of a kind without.

    An upload that came without a name has an empty one.
    """
    if isinstance(content, os.PathLike):
        return local_path(cast("os.PathLike[str]", content)).name
    if type(content).__module__ in _DECOMPRESSORS:
        # what is in an archive is not called as the archive is
        return None
    if hasattr(content, "filename"):
        # and not `name`, which is that of the form's field
        filename: object = getattr(content, "filename", None)
        return filename if isinstance(filename, str) else ""
    name: object = getattr(content, "name", None) if hasattr(content, "read") else None
    if not isinstance(name, str | bytes | os.PathLike):
        return None
    shown = local_path(cast("str | bytes | os.PathLike[str]", name)).name
    # as "<stdin>" and "<fdopen>" are
    return None if shown.startswith("<") and shown.endswith(">") else shown or None
