"""fsspec's filesystems: what is used of them, how one is made, and what it says of an object.

Some filesystems answer several threads wrongly or never: those are called by one thread at a time.
"""

# pyright: reportPrivateUsage=false
# fsspec has no public names for some calls
from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from math import isfinite
from threading import Lock
from typing import Protocol, Self, TypeVar, cast
from weakref import WeakKeyDictionary

from filecolumn.backends._local import LocalRoot, check_system
from filecolumn.backends._options import (
    OWN_OPTIONS,
    check_address,
    check_names,
    check_own,
    check_userinfo,
    local_folder,
    scheme_of,
    secrets_of,
    spelt_for,
    without_values,
)
from filecolumn.backends.base import Stat
from filecolumn.errors import MissingDependencyError
from filecolumn.redaction import reason_of, without_secrets

__all__ = (
    "FileSystem",
    "LocalFileSystem",
    "MemoryFileSystem",
    "OpenFile",
    "PlainFile",
    "PlainFiles",
    "bulk_delete",
    "can_sign",
    "entries_of",
    "in_turns",
    "info_of",
    "is_folder",
    "is_read_only",
    "local_root",
    "location_of",
    "make_filesystem",
    "pipe_options",
    "protocol_of",
    "stat_of_info",
    "stripped",
    "uploads_on_close",
)

# fsspec has no types: what is used of it is described by `FileSystem`
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false


try:
    import fsspec
    from fsspec.asyn import AsyncFileSystem, sync
    from fsspec.core import url_to_fs
    from fsspec.implementations.cached import WholeFileCacheFileSystem
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.implementations.memory import MemoryFileSystem
except ImportError as _missing:
    raise MissingDependencyError(
        "FSSpecBackend needs fsspec: pip install 'filecolumn[fsspec]', and the package of the filesystem (such as s3fs)"
    ) from _missing


T = TypeVar("T")

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
# https://filesystem-spec.readthedocs.io/en/latest/api.html#fsspec.spec.AbstractFileSystem and `DirCache`
_OF_EVERY_FILESYSTEM = (
    "asynchronous",
    "batch_size",
    "listings_expiry_time",
    "loop",
    "max_paths",
    "skip_instance_cache",
    "use_listings_cache",
)
_READ_ONLY = frozenset({"github", "reference"})
"""Protocols of filesystems that remove, and yet store nothing: references to content are kept by this process only."""


class PlainFile(Protocol):
    """What is used of every open file."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def read(self, size: int, /) -> bytes: ...
    def write(self, content: bytes, /) -> object: ...
    def seek(self, offset: int, /) -> object: ...
    def close(self) -> None: ...


class OpenFile(PlainFile, Protocol):
    """What is used besides of one that an object store was opened for with `autocommit=False`."""

    closed: bool

    def commit(self) -> None: ...
    def discard(self) -> None: ...


class PlainFiles(Protocol):
    """What is used of every filesystem but a local folder.

    Not `exists`, `isdir` and `walk`: they answer that nothing is there when they are refused.
    """

    def open(self, path: str, mode: str) -> PlainFile: ...
    def info(self, path: str) -> dict[str, object]: ...
    def ls(self, path: str, *, detail: bool) -> list[dict[str, object]]: ...
    def mv(self, path1: str, path2: str) -> None: ...
    def rm_file(self, path: str) -> None: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def invalidate_cache(self) -> None: ...


class FileSystem(PlainFiles, Protocol):
    """What is used of fsspec's `AbstractFileSystem`, which has no types."""

    protocol: str | tuple[str, ...]
    storage_args: tuple[object, ...]
    storage_options: dict[str, object]
    loop: object

    @classmethod
    def _strip_protocol(cls, path: str) -> str: ...
    def open(self, path: str, mode: str, **options: object) -> OpenFile: ...
    def cat_file(self, path: str, start: int, end: int) -> bytes: ...
    def pipe_file(self, path: str, value: bytes, **options: object) -> object: ...
    async def _pipe_file(self, path: str, value: bytes) -> object: ...
    async def _bulk_delete(self, paths: Sequence[str]) -> object: ...
    def cp_file(self, path1: str, path2: str) -> None: ...
    def sign(self, path: str, expiration: int, **options: object) -> str: ...


def make_filesystem(
    fs: str | FileSystem, prefix: str | None, options: Mapping[str, object]
) -> tuple[FileSystem, str]:
    """Return a filesystem and the folder in it; ValueError for a URL or an option that cannot be taken."""
    folder = (prefix or "").rstrip("/")
    check_userinfo(folder)
    if not isinstance(fs, str):
        if options:
            check_own(options, OWN_OPTIONS, "a storage")
            raise TypeError(
                "options go with a protocol or a URL; a ready filesystem has its own: "
                f"leave out {', '.join(options)}"
            )
        return _synchronous(fs), folder
    protocols = {*fsspec.available_protocols(), *fsspec.registry}
    scheme = fs if fs in protocols else scheme_of(fs, protocols)
    fs = spelt_for(protocols, fs)
    check_address(fs, access_points=True)
    check_options(scheme, options)
    if scheme in {"file", "local"}:
        check_system()
        above = "" if scheme == fs else local_folder(fs).rstrip("/")
        return fsspec.filesystem("file", **options), "/".join(filter(None, (above, folder)))
    try:
        made, path = (fsspec.filesystem(fs, **options), "") if scheme == fs else url_to_fs(fs, **options)
    except Exception as error:
        reason = without_values(reason_of(error), [options, secrets_of(fs)])
        if reason == str(error):
            # what it was raised from may quote them
            raise error from None
        # the error quotes what may be a credential: without it, no traceback has it
        raise ValueError(f"fsspec cannot make the filesystem {scheme}://...: {reason}") from None
    return made, "/".join(filter(None, (path.rstrip("/"), folder)))


def check_options(scheme: str, options: Mapping[str, object]) -> None:
    """Raise ValueError for an option that a filesystem of fsspec does not have, as far as it says which it has."""
    where = f"the filesystem {scheme!r}"
    try:
        known, is_open = _known_options(fsspec.get_filesystem_class(scheme))
    except (ImportError, ValueError):
        # fsspec says which package is missing; a chain has the options of several filesystems
        known, is_open = scheme.split("::"), True
    if is_open:
        check_own(options, known, where)
    else:
        check_names(options, [*known, *OWN_OPTIONS], where)


def _known_options(kind: type[object]) -> tuple[list[str], bool]:
    """Return the names that a constructor takes, and whether others reach a library below."""
    known: list[str] = []
    for base in kind.__mro__:
        made_by: Callable[..., None] | None = vars(base).get("__init__")
        parameters = () if made_by is None else inspect.signature(made_by).parameters.values()
        known += [each.name for each in parameters if each.kind in _NAMED]
        if parameters and not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            return known, False
    # these pass over what they do not know
    is_ours = issubclass(kind, LocalFileSystem | MemoryFileSystem)
    return [*known, *_OF_EVERY_FILESYSTEM], not is_ours


def can_sign(fs: FileSystem) -> bool:
    """Return whether the filesystem makes signed URLs; one that wraps another, such as `dir`, asks that one."""
    return all(_function(each, "sign") is not fsspec.AbstractFileSystem.sign for each in _called_by(fs))


def is_read_only(fs: FileSystem) -> bool:
    """Return whether it is known of the filesystem, or of what it wraps, that nothing can be stored through it.

    What cannot remove a file is no storage: archives, also those that are open for writing, `http`, `git`.
    """
    *_, innermost = _called_by(fs)
    names = innermost.protocol
    protocols = {names} if isinstance(names, str) else {*names}
    return not (_removes(innermost) and protocols.isdisjoint(_READ_ONLY))


def _removes(fs: FileSystem) -> bool:
    # an asynchronous one makes all the others of this one
    is_async = isinstance(fs, AsyncFileSystem)
    base, names = (
        (AsyncFileSystem, ("_rm_file",))
        if is_async
        else (fsspec.AbstractFileSystem, ("rm", "rm_file", "_rm"))
    )
    return any(_function(fs, name) is not getattr(base, name) for name in names)


def _function(fs: FileSystem, name: str) -> object:
    """Return what a method of the instance is: a cache has none of its own, and gives out those of what it wraps."""
    method: object = getattr(fs, name)
    return getattr(method, "__func__", method)


def _wrapped_in(fs: FileSystem) -> FileSystem | None:
    """Return what a filesystem calls that wraps another, such as `dir` and the caches."""
    inner = getattr(fs, "fs", None)
    return cast("FileSystem", inner) if isinstance(inner, fsspec.AbstractFileSystem) else None


def _called_by(fs: FileSystem) -> Iterator[FileSystem]:
    """Yield a filesystem, what it wraps, and so on to the innermost."""
    called: FileSystem | None = fs
    while called is not None:
        yield called
        called = _wrapped_in(called)


def uploads_on_close(fs: FileSystem) -> bool:
    """Return whether a file that is written goes to the storage when it is closed: through a cache of whole files."""
    return any(isinstance(each, WholeFileCacheFileSystem) for each in _called_by(fs))


def protocol_of(fs: FileSystem) -> str:
    """Return the first of the names that fsspec knows the filesystem by."""
    # a cache of an older fsspec gives out the names of what it wraps
    names = fs.protocol if _wrapped_in(fs) is None else type(fs).protocol
    return names if isinstance(names, str) else names[0]


def location_of(fs: FileSystem, path: str) -> str:
    """Return the URL of *path* without credentials; one of a filesystem that wraps another says of which."""
    inner = _wrapped_in(fs)
    if inner is not None:
        below = str(fs.path).rstrip("/") if isinstance(fs, DirFileSystem) else ""
        return f"{protocol_of(fs)}::{location_of(inner, '/'.join(filter(None, (below, path))))}"
    archive = _archive_of(fs)
    if archive is not None:
        return f"{protocol_of(fs)}::{archive}/{without_secrets(path)}"
    return f"{protocol_of(fs)}://{_host_in(fs.storage_options)}/{without_secrets(path)}"


def _host_in(options: Mapping[str, object]) -> str:
    host = options.get("endpoint_url") or options.get("host") or options.get("account_name") or ""
    return without_secrets(str(host))


def _archive_of(fs: FileSystem) -> str | None:
    """Return the file that a filesystem shows the inside of, such as `zip`, as far as it has a name."""
    if "fo" not in inspect.signature(type(fs).__init__).parameters:
        return None
    archive = fs.storage_options.get("fo", fs.storage_args[0] if fs.storage_args else None)
    match archive:
        case str() | os.PathLike():
            path = os.fspath(archive)
        case _:
            # of an open file
            names = (getattr(archive, name, None) for name in ("full_name", "path", "name"))
            path = next(filter(None, names), None)
    if not isinstance(path, str):
        return None
    if "://" in path:
        return without_secrets(path)
    target = fs.storage_options.get("target_options")
    host = _host_in(cast("Mapping[str, object]", target)) if isinstance(target, Mapping) else ""
    return f"{fs.storage_options.get('target_protocol') or 'file'}://{host}/{without_secrets(path)}"


def _synchronous(fs: FileSystem) -> FileSystem:
    """Return a filesystem that runs on fsspec's own loop: one bound to the caller's works there only."""
    # a synchronous one, wrapped to look asynchronous, which cannot open a file to write
    wrapped: FileSystem | None = getattr(fs, "sync_fs", None)
    if wrapped is not None:
        return _synchronous(wrapped)
    if isinstance(fs, DirFileSystem):
        inner = _synchronous(fs.fs)
        return fs if inner is fs.fs else cast("FileSystem", DirFileSystem(fs.path, inner))
    # only filesystems with an asynchronous side know the attribute
    if not getattr(fs, "asynchronous", False):
        return fs
    return type(fs)(*fs.storage_args, **{**fs.storage_options, "asynchronous": False})


def info_of(fs: PlainFiles, path: str) -> Mapping[str, object] | None:
    """Return what *fs* says of *path*, None if nothing is there; raise what else it raises."""
    # listings are remembered, and another program may have changed the storage since
    fs.invalidate_cache()
    try:
        return fs.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_folder(info: Mapping[str, object]) -> bool:
    """Return whether a filesystem's own description is one of a folder."""
    return info.get("type") == "directory"


def entries_of(fs: PlainFiles, folder: str) -> list[tuple[str, Mapping[str, object]]]:
    """Return names and descriptions of what is directly in *folder*, sorted: nothing if it is not there."""
    try:
        listed = fs.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found: dict[tuple[str, bool], Mapping[str, object]] = {}
    for info in listed:
        path = str(info["name"]).strip("/")
        # a file is listed as itself, and an object store may have an object for the folder
        if path != folder.strip("/"):
            found[path.rpartition("/")[2], is_folder(info)] = info
    return [(name, found[name, is_last]) for name, is_last in sorted(found)]


def stripped(fs: FileSystem, path: str) -> str:
    """Return *path* as the filesystem keeps it, without slashes at its ends."""
    return str(fs._strip_protocol(path)).strip("/")


def pipe_options(fs: FileSystem) -> frozenset[str]:
    """Return the names of the options that an asynchronous filesystem's `pipe_file` knows."""
    return frozenset(inspect.signature(type(fs)._pipe_file).parameters)


def bulk_delete(fs: FileSystem, paths: Sequence[str]) -> None:
    """Delete several objects of S3 in one request, on the filesystem's own loop."""
    sync(fs.loop, fs._bulk_delete, paths)


def local_root(fs: FileSystem, *, prefix: str, fsync: bool) -> LocalRoot | None:
    """Return the folder of a local filesystem; ValueError if none is named."""
    if not isinstance(fs, LocalFileSystem):
        return None
    if not prefix:
        raise ValueError("a local filesystem needs a folder: prefix='/folder'")
    return LocalRoot(prefix, fsync=fsync)


def stat_of_info(key: str, info: Mapping[str, object]) -> Stat:
    """Read a filesystem's own description of an object."""
    size = info.get("size")
    etag = info.get("ETag") or info.get("etag")
    version = info.get("VersionId") or info.get("generation") or info.get("version_id")
    settings = info.get("content_settings")  # of Azure, an object or a mapping
    kind = (
        info.get("ContentType")
        or info.get("contentType")
        or getattr(settings, "content_type", None)
        or (settings.get("content_type") if isinstance(settings, Mapping) else None)
    )
    return Stat(
        key=key,
        size=size if isinstance(size, int) else 0,
        etag=str(etag) if etag else None,
        version_id=str(version) if version else None,
        last_modified=_modified(info),
        content_type=str(kind) if kind else None,
    )


def _modified(info: Mapping[str, object]) -> float | None:
    """Return the epoch seconds, by the first of the names that filesystems give it; what is no time is not known."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "modified", "created"):
        with suppress(ValueError, OverflowError):
            match info.get(name):
                case datetime() as moment:
                    return moment.timestamp()
                case int() | float() as seconds if isfinite(seconds):
                    return seconds
                case str() as text:
                    return datetime.fromisoformat(text).timestamp()
                case _:
                    continue
    return None


class _Line:
    """Who may call a filesystem now."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._forgotten: deque[PlainFile] = deque()

    def call(self, call: Callable[[], T], limit: float) -> T:
        """Return what *call* returns; TimeoutError if others did not end within *limit* seconds."""
        if not self._lock.acquire(timeout=limit):
            raise TimeoutError(f"the filesystem takes one call at a time, and was busy for {limit:g} s")
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

    A call that does not get its turn within *limit* seconds raises TimeoutError.
    """
    *_, innermost = _called_by(fs)
    if getattr(innermost, "async_impl", False):
        return fs
    return _OneAtATime(fs, _lines.setdefault(innermost, _Line()), limit)


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
