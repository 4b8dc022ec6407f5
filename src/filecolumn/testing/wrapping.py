"""`WrappedBackend` passes every call on to another backend; `SlowBackend` takes its time with each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from threading import Lock
from typing import Literal

from filecolumn.backends.base import Capabilities, PutMode, SignMethod, Stat, StorageBackend
from filecolumn.backends.threads import aclose, close

__all__ = ("Operation", "Passage", "SlowBackend", "WrappedBackend")

Operation = Literal["put", "get", "stat", "delete", "list", "copy", "sign"]
"""A call of a backend, without its asynchronous twin."""


class Passage:
    """What a wrapper does on the way of one call; this one does nothing."""

    def before(self) -> None:
        """Run before the call is passed on; what it raises is what the caller gets."""

    async def before_async(self) -> None:
        """Call `before` asynchronously."""
        self.before()

    def after(self) -> None:
        """Run after the call had its effect; what it raises is what the caller gets."""

    def alter(self, chunk: bytes) -> bytes:
        """Return what goes on in the place of *chunk*, in the direction that content flows."""
        return chunk

    def passed(self) -> None:
        """Run when a chunk has gone on and the next is asked for; what it raises is an error of the storage."""

    def ended(self) -> None:
        """Run when all content has gone on; what it raises is an error of the storage."""


class WrappedBackend(StorageBackend):
    """Passes every call on to *backend*, sync to sync and async to async, and counts it.

    Subclass it and override `passage`, or any call.
    """

    def __init__(self, backend: StorageBackend) -> None:
        super().__init__(
            backend.key,
            timeout=backend.timeout,
            total_timeout=backend.total_timeout,
            max_retries=backend.max_retries,
            concurrency=backend.concurrency,
        )
        self.backend = backend
        self.capabilities: Capabilities = backend.capabilities
        self.protocol: str = backend.protocol
        self.calls: Counter[Operation] = Counter()
        """How often each operation was begun, whichever twin."""
        self._lock = Lock()

    @property
    def location(self) -> str:
        return self.backend.location

    def passage(self, operation: Operation, number: int) -> Passage:
        """Return what happens on the way of the call with this *number*, from 1, of *operation*."""
        return Passage()

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        with self._passed("put") as passage:
            altered = _altered(chunks, passage)
            return self.backend.put(key, altered, content_type=content_type, metadata=metadata, mode=mode)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._passed("get") as passage:
            return _altered(self.backend.get(key, start=start, length=length), passage)

    def stat(self, key: str) -> Stat:
        with self._passed("stat"):
            return self.backend.stat(key)

    def delete(self, keys: Iterable[str]) -> None:
        with self._passed("delete"):
            self.backend.delete(keys)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        with self._passed("list"):
            return self.backend.list(prefix, after=after)

    def list_unfinished(self) -> Iterator[Stat]:
        with self._passed("list"):
            return self.backend.list_unfinished()

    def delete_unfinished(self, keys: Iterable[str]) -> None:
        with self._passed("delete"):
            self.backend.delete_unfinished(keys)

    def copy(self, source: str, target: str) -> Stat:
        with self._passed("copy"):
            return self.backend.copy(source, target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        with self._passed("sign"):
            return self.backend.sign(key, expires_in=expires_in, method=method)

    def close(self) -> None:
        self.backend.close()

    async def put_async(
        self,
        key: str,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        async with self._passed_async("put") as passage:
            altered = (
                _altered_async(chunks, passage)
                if isinstance(chunks, AsyncIterable)
                else _altered(chunks, passage)
            )
            return await self.backend.put_async(
                key, altered, content_type=content_type, metadata=metadata, mode=mode
            )

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        async with self._passed_async("get") as passage:
            return _AlteredChunks(await self.backend.get_async(key, start=start, length=length), passage)

    async def stat_async(self, key: str) -> Stat:
        async with self._passed_async("stat"):
            return await self.backend.stat_async(key)

    async def delete_async(self, keys: Iterable[str]) -> None:
        async with self._passed_async("delete"):
            await self.backend.delete_async(keys)

    async def list_async(self, prefix: str = "", *, after: str | None = None) -> AsyncIterator[Stat]:
        async with self._passed_async("list"):
            return await self.backend.list_async(prefix, after=after)

    async def copy_async(self, source: str, target: str) -> Stat:
        async with self._passed_async("copy"):
            return await self.backend.copy_async(source, target)

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        async with self._passed_async("sign"):
            return await self.backend.sign_async(key, expires_in=expires_in, method=method)

    async def close_async(self) -> None:
        await self.backend.close_async()

    def _begun(self, operation: Operation) -> Passage:
        with self._lock:
            self.calls[operation] += 1
            return self.passage(operation, self.calls[operation])

    @contextmanager
    def _passed(self, operation: Operation) -> Generator[Passage]:
        passage = self._begun(operation)
        passage.before()
        yield passage
        passage.after()

    @asynccontextmanager
    async def _passed_async(self, operation: Operation) -> AsyncGenerator[Passage]:
        passage = self._begun(operation)
        await passage.before_async()
        yield passage
        passage.after()


class SlowBackend(WrappedBackend):
    """A backend that waits for *latency* seconds before each call, as for a distant storage."""

    def __init__(self, backend: StorageBackend, latency: float) -> None:
        super().__init__(backend)
        self.latency = latency

    def passage(self, operation: Operation, number: int) -> Passage:
        return _Wait(self.latency)


class _Wait(Passage):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def before(self) -> None:
        time.sleep(self._seconds)

    async def before_async(self) -> None:
        await asyncio.sleep(self._seconds)


def _altered(chunks: Iterable[bytes], passage: Passage) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            yield passage.alter(chunk)
            passage.passed()
        passage.ended()
    finally:
        if isinstance(chunks, Iterator):
            close(chunks)


async def _altered_async(chunks: AsyncIterable[bytes], passage: Passage) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield passage.alter(chunk)
            passage.passed()
        passage.ended()
    finally:
        if isinstance(chunks, AsyncIterator):
            await aclose(chunks)


class _AlteredChunks(AsyncIterator[bytes]):
    """Chunks that are altered; `aclose` closes what gives them also before the first one, unlike a generator's."""

    def __init__(self, chunks: AsyncIterator[bytes], passage: Passage) -> None:
        self._chunks = chunks
        self._altered = _altered_async(chunks, passage)

    async def __anext__(self) -> bytes:
        return await anext(self._altered)

    async def aclose(self) -> None:
        await aclose(self._altered)
        await aclose(self._chunks)
