"""The storage contract: five methods to write, the rest comes free.

Implement `StorageBackend.put`, `get`, `stat`, `delete` and `list`.  Each `*_async` twin then
works in a worker thread; override one only where the storage has native asynchronous I/O.
A key is relative and `/`-separated; every method may be called from any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import BinaryIO, Literal, NoReturn, TypedDict, TypeVar

from filecolumn._threads import Progress, Pushed, aclosing, closing, in_thread, pull, pull_opened
from filecolumn.backends.streams import RangeReader
from filecolumn.errors import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.naming import RESERVED_FOLDER, ReservedKey, check_key
from filecolumn.redaction import without_secrets

__all__ = (
    "PUT_OPTIONS",
    "Capabilities",
    "PutMode",
    "PutOptions",
    "Stat",
    "StorageBackend",
    "WhenStored",
    "WholeObject",
    "check_folder",
    "check_range",
    "unknown_put_option",
)

T = TypeVar("T")

PutMode = Literal["create", "overwrite"]
"""`create` refuses a key that is taken; `overwrite` asks nothing of the storage, and suits keys that are new."""

_PROBE = ReservedKey(f"{RESERVED_FOLDER}/create")
"""What is created twice to find out whether a storage refuses the second."""
SignMethod = Literal["GET", "PUT"]


class PutOptions(TypedDict, total=False):
    """The options of `StorageBackend.put`, for a backend that passes them on: `**options: Unpack[PutOptions]`."""

    content_type: str | None
    """The media type to keep with the object."""
    metadata: Mapping[str, str] | None
    """What else to keep with it."""
    mode: PutMode
    """Whether a key that is taken is refused; `create` if it is not given."""


PUT_OPTIONS = frozenset(PutOptions.__annotations__)
"""The names of the options of `put`: `**options` takes any, so a backend looks whether it knows them."""


def unknown_put_option(options: PutOptions) -> TypeError:
    """Return the error for a name that is not one of `PUT_OPTIONS`, as Python's own for a signature."""
    return TypeError(f"put() got an unexpected keyword argument {min(options.keys() - PUT_OPTIONS)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a storage knows about one object; an unknown fact is None."""

    key: str
    """Its key."""
    size: int
    """Bytes."""
    etag: str | None = None
    """The storage's tag of this content, as it gave it."""
    version_id: str | None = None
    """The storage's own version of it."""
    last_modified: float | None = None
    """Seconds since the epoch, UTC."""
    content_type: str | None = None
    """The media type that the storage keeps with it."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeObject:
    """One object for `StorageBackend.put_many`, with all of its content; the rest is as for `put`."""

    key: str
    """Its key."""
    content: bytes
    """All of it."""
    content_type: str | None = None
    """The media type to keep with it."""
    metadata: Mapping[str, str] | None = None
    """What else to keep with it."""
    mode: PutMode = "create"
    """Whether a key that is taken is refused."""


WhenStored = Callable[[WholeObject, Stat], object]
"""Told of each object of `StorageBackend.put_many` that is stored; raises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a storage can do: shared code and tests choose by these, never by its class."""

    signs: bool = False
    """Makes URLs that others can read with."""
    signs_uploads: bool = False
    """Makes URLs that others can write with."""
    creates_atomically: bool = False
    """Of two creations of one key at one moment, one fails, unless the endpoint ignores the condition."""
    keeps_content_type: bool = False
    """Keeps the media type with the object, and what it can of the metadata; `stat` tells the type."""
    lists_in_order: bool = False
    """Lists keys in the order of their UTF-8 bytes."""
    repeats_puts: bool = False
    """Its client puts again by itself when no answer came, and may then find the key taken by its first attempt."""
    persistent: bool = True
    """Another backend object at the same location sees the same content."""


class StorageBackend(ABC):
    """A storage of whole objects under keys, registered in `storages` under `key`."""

    capabilities: Capabilities = Capabilities()
    """What this storage can do; nothing by default."""
    protocol: str = ""
    """What kind of storage it is, as in a URL: `file`, `memory`, `s3`..."""
    signed_put_headers: Mapping[str, str] = MappingProxyType({})
    """Headers that a request to a URL signed with `PUT` must have."""

    new_place: bool = False
    """Whether a database that knows another place under the storage's key starts anew in this one."""

    _refuses_taken_keys: bool | None = None

    def __init__(
        self,
        key: str,
        *,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        concurrency: int | None = None,
        verify_copies: bool | None = None,
    ) -> None:
        """Name the storage and bound its waits; None is the default: 10 s, 60 s, 3 retries, 8 files, true.

        *timeout* and *total_timeout* are seconds: for one attempt, and for a call without any
        progress, retries included.  *concurrency* is how many files one flush stores at a time.

        A copy that the storage makes by itself is read afterwards and compared with the row's
        checksum.  With `verify_copies=False` only its size is, for storages of which nobody else
        changes the objects; copies that go through this process are always compared.
        """
        if not key:
            raise ValueError("a storage needs a non-empty key")
        timeout = 10.0 if timeout is None else timeout
        total_timeout = 60.0 if total_timeout is None else total_timeout
        max_retries = 3 if max_retries is None else max_retries
        concurrency = 8 if concurrency is None else concurrency
        if min(timeout, total_timeout, concurrency) <= 0 or max_retries < 0:
            raise ValueError("timeouts and concurrency must be above 0, max_retries at least 0")
        self.key: str = key
        self.timeout: float = timeout
        self.total_timeout: float = total_timeout
        self.max_retries: int = max_retries
        self.concurrency: int = concurrency
        self.verify_copies: bool = verify_copies is None or verify_copies

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the content is, without credentials: equal for two backends over one place."""

    @property
    def copies_by_itself(self) -> bool:
        """Whether `copy` is the storage's own work, so that the content does not pass through this process.

        Else a file is copied by `get` and `put`, and compared on its way.
        """
        return type(self).copy is not StorageBackend.copy

    @property
    def puts_at_once(self) -> bool:
        """Whether a put of small content waits for nothing but this machine, and its answer is never lost.

        Then several go into one call of `put_many`, in the caller's own thread if it has one to block, instead of
        one call each, several at a time.
        """
        return False

    @abstractmethod
    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        """Store *chunks* under *key*, durably and all or nothing.

        An error of *chunks* itself is raised as it is, and leaves nothing visible.  With mode
        `create` a key that is taken raises ObjectExistsError; large content may be checked
        before it is sent only (see `Capabilities.creates_atomically`).
        """

    def put_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        """Store *objects* one after the other, each as `put` does, and tell *done* of each when it is durable.

        An error ends it, also one of *objects* itself, which is raised as it is: what *done* was not told of is
        not stored.  An object may be in sight before *done* is told.

        Note for implementers: this default calls `put` for each.
        """
        for whole in objects:
            stat = self.put(
                whole.key,
                (whole.content,),
                content_type=whole.content_type,
                metadata=whole.metadata,
                mode=whole.mode,
            )
            done(whole, stat)

    @abstractmethod
    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Return the content from byte *start*, at most *length* bytes, in chunks.

        Raises ObjectNotFoundError at once, not at the first chunk.  A start at or past the end
        gives no bytes.
        """

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Describe *key*, or raise ObjectNotFoundError."""

    @abstractmethod
    def delete(self, keys: str | Iterable[str]) -> None:
        """Remove *keys*, in as few requests as the storage can; one that is not there is no error.

        A string is one key.
        """

    @abstractmethod
    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """Yield the objects in the folder *prefix* and below, literally matched, page by page.

        With *after* only keys that sort behind it.
        """

    def list_unfinished(self) -> Iterator[Stat]:
        """Yield what is left of uploads that did not end, which no listing shows; none by default.

        Parts in the cloud are not listed: give the bucket a rule that ends unfinished multipart uploads.
        """
        return iter(())

    def delete_unfinished(self, keys: str | Iterable[str]) -> None:
        """Remove what `list_unfinished` has yielded; a string is one key."""
        self.delete(keys)

    def exists(self, key: str) -> bool:
        """Return whether *key* holds an object."""
        try:
            self.stat(key)
        except ObjectNotFoundError:
            return False
        return True

    def refuses_taken_keys(self) -> bool:
        """Return whether a put with mode `create` never overwrites: the storage is asked, once in a process.

        Some endpoints ignore the condition (`If-None-Match: *`), others do not know it; a file system may
        have no hard links.  Raises StorageError if nothing can be stored under `.filecolumn/`.
        """
        if self._refuses_taken_keys is None:
            self._refuses_taken_keys = self.capabilities.creates_atomically and self._refuses_second_put()
        return self._refuses_taken_keys

    def _refuses_second_put(self) -> bool:
        content = b"filecolumn\n"
        try:
            self.put(_PROBE, [content], mode="create")
            self.put(_PROBE, [content], mode="create")
        except ObjectExistsError:
            return True
        except NotSupportedError:
            return False
        except StorageError:
            # an endpoint that does not know the condition may answer with any error, and only to it
            self.put(_PROBE, [content], mode="overwrite")
        return False

    def get_bytes(self, key: str) -> bytes:
        """Return the whole content of *key*."""
        with closing(self.get(key)) as chunks:
            return b"".join(chunks)

    def copy(self, source: str, target: str) -> Stat:
        """Copy *source* to the new key *target*.

        Note for implementers: this default sends the content through this process.
        """
        check_key(target)
        with closing(self.get(source)) as chunks:
            return self.put(target, chunks)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        """Return a URL that reads (or with `PUT` writes) *key* for *expires_in* seconds."""
        raise NotSupportedError(f"storage {self.key!r} ({self.protocol}) cannot sign URLs")

    def open(self, key: str) -> BinaryIO:
        """Return a seekable, read-only binary file over *key*."""
        return RangeReader.buffered(partial(self.get, key), self.stat(key).size)

    def close(self) -> None:
        """Release connections; the backend is not used after it."""

    async def put_async(
        self,
        key: str,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        """Call `put` asynchronously; *chunks* that are not asynchronous are read in the worker thread."""
        progress = Progress()
        pushed: Pushed | None = None
        source: Iterable[bytes]
        if isinstance(chunks, AsyncIterable):
            source = pushed = Pushed(chunks)
        else:
            source = chunks
        put = partial(
            self.put, key, progress.watch(source), content_type=content_type, metadata=metadata, mode=mode
        )
        doing = self._doing(f"store {key!r}")
        try:
            return await in_thread(put, limit=self.total_timeout, doing=doing, progress=progress, puts=True)
        finally:
            if pushed is not None:
                pushed.stop()

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Call `get` asynchronously; small content is opened, read and closed by one call in a worker thread."""
        opening = partial(self.get, key, start=start, length=length)
        return await pull_opened(opening, limit=self.total_timeout, doing=self._doing(f"read {key!r}"))

    async def stat_async(self, key: str) -> Stat:
        """Call `stat` asynchronously."""
        return await self._in_thread(partial(self.stat, key), f"describe {key!r}")

    async def delete_async(self, keys: str | Iterable[str]) -> None:
        """Call `delete` asynchronously."""
        wanted = [keys] if isinstance(keys, str) else list(keys)
        doing = f"delete {len(wanted)} objects, the first {wanted[0]!r}" if wanted else "delete nothing"
        await self._in_thread(partial(self.delete, wanted), doing)

    async def list_async(self, prefix: str = "", *, after: str | None = None) -> AsyncIterator[Stat]:
        """Call `list` asynchronously."""
        doing = self._doing(f"list {prefix!r}")
        return pull(self.list(prefix, after=after), limit=self.total_timeout, doing=doing)

    async def exists_async(self, key: str) -> bool:
        """Call `exists` asynchronously."""
        try:
            await self.stat_async(key)
        except ObjectNotFoundError:
            return False
        return True

    async def refuses_taken_keys_async(self) -> bool:
        """Call `refuses_taken_keys` asynchronously."""
        if self._refuses_taken_keys is None:
            return await self._in_thread(self.refuses_taken_keys, f"create {_PROBE!r}")
        return self._refuses_taken_keys

    async def get_bytes_async(self, key: str) -> bytes:
        """Call `get_bytes` asynchronously."""
        async with aclosing(await self.get_async(key)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def copy_async(self, source: str, target: str) -> Stat:
        """Call `copy` asynchronously."""
        return await self._in_thread(partial(self.copy, source, target), f"copy {source!r} to {target!r}")

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        """Call `sign` asynchronously."""
        sign = partial(self.sign, key, expires_in=expires_in, method=method)
        return await self._in_thread(sign, f"sign {key!r}")

    async def close_async(self) -> None:
        """Call `close` asynchronously."""
        await self._in_thread(self.close, "close the connections")

    async def _in_thread(self, call: Callable[[], T], doing: str) -> T:
        return await in_thread(call, limit=self.total_timeout, doing=self._doing(doing))

    def _doing(self, what: str) -> str:
        """Return what completes "cannot ..." in an error."""
        return f"{what} in storage {self.key!r}"

    def __reduce__(self) -> NoReturn:
        # the libraries below would pickle their credentials too
        raise TypeError("a storage is neither copied nor pickled; register it in each process that uses it")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key={self.key!r}, location={without_secrets(self.location)!r})"


def check_folder(prefix: str) -> str:
    """Return the folder *prefix* of a listing without slashes at its ends; InvalidKeyError as for keys."""
    stripped = prefix.strip("/")
    if prefix.startswith("/"):
        raise InvalidKeyError(f"a listing's prefix is relative, as keys are: {prefix!r}")
    return check_key(stripped) if stripped else ""


def check_range(start: int, length: int | None) -> None:
    """Raise ValueError for a range of bytes that cannot be."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError("start and length must be 0 or more bytes")
