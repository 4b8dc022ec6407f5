"""`ObstoreBackend`: S3, GCS, Azure, HTTP, local folders and memory through obstore."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from obstore import exceptions as foreign
from obstore import sign, sign_async
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store

from filecolumn.backends.base import (
    Capabilities,
    PutMode,
    SignMethod,
    Stat,
    StorageBackend,
    check_folder,
    check_range,
    list_folder,
    list_unfinished,
)
from filecolumn.backends.local import LocalRoot
from filecolumn.backends.obstore_store import Fork, local_root, location_of, protocol_of, store_from_url
from filecolumn.backends.parts import batches, first_part, first_part_async
from filecolumn.backends.threads import Progress, fed, in_thread, watched
from filecolumn.backends.translate import ErrorTable, SourceGuard, translated
from filecolumn.content import CHUNK_SIZE
from filecolumn.errors import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, check_key

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta, PutResult
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ("ObstoreBackend",)

PART_SIZE = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 4
DELETE_BATCH = 1000

_ERRORS: ErrorTable = {
    # obstore raises the builtin, not an error of its own
    FileNotFoundError: ObjectNotFoundError,
    foreign.AlreadyExistsError: ObjectExistsError,
    foreign.PreconditionError: ObjectExistsError,
    foreign.NotSupportedError: NotSupportedError,
    NotImplementedError: NotSupportedError,
    foreign.InvalidPathError: InvalidKeyError,
    ValueError: InvalidKeyError,
    foreign.BaseError: StorageError,
    OSError: StorageError,
}

_PLAIN_PATH = re.compile(r"[\w/.~+-]+", re.ASCII)
_SIGNING = (S3Store, GCSStore, AzureStore)


class ObstoreBackend(StorageBackend):
    """A storage behind an obstore store.

    *fs* is a URL (`file:///folder/`, `memory://`, `s3://bucket/prefix/`, `gs://...`, `az://...`,
    `https://...`) or a store of `obstore.store`; *config* are obstore's own settings for a URL,
    such as `aws_region`.  A local folder is made if it is missing; with `fsync=False` its
    content may be lost by a power failure after the commit.  Raises ValueError for a URL that
    obstore cannot read.
    """

    def __init__(
        self,
        key: str,
        fs: str | ObjectStore,
        *,
        fsync: bool = True,
        timeout: float = 10.0,
        total_timeout: float = 60.0,
        max_retries: int = 3,
        concurrency: int = 8,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        **config: object,
    ) -> None:
        super().__init__(
            key,
            timeout=timeout,
            total_timeout=total_timeout,
            max_retries=max_retries,
            concurrency=concurrency,
        )
        if isinstance(fs, str):
            fs = store_from_url(
                fs,
                client_options={**self._client_options(), **(client_options or {})},
                retry_config={**self._retry_config(), **(retry_config or {})},
                config=config,
            )
        elif config or client_options or retry_config:
            raise TypeError("settings go with a URL; a ready store has its own")
        self.store = fs
        self.protocol: str = protocol_of(fs)
        if isinstance(fs, AzureStore):
            # https://learn.microsoft.com/rest/api/storageservices/put-blob#request-headers-all-blob-types
            self.signed_put_headers: Mapping[str, str] = {"x-ms-blob-type": "BlockBlob"}
        self._root = local_root(fs, fsync=fsync)
        self.capabilities: Capabilities = Capabilities(
            signs=isinstance(fs, _SIGNING),
            signs_uploads=isinstance(fs, _SIGNING),
            creates_atomically=not isinstance(fs, HTTPStore),
            keeps_content_type=not isinstance(fs, LocalStore | HTTPStore),
            lists_in_order=not isinstance(fs, LocalStore | HTTPStore),
            persistent=not isinstance(fs, MemoryStore),
        )

    @property
    def fs(self) -> ObjectStore:
        """The obstore store, under the name that advanced-alchemy gives it."""
        return self.store

    @property
    def location(self) -> str:
        if self._root is not None:
            return f"file://{self._root.path}"
        return location_of(self.store)

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
        attributes = self._attributes(content_type, metadata)
        with self._translated(f"store {key!r}", guard):
            if self._root is not None:
                self._root.prepare(key)
            whole, rest = first_part(guard, PART_SIZE)
            if rest is None:
                result = self.store.put(
                    check_key(key), whole, mode=mode, attributes=attributes, use_multipart=False
                )
            else:
                self._refuse_taken(key, mode)
                send = partial(
                    self.store.put,
                    check_key(key),
                    attributes=attributes,
                    use_multipart=True,
                    chunk_size=PART_SIZE,
                    max_concurrency=PARTS_IN_FLIGHT,
                )
                result = fed(rest, send)
            if self._root is not None:
                self._root.settle(key, created=mode == "create")
        return _stat_of_put(key, guard.size, result)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if self._root is not None:
            return self._get_local(self._root, key, start, length)
        if length == 0:
            self.stat(key)
            return iter(())
        try:
            with self._translated(f"read {key!r}"):
                result = self.store.get(check_key(key), options=_range(start, length))
        except StorageError:
            # a range past the end, which some stores refuse and others do not tell from other errors
            if (start or length) and start >= self.stat(key).size:
                return iter(())
            raise
        return self._stream(key, result)

    def stat(self, key: str) -> Stat:
        with self._translated(f"describe {key!r}"):
            if self._root is not None:
                self._root.stat(key)
            # a HEAD as `head` makes it, but with the media type
            result = self.store.get(check_key(key), options={"head": True})
            return _stat_of_meta(result.meta, result.attributes)

    def delete(self, keys: Iterable[str]) -> None:
        if self._root is not None:
            self._delete_local(self._root, keys)
            return
        for batch in batches(map(check_key, keys), DELETE_BATCH):
            with self._translated(f"delete {len(batch)} objects, the first {batch[0]!r}"):
                self._delete_batch(batch)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        if self._root is not None:
            # obstore's own listing follows links out of the folder
            yield from list_folder(self._root, prefix, after=after)
            return
        with self._translated(f"list {prefix!r}"):
            # Some services ignore the offset: the comparison below is what counts
            pages = cast(
                "Iterable[Sequence[ObjectMeta]]",
                self.store.list(check_folder(prefix) or None, offset=after),  # pyright: ignore[reportUnknownMemberType]
            )
            for page in pages:
                for meta in page:
                    if _is_listed(meta["path"], after):
                        yield _stat_of_meta(meta)

    def list_unfinished(self) -> Iterator[Stat]:
        return iter(()) if self._root is None else list_unfinished(self._root)

    def delete_unfinished(self, keys: Iterable[str]) -> None:
        # obstore refuses the names of its own stage files
        for key in keys:
            if self._root is not None:
                self._root.remove(key)

    def copy(self, source: str, target: str) -> Stat:
        if self._root is not None:
            # obstore would read by path
            super().copy(source, target)
            return self.stat(target)
        with self._translated(f"copy {source!r} to {target!r}"):
            # overwrite=False is not to be had on S3; the target's key is ours and new
            self.store.copy(check_key(source), check_key(target))
        return self.stat(target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if not isinstance(self.store, _SIGNING):
            return super().sign(key, expires_in=expires_in, method=method)
        self._check_signable(key)
        with self._translated(f"sign {key!r}"):
            return sign(self.store, method, check_key(key), timedelta(seconds=expires_in))

    async def put_async(
        self,
        key: str,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        # The local store needs fsync, which blocks: the whole call goes to a thread
        if self._root is not None or not isinstance(chunks, AsyncIterable):
            return await super().put_async(
                key, chunks, content_type=content_type, metadata=metadata, mode=mode
            )
        guard = SourceGuard(chunks)
        progress = Progress()
        send = self._send_async(
            key, progress.watch_async(guard), self._attributes(content_type, metadata), mode
        )
        with self._translated(f"store {key!r}", guard):
            result = await watched(send, limit=self.total_timeout, progress=progress)
        return _stat_of_put(key, guard.size, result)

    async def _send_async(
        self, key: str, chunks: AsyncIterable[bytes], attributes: Attributes | None, mode: PutMode
    ) -> PutResult:
        whole, rest = await first_part_async(chunks, PART_SIZE)
        if rest is None:
            return await self.store.put_async(
                check_key(key), whole, mode=mode, attributes=attributes, use_multipart=False
            )
        await in_thread(partial(self._refuse_taken, key, mode), limit=self.total_timeout)
        return await self.store.put_async(
            check_key(key),
            rest,
            attributes=attributes,
            use_multipart=True,
            chunk_size=PART_SIZE,
            max_concurrency=PARTS_IN_FLIGHT,
        )

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        if self._root is not None:
            return await super().get_async(key, start=start, length=length)
        if length == 0:
            await self.stat_async(key)
            return _empty()
        try:
            with self._translated(f"read {key!r}"):
                result = await self.store.get_async(check_key(key), options=_range(start, length))
        except StorageError:
            if (start or length) and start >= (await self.stat_async(key)).size:
                return _empty()
            raise
        return self._stream_async(key, result)

    async def stat_async(self, key: str) -> Stat:
        if self._root is not None:
            return await super().stat_async(key)
        with self._translated(f"describe {key!r}"):
            result = await self.store.get_async(check_key(key), options={"head": True})
            return _stat_of_meta(result.meta, result.attributes)

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if not isinstance(self.store, _SIGNING):
            return self.sign(key, expires_in=expires_in, method=method)
        self._check_signable(key)
        with self._translated(f"sign {key!r}"):
            return await sign_async(self.store, method, check_key(key), timedelta(seconds=expires_in))

    def _check_signable(self, key: str) -> None:
        # object_store signs the encoded path, Azure compares with the decoded one: always refused
        if isinstance(self.store, AzureStore) and not _PLAIN_PATH.fullmatch(
            f"{self.store.prefix or ''}/{key}"
        ):
            raise NotSupportedError(
                f"storage {self.key!r} cannot sign a URL for {key!r}: on Azure obstore signs plain keys only; "
                "serve it through the application, or save it under a key that filecolumn makes"
            )

    def _get_local(self, root: LocalRoot, key: str, start: int, length: int | None) -> Iterator[bytes]:
        check_range(start, length)
        with self._translated(f"read {key!r}"):
            chunks = root.read(key, start, length)
        return self._read_local(key, chunks)

    def _read_local(self, key: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._translated(f"read {key!r}"):
            yield from chunks

    def _delete_local(self, root: LocalRoot, keys: Iterable[str]) -> None:
        for key in keys:
            with self._translated(f"delete {key!r}"):
                root.remove(key)

    def _refuse_taken(self, key: str, mode: PutMode) -> None:
        """Multipart uploads cannot be conditional: look before sending (architecture, section 3)."""
        if mode == "create" and self.exists(key):
            raise ObjectExistsError(f"the storage key {key!r} is taken; objects are never overwritten")

    def _delete_batch(self, batch: Sequence[str]) -> None:
        try:
            self.store.delete(batch)
        except FileNotFoundError:
            # Some stores refuse a missing key and do not say what became of the others
            for key in batch:
                with suppress(FileNotFoundError):
                    self.store.delete(key)

    def _stream(self, key: str, result: GetResult) -> Iterator[bytes]:
        with self._translated(f"read {key!r}"):
            for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)

    async def _stream_async(self, key: str, result: GetResult) -> AsyncIterator[bytes]:
        with self._translated(f"read {key!r}"):
            async for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)

    def _attributes(self, content_type: str | None, metadata: Mapping[str, str] | None) -> Attributes | None:
        if not self.capabilities.keeps_content_type:
            return None
        attributes: Attributes = {**(metadata or {})}
        if content_type:
            attributes["Content-Type"] = content_type
        return attributes

    def _translated(self, doing: str, source: SourceGuard | None = None) -> AbstractContextManager[None]:
        if Fork.broken:
            raise StorageError(
                f"storage {self.key!r}: obstore was used before this process was forked, and its threads do not "
                "survive a fork; start workers with 'spawn' or 'forkserver', or fork before the first file operation"
            )
        Fork.used = True
        return translated(_ERRORS, f"{doing} in storage {self.key!r}", source)

    def _client_options(self) -> ClientConfig:
        # `timeout` of obstore bounds a whole body, however large: the waits inside it are bounded instead
        return {
            "connect_timeout": timedelta(seconds=self.timeout),
            "read_timeout": timedelta(seconds=self.timeout),
            "timeout": timedelta(seconds=self.total_timeout * 10),
        }

    def _retry_config(self) -> RetryConfig:
        return {"max_retries": self.max_retries, "retry_timeout": timedelta(seconds=self.total_timeout)}


def _range(start: int, length: int | None) -> GetOptions:
    check_range(start, length)
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else {}


async def _empty() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


def _is_listed(path: str, after: str | None) -> bool:
    return not path.startswith(f"{RESERVED_FOLDER}/") and (after is None or path > after)


def _stat_of_put(key: str, size: int, result: PutResult) -> Stat:
    # radosgw answers a multipart upload with an empty tag
    return Stat(key=key, size=size, etag=_quoted(result["e_tag"]), version_id=result["version"])


def _stat_of_meta(meta: ObjectMeta, attributes: Attributes | None = None) -> Stat:
    return Stat(
        key=meta["path"],
        size=meta["size"],
        etag=_quoted(meta["e_tag"]),
        version_id=meta["version"],
        last_modified=meta["last_modified"].timestamp(),
        content_type=(attributes or {}).get("Content-Type"),
    )


def _quoted(tag: str | None) -> str | None:
    """Return a tag as HTTP writes it: Azure's listing has it without quotes, its other answers with them."""
    if not tag or tag.startswith(('"', "W/")):
        return tag or None
    return f'"{tag}"'
