"""`ObstoreBackend`: S3, GCS, Azure, HTTP, local folders and memory through obstore."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Unpack, cast

from obstore import exceptions as foreign
from obstore import sign, sign_async
from obstore.store import MemoryStore

from filecolumn._threads import Progress, fed, watched
from filecolumn._workers import running_loop
from filecolumn.backends._errors import (
    TAKEN,
    ErrorTable,
    ObjectsGuard,
    SourceGuard,
    TranslatedChunks,
    translated,
    write_guarded,
)
from filecolumn.backends._obstore_stores import (
    Fork,
    kind_of,
    local_root,
    location_of,
    protocol_of,
    signing_store,
    store_from_url,
)
from filecolumn.backends._options import OWN_OPTIONS, check_own, given
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
from filecolumn.backends.streams import PART_SIZE, batches, each_key, first_part, first_part_async
from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.errors import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, check_key

__all__ = ("ObstoreBackend",)

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta, PutResult
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

PARTS_IN_FLIGHT = 4
DELETE_BATCH = 1000

_ERRORS: ErrorTable = {
    # obstore raises the builtin, not an error of its own
    FileNotFoundError: ObjectNotFoundError,
    IsADirectoryError: ObjectNotFoundError,
    FileExistsError: ObjectExistsError,
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


class ObstoreBackend(StorageBackend):
    """A storage that obstore reaches: S3, Google Cloud Storage, Azure, HTTP, a local folder, or memory.

    *key*
        The storage key.
    *fs*
        A URL (`file:///folder/`, `memory://`, `s3://bucket/prefix/`, `gs://...`, `az://...`, `https://...`), or a
        store of `obstore.store`.  A local folder is created if it is missing.
    *fsync*
        Whether a local folder is made durable before a row is written, by default True.  Without it content may
        be lost by a power failure after the commit.
    *timeout*, *total_timeout*, *max_retries*, *concurrency*, *verify_copies*
        As for every `StorageBackend`.
    *client_options*, *retry_config*, *config*
        obstore's own settings for a URL, such as `aws_region`.  Others are taken from the environment variables
        that obstore knows, such as `AWS_REGION` and `AWS_ALLOW_HTTP`.

    Raises ValueError for a URL or a setting that is not valid, TypeError for settings with a ready store, and
    NotSupportedError for a local folder on Windows.
    """

    def __init__(
        self,
        key: str,
        fs: str | ObjectStore,
        *,
        fsync: bool | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        concurrency: int | None = None,
        verify_copies: bool | None = None,
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
            verify_copies=verify_copies,
        )
        settings = given(config)
        if isinstance(fs, str):
            fs = self._store_from_url(fs, client_options, retry_config, settings)
        elif settings or client_options or retry_config:
            check_own(settings, OWN_OPTIONS, "a storage")
            names = ", ".join(settings) or "client_options and retry_config"
            raise TypeError(f"settings go with a URL; a ready store has its own: leave out {names}")
        self.store = fs
        self.protocol: str = protocol_of(fs)
        kind = kind_of(fs)
        self.signed_put_headers: Mapping[str, str] = kind.signed_put_headers
        self.capabilities: Capabilities = kind.capabilities
        self._signer = signing_store(fs)
        self._signs_any_key = kind.signs_any_key
        self._leftovers_take_keys = kind.leftovers_take_keys
        self._root = local_root(fs, fsync=fsync is None or fsync)

    @property
    def fs(self) -> ObjectStore:
        """The obstore store, under the name that advanced-alchemy gives it."""
        return self.store

    @property
    def location(self) -> str:
        if self._root is not None:
            return f"file://{self._root.path}"
        return location_of(self.store)

    @property
    def copies_by_itself(self) -> bool:
        return self._root is None

    def put(self, key: str, chunks: Iterable[bytes], **options: Unpack[PutOptions]) -> Stat:
        if not options.keys() <= PUT_OPTIONS:
            raise unknown_put_option(options)
        mode = options.get("mode", "create")
        guard = SourceGuard(chunks)
        with self._translated(f"store {key!r}", guard):
            if self._root is not None:
                # obstore writes by path, where a link may appear meanwhile
                return self._root.write(key, guard, overwrite=mode == "overwrite")
            attributes = self._attributes(options.get("content_type"), options.get("metadata"))
            whole, rest = first_part(guard, PART_SIZE)
            if rest is None:
                result = self._put_whole(check_key(key), whole, attributes, mode)
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
        return _stat_of_put(key, guard.size, result)

    @property
    def puts_at_once(self) -> bool:
        is_near = self._root is not None or isinstance(self.store, MemoryStore)
        return is_near and self._puts_itself()

    def _puts_itself(self) -> bool:
        """Return whether no subclass, and nobody for this object, has put another `put` in place: none is bypassed."""
        own, replaced = type(self), vars(self)
        is_own = (own.put, own.put_async) == _OWN_PUTS
        return is_own and "put" not in replaced and "put_async" not in replaced

    def put_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        if not self._puts_itself():
            super().put_many(objects, done)
            return
        self._check_fork()
        write = self._send_many if self._root is None else self._root.write_many
        write_guarded(objects, done, write, self._translated)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_range(start, length)
        if self._root is not None:
            with self._translated(f"read {key!r}"):
                chunks = self._root.read(key, start, length)
            return TranslatedChunks(chunks, lambda: self._translated(f"read {key!r}"))
        if length == 0:
            self.stat(key)
            return iter(())
        try:
            with self._translated(f"read {key!r}"):
                result = self.store.get(check_key(key), options=_range_options(start, length))
        except StorageError:
            # a range past the end, which some stores refuse and others do not tell from other errors
            if (start or length) and start >= self.stat(key).size:
                return iter(())
            raise
        return self._stream(key, result)

    def stat(self, key: str) -> Stat:
        with self._translated(f"describe {key!r}"):
            if self._root is not None:
                return self._root.stat(key)
            # a HEAD as `head` makes it, but with the media type
            result = self.store.get(check_key(key), options={"head": True})
            return _stat_of_meta(result.meta, result.attributes)

    def delete(self, keys: str | Iterable[str]) -> None:
        if self._root is not None:
            self._check_fork()
            self._root.remove(each_key(keys), self._translated)
            return
        for batch in batches(map(check_key, each_key(keys)), DELETE_BATCH):
            with self._translated(f"delete {len(batch)} objects, the first {batch[0]!r}"):
                self._delete_batch(batch)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        with self._translated(f"list {prefix!r}"):
            if self._root is not None:
                # obstore's own listing follows links out of the folder
                yield from self._root.objects(prefix, after=after)
                return
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
        if self._root is not None:
            with self._translated("list unfinished uploads"):
                yield from self._root.unfinished()

    def delete_unfinished(self, keys: str | Iterable[str]) -> None:
        # obstore refuses the names of its own stage files
        if self._root is not None:
            self.delete(keys)

    def copy(self, source: str, target: str) -> Stat:
        if self._root is not None:
            return super().copy(source, target)
        with self._translated(f"copy {source!r} to {target!r}"):
            # overwrite=False is not to be had on S3; the target's key is ours and new
            self.store.copy(check_key(source), check_key(target))
        return self.stat(target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if self._signer is None:
            return super().sign(key, expires_in=expires_in, method=method)
        self._check_signable(self._signer.prefix, key)
        with self._translated(f"sign {key!r}"):
            return sign(self._signer, method, check_key(key), timedelta(seconds=expires_in))

    async def put_async(
        self, key: str, chunks: Iterable[bytes] | AsyncIterable[bytes], **options: Unpack[PutOptions]
    ) -> Stat:
        if not options.keys() <= PUT_OPTIONS:
            raise unknown_put_option(options)
        # The local store needs fsync, which blocks: the whole call goes to a thread
        if self._root is not None or not isinstance(chunks, AsyncIterable):
            return await super().put_async(key, chunks, **options)
        running_loop()
        guard = SourceGuard(chunks)
        progress = Progress()
        send = self._send_async(
            key,
            progress.watch_async(guard),
            self._attributes(options.get("content_type"), options.get("metadata")),
            options.get("mode", "create"),
        )
        with self._translated(f"store {key!r}", guard):
            result = await watched(
                send, limit=self.total_timeout, doing=self._doing(f"store {key!r}"), progress=progress
            )
        return _stat_of_put(key, guard.size, result)

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        if self._root is not None:
            return await super().get_async(key, start=start, length=length)
        running_loop()
        check_range(start, length)
        if length == 0:
            await self.stat_async(key)
            return _empty()
        try:
            with self._translated(f"read {key!r}"):
                result = await self.store.get_async(check_key(key), options=_range_options(start, length))
        except StorageError:
            if (start or length) and start >= (await self.stat_async(key)).size:
                return _empty()
            raise
        return self._stream_async(key, result)

    async def stat_async(self, key: str) -> Stat:
        if self._root is not None:
            return await super().stat_async(key)
        running_loop()
        with self._translated(f"describe {key!r}"):
            result = await self.store.get_async(check_key(key), options={"head": True})
            return _stat_of_meta(result.meta, result.attributes)

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if self._signer is None:
            return self.sign(key, expires_in=expires_in, method=method)
        running_loop()
        self._check_signable(self._signer.prefix, key)
        with self._translated(f"sign {key!r}"):
            return await sign_async(self._signer, method, check_key(key), timedelta(seconds=expires_in))

    def _store_from_url(
        self,
        url: str,
        client_options: ClientConfig | None,
        retry_config: RetryConfig | None,
        settings: Mapping[str, object],
    ) -> ObjectStore:
        """Make a store whose waits are bounded by this storage's timeouts, unless the caller gave others."""
        client: ClientConfig = {
            # `timeout` of obstore bounds a whole body, however large: the waits inside it are bounded instead
            "connect_timeout": timedelta(seconds=self.timeout),
            "read_timeout": timedelta(seconds=self.timeout),
            "timeout": timedelta(seconds=self.total_timeout * 10),
            **cast("ClientConfig", given(client_options or {})),
        }
        retries: RetryConfig = {
            "max_retries": self.max_retries,
            "retry_timeout": timedelta(seconds=self.total_timeout),
            **cast("RetryConfig", given(retry_config or {})),
        }
        return store_from_url(url, client_options=client, retry_config=retries, config=settings)

    def _send_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        for whole in objects:
            if len(whole.content) > PART_SIZE:
                super().put_many((whole,), done)
                continue
            attributes = self._attributes(whole.content_type, whole.metadata)
            result = self._put_whole(check_key(whole.key), whole.content, attributes, whole.mode)
            done(whole, _stat_of_put(whole.key, len(whole.content), result))

    def _put_whole(self, key: str, content: bytes, attributes: Attributes | None, mode: PutMode) -> PutResult:
        send = partial(self.store.put, key, content, attributes=attributes, use_multipart=False)
        try:
            return send(mode=mode)
        except foreign.AlreadyExistsError:
            # Azure takes the blocks of an upload that was given up for a blob
            if not self._leftovers_take_keys or self.exists(key):
                raise
            return send(mode="overwrite")

    async def _send_async(
        self, key: str, chunks: AsyncIterable[bytes], attributes: Attributes | None, mode: PutMode
    ) -> PutResult:
        whole, rest = await first_part_async(chunks, PART_SIZE)
        if rest is None:
            return await self._put_whole_async(check_key(key), whole, attributes, mode)
        await self._in_thread(partial(self._refuse_taken, key, mode), f"describe {key!r}")
        return await self.store.put_async(
            check_key(key),
            rest,
            attributes=attributes,
            use_multipart=True,
            chunk_size=PART_SIZE,
            max_concurrency=PARTS_IN_FLIGHT,
        )

    async def _put_whole_async(
        self, key: str, content: bytes, attributes: Attributes | None, mode: PutMode
    ) -> PutResult:
        send = partial(self.store.put_async, key, content, attributes=attributes, use_multipart=False)
        try:
            return await send(mode=mode)
        except foreign.AlreadyExistsError:
            # as in the blocking call
            if not self._leftovers_take_keys or await self.exists_async(key):
                raise
            return await send(mode="overwrite")

    def _refuse_taken(self, key: str, mode: PutMode) -> None:
        """Multipart uploads cannot be conditional: look before sending."""
        if mode == "create" and self.exists(key):
            raise FileExistsError(TAKEN)

    def _attributes(self, content_type: str | None, metadata: Mapping[str, str] | None) -> Attributes | None:
        """Return what the store is to keep with an object, if it keeps anything."""
        if not self.capabilities.keeps_content_type:
            return None
        attributes: Attributes = {**(metadata or {})}
        if content_type:
            attributes["Content-Type"] = content_type
        return attributes

    def _stream(self, key: str, result: GetResult) -> Iterator[bytes]:
        with self._translated(f"read {key!r}"):
            for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)

    async def _stream_async(self, key: str, result: GetResult) -> AsyncIterator[bytes]:
        with self._translated(f"read {key!r}"):
            async for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)

    def _delete_batch(self, batch: Sequence[str]) -> None:
        try:
            self.store.delete(batch)
        except FileNotFoundError:
            # Some stores refuse a missing key and do not say what became of the others
            for key in batch:
                with suppress(FileNotFoundError):
                    self.store.delete(key)

    def _check_signable(self, prefix: str | None, key: str) -> None:
        # object_store signs the encoded path, Azure compares with the decoded one: always refused
        if not (self._signs_any_key or _PLAIN_PATH.fullmatch(f"{prefix or ''}/{key}")):
            raise NotSupportedError(
                f"storage {self.key!r} cannot sign a URL for {key!r}: on Azure obstore signs plain keys only; "
                "serve it through the application, or save it under a key that filecolumn makes"
            )

    def _translated(
        self, doing: str, source: SourceGuard | ObjectsGuard | None = None
    ) -> AbstractContextManager[None]:
        self._check_fork()
        return translated(_ERRORS, f"{doing} in storage {self.key!r}", source)

    def _check_fork(self) -> None:
        if Fork.broken:
            raise StorageError(
                f"storage {self.key!r}: obstore was used before this process was forked, and its threads do not "
                "survive a fork; start workers with 'spawn' or 'forkserver', or fork before the first file operation"
            )
        Fork.used = True


_OWN_PUTS = ObstoreBackend.put, ObstoreBackend.put_async
"""As they are here, whatever is put in their place later."""


def _range_options(start: int, length: int | None) -> GetOptions:
    """Return the options that read a range."""
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else {}


def _stat_of_put(key: str, size: int, result: PutResult) -> Stat:
    """Describe what was just stored under *key*."""
    # radosgw answers a multipart upload with an empty tag
    return Stat(key=key, size=size, etag=_quoted(result["e_tag"]), version_id=result["version"])


def _stat_of_meta(meta: ObjectMeta, attributes: Attributes | None = None) -> Stat:
    """Describe an object, with its media type where *attributes* have it."""
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


def _is_listed(path: str, after: str | None) -> bool:
    return not path.startswith(f"{RESERVED_FOLDER}/") and (after is None or path > after)


async def _empty() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk
