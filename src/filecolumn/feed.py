"""Content on its way into a storage: its type decided first, then counted, hashed and held to a size."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import replace

from filecolumn.backends.threads import read_in_thread
from filecolumn.errors import SourceReadError, StorageError
from filecolumn.facts import FileFacts
from filecolumn.failpoints import failpoint
from filecolumn.meter import Meter
from filecolumn.policy import ContentPolicy
from filecolumn.sniffing import HEAD_SIZE
from filecolumn.source import Source

__all__ = ("Feed", "metered")


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
            raise StorageError("the upload was cancelled")

    def _checked(self, chunk: bytes) -> bytes:
        self._go_on()
        self._policy.check_size(self._meter.size + len(chunk), self._field)
        return self._meter.feed(chunk)
