"""`ObstoreAsync`: the calls that obstore makes on the event loop, without a worker thread.

A local folder is left to the threads of `StorageBackend`: what happens there blocks.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from obstore import sign_async
from obstore.exceptions import AlreadyExistsError

from filecolumn.backends.base import PutMode, SignMethod, Stat
from filecolumn.backends.obstore_base import PART_SIZE, PARTS_IN_FLIGHT, ObstoreBase
from filecolumn.backends.obstore_terms import range_options, stat_of_meta, stat_of_put
from filecolumn.backends.parts import first_part_async
from filecolumn.backends.threads import Progress, watched
from filecolumn.backends.translate import SourceGuard
from filecolumn.errors import StorageError
from filecolumn.naming import check_key
from filecolumn.source import CHUNK_SIZE
from filecolumn.workers import running_loop

if TYPE_CHECKING:
    from obstore import Attributes, GetResult, PutResult

__all__ = ("ObstoreAsync",)


class ObstoreAsync(ObstoreBase):
    """The asynchronous half of `ObstoreBackend`."""

    async def put_async(
        self,
        key: str,
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        # The local store needs fsync, which blocks: the whole call goes to a thread
        if self._root is not None or not isinstance(chunks, AsyncIterable):
            return await super().put_async(
                key, chunks, content_type=content_type, metadata=metadata, mode=mode
            )
        running_loop()
        guard = SourceGuard(chunks)
        progress = Progress()
        send = self._send_async(
            key, progress.watch_async(guard), self._attributes(content_type, metadata), mode
        )
        with self._translated(f"store {key!r}", guard):
            result = await watched(
                send, limit=self.total_timeout, doing=self._doing(f"store {key!r}"), progress=progress
            )
        return stat_of_put(key, guard.size, result)

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
        except AlreadyExistsError:
            # as in the blocking call
            if not self._leftovers_take_keys or await self.exists_async(key):
                raise
            return await send(mode="overwrite")

    async def get_async(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        if self._root is not None:
            return await super().get_async(key, start=start, length=length)
        running_loop()
        if length == 0:
            await self.stat_async(key)
            return _empty()
        try:
            with self._translated(f"read {key!r}"):
                result = await self.store.get_async(check_key(key), options=range_options(start, length))
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
            return stat_of_meta(result.meta, result.attributes)

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if self._signer is None:
            return self.sign(key, expires_in=expires_in, method=method)
        running_loop()
        self._check_signable(self._signer, key)
        with self._translated(f"sign {key!r}"):
            return await sign_async(self._signer, method, check_key(key), timedelta(seconds=expires_in))

    async def _stream_async(self, key: str, result: GetResult) -> AsyncIterator[bytes]:
        with self._translated(f"read {key!r}"):
            async for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)


async def _empty() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk
