"""A folder on a local disk as a storage: keys cannot leave it, and what is written is durable.

Files and folders are reached by descriptor: what a name leads to is settled once, when it is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import FileIO
from typing import Protocol, TypeVar

from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.errors import (
    FileColumnError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, ReservedKey, check_key, is_stage_name, uuid7_hex

__all__ = (
    "FOLDER_ATTEMPTS",
    "FOLDER_FLAGS",
    "NEW_FILE_FLAGS",
    "Descriptor",
    "FileChunks",
    "LocalRoot",
    "check_regular",
    "check_system",
    "closed_on_error",
    "enter",
    "is_replaceable",
    "link_new",
    "make_root",
    "replace",
    "sync_above",
    "sync_folder",
    "undone_on_error",
    "write_all",
)

# Windows has none of these, and imports this module all the same
FOLDER_FLAGS: int = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
NEW_FILE_FLAGS: int = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)

# vfat and exfat say EPERM, FUSE and SMB one of the others
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS})


class Descriptor:
    """An open file of the system; unlike Python's own it may be forgotten without a warning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


def enter(segment: str, folder: int) -> int:
    """Open the folder *segment* in the open *folder*; StorageError for a symbolic link."""
    try:
        return os.open(segment, FOLDER_FLAGS, dir_fd=folder)
    except OSError as error:
        # systems do not agree on the error for a link
        if stat.S_ISLNK(os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode):
            raise StorageError(f"the folder {segment!r} is a symbolic link, which is refused") from error
        raise


def check_regular(key: str, status: os.stat_result) -> os.stat_result:
    """Return the status of a regular file; ObjectNotFoundError for a folder, StorageError for anything else."""
    if stat.S_ISREG(status.st_mode):
        return status
    if stat.S_ISDIR(status.st_mode):
        raise ObjectNotFoundError(f"no object is stored under {key!r}: it is a folder")
    what = "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is not a regular file"
    raise StorageError(f"what lies at the storage key {key!r} {what}, which is refused")


@contextmanager
def closed_on_error(descriptor: int) -> Generator[None]:
    """Close what turned out not to be wanted."""
    try:
        yield
    except FileColumnError:
        os.close(descriptor)
        raise


@contextmanager
def undone_on_error(name: str, folder: int) -> Generator[None]:
    """Delete the new file if it cannot be made durable: it never counted as stored."""
    try:
        yield
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise


def link_new(stage: str, stages: int, name: str, folder: int, key: str) -> None:
    """Give the file *stage* the name of *key* as well.

    ObjectExistsError if that is taken, NotSupportedError on a file system without hard links.
    """
    try:
        os.link(stage, name, src_dir_fd=stages, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        raise ObjectExistsError(f"the storage key {key!r} is taken; objects are never overwritten") from error
    except FileNotFoundError:
        _check_stage(stage, stages, key)
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        raise NotSupportedError(
            f"the file system has no hard links, by which a file takes a name only if it is free: {key!r}"
        ) from error


def replace(stage: str, stages: int, name: str, folder: int, key: str) -> None:
    """Give the file *stage* the name of *key*, in the place of what has it; StorageError if the stage is gone."""
    try:
        os.replace(stage, name, src_dir_fd=stages, dst_dir_fd=folder)
    except FileNotFoundError:
        _check_stage(stage, stages, key)
        raise


def is_replaceable(key: str, name: str, folder: int) -> bool:
    """Return whether a file lies at *key*; StorageError if something else does."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"what lies at the storage key {key!r} is not a regular file, and stays")
    return True


def _check_stage(stage: str, stages: int, key: str) -> None:
    try:
        os.stat(stage, dir_fd=stages, follow_symlinks=False)
    except FileNotFoundError as error:
        raise StorageError(
            f"the unfinished upload of {key!r} was removed, as a sweep does after its grace; store the file again"
        ) from error


def sync_folder(descriptor: int) -> None:
    """Make the names in an open folder durable, on a file system that has such a call.

    Some answer with EINVAL or ENOTSUP, as FUSE and SMB may; the names are then as durable as they make them.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def sync_above(path: str) -> None:
    """Make the name of a folder durable, and of those above it on its disk that may be read."""
    device = os.stat(path).st_dev
    while (above := os.path.dirname(path)) != path and os.stat(above).st_dev == device:
        path = above
        with suppress(PermissionError):
            descriptor = os.open(path, FOLDER_FLAGS)
            try:
                sync_folder(descriptor)
            finally:
                os.close(descriptor)


def write_all(file: FileIO, chunk: bytes) -> None:
    """Write the whole of *chunk*: one write of an unbuffered file may be short."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


T = TypeVar("T")

FILE_MODE = 0o640
FOLDER_MODE = 0o750
MOST_REMEMBERED = 10_000
"""Folders whose names are known to be durable; one that is forgotten is only synced again."""
FOLDER_ATTEMPTS = 100
"""How often a folder is made that others remove meanwhile."""
_USABLE = os.R_OK | os.W_OK | os.X_OK

_STAGE = f"{RESERVED_FOLDER}/stage"


class LocalRoot:
    """A folder that keys are confined to."""

    def __init__(self, root: str | os.PathLike[str], *, fsync: bool = True) -> None:
        """Make the folder if it is missing.

        OSError if that cannot be or it is not writable, ValueError for the whole disk, NotSupportedError
        on a system that is not POSIX.
        """
        make_root(root)
        self.path: str = os.path.realpath(root)
        if os.path.dirname(self.path) == self.path:
            raise ValueError("the root of the disk is no storage; name a folder")
        # the user that counts is the effective one, where the system can say so
        if not os.access(self.path, _USABLE, effective_ids=os.access in os.supports_effective_ids):
            raise StorageError(f"the folder {self.path!r} is not writable for this process")
        self._fsync = fsync
        self._durable: set[str] = set()
        if fsync:
            sync_above(self.path)

    def stat(self, key: str) -> os.stat_result:
        """Return the status of the regular file at *key*; ObjectNotFoundError, or StorageError for anything else."""
        with self._at(key) as (folder, name):
            return check_regular(key, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def write(self, key: str, chunks: Iterable[bytes], *, overwrite: bool) -> os.stat_result:
        """Store *chunks* at *key*, all or nothing, and return the file's status.

        ObjectExistsError if it is taken and not to be overwritten, which is found out by a hard link:
        NotSupportedError on a file system without them.
        """
        *folders, name = check_key(key).split("/")
        stage = uuid7_hex()
        # on the same disk and out of every listing
        with self._stage(stage) as (stages, descriptor):
            status = self._fill(descriptor, chunks)

            def publish(opened: Sequence[int]) -> None:
                folder = opened[-1]
                is_new = not is_replaceable(key, name, folder)
                if overwrite:
                    replace(stage, stages, name, folder, key)
                else:
                    link_new(stage, stages, name, folder, key)
                with undone_on_error(name, folder) if is_new else nullcontext():
                    self._sync_names(folders, opened)

            self._in_folder(folders, publish)
        return status

    @contextmanager
    def _stage(self, name: str) -> Generator[tuple[int, int]]:
        """Open the folder of stages, and a new file in it that is gone at the end."""

        def make(opened: Sequence[int]) -> tuple[int, int]:
            return os.open(name, NEW_FILE_FLAGS, FILE_MODE, dir_fd=opened[-1]), os.dup(opened[-1])

        descriptor, stages = self._in_folder(_STAGE.split("/"), make)
        try:
            yield stages, descriptor
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=stages)
            os.close(stages)

    def _in_folder(self, segments: Sequence[str], call: Callable[[Sequence[int]], T]) -> T:
        """Return what *call* does in a folder, which is made if it is missing, also if it is removed meanwhile.

        It gets the open folders on the way, the root first: nothing but a file in it keeps a folder there.
        """
        for _ in range(FOLDER_ATTEMPTS):
            try:
                with self._made(segments) as opened:
                    return call(opened)
            except FileNotFoundError:
                # whoever removes empty folders has come before the file
                continue
            except NotADirectoryError as error:
                raise StorageError(
                    f"a file lies where the folder {'/'.join(segments)!r} has to be"
                ) from error
        raise StorageError(
            f"the folder {'/'.join(segments)!r} was removed {FOLDER_ATTEMPTS} times while it was used"
        )

    @contextmanager
    def _made(self, segments: Sequence[str]) -> Generator[Sequence[int]]:
        opened = [self._open_root()]
        try:
            for depth, segment in enumerate(segments, 1):
                with suppress(FileExistsError):
                    os.mkdir(segment, FOLDER_MODE, dir_fd=opened[-1])
                    self._durable.discard("/".join(segments[:depth]))
                opened.append(enter(segment, opened[-1]))
            yield opened
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _sync_names(self, segments: Sequence[str], opened: Sequence[int]) -> None:
        """Make the name of a new file durable, and those of the folders on the way that were not known to be."""
        if not self._fsync:
            return
        sync_folder(opened[-1])
        paths = ("/".join(segments[:depth]) for depth in range(1, len(segments) + 1))
        # who made a folder may have been killed, or be about to make its name durable
        unknown = {
            path: above for path, above in zip(paths, opened, strict=False) if path not in self._durable
        }
        for above in unknown.values():
            sync_folder(above)
        if len(self._durable) >= MOST_REMEMBERED:
            self._durable.clear()
        self._durable.update(unknown)

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """Open *key* at once and return its chunks."""
        with self._at(key) as (folder, name):
            descriptor = self._open(key, folder, name)
        os.lseek(descriptor, start, os.SEEK_SET)
        return FileChunks(Descriptor(descriptor), length)

    def remove(self, key: str) -> None:
        """Delete the file at *key* if there is one."""
        with suppress(ObjectNotFoundError), self._at(key) as (folder, name):
            check_regular(key, os.stat(name, dir_fd=folder, follow_symlinks=False))
            os.unlink(name, dir_fd=folder)

    def walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield key and status of each regular file below *folder*; links are not followed."""
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            for name, status in self._entries(below):
                key = f"{below}/{name}" if below else name
                if stat.S_ISDIR(status.st_mode):
                    if key != RESERVED_FOLDER:
                        waiting.append(key)
                elif stat.S_ISREG(status.st_mode) and not is_stage_name(name):
                    yield key, status

    def walk_unfinished(self) -> Iterator[tuple[ReservedKey, os.stat_result]]:
        """Yield key and status of each file that an upload has left: ours, and those of obstore's local store."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for name, status in self._entries(below):
                key = f"{below}/{name}" if below else name
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(key)
                elif stat.S_ISREG(status.st_mode) and (below == _STAGE or is_stage_name(name)):
                    yield ReservedKey(key), status

    def _entries(self, folder: str) -> list[tuple[str, os.stat_result]]:
        found: list[tuple[str, os.stat_result]] = []
        try:
            with self._folder(folder.split("/") if folder else ()) as opened, os.scandir(opened) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found, key=lambda entry: entry[0])

    @contextmanager
    def _at(self, key: str) -> Generator[tuple[int, str]]:
        """Open the folder of *key* and give the name in it; ObjectNotFoundError for what is not there."""
        *folders, name = check_key(key).split("/")
        try:
            with self._folder(folders) as folder:
                yield folder, name
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectNotFoundError(f"no object is stored under {key!r}") from error

    @contextmanager
    def _folder(self, segments: Iterable[str]) -> Generator[int]:
        """Open a folder below the root, one segment after the other."""
        descriptor = self._open_root()
        try:
            for segment in segments:
                below = enter(segment, descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        try:
            return os.open(self.path, FOLDER_FLAGS)
        except OSError as error:
            # not "no object is there": a disk that is not mounted has lost nothing
            raise StorageError(f"the folder {self.path!r} of the storage cannot be opened") from error

    def _open(self, key: str, folder: int, name: str) -> int:
        # O_NONBLOCK, so that a FIFO cannot hold us
        check_regular(key, os.stat(name, dir_fd=folder, follow_symlinks=False))
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with closed_on_error(descriptor):
            check_regular(key, os.fstat(descriptor))
        return descriptor

    def _fill(self, descriptor: int, chunks: Iterable[bytes]) -> os.stat_result:
        with open(descriptor, "wb", buffering=0) as file:
            for chunk in chunks:
                write_all(file, chunk)
            if self._fsync:
                os.fsync(descriptor)
            return os.fstat(descriptor)


def check_system() -> None:
    """Raise NotSupportedError where folders cannot be opened relative to each other, as on Windows."""
    if os.open not in os.supports_dir_fd:
        raise NotSupportedError(
            "a local folder is a storage on POSIX systems only (Linux, macOS, BSD), not on this one; use a storage "
            "that speaks S3 ('s3://bucket/'), 'memory://' for tests, or run the application in WSL or a container"
        )


def make_root(root: str | os.PathLike[str]) -> None:
    """Make a folder and those above it that are missing, for owner and group only.

    Raises NotSupportedError on a system where it could be no storage.
    """
    check_system()
    path = os.path.abspath(root)
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        if os.path.islink(path):
            raise
        make_root(os.path.dirname(path))
        make_root(path)


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
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __del__(self) -> None:
        self.close()
