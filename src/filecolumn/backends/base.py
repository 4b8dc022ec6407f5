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
"""`create` refuses a key that is taken; `overwrite` stores without a condition, which is right for new keys."""

_PROBE = ReservedKey(f"{RESERVED_FOLDER}/create")
"""What is created twice to find out whether a storage refuses the second."""
SignMethod = Literal["GET", "PUT"]


class PutOptions(TypedDict, total=False):
    """The options of `StorageBackend.put`, for a backend that passes them on: `**options: Unpack[PutOptions]`."""

    content_type: str | None
    """The media type to keep with the object."""
    metadata: Mapping[str, str] | None
    """Further text to keep with it."""
    mode: PutMode
    """Whether a key that is taken is refused; by default `create`."""


PUT_OPTIONS = frozenset(PutOptions.__annotations__)
"""The names of the options of `put`.  A backend that takes `**options` checks the given names against these."""


def unknown_put_option(options: PutOptions) -> TypeError:
    """Return the TypeError for a name that is not one of `PUT_OPTIONS`, as Python words it."""
    return TypeError(f"put() got an unexpected keyword argument {min(options.keys() - PUT_OPTIONS)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a storage knows about one object; None where it does not know."""

    key: str
    """Its key."""
    size: int
    """Bytes."""
    etag: str | None = None
    """The storage's tag of the content, as the storage gave it."""
    version_id: str | None = None
    """The storage's own version of the object."""
    last_modified: float | None = None
    """When it was stored, in seconds since the epoch, UTC."""
    content_type: str | None = None
    """The media type that the storage keeps with it."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeObject:
    """One object for `StorageBackend.put_many`; the fields mean what the arguments of `put` mean."""

    key: str
    """Its key."""
    content: bytes
    """All of its content."""
    content_type: str | None = None
    """The media type to keep with it."""
    metadata: Mapping[str, str] | None = None
    """Further text to keep with it."""
    mode: PutMode = "create"
    """Whether a key that is taken is refused."""


WhenStored = Callable[[WholeObject, Stat], object]
"""A function that `StorageBackend.put_many` calls for each object that is stored; it raises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a storage can do.  Code that works with any storage decides by these, never by its class."""

    signs: bool = False
    """Whether it makes signed URLs for reading."""
    signs_uploads: bool = False
    """Whether it makes signed URLs for writing."""
    creates_atomically: bool = False
    """Whether of two creations of one key at the same moment one fails, unless the endpoint ignores the condition."""
    keeps_content_type: bool = False
    """Whether it keeps the media type and what it can of the metadata; `stat` then returns the type."""
    lists_in_order: bool = False
    """Whether it lists keys in the order of their UTF-8 bytes."""
    repeats_puts: bool = False
    """Whether its client repeats a put that got no answer, and may then find the key taken by its first attempt."""
    persistent: bool = True
    """Whether another backend object at the same location sees the same content."""


class StorageBackend(ABC):
    """A storage of whole objects under keys, registered in `storages` under `key`.

    Write the abstract methods and `location` for a storage of your own; everything else has a default.  Every
    method that reaches the storage raises StorageError if that fails.
    """

    capabilities: Capabilities = Capabilities()
    """What this storage can do; by default nothing."""
    protocol: str = ""
    """What kind of storage it is, as in a URL: `file`, `memory`, `s3`..."""
    signed_put_headers: Mapping[str, str] = MappingProxyType({})
    """Headers that a request to a URL signed with `PUT` must have."""

    new_place: bool = False
    """Whether a database that knows another place under this storage key may start to store in this one."""

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
        """Name the storage and limit its waits; None is the default.

        *timeout* (10) is seconds for one attempt, *total_timeout* (60) seconds without any progress for a call
        with its retries, *max_retries* (3) their number.  *concurrency* (8) is how many files one flush stores
        at the same time; see also `puts_at_once`.  ValueError for a timeout or concurrency that is not above 0.

        *verify_copies* (True): a copy that the storage makes by itself is read afterwards and compared with the
        row's checksum.  With False only its size is compared, which is enough where nobody else changes objects.
        Copies that pass through this process are always compared.
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
        """Where the content is, as a URL without credentials; two backends for one place have the same location."""

    @property
    def copies_by_itself(self) -> bool:
        """Whether the storage copies by itself, so that the content does not pass through this process.

        If it does not, a file is copied by `get` and `put`, and compared on the way.
        """
        return type(self).copy is not StorageBackend.copy

    @property
    def puts_at_once(self) -> bool:
        """Whether a put of small content needs this machine only, so that its answer cannot be lost.

        Then a flush stores several small files by one call of `put_many`, in its own thread if it may block.
        By default False: a flush calls `put` for each, several at the same time.
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
        """Store *chunks* under *key*, durably and completely or not at all.

        An error that *chunks* raises is raised unchanged, and leaves no visible object.  With mode `create` a key
        that is taken raises ObjectExistsError; for large content that may be checked only before it is sent (see
        `Capabilities.creates_atomically`).
        """

    def put_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        """Store *objects* one after the other, each as `put` does, and call *done* for each when it is durable.

        The first error ends the call; one that *objects* raises is raised unchanged.  An object for which *done*
        was not called is not stored.  An object may be visible before *done* is called.

        This default calls `put` for each.
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
        """Return the content from byte *start* on, at most *length* bytes, in chunks.

        Raises ObjectNotFoundError at once, not with the first chunk, and ValueError for a negative *start* or
        *length*.  A *start* at or behind the end gives no bytes.
        """

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Return what the storage knows of *key*; ObjectNotFoundError if there is no such object."""

    @abstractmethod
    def delete(self, keys: str | Iterable[str]) -> None:
        """Delete the objects *keys*, in as few requests as the storage allows; a missing one is no error.

        A string is one key.
        """

    @abstractmethod
    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """Yield the objects in the folder *prefix* and below it, page by page; no character is a wildcard.

        With *after* it yields only keys that sort behind that one.
        """

    def list_unfinished(self) -> Iterator[Stat]:
        """Yield the remains of interrupted uploads, which `list` does not show; by default none.

        Parts in the cloud are not listed: give the bucket a rule that ends unfinished multipart uploads.
        """
        return iter(())

    def delete_unfinished(self, keys: str | Iterable[str]) -> None:
        """Delete remains that `list_unfinished` has yielded; a string is one key."""
        self.delete(keys)

    def exists(self, key: str) -> bool:
        """Return whether there is an object under *key*."""
        try:
            self.stat(key)
        except ObjectNotFoundError:
            return False
        return True

    def refuses_taken_keys(self) -> bool:
        """Return whether a put with mode `create` never overwrites; this is tried out once in a process.

        Some endpoints ignore the condition (`If-None-Match: *`), others do not know it, and a file system may
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
        """Return the whole content of *key*; ObjectNotFoundError if there is no such object."""
        with closing(self.get(key)) as chunks:
            return b"".join(chunks)

    def copy(self, source: str, target: str) -> Stat:
        """Copy the object *source* to the new key *target*.

        This default sends the content through this process.
        """
        check_key(target)
        with closing(self.get(source)) as chunks:
            return self.put(target, chunks)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        """Return a URL that reads *key* (or with `PUT` writes it) for *expires_in* seconds.

        By default NotSupportedError: the storage cannot sign.
        """
        raise NotSupportedError(f"storage {self.key!r} ({self.protocol}) cannot sign URLs")

    def open(self, key: str) -> BinaryIO:
        """Return a seekable, read-only binary file with the content of *key*."""
        return RangeReader.buffered(partial(self.get, key), self.stat(key).size)

    def close(self) -> None:
        """Close the connections; the backend is not used afterwards."""

    async def put_async(
        self,
        key: str,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        """Call `put` asynchronously; *chunks* that are not asynchronous are read in a worker thread."""
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
    """Return the *prefix* of a listing without slashes at its ends; InvalidKeyError if it is not a valid key."""
    stripped = prefix.strip("/")
    if prefix.startswith("/"):
        raise InvalidKeyError(f"a listing's prefix is relative, as keys are: {prefix!r}")
    return check_key(stripped) if stripped else ""


def check_range(start: int, length: int | None) -> None:
    """Raise ValueError if *start* or *length* is negative."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError("start and length must be 0 or more bytes")
