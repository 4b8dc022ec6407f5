"""The ways to call a backend, all behind the face of a synchronous one: each case is written once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TypeVar

from filecolumn.backends.base import PutMode, SignMethod, Stat, StorageBackend
from filecolumn.testing.wrapping import WrappedBackend

__all__ = ("ThroughAsync",)

T = TypeVar("T")


class ThroughAsync(WrappedBackend):
    """Calls the asynchronous twins of *backend*, on the event loop of *runner*.

    With *feeds* content comes from an asynchronous source.  For one thread, outside of any loop.
    """

    def __init__(self, backend: StorageBackend, runner: asyncio.Runner, *, feeds: bool) -> None:
        super().__init__(backend)
        self._runner = runner
        self._feeds = feeds

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        content = _feed(chunks) if self._feeds else chunks
        return self._runner.run(
            self.backend.put_async(key, content, content_type=content_type, metadata=metadata, mode=mode)
        )

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        return self._each(self._runner.run(self.backend.get_async(key, start=start, length=length)))

    def stat(self, key: str) -> Stat:
        return self._runner.run(self.backend.stat_async(key))

    def delete(self, keys: Iterable[str]) -> None:
        self._runner.run(self.backend.delete_async(keys))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        return self._each(self._runner.run(self.backend.list_async(prefix, after=after)))

    def exists(self, key: str) -> bool:
        return self._runner.run(self.backend.exists_async(key))

    def get_bytes(self, key: str) -> bytes:
        return self._runner.run(self.backend.get_bytes_async(key))

    def copy(self, source: str, target: str) -> Stat:
        return self._runner.run(self.backend.copy_async(source, target))

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        return self._runner.run(self.backend.sign_async(key, expires_in=expires_in, method=method))

    def close(self) -> None:
        self._runner.run(self.backend.close_async())

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        while (item := self._runner.run(_next(items))) is not None:
            yield item


async def _feed(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
