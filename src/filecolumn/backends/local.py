"""What a folder on a local disk needs beyond its library: staying inside, and durability.

The real path of every key must lie under the root and be a regular file: a symbolic link, a
FIFO or a device is refused.  A race remains between this check and the library's own open,
because both libraries open by path; whoever can create links inside the root can win it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import FileIO
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from filecolumn.content import CHUNK_SIZE
from filecolumn.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from filecolumn.naming import RESERVED_FOLDER, ReservedKey, check_key, is_stage_name, uuid7_hex

__all__ = ("FileChunks", "LocalRoot", "local_folder")

FILE_MODE = 0o640
FOLDER_MODE = 0o750

_STAGE = f"{RESERVED_FOLDER}/stage"


class LocalRoot:
    """A folder that keys are confined to."""

    def __init__(self, root: str | os.PathLike[str], *, fsync: bool = True) -> None:
        """Make the folder if it is missing; OSError if that cannot be, ValueError for the whole disk."""
        Path(root).mkdir(parents=True, exist_ok=True)
        self.path: str = os.path.realpath(root)
        if os.path.dirname(self.path) == self.path:
            raise ValueError("the root of the disk is no storage; name a folder")
        self._fsync = fsync

    def locate(self, key: str) -> str:
        """Return the path of *key*; StorageError if a symbolic link is on the way."""
        path = os.path.join(self.path, *check_key(key).split("/"))
        if os.path.realpath(path) != path:
            raise StorageError(f"the storage key {key!r} leads through a symbolic link, which is refused")
        return path

    def existing(self, key: str) -> str:
        """Return the path of the regular file at *key*; ObjectNotFoundError, or StorageError for anything else."""
        path = self.locate(key)
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectNotFoundError(f"no object is stored under {key!r}") from error
        if stat.S_ISDIR(mode):
            raise ObjectNotFoundError(f"no object is stored under {key!r}: it is a folder")
        if not stat.S_ISREG(mode):
            raise StorageError(
                f"what lies at the storage key {key!r} is not a regular file, which is refused"
            )
        return path

    def prepare(self, key: str) -> str:
        """Make the folders above *key* and return its path; StorageError if what is there is no file."""
        path = self.locate(key)
        self._make_folder(os.path.dirname(path))
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise StorageError(f"what lies at the storage key {key!r} is not a regular file, and stays")
        return path

    def write(self, key: str, chunks: Iterable[bytes], *, overwrite: bool) -> None:
        """Store *chunks* at *key*, all or nothing; ObjectExistsError if it is taken and not to be overwritten."""
        path = self.prepare(key)
        stage = self._stage_path()
        try:
            with open(
                os.open(stage, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb", buffering=0
            ) as file:
                for chunk in chunks:
                    _write_all(file, chunk)
                if self._fsync:
                    os.fsync(file.fileno())
            if overwrite:
                os.replace(stage, path)
                self._sync_folder(os.path.dirname(path))
            else:
                _create(stage, path, key)
                with _undone_on_error(path):
                    self._sync_folder(os.path.dirname(path))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(stage)

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """Open *key* at once and return its chunks."""
        descriptor = os.open(self.existing(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        os.lseek(descriptor, start, os.SEEK_SET)
        return FileChunks(_Descriptor(descriptor), length)

    def remove(self, key: str) -> None:
        """Delete the file at *key* if there is one."""
        with suppress(ObjectNotFoundError, FileNotFoundError):
            os.unlink(self.existing(key))

    def settle(self, path: str, *, created: bool) -> None:
        """Make the file at *path* and its name durable, and readable to owner and group only."""
        with _undone_on_error(path) if created else nullcontext():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fchmod(descriptor, FILE_MODE)
                if self._fsync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._sync_folder(os.path.dirname(path))

    def _stage_path(self) -> str:
        """Return a path for an unfinished file, on the same disk and out of every listing."""
        folder = os.path.join(self.path, *_STAGE.split("/"))
        if os.path.realpath(folder) != folder:
            raise StorageError(f"{RESERVED_FOLDER}/ in the storage is a symbolic link, which is refused")
        self._make_folder(folder)
        return os.path.join(folder, uuid7_hex())

    def walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield key and status of each regular file below *folder*; links are not followed."""
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            for entry in self._entries(below):
                key = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if key != RESERVED_FOLDER:
                        waiting.append(key)
                elif entry.is_file(follow_symlinks=False) and not is_stage_name(entry.name):
                    yield key, entry.stat(follow_symlinks=False)

    def walk_unfinished(self) -> Iterator[tuple[ReservedKey, os.stat_result]]:
        """Yield key and status of each file that an upload has left: ours, and those of obstore's local store."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for entry in self._entries(below):
                key = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(key)
                elif entry.is_file(follow_symlinks=False) and (below == _STAGE or is_stage_name(entry.name)):
                    yield ReservedKey(key), entry.stat(follow_symlinks=False)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = self.locate(ReservedKey(folder)) if folder else self.path
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _make_folder(self, path: str) -> None:
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(os.path.dirname(path))
            self._make_folder(path)
            return
        self._sync_folder(os.path.dirname(path))

    def _sync_folder(self, path: str) -> None:
        if not self._fsync:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def local_folder(url: str) -> str:
    """Return the folder of a `file:` URL; ValueError says how to write one."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"{url!r} names no absolute folder; write 'file:///folder/'")
    return unquote(parts.path)


class ChunkFile(Protocol):
    """What chunks are read from."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class FileChunks(Iterator[bytes]):
    """The chunks of an open file from where it stands; closes it at the end, or when it is forgotten."""

    def __init__(self, file: ChunkFile, length: int | None) -> None:
        self._file: ChunkFile | None = file
        self._left = length

    def __next__(self) -> bytes:
        wanted = CHUNK_SIZE if self._left is None else min(CHUNK_SIZE, self._left)
        chunk = self._file.read(wanted) if self._file is not None and wanted else b""
        if not chunk:
            self.close()
            raise StopIteration
        if self._left is not None:
            self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.close()


class _Descriptor:
    """An open file of the system; unlike Python's own it may be forgotten without a warning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def _undone_on_error(path: str) -> Generator[None]:
    """Delete the new file at *path* if it cannot be made durable: it never counted as stored."""
    try:
        yield
    except OSError:
        os.unlink(path)
        raise


def _create(stage: str, path: str, key: str) -> None:
    try:
        os.link(stage, path, follow_symlinks=False)
    except FileExistsError as error:
        raise ObjectExistsError(f"the storage key {key!r} is taken; objects are never overwritten") from error


def _write_all(file: FileIO, chunk: bytes) -> None:
    """Write the whole of *chunk*: one write of an unbuffered file may be short."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
