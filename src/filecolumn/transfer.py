"""One transfer of content into a storage, in one pass: counted, hashed, and all or nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote

import anyio

from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.content import Source, source_of
from filecolumn.errors import StorageError
from filecolumn.facts import FileFacts, JsonObject, known_time
from filecolumn.failpoints import failpoint
from filecolumn.feed import Feed
from filecolumn.policy import ANYTHING, ContentPolicy
from filecolumn.sniffing import HEAD_SIZE, sniff

__all__ = (
    "Copy",
    "Inspect",
    "Operation",
    "Put",
    "copy",
    "copy_async",
    "discard_async",
    "inspect",
    "inspect_async",
    "put",
    "put_async",
    "settled",
)

_log = logging.getLogger("filecolumn")

T = TypeVar("T")

SETTLE_LIMIT = 5.0
"""Seconds that a cancelled upload is waited for, so that its key can be cleaned up."""

CLEANUP_LIMIT = 10.0
"""Seconds that deleting what a cancelled transfer left may take."""

_STORED_METADATA_BYTES = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Put:
    """Store new content."""

    backend: StorageBackend
    key: str
    source: Source
    facts: FileFacts
    """With the name of the storage in the registry, which may differ from the backend's own."""
    fresh: bool = True
    """Whether the key was made for this put: then whatever lies there is ours to delete."""
    policy: ContentPolicy = ANYTHING
    """The column's."""
    field: str | None = None
    """The attribute, for the errors of the policy."""


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Store the content of another key."""

    origin: StorageBackend
    origin_key: str
    backend: StorageBackend
    key: str
    facts: FileFacts
    """Facts of the origin, with the names that the copy is to have, and its storage's in the registry."""
    fresh: bool = True
    """As for `Put`."""

    @property
    def within_storage(self) -> bool:
        """Whether the storage can do it: its own copying overwrites, so only to a key that nobody else has."""
        return self.fresh and self.backend is self.origin


@dataclass(frozen=True, slots=True, eq=False)
class Inspect:
    """Look at what is stored already."""

    backend: StorageBackend
    key: str
    facts: FileFacts
    """As the row or a save has them."""


Operation = Put | Copy | Inspect
"""What a flush has storages do."""


def put(op: Put) -> FileFacts:
    """Store the content and return what is now true of it; ContentRejectedError if the policy refuses it."""
    feed = Feed(op.source, op.facts, op.policy, op.field)
    content_type = feed.start()
    failpoint("put.before")
    stat = op.backend.put(
        op.key, feed.chunks(), content_type=content_type, metadata=_stored_metadata(op.facts.metadata)
    )
    failpoint("put.after_complete")
    try:
        return _with_stat(feed.facts, op.backend, stat)
    except StorageError:
        op.backend.delete([op.key])
        raise


async def put_async(op: Put) -> FileFacts:
    """Call `put` asynchronously.

    When it is cancelled, the storage is waited for, at most `SETTLE_LIMIT` seconds, before the
    cancellation goes on: else the object could appear after its key was cleaned up.
    """
    feed = Feed(op.source, op.facts, op.policy, op.field)
    if op.source.in_memory:
        content_type = feed.start()
    else:
        content_type = await _at_rest(op, feed, feed.start_async(op.backend.total_timeout))
    chunks = feed.chunks_async() if op.source.is_async else feed.chunks()
    failpoint("put.before")
    sending = op.backend.put_async(
        op.key, chunks, content_type=content_type, metadata=_stored_metadata(op.facts.metadata)
    )
    stat = await _at_rest(op, feed, sending)
    failpoint("put.after_complete")
    try:
        return _with_stat(feed.facts, op.backend, stat)
    except StorageError:
        await op.backend.delete_async([op.key])
        raise


async def _at_rest(op: Put, feed: Feed, work: Coroutine[object, object, T]) -> T:
    """Return the result of *work*; a cancellation goes on once it has come to rest."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        feed.stopped = True
        if op.source.is_async and not feed.ended:
            # Its next chunk may never come; without the last one nothing can appear
            task.cancel()
        await settled({task}, SETTLE_LIMIT)
        if not op.fresh and _succeeded(task):
            await _delete_async(op)
        raise


def copy(op: Copy) -> FileFacts:
    """Copy within the storage where that is one place, else through this process."""
    if op.within_storage:
        return _copied(op, op.backend.copy(op.origin_key, op.key))
    return put(Put(op.backend, op.key, source_of(op.origin.get(op.origin_key)), op.facts, op.fresh))


async def copy_async(op: Copy) -> FileFacts:
    """Call `copy` asynchronously; cancelled as `put_async` is."""
    if not op.within_storage:
        content = source_of(await op.origin.get_async(op.origin_key))
        return await put_async(Put(op.backend, op.key, content, op.facts, op.fresh))
    task = asyncio.ensure_future(op.backend.copy_async(op.origin_key, op.key))
    try:
        return _copied(op, await asyncio.shield(task))
    except asyncio.CancelledError:
        await settled({task}, SETTLE_LIMIT)
        raise


def inspect(op: Inspect) -> FileFacts:
    """Return the facts with what the first stored bytes show, and the size if it was not known."""
    head = b"".join(op.backend.get(op.key, length=HEAD_SIZE))
    size = op.backend.stat(op.key).size if op.facts.size is None else op.facts.size
    return replace(op.facts, size=size, sniffed=sniff(head))


async def inspect_async(op: Inspect) -> FileFacts:
    """Call `inspect` asynchronously."""
    head = b"".join([chunk async for chunk in await op.backend.get_async(op.key, length=HEAD_SIZE)])
    size = (await op.backend.stat_async(op.key)).size if op.facts.size is None else op.facts.size
    return replace(op.facts, size=size, sniffed=sniff(head))


async def discard_async(op: Put | Copy) -> None:
    """Delete what a cancelled transfer may have left, in bounded time; a storage that refuses is only logged.

    What lies under a key that was not made for it is somebody else's, if it did not say to be stored
    (see `put_async`).
    """
    if op.fresh:
        await _delete_async(op)


async def _delete_async(op: Put | Copy) -> None:
    with anyio.move_on_after(CLEANUP_LIMIT, shield=True):
        try:
            await op.backend.delete_async([op.key])
        except Exception as error:  # noqa: BLE001 - it must not take the place of the cancellation
            _log.warning("%s stays in storage %r: %s", op.key, op.backend.key, error)


async def settled(tasks: AbstractSet[asyncio.Future[T]], limit: float) -> None:
    """Wait until *tasks* have ended, at most *limit* seconds; a cancellation does not end the wait."""
    end = time.monotonic() + limit
    with anyio.CancelScope(shield=True):
        while (running := [task for task in tasks if not task.done()]) and (
            left := end - time.monotonic()
        ) > 0:
            try:
                await asyncio.wait(running, timeout=left)
            except asyncio.CancelledError:
                # the caller raises the first one when the wait is over
                continue
    for task in tasks:
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()


def _succeeded(task: asyncio.Future[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _copied(op: Copy, stat: Stat) -> FileFacts:
    known = op.facts if op.facts.size is not None else replace(op.facts, size=stat.size)
    return _with_stat(known, op.backend, stat)


def _with_stat(facts: FileFacts, backend: StorageBackend, stat: Stat) -> FileFacts:
    if stat.size != facts.size:
        raise StorageError(f"storage {backend.key!r} has {stat.size} bytes of {stat.key!r}, of {facts.size}")
    return replace(
        facts,
        key=stat.key,
        foreign=False,
        etag=stat.etag,
        version_id=stat.version_id,
        # The answer to a PUT seldom has a date, and asking would be a second request
        last_modified=known_time(stat.last_modified, time.time()),
    )


def _stored_metadata(metadata: JsonObject) -> dict[str, str]:
    """Return what of the user's metadata goes along with the object: a courtesy, the row has all of it.

    Only plain values under plain names fit into headers, percent-encoded (RFC 8187), and S3
    allows 2 KiB of them.
    """
    stored: dict[str, str] = {}
    room = _STORED_METADATA_BYTES
    for name, value in metadata.items():
        if not (name.isascii() and name.isidentifier()) or not isinstance(value, str | int | float):
            continue
        text = quote(str(value), safe=" !#$&'()*+,/:;=?@[]~")
        room -= len(name) + len(text)
        if room < 0:
            break
        stored[name] = text
    return stored
