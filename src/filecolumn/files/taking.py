"""What a client has uploaded, stored once more for a row: copied first, then counted, hashed and checked.

The client may change its upload at any time, and nobody but us knows the key of the copy.  So all
that is said of the content is said of the copy.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from filecolumn._threads import aclosing, closing
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.content.sources import Source, source_of
from filecolumn.errors import InvalidGrantError, ObjectNotFoundError
from filecolumn.files.facts import FileFacts
from filecolumn.files.grants import TAKEN, check_size, missing_upload
from filecolumn.files.steps import Steps, either
from filecolumn.files.transfer import Copy, Feed, Put, copy, discard, head_of, through_process
from filecolumn.signing import Claims

__all__ = (
    "Take",
    "take",
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


def take(op: Take) -> Steps[FileFacts]:
    """Store the content and return what is true of it; nothing stays if that is refused or cancelled.

    Raises ObjectNotFoundError if nothing was uploaded, FileTooLargeError or ContentTypeRejectedError
    as the column or the grant has it, and InvalidGrantError for other content than was received.
    """
    with _of_upload(op):
        op.check_size((yield from either(op.origin.stat, op.origin.stat_async, op.origin_key)).size)
        try:
            if op.is_copied:
                facts = yield from _checked(op, (yield from copy(op.copying)))
            else:
                facts = yield from through_process(op, op.putting)
                op.check(facts)
        except BaseException as error:
            yield from discard(_deletable(op, error))
            raise
        return facts


def _checked(op: Take, facts: FileFacts) -> Steps[FileFacts]:
    op.check_size(facts.size or 0)
    if op.is_read_whole:
        read = yield from either(_read_whole, _read_whole_async, op, facts)
        op.check(read)
        return read
    head = (yield from head_of(op.backend, op.key)) if op.policy.accept is not None else None
    return _unread(op, head, facts)


def _read_whole(op: Take, facts: FileFacts) -> FileFacts:
    with closing(op.backend.get(op.key)) as chunks:
        feed = Feed(source_of(chunks), facts, op.limits, op.field)
        feed.start()
        for _ in feed.chunks():
            pass
    return feed.facts


async def _read_whole_async(op: Take, facts: FileFacts) -> FileFacts:
    async with aclosing(await op.backend.get_async(op.key)) as chunks:
        feed = Feed(source_of(chunks), facts, op.limits, op.field)
        await feed.start_async()
        async for _ in feed.chunks_async():
            pass
    return feed.facts


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
