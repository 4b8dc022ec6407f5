"""One call at a time, for filesystems that answer several threads wrongly or never.

fsspec promises nothing of threads.  Its asynchronous filesystems run every call on one loop, and
are safe; paramiko, behind `sftp`, throws away an answer that another thread waits for; `ftp` has
one line for commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Self, TypeVar
from weakref import WeakKeyDictionary

from filecolumn.backends.filesystem import FileSystem, PlainFile, PlainFiles, wrapped_in
from filecolumn.errors import StorageError

__all__ = ("in_turns",)

T = TypeVar("T")


class _Line:
    """Who may call a filesystem now."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._forgotten: deque[PlainFile] = deque()

    def call(self, call: Callable[[], T], limit: float) -> T:
        """Return what *call* returns; StorageError if others did not end within *limit* seconds."""
        if not self._lock.acquire(timeout=limit):
            raise StorageError(f"the filesystem takes one call at a time, and was busy for {limit:g} s")
        try:
            result = call()
            self._close_forgotten()
        finally:
            self._lock.release()
        return result

    def close_soon(self, file: PlainFile) -> None:
        """Close a file that was read, now or after the call that is under way.

        The garbage collector may ask for it in the middle of a call, in the same thread.
        """
        self._forgotten.append(file)
        if self._lock.acquire(blocking=False):
            try:
                self._close_forgotten()
            finally:
                self._lock.release()

    def _close_forgotten(self) -> None:
        while self._forgotten:
            with suppress(Exception):
                self._forgotten.popleft().close()


# fsspec hands out one filesystem for the same options, so that several backends may share it
_lines: WeakKeyDictionary[FileSystem, _Line] = WeakKeyDictionary()


def in_turns(fs: FileSystem, *, limit: float) -> PlainFiles:
    """Return *fs*, for one call at a time unless it is asynchronous by nature.

    A call that does not get its turn within *limit* seconds raises StorageError.
    """
    called = fs
    while (inner := wrapped_in(called)) is not None:
        called = inner
    if getattr(called, "async_impl", False):
        return fs
    return _OneAtATime(fs, _lines.setdefault(called, _Line()), limit)


class _OneAtATime:
    """A filesystem whose calls wait for each other."""

    def __init__(self, fs: FileSystem, line: _Line, limit: float) -> None:
        self._fs = fs
        self._line = line
        self._limit = limit

    def open(self, path: str, mode: str) -> PlainFile:
        return _OneAtATimeFile(self._call(lambda: self._fs.open(path, mode)), self._line, self._limit)

    def info(self, path: str) -> dict[str, object]:
        return self._call(lambda: self._fs.info(path))

    def ls(self, path: str, *, detail: bool) -> list[dict[str, object]]:
        return self._call(lambda: self._fs.ls(path, detail=detail))

    def mv(self, path1: str, path2: str) -> None:
        self._call(lambda: self._fs.mv(path1, path2))

    def rm_file(self, path: str) -> None:
        self._call(lambda: self._fs.rm_file(path))

    def makedirs(self, path: str, exist_ok: bool) -> None:
        self._call(lambda: self._fs.makedirs(path, exist_ok=exist_ok))

    def invalidate_cache(self) -> None:
        self._call(self._fs.invalidate_cache)

    def _call(self, call: Callable[[], T]) -> T:
        return self._line.call(call, self._limit)


class _OneAtATimeFile:
    """An open file of such a filesystem: each read and write is a call of its own.

    It reads from a position of its own: the filesystem in memory gives all its readers one file.
    """

    def __init__(self, file: PlainFile, line: _Line, limit: float) -> None:
        self._file = file
        self._line = line
        self._limit = limit
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._line.call(lambda: self._file.__exit__(*reason), self._limit)

    def read(self, size: int, /) -> bytes:
        content = self._line.call(lambda: self._read(size), self._limit)
        self._position += len(content)
        return content

    def write(self, content: bytes, /) -> object:
        return self._line.call(lambda: self._file.write(content), self._limit)

    def seek(self, offset: int, /) -> object:
        self._position = offset
        return offset

    def close(self) -> None:
        self._line.close_soon(self._file)

    def _read(self, size: int) -> bytes:
        self._file.seek(self._position)
        return self._file.read(size)
