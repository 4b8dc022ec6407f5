"""Files and folders by descriptor: what a name leads to is settled once, when it is opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO

from filecolumn.errors import (
    FileColumnError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)

__all__ = (
    "FOLDER_FLAGS",
    "NEW_FILE_FLAGS",
    "Descriptor",
    "check_regular",
    "closed_on_error",
    "enter",
    "is_replaceable",
    "link_new",
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
