"""`FSSpecBackend`: every filesystem of fsspec, from a local folder to SFTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from io import UnsupportedOperation
from threading import Lock
from typing import Unpack

from filecolumn.backends._errors import (
    TAKEN,
    ErrorTable,
    ObjectsGuard,
    SourceGuard,
    TranslatedChunks,
    translated,
    write_guarded,
)
from filecolumn.backends._filesystems import (
    FileSystem,
    MemoryFileSystem,
    PlainFiles,
    can_sign,
    entries_of,
    in_turns,
    info_of,
    is_folder,
    is_read_only,
    local_root,
    location_of,
    make_filesystem,
    protocol_of,
    stat_of_info,
    stripped,
    uploads_on_close,
)
from filecolumn.backends._fsspec_writes import StagedFiles, object_files
from filecolumn.backends._options import given
from filecolumn.backends.base import (
    PUT_OPTIONS,
    Capabilities,
    PutMode,
    PutOptions,
    SignMethod,
    Stat,
    StorageBackend,
    WhenStored,
    WholeObject,
    check_folder,
    check_range,
    unknown_put_option,
)
from filecolumn.backends.streams import batches, each_key
from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.errors import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, STAGE_FOLDER, ReservedKey, check_key

__all__ = ("FSSpecBackend",)

_ERRORS: ErrorTable = {
    FileNotFoundError: ObjectNotFoundError,
    IsADirectoryError: ObjectNotFoundError,
    NotADirectoryError: ObjectNotFoundError,
    FileExistsError: ObjectExistsError,
    NotImplementedError: NotSupportedError,
    # Each filesystem lets the errors of its own client through
    Exception: StorageError,
}


class FSSpecBackend(StorageBackend):
    """A storage that fsspec reaches: SFTP, the clouds through s3fs, gcsfs and adlfs, and many more.

    *key*
        The storage key.
    *fs*
        A protocol (`file`, `memory`, `s3`, `sftp`...), a URL, or a ready filesystem.
    *prefix*
        The folder, or the bucket and folder, that keys are in.  A local filesystem needs one; the folder is
        created if it is missing.
    *fsync*
        Whether a local folder is made durable before a row is written, by default True.
    *timeout*, *total_timeout*, *max_retries*, *concurrency*, *verify_copies*
        As for every `StorageBackend`.
    *options*
        The options of the filesystem.

    Filesystems that cannot remove a file are for reading only, in a column's `reads` or by a key: archives
    (`zip`, `tar`...), `http`, `git`, `github`, `reference`.  Their `put` and `delete` raise NotSupportedError.

    In a sync session a hanging call of a synchronous filesystem cannot be interrupted: give the filesystem a
    timeout of its own.
    """

    def __init__(
        self,
        key: str,
        fs: str | FileSystem,
        prefix: str | None = None,
        *,
        fsync: bool | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        concurrency: int | None = None,
        verify_copies: bool | None = None,
        **options: object,
    ) -> None:
        super().__init__(
            key,
            timeout=timeout,
            total_timeout=total_timeout,
            max_retries=max_retries,
            concurrency=concurrency,
            verify_copies=verify_copies,
        )
        self.fs: FileSystem
        self.prefix: str
        self.fs, self.prefix = make_filesystem(fs, prefix, given(options))
        self.protocol: str = protocol_of(self.fs)
        self._root = local_root(self.fs, prefix=self.prefix, fsync=fsync is None or fsync)
        self._is_read_only = is_read_only(self.fs)
        self._creating = Lock()
        self._objects = objects = object_files(self.fs)
        self._files: PlainFiles = in_turns(self.fs, limit=self.total_timeout)
        self._staged = StagedFiles(self._files, self.prefix, uploads_on_close=uploads_on_close(self.fs))
        alone = self._root is not None or isinstance(self.fs, MemoryFileSystem)
        signs = can_sign(self.fs)
        self.capabilities: Capabilities = Capabilities(
            signs=signs,
            signs_uploads=signs and objects is not None and objects.sign_upload is not None,
            creates_atomically=alone if objects is None else objects.creates_atomically,
            keeps_content_type=objects is not None,
            repeats_puts=objects is not None,
        )

    @property
    def location(self) -> str:
        if self._root is not None:
            return f"file://{self._root.path}"
        return location_of(self.fs, self.prefix)

    @property
    def copies_by_itself(self) -> bool:
        return self._objects is not None

    def put(self, key: str, chunks: Iterable[bytes], **options: Unpack[PutOptions]) -> Stat:
        if not options.keys() <= PUT_OPTIONS:
            raise unknown_put_option(options)
        self._check_writes()
        mode = options.get("mode", "create")
        guard = SourceGuard(chunks)
        with self._translated(f"store {key!r}", guard):
            if self._root is not None:
                return self._root.write(key, guard, overwrite=mode == "overwrite")
            if isinstance(self.fs, MemoryFileSystem):
                self._write_memory(key, b"".join(guard), mode)
            elif self._objects is not None:
                conditional = self.capabilities.creates_atomically
                etag, version = self._objects.write(self._path(key), guard, options, conditional=conditional)
                return Stat(key=key, size=guard.size, etag=etag, version_id=version)
            else:
                self._refuse_taken(key, mode)
                self._write_staged(key, guard)
        return Stat(key=key, size=guard.size)

    @property
    def puts_at_once(self) -> bool:
        is_near = self._root is not None or isinstance(self.fs, MemoryFileSystem)
        return is_near and self._puts_itself()

    def _puts_itself(self) -> bool:
        """Return whether no subclass, and nobody for this object, has put another `put` in place: none is bypassed."""
        own, replaced = type(self), vars(self)
        is_own = (own.put, own.put_async) == _OWN_PUTS
        return is_own and "put" not in replaced and "put_async" not in replaced

    def put_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        if self._root is None or not self._puts_itself():
            super().put_many(objects, done)
            return
        write_guarded(objects, done, self._root.write_many, self._translated)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_range(start, length)
        with self._translated(f"read {key!r}"):
            if self._root is not None:
                chunks = self._root.read(key, start, length)
            elif isinstance(self.fs, MemoryFileSystem):
                chunks = self._read_memory(key, start, length)
            elif self._objects is not None and length != 0:
                chunks = self._objects.read(self._path(key), start, length)
            else:
                # some servers open a folder, and refuse to read it
                self.stat(key)
                chunks = self._staged.read(self._path(key), start, length)
        return TranslatedChunks(chunks, lambda: self._translated(f"read {key!r}"))

    def stat(self, key: str) -> Stat:
        with self._translated(f"describe {key!r}"):
            if self._root is not None:
                return self._root.stat(key)
            info = info_of(self._files, self._path(key))
            if info is None:
                raise FileNotFoundError("no object is stored under this key")
            if is_folder(info):
                raise IsADirectoryError("no object is stored under this key: it is a folder")
            return stat_of_info(key, info)

    def delete(self, keys: str | Iterable[str]) -> None:
        self._check_writes()
        if self._root is not None:
            self._root.remove(each_key(keys), self._translated)
            return
        for batch in batches(each_key(keys), 1 if self._objects is None else self._objects.batch):
            with self._translated(f"delete {len(batch)} objects, the first {batch[0]!r}"):
                if self._objects is None:
                    self._staged.remove(*map(self._path, batch))
                else:
                    with suppress(FileNotFoundError):
                        self._objects.delete([*map(self._path, batch)])

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        with self._translated(f"list {prefix!r}"):
            if self._root is not None:
                yield from self._root.objects(prefix, after=after)
                return
            if folder := check_folder(prefix):
                self._path(folder)
            self._files.invalidate_cache()
            try:
                for key, info in self._walk(folder):
                    if after is None or key > after:
                        yield stat_of_info(key, info)
            finally:
                self._files.invalidate_cache()

    def list_unfinished(self) -> Iterator[Stat]:
        with self._translated("list unfinished uploads"):
            if self._root is not None:
                yield from self._root.unfinished()
                return
            self._files.invalidate_cache()
            for key, info in self._walk(STAGE_FOLDER):
                yield stat_of_info(ReservedKey(key), info)

    def copy(self, source: str, target: str) -> Stat:
        if self._objects is None:
            return super().copy(source, target)
        with self._translated(f"copy {source!r} to {target!r}"):
            self.fs.cp_file(self._path(source), self._path(target))
        return self.stat(target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        upload = self._objects.sign_upload if self._objects is not None else None
        options: Mapping[str, object] | None = {} if method == "GET" else upload
        if not self.capabilities.signs or options is None:
            raise NotSupportedError(f"storage {self.key!r} ({self.protocol}) cannot sign URLs for {method}")
        with self._translated(f"sign {key!r}"):
            return str(self.fs.sign(self._path(key), expiration=int(expires_in), **options))

    def _path(self, key: str) -> str:
        path = f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)
        # adlfs, for one, reorders a path with ? and #
        if stripped(self.fs, path) != path.strip("/"):
            raise InvalidKeyError(f"the storage key {key!r} is not kept as it is by {type(self.fs).__name__}")
        return path

    def _write_staged(self, key: str, content: SourceGuard) -> None:
        try:
            self._staged.write(self._path(key), content)
        except (NotImplementedError, UnsupportedOperation) as error:
            raise self._read_only_error() from error

    def _check_writes(self) -> None:
        if self._is_read_only:
            raise self._read_only_error()

    def _read_only_error(self) -> NotSupportedError:
        return NotSupportedError(
            f"storage {self.key!r} ({self.protocol}) can only be read: store in another one, "
            f"and name this one in the column's reads=({self.key!r},) for rows that point here"
        )

    def _write_memory(self, key: str, content: bytes, mode: PutMode) -> None:
        with self._creating:
            self._refuse_taken(key, mode)
            self.fs.pipe_file(self._path(key), content)

    def _read_memory(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        # open() would hand out one shared file, with one position for all its readers
        path = self._path(key)
        size = self.stat(key).size
        end = size if length is None else min(size, start + length)
        return (self.fs.cat_file(path, at, min(at + CHUNK_SIZE, end)) for at in range(start, end, CHUNK_SIZE))

    def _refuse_taken(self, key: str, mode: PutMode) -> None:
        if mode == "create" and info_of(self._files, self._path(key)) is not None:
            raise FileExistsError(TAKEN)

    def _walk(self, folder: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Yield key and description of each object below *folder*."""
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            found = entries_of(self._files, "/".join(filter(None, (self.prefix, below))))
            inside = [(f"{below}/{name}" if below else name, info) for name, info in found]
            yield from (entry for entry in inside if not is_folder(entry[1]))
            folders = (key for key, info in inside if is_folder(info))
            waiting.extend(key for key in folders if key != RESERVED_FOLDER)

    def _translated(
        self, doing: str, source: SourceGuard | ObjectsGuard | None = None
    ) -> AbstractContextManager[None]:
        return translated(_ERRORS, f"{doing} in storage {self.key!r}", source)


_OWN_PUTS = FSSpecBackend.put, FSSpecBackend.put_async
"""As they are here, whatever is put in their place later."""
