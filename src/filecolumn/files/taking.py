"""What a client has uploaded, stored once more for a row: copied first, then counted, hashed and checked.

The client may change its upload at any time, and nobody but us knows the key of the copy.  So all
that is said of the content is said of the copy.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from filecolumn._threads import aclose, aclosing, closing
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.content.sniffing import HEAD_SIZE
from filecolumn.content.sources import Source, source_of
from filecolumn.errors import InvalidGrantError, ObjectNotFoundError
from filecolumn.files.facts import FileFacts
from filecolumn.files.grants import TAKEN, check_size, missing_upload
from filecolumn.files.transfer import (
    Copy,
    Feed,
    Put,
    content_of,
    copy,
    copy_async,
    discard,
    discard_async,
    put,
    put_async,
)
from filecolumn.signing import Claims

__all__ = (
    "Take",
    "take",
    "take_async",
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Take(Copy):
    """Store what a client has uploaded under another key."""

    grant: Claims
    policy: ContentPolicy = ANYTHING
    """The column's."""
    field: str | None = None
    """The attribute, for the errors of the policy."""

    @property
    def limits(self) -> ContentPolicy:
        """What both the column and the grant allow."""
        known = [
            size for size in (self.policy.max_size, self.grant.max_size) if size is not None and size >= 0
        ]
        return replace(self.policy, max_size=min(known, default=None))

    @property
    def is_copied(self) -> bool:
        """Whether the storage copies by itself, which keeps the type that the client has declared to it.

        It does for what the server has received, or `from_grant` was asked for.  What only came as a token, from
        which nobody knows the size, goes through this process, and is stored with the type that it shows.
        """
        return self.within_storage and self.facts.size is not None

    @property
    def is_read_whole(self) -> bool:
        """Whether what the storage has copied by itself is read: the server may have counted it already."""
        return self.backend.verify_copies or not self.grant.checksum

    def check_size(self, size: int) -> None:
        """Raise FileTooLargeError or InvalidGrantError for content of *size* bytes."""
        check_size(self.grant, size)
        self.policy.check_size(size, self.field)

    def check(self, facts: FileFacts) -> None:
        """Raise InvalidGrantError if the content is another than the server has received."""
        if self.grant.checksum and (self.grant.checksum, self.grant.size) != (facts.checksum, facts.size):
            raise InvalidGrantError(TAKEN)

    @property
    def copying(self) -> Copy:
        """What the storage does by itself, without a word on what the content is."""
        unknown = replace(self.facts, size=None, checksum=None)
        return Copy(self.origin, self.origin_key, self.backend, self.key, unknown, self.fresh, verify=False)

    def putting(self, content: Source) -> Put:
        """Return what stores *content*, where the storage does not copy."""
        unknown = replace(self.facts, size=None, checksum=None)
        return Put(self.backend, self.key, content, unknown, self.fresh, self.limits, self.field)


def take(op: Take) -> FileFacts:
    """Store the content and return what is true of it; nothing stays if that is refused.

    Raises ObjectNotFoundError if nothing was uploaded, FileTooLargeError or ContentTypeRejectedError
    as the column or the grant has it, and InvalidGrantError for other content than was received.
    """
    with _of_upload(op):
        op.check_size(op.origin.stat(op.origin_key).size)
        try:
            if op.is_copied:
                facts = _checked(op, copy(op.copying))
            else:
                with closing(op.origin.get(op.origin_key)) as chunks:
                    facts = put(op.putting(source_of(chunks)))
                op.check(facts)
        except BaseException as error:
            discard(_deletable(op, error))
            raise
        return facts


async def take_async(op: Take) -> FileFacts:
    """Call `take` asynchronously; a cancelled one leaves nothing behind."""
    with _of_upload(op):
        op.check_size((await op.origin.stat_async(op.origin_key)).size)
        try:
            if op.is_copied:
                facts = await _checked_async(op, await copy_async(op.copying))
            else:
                facts = await _put_async(op)
                op.check(facts)
        except BaseException as error:
            await discard_async(_deletable(op, error))
            raise
        return facts


async def _put_async(op: Take) -> FileFacts:
    content = await content_of(op)
    try:
        return await put_async(op.putting(source_of(content)))
    finally:
        await aclose(content)


def _checked(op: Take, facts: FileFacts) -> FileFacts:
    op.check_size(facts.size or 0)
    if op.is_read_whole:
        with closing(op.backend.get(op.key)) as chunks:
            feed = Feed(source_of(chunks), facts, op.limits, op.field)
            feed.start()
            for _ in feed.chunks():
                pass
        op.check(feed.facts)
        return feed.facts
    head = None
    if op.policy.accept is not None:
        head = b"".join(op.backend.get(op.key, length=HEAD_SIZE))
    return _unread(op, head, facts)


async def _checked_async(op: Take, facts: FileFacts) -> FileFacts:
    op.check_size(facts.size or 0)
    if op.is_read_whole:
        async with aclosing(await op.backend.get_async(op.key)) as chunks:
            feed = Feed(source_of(chunks), facts, op.limits, op.field)
            await feed.start_async()
            async for _ in feed.chunks_async():
                pass
        op.check(feed.facts)
        return feed.facts
    head = None
    if op.policy.accept is not None:
        async with aclosing(await op.backend.get_async(op.key, length=HEAD_SIZE)) as chunks:
            head = b"".join([chunk async for chunk in chunks])
    return _unread(op, head, facts)


def _unread(op: Take, head: bytes | None, facts: FileFacts) -> FileFacts:
    """Return the facts of a copy of what the server has received: the size has to be the same."""
    counted = replace(facts, checksum=op.grant.checksum)
    op.check(counted)
    if head is None:
        return counted
    decided, found = op.limits.type_of(head, facts.filename, facts.content_type, op.field)
    return replace(counted, content_type=decided, sniffed=found)


def _deletable(op: Take, error: BaseException) -> Take:
    """Return what may be deleted after *error*: under a chosen key only what was put there just now."""
    return replace(op, fresh=True) if isinstance(error, InvalidGrantError) else op


@contextmanager
def _of_upload(op: Take) -> Generator[None]:
    """Say of an upload that is not there what may be the reason; its key is none of the client's business."""
    try:
        yield
    except ObjectNotFoundError as error:
        raise missing_upload(op.grant) from error
