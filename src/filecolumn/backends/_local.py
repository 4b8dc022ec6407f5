"""A folder on a local disk as a storage: keys cannot leave it, and what is written is durable.

Files and folders are reached by descriptor: what a name leads to is decided once, when it is opened.  Errors of
calls are builtins: the table of the backend makes them errors of its storage, its key and its operation.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from filecolumn.backends._errors import TAKEN
from filecolumn.backends.base import Stat, WhenStored, WholeObject, check_folder
from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.errors import NotSupportedError, StorageError
from filecolumn.naming import RESERVED_FOLDER, STAGE_FOLDER, ReservedKey, check_key, is_stage_name, uuid7_hex

__all__ = ("FOLDER_ATTEMPTS", "FileChunks", "LocalRoot", "check_system", "make_root")

T = TypeVar("T")

FOLDER_ATTEMPTS = 100
"""How often a folder is made that others remove meanwhile."""

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_USABLE = os.R_OK | os.W_OK | os.X_OK
_MOST_REMEMBERED = 10_000
"""Folders whose names are known to be durable; one that is forgotten is only synced again."""
_LONG = 5.0
"""Seconds of calls of `fsync` after which those who wait are told of what is durable."""
_MOST_OPEN = 64
"""New files that are made durable together, each open until then, and folders that are kept open for more."""

# Windows has none of these, and imports this module all the same
_FOLDER_FLAGS: int = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
_NEW_FILE_FLAGS: int = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
# Only Linux has files without a name
_O_TMPFILE: int = getattr(os, "O_TMPFILE", 0)
# no O_EXCL: here it would keep the file from ever getting a name
_UNNAMED_FILE_FLAGS: int = os.O_WRONLY | _O_TMPFILE | getattr(os, "O_CLOEXEC", 0)

# vfat and exfat say EPERM, FUSE and SMB one of the others
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
# What file systems and kernels say that make no files without names, or give them none later; ENOENT and ENOTDIR
# also of a folder that was removed meanwhile
_NOT_UNNAMED = _NO_HARD_LINKS | {
    errno.EISDIR,
    errno.EINVAL,
    errno.EXDEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EMLINK,
}
_TOO_MANY_OPEN = frozenset({errno.EMFILE, errno.ENFILE})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS})


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
            raise ValueError("the filesystem root cannot be a storage; give a directory")
        # the user that counts is the effective one, where the system can say so
        if not os.access(self.path, _USABLE, effective_ids=os.access in os.supports_effective_ids):
            raise StorageError(f"the folder {self.path!r} is not writable for this process")
        self.fsync: bool = fsync
        """Whether what is written is made durable."""
        self._durable: set[str] = set()
        self._names_later = self._can_name_later()
        if fsync:
            _sync_above(self.path)

    def stat(self, key: str) -> Stat:
        """Describe the regular file at *key*; FileNotFoundError, IsADirectoryError, or OSError for anything else."""
        with self._at(key) as (folder, name):
            return _described(key, _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False)))

    def write(self, key: str, chunks: Iterable[bytes], *, overwrite: bool) -> Stat:
        """Store *chunks* at *key*, all or nothing.

        FileExistsError if it is taken and not to be overwritten, which is found out by a hard link:
        NotImplementedError on a file system without them.
        """
        *folders, name = check_key(key).split("/")
        stage = uuid7_hex()
        # on the same disk and out of every listing
        with self._stage(stage) as (stages, descriptor):
            status = self._fill(descriptor, chunks)

            def publish(opened: Sequence[int]) -> None:
                folder = opened[-1]
                is_new = not _is_replaceable(name, folder)
                if overwrite:
                    _replace(stage, stages, name, folder)
                else:
                    _link_new(stage, stages, name, folder)
                with _undone_on_error(name, folder) if is_new else nullcontext():
                    self._sync_names(folders, opened)

            self._in_folder(folders, publish)
        return _described(key, status)

    def write_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        """Store *objects* as `write` does, several of them made durable together; see `StorageBackend.put_many`.

        Each is written without a name, and gets that before it is durable: the other order would have the file
        system write its journal twice.
        """
        if not self._names_later:
            for whole in objects:
                done(whole, self.write_whole(whole))
            return
        files = _NewFiles(self, done)
        try:
            for whole in objects:
                files.add(whole)
            files.settle()
        except BaseException:
            files.withdraw()
            raise
        finally:
            files.close()

    def write_whole(self, whole: WholeObject) -> Stat:
        """Store one object as `write` does."""
        return self.write(whole.key, (whole.content,), overwrite=whole.mode == "overwrite")

    def _can_name_later(self) -> bool:
        """Return whether a file can be made without a name, and get one: asked once, with a file that is removed.

        Not without `/proc`, and not on a kernel that ignores the umask for such files.
        """
        if not _O_TMPFILE:
            return False
        # no listing shows such a name, and a sweep removes it
        name = f"{uuid7_hex()}#0"
        folder = self.open_root()
        try:
            unnamed = os.open(".", _UNNAMED_FILE_FLAGS, _FILE_MODE, dir_fd=folder)
            try:
                _name(unnamed, name, folder)
                os.unlink(name, dir_fd=folder)
                plain = os.open(name, _NEW_FILE_FLAGS, _FILE_MODE, dir_fd=folder)
                os.unlink(name, dir_fd=folder)
                try:
                    return os.fstat(unnamed).st_mode == os.fstat(plain).st_mode
                finally:
                    os.close(plain)
            finally:
                os.close(unnamed)
        except OSError:
            # whatever it is, the other way may do without
            return False
        finally:
            os.close(folder)

    @contextmanager
    def _stage(self, name: str) -> Generator[tuple[int, int]]:
        """Open the folder of stages, and a new file in it that is gone at the end."""

        def make(opened: Sequence[int]) -> tuple[int, int]:
            return os.open(name, _NEW_FILE_FLAGS, _FILE_MODE, dir_fd=opened[-1]), os.dup(opened[-1])

        descriptor, stages = self._in_folder(STAGE_FOLDER.split("/"), make)
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
                raise OSError(f"there is a file where the folder {'/'.join(segments)!r} must be") from error
        raise OSError(
            f"the folder {'/'.join(segments)!r} was removed {FOLDER_ATTEMPTS} times while it was used"
        )

    @contextmanager
    def _made(self, segments: Sequence[str]) -> Generator[Sequence[int]]:
        opened = [self.open_root()]
        try:
            for depth, segment in enumerate(segments, 1):
                self.make_folder(segment, opened[-1], "/".join(segments[:depth]))
                opened.append(_enter(segment, opened[-1]))
            yield opened
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def make_folder(self, segment: str, above: int, path: str) -> None:
        """Make the folder *path* in the open folder *above*, if it is missing."""
        with suppress(FileExistsError):
            os.mkdir(segment, _FOLDER_MODE, dir_fd=above)
            self._durable.discard(path)

    def _sync_names(self, segments: Sequence[str], opened: Sequence[int]) -> None:
        """Make the name of a new file durable, and those of the folders on the way that were not known to be."""
        if not self.fsync:
            return
        _sync_folder(opened[-1])
        paths = ("/".join(segments[:depth]) for depth in range(1, len(segments) + 1))
        # who made a folder may have been killed, or be about to make its name durable
        unknown = {
            path: above for path, above in zip(paths, opened, strict=False) if path not in self._durable
        }
        for above in unknown.values():
            _sync_folder(above)
        self.remember(unknown)

    def remembers(self, folder: str) -> bool:
        """Return whether the name of *folder* is known to be durable."""
        return folder in self._durable

    def remember(self, folders: Iterable[str]) -> None:
        """Take note that the names of *folders* are durable."""
        if len(self._durable) >= _MOST_REMEMBERED:
            self._durable.clear()
        self._durable.update(folders)

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """Open *key* at once and return its chunks."""
        with self._at(key) as (folder, name):
            descriptor = _open_regular(name, folder)
        os.lseek(descriptor, start, os.SEEK_SET)
        return FileChunks(_Descriptor(descriptor), length)

    def remove(self, keys: Iterable[str], translated: Callable[[str], AbstractContextManager[None]]) -> None:
        """Delete the files at *keys* that are there; a folder is opened once for keys that follow each other.

        An error comes out of *translated*, which is told what was done.
        """
        opened: dict[str, int] = {}
        try:
            for key in keys:
                try:
                    self._remove(key, opened)
                except OSError:
                    with translated(f"delete {key!r}"):
                        raise
        finally:
            for folder in opened.values():
                os.close(folder)

    def _remove(self, key: str, opened: dict[str, int]) -> None:
        path, _, name = check_key(key).rpartition("/")
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if path not in opened:
                while opened:
                    os.close(opened.popitem()[1])
                opened[path] = self._opened(path.split("/") if path else ())
            folder = opened[path]
            _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
            os.unlink(name, dir_fd=folder)

    def objects(self, prefix: str, *, after: str | None) -> Iterator[Stat]:
        """Describe each regular file in the folder *prefix* and below; links are not followed."""
        for key, status in self._walk(check_folder(prefix), without=RESERVED_FOLDER):
            if (after is None or key > after) and not is_stage_name(key.rpartition("/")[2]):
                yield _described(key, status)

    def unfinished(self) -> Iterator[Stat]:
        """Describe each file that an upload has left: ours, and those of obstore's local store."""
        for key, status in self._walk(""):
            folder, _, name = key.rpartition("/")
            if folder == STAGE_FOLDER or is_stage_name(name):
                yield _described(ReservedKey(key), status)

    def _walk(self, folder: str, *, without: str | None = None) -> Iterator[tuple[str, os.stat_result]]:
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            for name, status in self._entries(below):
                key = f"{below}/{name}" if below else name
                if stat.S_ISREG(status.st_mode):
                    yield key, status
                elif stat.S_ISDIR(status.st_mode) and key != without:
                    waiting.append(key)

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
            raise FileNotFoundError("no object is stored under this key") from error

    @contextmanager
    def _folder(self, segments: Iterable[str]) -> Generator[int]:
        """Open a folder below the root, and close it at the end."""
        descriptor = self._opened(segments)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self, segments: Iterable[str]) -> int:
        """Open a folder below the root, one segment after the other."""
        descriptor = self.open_root()
        for segment in segments:
            try:
                below = _enter(segment, descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def open_root(self) -> int:
        """Open the folder itself; OSError if it is not there, as a disk that is not mounted."""
        try:
            return os.open(self.path, _FOLDER_FLAGS)
        except OSError as error:
            # not FileNotFoundError: a disk that is not mounted has lost nothing
            raise OSError(f"the folder {self.path!r} cannot be opened") from error

    def _fill(self, descriptor: int, chunks: Iterable[bytes]) -> os.stat_result:
        with open(descriptor, "wb", buffering=0):
            for chunk in chunks:
                _write_all(descriptor, chunk)
            if self.fsync:
                os.fsync(descriptor)
            return os.fstat(descriptor)


@dataclass(frozen=True, slots=True, eq=False)
class _NewFile:
    """A file that has its name, and is open until it is durable."""

    whole: WholeObject
    descriptor: int
    status: os.stat_result
    name: str
    folder: int


class _NewFiles:
    """Files of which each gets its name at once, and all are made durable together."""

    def __init__(self, root: LocalRoot, done: WhenStored) -> None:
        self._root = root
        self._done = done
        self._files: list[_NewFile] = []
        self._folders: dict[str, int] = {}
        """The open folders, by path; the root is the empty one."""
        self._unknown: dict[str, int] = {}
        """The folders whose names are not known to be durable, with the folder that has the name."""

    def add(self, whole: WholeObject) -> None:
        """Write an object and give it its name; FileExistsError as from `LocalRoot.write`."""
        if len(self._files) >= _MOST_OPEN or len(self._folders) >= _MOST_OPEN:
            self.settle()
        try:
            self._add(whole)
        except OSError as error:
            if error.errno not in _TOO_MANY_OPEN or not (self._files or self._folders):
                raise
            self.settle()
            self._add(whole)

    def _add(self, whole: WholeObject) -> None:
        path, _, name = check_key(whole.key).rpartition("/")
        try:
            folder = self._folder(path)
            descriptor = os.open(".", _UNNAMED_FILE_FLAGS, _FILE_MODE, dir_fd=folder)
            try:
                _write_all(descriptor, whole.content)
                status = os.fstat(descriptor)
                _name(descriptor, name, folder)
            except BaseException:
                os.close(descriptor)
                raise
        except FileExistsError:
            # who may replace it, and what is no file, is for the other way to say; it may be one of these
            self.settle()
            self._done(whole, self._root.write_whole(whole))
        except OSError as error:
            if error.errno not in _NOT_UNNAMED:
                raise
            self._done(whole, self._root.write_whole(whole))
        else:
            self._files.append(_NewFile(whole, descriptor, status, name, folder))

    def _folder(self, path: str) -> int:
        """Open a folder, one segment after the other; it is made if it is missing."""
        opened = self._folders.get(path)
        if opened is None:
            opened = self._folders[path] = self._open(path) if path else self._root.open_root()
        return opened

    def _open(self, path: str) -> int:
        parent, _, segment = path.rpartition("/")
        above = self._folder(parent)
        try:
            opened = _enter(segment, above)
        except FileNotFoundError:
            self._root.make_folder(segment, above, path)
            opened = _enter(segment, above)
        if not self._root.remembers(path):
            self._unknown[path] = above
        return opened

    def settle(self) -> None:
        """Make the files and their names durable, and tell of them; the folders are closed.

        On a slow disk some are told of before the others: whoever waits is to see that it goes on.
        """
        while self._files:
            count = self._synced()
            settled, self._files = self._files[:count], self._files[count:]
            for file in settled:
                _close(file.descriptor)
            for file in settled:
                self._done(file.whole, _described(file.whole.key, file.status))
        self.close()

    def _synced(self) -> int:
        """Make the first files and the names of all durable; return how many files."""
        count = len(self._files)
        if not self._root.fsync:
            return count
        began = time.monotonic()
        for number, file in enumerate(self._files, 1):
            os.fsync(file.descriptor)
            if time.monotonic() - began > _LONG:
                count = number
                break
        for folder in dict.fromkeys([*(file.folder for file in self._files), *self._unknown.values()]):
            _sync_folder(folder)
        self._root.remember(self._unknown)
        self._unknown = {}
        return count

    def withdraw(self) -> None:
        """Delete the files that are not durable: they never counted as stored."""
        for file in self._files:
            with suppress(OSError):
                os.unlink(file.name, dir_fd=file.folder)

    def close(self) -> None:
        """Close what is open."""
        for descriptor in [*(file.descriptor for file in self._files), *self._folders.values()]:
            _close(descriptor)
        self._files, self._folders, self._unknown = [], {}, {}


def _close(descriptor: int) -> None:
    """Close what is durable already, or was only read: an error of that changes nothing."""
    with suppress(OSError):
        os.close(descriptor)


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
        os.mkdir(path, _FOLDER_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        if os.path.islink(path):
            raise
        make_root(os.path.dirname(path))
        make_root(path)


def _enter(segment: str, folder: int) -> int:
    """Open the folder *segment* in the open *folder*; OSError for a symbolic link."""
    try:
        return os.open(segment, _FOLDER_FLAGS, dir_fd=folder)
    except OSError as error:
        # systems do not agree on the error for a link
        if stat.S_ISLNK(os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(f"the folder {segment!r} is a symbolic link, which is refused") from error
        raise


def _open_regular(name: str, folder: int) -> int:
    """Open a regular file in the open *folder*; as `_check_regular` for anything else."""
    _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
    # O_NONBLOCK, so that a FIFO cannot hold us
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        _check_regular(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result) -> os.stat_result:
    """Return the status of a regular file; IsADirectoryError for a folder, OSError for anything else."""
    if stat.S_ISREG(status.st_mode):
        return status
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError("no object is stored under this key: it is a folder")
    what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
    raise OSError(f"the file at this key is {what}, which is refused")


def _described(key: str, status: os.stat_result) -> Stat:
    """Describe a file; its tag is made as obstore's local store makes it."""
    etag = f'"{status.st_ino:x}-{status.st_mtime_ns // 1000:x}-{status.st_size:x}"'
    return Stat(key=key, size=status.st_size, etag=etag, last_modified=status.st_mtime)


@contextmanager
def _undone_on_error(name: str, folder: int) -> Generator[None]:
    """Delete the new file if it cannot be made durable: it never counted as stored."""
    try:
        yield
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise


def _link_new(stage: str, stages: int, name: str, folder: int) -> None:
    """Give the file *stage* another name as well.

    FileExistsError if that is taken, NotImplementedError on a file system without hard links.
    """
    try:
        os.link(stage, name, src_dir_fd=stages, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        raise FileExistsError(TAKEN) from error
    except FileNotFoundError:
        _check_stage(stage, stages)
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        raise NotImplementedError(
            "the file system has no hard links, by which a file takes a name only if it is free"
        ) from error


def _name(descriptor: int, name: str, folder: int) -> None:
    """Give an open file that has no name one in the open *folder*; FileExistsError if that is taken."""
    os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)


def _replace(stage: str, stages: int, name: str, folder: int) -> None:
    """Give the file *stage* another name, in place of the file that has it; OSError if the stage is gone."""
    try:
        os.replace(stage, name, src_dir_fd=stages, dst_dir_fd=folder)
    except FileNotFoundError:
        _check_stage(stage, stages)
        raise


def _is_replaceable(name: str, folder: int) -> bool:
    """Return whether a file has the name; OSError if something else has it."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise OSError("what has this key is not a regular file, and stays")
    return True


def _check_stage(stage: str, stages: int) -> None:
    try:
        os.stat(stage, dir_fd=stages, follow_symlinks=False)
    except FileNotFoundError as error:
        raise OSError(
            "the unfinished upload was removed, as a sweep does after its grace; store the file again"
        ) from error


def _sync_folder(descriptor: int) -> None:
    """Make the names in an open folder durable, on a file system that has such a call.

    Some answer with EINVAL or ENOTSUP, as FUSE and SMB may; the names are then as durable as they make them.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _sync_above(path: str) -> None:
    """Make the name of a folder durable, and of those above it on its disk that may be read."""
    device = os.stat(path).st_dev
    while (above := os.path.dirname(path)) != path and os.stat(above).st_dev == device:
        path = above
        with suppress(PermissionError):
            descriptor = os.open(path, _FOLDER_FLAGS)
            try:
                _sync_folder(descriptor)
            finally:
                os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes) -> None:
    """Write the whole of *chunk*: one write may be short."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


class _Descriptor:
    """An open file of the system; unlike Python's own it may be forgotten without a warning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class _ChunkFile(Protocol):
    """What chunks are read from."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class FileChunks(Iterator[bytes]):
    """The chunks of an open file from where it stands; closes it at the end, or when it is forgotten."""

    def __init__(self, file: _ChunkFile, length: int | None) -> None:
        self._file: _ChunkFile | None = file
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
