"""One transfer of content into a storage, in one pass: counted, hashed, and all or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import anyio

from filecolumn._failpoints import failpoint
from filecolumn._threads import (
    Lent,
    Progress,
    aclose,
    aclosing,
    close,
    closing,
    in_thread,
    read_in_thread,
    settled,
    stopped_in_thread,
)
from filecolumn._workers import running_loop
from filecolumn.backends.base import PutMode, Stat, StorageBackend, WholeObject
from filecolumn.content.digest import Meter
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.content.sniffing import HEAD_SIZE, sniff
from filecolumn.content.sources import Source, source_of
from filecolumn.errors import (
    ChecksumMismatchError,
    FileColumnError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    SourceReadError,
    StorageError,
)
from filecolumn.files.facts import FileFacts, JsonObject, known_time
from filecolumn.files.steps import Steps, either, run, run_async
from filecolumn.logs import warn
from filecolumn.naming import DEFAULT_CONTENT_TYPE, check_content_type

__all__ = (
    "Copy",
    "Feed",
    "Found",
    "Inspect",
    "Operation",
    "Put",
    "PutGroup",
    "copy",
    "discard",
    "first_puts",
    "grouped",
    "head_of",
    "inspect",
    "look_up",
    "metered",
    "overwriting_error",
    "put",
    "put_async",
    "read_back",
    "through_process",
)


def metered(facts: FileFacts, meter: Meter) -> FileFacts:
    """Return *facts* with the size and hash of what was read."""
    return replace(facts, size=meter.size, checksum=meter.checksum)


class Feed:
    """One pass over a source: `start`, then all of `chunks`; or both by their twins.

    At most the policy's `max_size` and one chunk are read.  A source that gives less than it says to have fails
    at its end.  Once `stopped` is set, the next chunk or the end fails.
    """

    def __init__(self, source: Source, facts: FileFacts, policy: ContentPolicy, field: str | None) -> None:
        self._source = source
        self._facts = facts
        self._policy = policy
        self._field = field
        self._meter = Meter()
        self._first: list[bytes] = []
        self._seen = 0
        self._announced: int | None = None
        self._rest: Generator[bytes] | None = None
        self._rest_async: AsyncGenerator[bytes] | None = None
        self.stopped = False
        self.ended: bool = False

    @property
    def facts(self) -> FileFacts:
        """What is true of the content that has passed."""
        return metered(self._facts, self._meter)

    def start(self) -> str:
        """Read the first bytes and return the media type; ContentRejectedError if they are not accepted."""
        self._announced = self._source.known_size()
        self._rest = self._source.chunks()
        try:
            for chunk in self._rest:
                if self._is_enough(chunk):
                    break
            return self._decided()
        except BaseException:
            self._rest.close()
            raise

    async def start_async(self) -> str:
        """Call `start` asynchronously; as long as the caller's content takes."""
        if not self._source.is_async:
            return await read_in_thread(self.start)
        self._announced = self._source.known_size()
        self._rest_async = self._source.chunks_async()
        try:
            async for chunk in self._rest_async:
                if self._is_enough(chunk):
                    break
            return self._decided()
        except BaseException:
            await self._rest_async.aclose()
            raise

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole content; FileTooLargeError in place of the chunk that is too much."""
        assert self._rest is not None  # noqa: S101 - `start` comes first
        while self._first:
            yield self._checked(self._first.pop(0))
            failpoint("put.after_part")
        try:
            for chunk in self._rest:
                yield self._checked(chunk)
                failpoint("put.after_part")
        finally:
            self._rest.close()
        failpoint("put.before_complete")
        self._end()

    async def chunks_async(self) -> AsyncIterator[bytes]:
        """Call `chunks` asynchronously."""
        assert self._rest_async is not None  # noqa: S101 - `start_async` comes first
        while self._first:
            yield self._checked(self._first.pop(0))
            failpoint("put.after_part")
        try:
            async for chunk in self._rest_async:
                yield self._checked(chunk)
                failpoint("put.after_part")
        finally:
            await self._rest_async.aclose()
        failpoint("put.before_complete")
        self._end()

    def _is_enough(self, chunk: bytes) -> bool:
        self._go_on()
        self._first.append(chunk)
        self._seen += len(chunk)
        self._policy.check_size(self._seen, self._field)
        return self._seen >= HEAD_SIZE

    def _decided(self) -> str:
        known = self._facts
        head = b"".join(self._first)[:HEAD_SIZE] if len(self._first) != 1 else self._first[0][:HEAD_SIZE]
        decided, found = self._policy.type_of(head, known.filename, known.content_type, self._field)
        self._facts = replace(known, content_type=decided, sniffed=found)
        return decided

    def _end(self) -> None:
        # a thread that was left to itself may ask for the end after the upload's key was cleaned up
        self._go_on()
        if self._announced is not None and self._meter.size < self._announced:
            raise SourceReadError(
                f"the content of {self._facts.filename!r} ended after {self._meter.size} of {self._announced} bytes: "
                "it was cut short while it was read, and is not stored; give it again, whole"
            )
        self.ended = True

    def _go_on(self) -> None:
        if self.stopped:
            raise _cancelled()

    def _checked(self, chunk: bytes) -> bytes:
        self._go_on()
        self._policy.check_size(self._meter.size + len(chunk), self._field)
        return self._meter.feed(chunk)


T = TypeVar("T")

SETTLE_LIMIT = 5.0
"""Seconds that a cancelled upload is waited for, so that its key can be cleaned up."""

CLEANUP_LIMIT = 10.0
"""Seconds that deleting what a cancelled transfer left may take."""

SMALL = 64 * 1024
"""Bytes up to which a put to a storage on this machine costs less than to hand it to a thread."""

FIRST_PUTS = 100
"""Keys of this process that tell a storage which it has begun to fill from one that others have filled."""

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
    """Whether the key was made for this put: then whatever is there may be deleted."""
    policy: ContentPolicy = ANYTHING
    """The column's."""
    field: str | None = None
    """The attribute, for the errors of the policy."""
    is_copy: bool = False
    """Whether the facts are those of the content already: it has to be what they say."""
    looked_for: bool = False
    """Whether the caller has found nothing under the key, in a storage that refuses no taken key by itself."""

    @property
    def goes_at_once(self) -> bool:
        """Whether no thread is needed for it: small content in memory, for a storage on this machine."""
        content = self.source.whole
        is_small = content is not None and len(content) <= SMALL
        return is_small and not self.is_copy and self.backend.puts_at_once

    @property
    def mode(self) -> PutMode:
        """How to put: nobody else has a key that was made for this, so that no condition is needed, on any endpoint."""
        return "overwrite" if self.fresh or self.looked_for else "create"


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
    verify: bool = True
    """Whether to read what the storage has copied by itself; not for a caller that reads it anyway."""

    @property
    def within_storage(self) -> bool:
        """Whether the storage does it: its own copying overwrites, so only to a key that nobody else has."""
        return self.fresh and self.backend is self.origin and self.backend.copies_by_itself

    @property
    def is_read_back(self) -> bool:
        """Whether what the storage has copied by itself is read: compared, or hashed if the origin never was."""
        is_hashed = (self.facts.checksum or "").startswith("sha256:")
        return self.verify and (self.backend.verify_copies or not is_hashed)


@dataclass(frozen=True, slots=True, eq=False)
class Inspect:
    """Look at what is stored already."""

    backend: StorageBackend
    key: str
    facts: FileFacts
    """As the row or a save has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Find out the facts of an object that nobody has described."""

    backend: StorageBackend
    facts: FileFacts
    """With its key, its display name and what that says of its type."""
    is_hashed: bool
    """Whether to read it, for its checksum."""

    @property
    def key(self) -> str:
        """Its key."""
        return self.facts.key or ""


Operation = Put | Copy | Inspect
"""What a flush has storages do."""


def put(op: Put) -> FileFacts:
    """Store the content and return what is now true of it.

    Raises ContentRejectedError if the policy refuses it, and ObjectExistsError or NotSupportedError for a
    key that the application chose and that is taken, or could be overwritten.
    """
    if op.goes_at_once and op.fresh:
        group = PutGroup((op,))
        group.run()
        return group.stored[op]
    mode = op.mode
    is_free = mode == "overwrite" or run(_is_free(op))
    feed = _feed_of(op)
    content_type = feed.start()
    failpoint("put.before")
    try:
        stat = op.backend.put(
            op.key,
            feed.chunks(),
            content_type=content_type,
            metadata=_stored_metadata(op.facts.metadata),
            mode=mode,
        )
    except (StorageError, ObjectExistsError) as error:
        if (found := run(_find_after(op, feed, error, is_free=is_free))) is None:
            raise
        stat = found
    _note(op.backend, (op.key,))
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
    if op.goes_at_once and op.fresh:
        group = PutGroup((op,))
        await group.run_async()
        return group.stored[op]
    running_loop()
    mode = op.mode
    is_free = mode == "overwrite" or await run_async(_is_free(op))
    feed = _feed_of(op)
    chunks: Iterator[bytes] | AsyncIterator[bytes]
    if isinstance(feed, WholeFeed):
        content_type, chunks = feed.start(), feed.chunks()
    else:
        in_memory = op.source.in_memory
        content_type = feed.start() if in_memory else await _at_rest(op, feed, feed.start_async())
        chunks = feed.chunks_async() if op.source.is_async else feed.chunks()
    failpoint("put.before")
    sending = op.backend.put_async(
        op.key,
        chunks,
        content_type=content_type,
        metadata=_stored_metadata(op.facts.metadata),
        mode=mode,
    )
    try:
        stat = await _at_rest(op, feed, sending)
    except (StorageError, ObjectExistsError) as error:
        if (found := await run_async(_find_after(op, feed, error, is_free=is_free))) is None:
            raise
        stat = found
    _note(op.backend, (op.key,))
    failpoint("put.after_complete")
    try:
        return _with_stat(feed.facts, op.backend, stat)
    except StorageError:
        await op.backend.delete_async([op.key])
        raise


def _is_free(op: Put) -> Steps[bool]:
    """Return whether a key that the application chose is free; False if the storage does not say.

    Raises ObjectExistsError if it is taken, and NotSupportedError where a put could replace it.
    """
    backend = op.backend
    if not (yield from either(backend.refuses_taken_keys, backend.refuses_taken_keys_async)):
        raise overwriting_error(op)
    try:
        is_taken = yield from either(backend.exists, backend.exists_async, op.key)
    except StorageError:
        # S3 says so little of what is not there to those who may not list the bucket: the put decides
        return False
    if is_taken:
        raise ObjectExistsError(f"the storage key {op.key!r} is taken; objects are never overwritten")
    return True


def overwriting_error(op: Put | Copy) -> NotSupportedError:
    """Return the error for a chosen key in a storage that does not refuse a taken one."""
    return NotSupportedError(
        f"storage {op.backend.key!r} does not refuse a key that is taken (its endpoint ignores or does not know the "
        f"condition, or its file system has no hard links), so the chosen key {op.key!r} could overwrite another "
        "file: let filecolumn make the key (no to_filename, or a key template with {uuid})"
    )


def _find_after(
    op: Put, feed: Feed | WholeFeed, error: StorageError | ObjectExistsError, *, is_free: bool
) -> Steps[Stat | None]:
    """Return the object if a put that failed has stored it all the same; None if not, or nobody can tell.

    All of it was sent, and the answer was lost, or came to a second attempt of the storage's client: that
    finds a chosen key taken, by the first one.
    """
    is_answer_lost = isinstance(error, StorageError) or op.backend.capabilities.repeats_puts
    if not (is_free and feed.ended and is_answer_lost):
        return None
    return (yield from _find(op, feed.facts))


def _find(op: Put | Copy, facts: FileFacts) -> Steps[Stat | None]:
    """Return the object under the key if it is the content that *facts* describe, byte for byte.

    Other content under a key that was made for it is deleted.
    """
    try:
        stat = yield from either(op.backend.stat, op.backend.stat_async, op.key)
        is_it = (
            stat.size == facts.size and (yield from read_back(op.backend, op.key)).checksum == facts.checksum
        )
    except FileColumnError:
        # not there, or the storage is silent: the caller raises the first error
        return None
    if is_it:
        return stat
    yield from discard(op)
    return None


_first_puts: WeakKeyDictionary[StorageBackend, set[str]] = WeakKeyDictionary()


def _note(backend: StorageBackend, keys: Iterable[str]) -> None:
    known = _first_puts.setdefault(backend, set())
    if len(known) < FIRST_PUTS:
        known.update(islice(keys, FIRST_PUTS - len(known)))


def first_puts(backend: StorageBackend) -> AbstractSet[str]:
    """Return the first keys, `FIRST_PUTS` at most, that this process has put: nobody else's lay there before."""
    return _first_puts.get(backend, frozenset())


async def _at_rest(op: Put, feed: Feed | WholeFeed, work: Coroutine[object, object, T]) -> T:
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


def copy(op: Copy) -> Steps[FileFacts]:
    """Copy within the storage where it can, else through this process; ChecksumMismatchError for other bytes.

    They are compared with the facts on their way, before the copy is visible.  What the storage has
    copied by itself is read afterwards, and deleted if it is not what the facts say.
    A cancellation waits as that of `put_async` does.
    """
    if not op.within_storage:
        return (yield from through_process(op, partial(_put_of, op)))
    with _of_origin(op):
        try:
            stat = yield from either(_copy_within, _copy_within_async, op)
        except StorageError:
            # as for a put: the copy may be there, and its answer lost
            if (found := (yield from _find(op, op.facts))) is None:
                raise
            stat = found
    try:
        meter = (yield from read_back(op.backend, op.key)) if op.is_read_back else None
        return _copied(op, stat, meter)
    except Exception:
        yield from discard(op)
        raise


def _copy_within(op: Copy) -> Stat:
    return op.backend.copy(op.origin_key, op.key)


async def _copy_within_async(op: Copy) -> Stat:
    task = asyncio.ensure_future(op.backend.copy_async(op.origin_key, op.key))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled({task}, SETTLE_LIMIT)
        raise


def through_process(op: Copy, storing: Callable[[Source], Put]) -> Steps[FileFacts]:
    """Read the content of the origin, and store it as *storing* says."""
    return either(_through_process, _through_process_async, op, storing)


def _through_process(op: Copy, storing: Callable[[Source], Put]) -> FileFacts:
    with _of_origin(op):
        content = op.origin.get(op.origin_key)
    with closing(content):
        return put(storing(source_of(content)))


async def _through_process_async(op: Copy, storing: Callable[[Source], Put]) -> FileFacts:
    with _of_origin(op):
        content = await _content_of(op)
    try:
        return await put_async(storing(source_of(content)))
    finally:
        await aclose(content)


def inspect(op: Inspect) -> Steps[FileFacts]:
    """Return the facts with what the first stored bytes show, and the size if it was not known."""
    head = yield from head_of(op.backend, op.key)
    size = op.facts.size
    if size is None:
        size = (yield from either(op.backend.stat, op.backend.stat_async, op.key)).size
    return replace(op.facts, size=size, sniffed=sniff(head))


def look_up(op: Found) -> Steps[FileFacts]:
    """Return what the storage says of an object; ObjectNotFoundError if it is not there."""
    stat = yield from either(op.backend.stat, op.backend.stat_async, op.key)
    return _found(op, stat, (yield from read_back(op.backend, op.key)) if op.is_hashed else None)


def _found(op: Found, stat: Stat, meter: Meter | None) -> FileFacts:
    facts = replace(op.facts, size=stat.size) if meter is None else metered(op.facts, meter)
    stored_type = check_content_type(stat.content_type or "")
    if stored_type != DEFAULT_CONTENT_TYPE:
        facts = replace(facts, content_type=stored_type)
    return _with_stat(facts, op.backend, stat)


def discard(op: Put | Copy) -> Steps[None]:
    """Delete what a failed transfer may have left, in bounded time; a storage that refuses is only logged.

    An object under a key that was not made for the transfer is somebody else's, unless the put reported success
    (see `put_async`).
    """
    if op.fresh:
        yield from either(_delete, _delete_async, op)


def _delete(op: Put | Copy) -> None:
    try:
        op.backend.delete([op.key])
    except Exception as error:  # noqa: BLE001 - it must not take the place of the error that it follows
        warn("%s stays in storage %r: %s", op.key, op.backend.key, error)


async def _delete_async(op: Put | Copy) -> None:
    with anyio.move_on_after(CLEANUP_LIMIT, shield=True):
        try:
            await op.backend.delete_async([op.key])
        except Exception as error:  # noqa: BLE001 - it must not take the place of what it follows
            warn("%s stays in storage %r: %s", op.key, op.backend.key, error)


def _succeeded(task: asyncio.Future[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


class _CopyFeed(Feed):
    """A pass over the content of another key, which ends with an error if it is not what the facts say."""

    def __init__(self, op: Put) -> None:
        super().__init__(op.source, op.facts, op.policy, op.field)
        self._expected = op.facts

    @property
    def facts(self) -> FileFacts:
        return replace(super().facts, content_type=self._expected.content_type)

    def start(self) -> str:
        super().start()
        return self._expected.content_type

    async def start_async(self) -> str:
        await super().start_async()
        return self._expected.content_type

    def chunks(self) -> Iterator[bytes]:
        yield from super().chunks()
        _compare(self._expected, self._meter)

    async def chunks_async(self) -> AsyncIterator[bytes]:
        async for chunk in super().chunks_async():
            yield chunk
        _compare(self._expected, self._meter)


@dataclass(slots=True, eq=False)
class WholeFeed:
    """A pass over content that is in memory in one piece, as `Feed` makes one over a stream."""

    op: Put
    content: bytes
    stopped: bool = False
    ended: bool = False
    content_type: str = ""
    sniffed: str = ""
    checksum: str = ""
    """The hash of the content, as `sha256:<hex>`."""

    @property
    def facts(self) -> FileFacts:
        """What is true of the content."""
        return replace(
            self.op.facts,
            content_type=self.content_type,
            sniffed=self.sniffed,
            size=len(self.content),
            checksum=self.checksum,
        )

    def start(self) -> str:
        """Return the media type; ContentRejectedError for content that is not accepted, or too much."""
        facts, policy, field = self.op.facts, self.op.policy, self.op.field
        if policy.max_size is not None:
            policy.check_size(len(self.content), field)
        self.content_type, self.sniffed = policy.type_of(
            self.content[:HEAD_SIZE], facts.filename, facts.content_type, field
        )
        self.checksum = f"sha256:{hashlib.sha256(self.content).hexdigest()}"
        return self.content_type

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; StorageError once the upload was cancelled."""
        if not self.stopped:
            yield self.content
            failpoint("put.after_part")
            failpoint("put.before_complete")
        if self.stopped:
            raise _cancelled()
        self.ended = True


class PutGroup:
    """Small content in memory under keys that were made for it, which one storage takes in one call.

    What the policies refuse is refused before anything is stored.
    """

    def __init__(self, ops: Sequence[Put]) -> None:
        self.backend: StorageBackend = ops[0].backend
        self.stored: dict[Put, FileFacts] = {}
        """What is stored, and true of it: after an error too, but for a cancellation, after which nothing is."""
        self._ops = ops
        self._feeds: dict[WholeObject, WholeFeed] = {}
        self._told: dict[WholeObject, Stat] = {}
        self._progress: Progress | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Store the content; raises as `put`."""
        try:
            self.backend.put_many(self._objects(), self._note_told)
        finally:
            self._note_stored()

    async def run_async(self) -> None:
        """Call `run` in a worker thread; a cancellation goes on once that has come to rest, as for `put_async`."""
        self._progress = progress = Progress()
        doing = (
            f"store {len(self._ops)} objects, the first {self._ops[0].key!r}, in storage {self.backend.key!r}"
        )
        await stopped_in_thread(
            self.run,
            self._stop,
            limit=self.backend.total_timeout,
            settle_limit=SETTLE_LIMIT,
            doing=doing,
            progress=progress,
        )

    def _note_told(self, whole: WholeObject, stat: Stat) -> None:
        self._told[whole] = stat
        if self._progress is not None:
            self._progress.move()

    def _stop(self) -> None:
        self._is_stopped = True

    def _objects(self) -> Iterator[WholeObject]:
        """Yield what is to be stored; StorageError once the uploads were cancelled."""
        for op in self._ops:
            feed = WholeFeed(op, _whole_of(op))
            content_type = feed.start()
            metadata = _stored_metadata(op.facts.metadata) if op.facts.metadata else None
            self._feeds[WholeObject(op.key, feed.content, content_type, metadata, "overwrite")] = feed
        for whole in self._feeds:
            failpoint("put.before")
            if self._is_stopped:
                raise _cancelled()
            if self._progress is not None:
                self._progress.move()
            yield whole
            failpoint("put.after_part")
            failpoint("put.before_complete")
        # a thread that was left to itself may come to the end after the keys were cleaned up
        if self._is_stopped:
            raise _cancelled()

    def _note_stored(self) -> None:
        told = self._told
        _note(self.backend, map(attrgetter("key"), told))
        if self._is_stopped:
            # nobody waits for it any more
            for whole in told:
                _delete(self._feeds[whole].op)
            return
        wrong: StorageError | None = None
        for whole, stat in told.items():
            failpoint("put.after_complete")
            if stat.size != len(whole.content):
                self.backend.delete([whole.key])
                wrong = _wrong_size(self.backend, stat, len(whole.content))
                continue
            feed = self._feeds[whole]
            known = feed.op.facts
            # made at once: `replace` takes several times as long
            self.stored[feed.op] = FileFacts(
                filename=known.filename,
                key=stat.key,
                backend=known.backend,
                content_type=feed.content_type,
                size=stat.size,
                checksum=feed.checksum,
                etag=stat.etag,
                version_id=stat.version_id,
                last_modified=known_time(stat.last_modified, time.time()),
                metadata=known.metadata,
                sniffed=feed.sniffed,
                unknown=known.unknown,
            )
        if wrong is not None:
            raise wrong


def _whole_of(op: Put) -> bytes:
    """Return content that was in memory when its way was chosen; SourceReadError for a file that was changed since."""
    if (content := op.source.whole) is None:
        op.source.check()
        raise SourceReadError(
            f"the content of {op.facts.filename!r} was changed while it was stored; save the file again"
        )
    return content


def grouped(ops: Iterable[Operation]) -> tuple[list[PutGroup], list[Operation]]:
    """Return the groups that *ops* make, and what is in none."""
    by_backend: dict[StorageBackend, list[Put]] = {}
    others: list[Operation] = []
    for op in ops:
        if isinstance(op, Put) and op.fresh and op.goes_at_once:
            by_backend.setdefault(op.backend, []).append(op)
        else:
            others.append(op)
    return [PutGroup(puts) for puts in by_backend.values()], others


def _feed_of(op: Put) -> Feed | WholeFeed:
    if op.is_copy:
        return _CopyFeed(op)
    if (content := op.source.whole) is not None:
        return WholeFeed(op, content)
    return Feed(op.source, op.facts, op.policy, op.field)


@contextmanager
def _of_origin(op: Copy) -> Generator[None]:
    """Say of content that is not there what may be the reason: the row that had it is gone."""
    try:
        yield
    except ObjectNotFoundError as error:
        raise ObjectNotFoundError(
            f"{op.facts.filename!r} cannot be copied, {op.origin_key!r} is not in storage {op.origin.key!r}: perhaps "
            "its row was deleted or got another file. A FileObject is the content of one row; give each row its own, "
            "made by a function (default_factory=lambda: FileObject(name, content=data)), or where the row is made"
        ) from error


def _put_of(op: Copy, content: Source) -> Put:
    return Put(op.backend, op.key, content, op.facts, op.fresh, is_copy=True)


async def _content_of(op: Copy) -> Lent[bytes] | AsyncIterator[bytes]:
    """Return the content of the origin, for `aclose`; of a folder, to be read in the thread that writes it too."""
    if op.backend is op.origin and not op.origin.copies_by_itself:
        doing, limit = f"read {op.origin_key!r} in storage {op.origin.key!r}", op.origin.total_timeout
        opening = partial(op.origin.get, op.origin_key)
        return Lent(
            await in_thread(opening, limit=limit, doing=doing, unwanted=close), limit=limit, doing=doing
        )
    return await op.origin.get_async(op.origin_key)


def head_of(backend: StorageBackend, key: str) -> Steps[bytes]:
    """Return the first bytes of an object, for `sniff`."""
    return either(_head_of, _head_of_async, backend, key)


def _head_of(backend: StorageBackend, key: str) -> bytes:
    with closing(backend.get(key, length=HEAD_SIZE)) as chunks:
        return b"".join(chunks)


async def _head_of_async(backend: StorageBackend, key: str) -> bytes:
    async with aclosing(await backend.get_async(key, length=HEAD_SIZE)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def read_back(backend: StorageBackend, key: str) -> Steps[Meter]:
    """Read an object, and return what counted and hashed it."""
    return either(_read_back, _read_back_async, backend, key)


def _read_back(backend: StorageBackend, key: str) -> Meter:
    meter = Meter()
    with closing(backend.get(key)) as chunks:
        for chunk in chunks:
            meter.feed(chunk)
    return meter


async def _read_back_async(backend: StorageBackend, key: str) -> Meter:
    meter = Meter()
    # else it holds its connection until the event loop comes to it
    async with aclosing(await backend.get_async(key)) as chunks:
        async for chunk in chunks:
            meter.feed(chunk)
    return meter


def _copied(op: Copy, stat: Stat, meter: Meter | None) -> FileFacts:
    if meter is None:
        known = op.facts if op.facts.size is not None else replace(op.facts, size=stat.size)
        return _with_stat(known, op.backend, stat)
    _compare(op.facts, meter)
    return _with_stat(metered(op.facts, meter), op.backend, stat)


def _compare(facts: FileFacts, meter: Meter) -> None:
    """Raise ChecksumMismatchError if the content is not what *facts* say; they may say nothing of it."""
    checksum = facts.checksum or ""
    # advanced-alchemy keeps there what the storage calls a checksum, of any kind
    is_other = checksum.startswith("sha256:") and checksum != meter.checksum
    if is_other or facts.size not in {None, meter.size}:
        raise ChecksumMismatchError(
            f"{facts.filename!r} is not copied: its content is {meter.size} bytes with {meter.checksum}, and its "
            f"facts say {facts.size} bytes with {facts.checksum}; restore the object, or assign a new file"
        )


def _cancelled() -> StorageError:
    return StorageError("the upload was cancelled")


def _wrong_size(backend: StorageBackend, stat: Stat, size: int | None) -> StorageError:
    return StorageError(f"storage {backend.key!r} stored {stat.size} of {size} bytes of {stat.key!r}")


def _with_stat(facts: FileFacts, backend: StorageBackend, stat: Stat) -> FileFacts:
    if stat.size != facts.size:
        raise _wrong_size(backend, stat, facts.size)
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
    if not metadata:
        return stored
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
