"""`FSSpecBackend`: every filesystem of fsspec, from a local folder to SFTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from threading import Lock

from filecolumn.backends.base import (
    Capabilities,
    PutMode,
    SignMethod,
    Stat,
    StorageBackend,
    check_folder,
    check_range,
    list_folder,
)
from filecolumn.backends.filesystem import (
    AsyncFileSystem,
    FileSystem,
    MemoryFileSystem,
    can_sign,
    local_root,
    make_filesystem,
    stat_of_info,
)
from filecolumn.backends.local import FileChunks
from filecolumn.backends.parts import first_part
from filecolumn.backends.translate import ErrorTable, SourceGuard, translated, without_secrets
from filecolumn.content import CHUNK_SIZE
from filecolumn.errors import (
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, check_key, uuid7_hex

__all__ = ("FSSpecBackend",)

PART_SIZE = 8 * 1024 * 1024

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
    """A storage behind an fsspec filesystem.

    *fs* is a protocol (`file`, `memory`, `s3`, `sftp`...) with its *options*, a URL, or a ready
    filesystem; *prefix* is the folder, or bucket and folder, that keys are under.  A local
    filesystem needs a prefix; the folder is made if it is missing.

    A call that a synchronous filesystem does not end cannot be interrupted in a sync session:
    give the filesystem a timeout of its own.
    """

    def __init__(
        self,
        key: str,
        fs: str | FileSystem,
        prefix: str | None = None,
        *,
        fsync: bool = True,
        timeout: float = 10.0,
        total_timeout: float = 60.0,
        max_retries: int = 3,
        concurrency: int = 8,
        **options: object,
    ) -> None:
        super().__init__(
            key,
            timeout=timeout,
            total_timeout=total_timeout,
            max_retries=max_retries,
            concurrency=concurrency,
        )
        self.fs: FileSystem
        self.prefix: str
        self.fs, self.prefix = make_filesystem(fs, prefix, options)
        protocols = self.fs.protocol
        self.protocol: str = protocols if isinstance(protocols, str) else protocols[0]
        self._root = local_root(self.fs, prefix=self.prefix, fsync=fsync)
        self._creating = Lock()
        self.capabilities: Capabilities = Capabilities(
            signs=can_sign(self.fs),
            creates_atomically=self._root is not None or isinstance(self.fs, MemoryFileSystem),
        )

    @property
    def location(self) -> str:
        if self._root is not None:
            return f"file://{self._root.path}"
        options: Mapping[str, object] = self.fs.storage_options
        host = options.get("endpoint_url") or options.get("host") or options.get("account_name") or ""
        return f"{self.protocol}://{without_secrets(str(host))}/{without_secrets(self.prefix)}"

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        guard = SourceGuard(chunks)
        with self._translated(f"store {key!r}", guard):
            if self._root is not None:
                self._root.write(key, guard, overwrite=mode == "overwrite")
            elif isinstance(self.fs, MemoryFileSystem):
                self._write_memory(key, b"".join(guard), mode)
            else:
                self._write(key, guard, mode)
        return Stat(key=key, size=guard.size)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_range(start, length)
        with self._translated(f"read {key!r}"):
            if self._root is not None:
                chunks = self._root.read(key, start, length)
            elif isinstance(self.fs, MemoryFileSystem):
                chunks = self._read_memory(key, start, length)
            else:
                file = self.fs.open(self._path(key), "rb")
                file.seek(start)
                chunks = FileChunks(file, length)
        return self._read(key, chunks)

    def stat(self, key: str) -> Stat:
        with self._translated(f"describe {key!r}"):
            if self._root is not None:
                status = self._root.stat(key)
                return Stat(key=key, size=status.st_size, last_modified=status.st_mtime)
            info = self.fs.info(self._path(key))
        if info.get("type") == "directory":
            raise ObjectNotFoundError(f"no object is stored under {key!r}: it is a folder")
        return stat_of_info(key, info)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._translated(f"delete {key!r}"):
                if self._root is not None:
                    self._root.remove(key)
                else:
                    # rm() would take the key for a pattern
                    with suppress(FileNotFoundError):
                        self.fs.rm_file(self._path(key))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        if self._root is not None:
            yield from list_folder(self._root, prefix, after=after)
            return
        folder = check_folder(prefix)
        with self._translated(f"list {prefix!r}"):
            self.fs.invalidate_cache()
            try:
                yield from self._walk(folder, after)
            finally:
                self.fs.invalidate_cache()

    def copy(self, source: str, target: str) -> Stat:
        if self._root is not None or isinstance(self.fs, MemoryFileSystem):
            return super().copy(source, target)
        with self._translated(f"copy {source!r} to {target!r}"):
            self._make_folder(target)
            self.fs.cp_file(self._path(source), self._path(target))
        return self.stat(target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if not self.capabilities.signs or method != "GET":
            raise NotSupportedError(f"storage {self.key!r} ({self.protocol}) cannot sign URLs for {method}")
        with self._translated(f"sign {key!r}"):
            return str(self.fs.sign(self._path(key), expiration=int(expires_in)))

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)

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

    def _write(self, key: str, chunks: Iterable[bytes], mode: PutMode) -> None:
        self._refuse_taken(key, mode)
        whole, rest = first_part(chunks, PART_SIZE)
        if isinstance(self.fs, AsyncFileSystem):
            if rest is None:
                self.fs.pipe_file(self._path(key), whole)
            else:
                self._write_parts(key, rest)
        else:
            self._write_staged(key, (whole,) if rest is None else rest)

    def _write_parts(self, key: str, chunks: Iterable[bytes]) -> None:
        """Upload in parts to a storage that shows the object when the last one is confirmed."""
        file = self.fs.open(self._path(key), "wb", block_size=PART_SIZE, autocommit=False)
        try:
            for chunk in chunks:
                file.write(chunk)
            file.close()
        except BaseException:
            # leaving the file's own context would confirm what was written so far
            file.discard()
            raise
        file.commit()

    def _write_staged(self, key: str, chunks: Iterable[bytes]) -> None:
        stage = "/".join(filter(None, (self.prefix, RESERVED_FOLDER, "stage", uuid7_hex())))
        self.fs.makedirs(stage.rpartition("/")[0], exist_ok=True)
        try:
            with self.fs.open(stage, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            self._make_folder(key)
            self.fs.mv(stage, self._path(key))
        except BaseException:
            if self.fs.exists(stage):
                self.fs.rm_file(stage)
            raise

    def _make_folder(self, key: str) -> None:
        if "/" in (path := self._path(key)) and not isinstance(self.fs, AsyncFileSystem):
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _refuse_taken(self, key: str, mode: PutMode) -> None:
        if mode == "create" and self.fs.exists(self._path(key)):
            raise ObjectExistsError(f"the storage key {key!r} is taken; objects are never overwritten")

    def _read(self, key: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._translated(f"read {key!r}"):
            yield from chunks

    def _walk(self, folder: str, after: str | None) -> Iterator[Stat]:
        top = self._path(folder) if folder else self.prefix
        inside = f"{folder}/" if folder else ""
        for below, _, files in self.fs.walk(top, detail=True):
            for name, info in sorted(files.items()):
                path = f"{below}/{name}".strip("/")
                key = path.removeprefix(self.prefix.strip("/")).lstrip("/")
                if key.startswith(f"{RESERVED_FOLDER}/") or not key.startswith(inside):
                    continue
                if after is None or key > after:
                    yield stat_of_info(key, info)

    def _translated(self, doing: str, source: SourceGuard | None = None) -> AbstractContextManager[None]:
        return translated(_ERRORS, f"{doing} in storage {self.key!r}", source)
