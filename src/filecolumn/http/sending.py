"""Sends the bytes of a file: all of them or visibly not, and only as long as somebody takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
from litestar.types import Receive, Send

from filecolumn._threads import aclosing
from filecolumn.errors import StorageError

__all__ = (
    "beginning",
    "exactly",
    "send_all",
)

SEND_TIMEOUT = 60.0
"""Seconds that a client may take to receive one chunk, before its connection is given up."""


async def send_all(first: bytes, rest: AsyncIterator[bytes], receive: Receive, send: Send) -> bool:
    """Send a body; return False if the client left. An error is raised as it is, without a group around it."""
    failure: Exception | None = None
    is_left = False
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_left, receive, group.cancel_scope)
        try:
            await _send(first, send)
            async for chunk in rest:
                await _send(chunk, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # noqa: BLE001
            failure = error
        is_left = group.cancel_scope.cancel_called
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return not is_left


async def _send(chunk: bytes, send: Send) -> None:
    # half the price of anyio's, for each chunk
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _cancel_when_left(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def exactly(chunks: AsyncIterator[bytes], length: int) -> AsyncGenerator[bytes]:
    """Pass *chunks* on; the first when the second has come, the last of *length* bytes when none has.

    So a small answer that is not the file is an error, and of a large one no client sees the end.
    """
    held, size = b"", 0
    async with aclosing(chunks):
        async for chunk in chunks:
            if not chunk:
                continue
            is_first = not size
            size += len(chunk)
            if size > length:
                break
            if held:
                yield held
                held = b""
            if is_first or size == length:
                held = chunk
            else:
                yield chunk
    if size != length:
        raise StorageError(f"the storage has {'more' if size > length else size} bytes, of {length}")
    yield held


async def beginning(chunks: AsyncIterator[bytes], size: int) -> bytes:
    """Return the first *size* bytes of a stream or some more, less only if it has no more."""
    parts: list[bytes] = []
    while size > 0 and (chunk := await anext(chunks, None)) is not None:
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)
