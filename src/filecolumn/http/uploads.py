"""Reads request bodies: within a limit of bytes, in bounded time, and never a part for the whole."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Generic, TypeVar, cast

from filecolumn.content.sources import AsyncIterableSource
from filecolumn.files.grants import too_large
from filecolumn.http.errors import HttpError

__all__ = (
    "BodySource",
    "RequestBody",
    "announced_length",
    "batches",
    "check_encoding",
    "check_form",
    "check_length",
    "has_body",
)

BATCH_SIZE = 512 * 1024
"""Bytes of a raw body that are handed on at a time; servers give 64 KiB."""

MAX_FORM_TYPE = 256
"""Characters of the `Content-Type` of a form; RFC 2046, section 5.1.1 allows a boundary of 70."""

# `int` refuses thousands of digits
_LENGTH = re.compile(r"[0-9]{1,18}")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})

Received = TypeVar("Received", bound=Mapping[str, object])
Sent = TypeVar("Sent")


class BodySource(AsyncIterableSource):
    """The content of a raw body; its announced length is known before it is read."""

    def __init__(self, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        super().__init__(chunks)
        self._announced = announced

    def known_size(self) -> int | None:
        return self._announced


async def batches(chunks: AsyncIterator[bytes], filename: str, max_size: int | None) -> AsyncIterator[bytes]:
    """Yield a raw body in chunks of 512 KiB; FileTooLargeError as soon as it has more than *max_size* bytes.

    *filename* is for the message.
    """
    waiting: list[bytes] = []
    size = sent = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if max_size is not None and size > max_size:
            raise too_large(filename, max_size)
        if size - sent >= BATCH_SIZE:
            yield b"".join(waiting)
            waiting.clear()
            sent = size
    if waiting:
        yield b"".join(waiting)


def check_length(announced: int | None, filename: str, max_size: int | None) -> None:
    """Raise FileTooLargeError if the *announced* length is more than *max_size* bytes; None is not announced."""
    if max_size is not None and announced is not None and announced > max_size:
        raise too_large(filename, max_size)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Raise HttpError 415 for a body with a `Content-Encoding`, whose real size is not known before it is unpacked."""
    if not _is_identity(headers):
        raise HttpError(415, "Compressed uploads are not accepted")


def check_form(headers: Mapping[str, str]) -> None:
    """Raise HttpError 400 or 415 for a multipart form that cannot be read within limits."""
    content_type = headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/"):
        return
    check_encoding(headers)
    if len(content_type) > MAX_FORM_TYPE:
        raise HttpError(400, "Form boundary too long")


def has_body(method: str) -> bool:
    """Return whether a request with *method* may have a body."""
    return method not in _WITHOUT_BODY


def announced_length(headers: Mapping[str, str]) -> int | None:
    """Return the `Content-Length` of a body, in bytes; None if it is not announced."""
    length = headers.get("content-length", "")
    # middleware outside may have decoded what the client sent, and left its length as it was
    if "transfer-encoding" in headers or not _is_identity(headers) or _LENGTH.fullmatch(length) is None:
        return None
    return int(length)


def _is_identity(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}


class RequestBody(Generic[Received, Sent]):
    """`receive` and `send` for an application, which see to it that a body ends only when all of it was received.

    A form may look complete earlier, when its closing boundary is there.  An error instead of the missing rest
    keeps the handler from storing a part.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Received]],
        send: Callable[[Sent], Awaitable[None]],
        announced: int | None,
        *,
        idle_timeout: float,
        timeout: float,
    ) -> None:
        """Wrap the server's *receive* and *send*.

        *announced* is the length of the body in bytes, *idle_timeout* the longest pause and *timeout* the longest
        time for all of it, in seconds.
        """
        self._receive = receive
        self._send = send
        self._announced = announced
        self._idle_timeout = idle_timeout
        self._end = time.monotonic() + timeout
        self._size = 0
        self._is_over = False
        """Whether nothing of the body is expected: it is complete, or the response has begun."""
        self._cut: HttpError | None = None

    async def send(self, message: Sent) -> None:
        """Send a message.  Once the response has begun, the time limits for the body end."""
        self._is_over = True
        await self._send(message)

    async def receive(self) -> Received:
        """Return the next message; HttpError 408 if the client is too slow, 400 if it leaves before the body ends."""
        if self._cut is not None and not self._is_over:
            # whoever goes on after the error must not take what follows for the rest
            raise self._cut
        if self._is_over:
            return await self._receive()
        try:
            # half the price of anyio's, for each chunk
            async with asyncio.timeout(min(self._idle_timeout, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise self._cut_off(408, "Request body timed out") from None
        if self._is_over:
            return message
        if message["type"] != "http.request":
            raise self._cut_off(400, "Request body incomplete")
        self._size += len(cast("bytes", message.get("body", b"")))
        if not message.get("more_body", False):
            if self._announced is not None and self._size < self._announced:
                raise self._cut_off(400, "Request body shorter than its Content-Length")
            self._is_over = True
        return message

    def _cut_off(self, status: int, detail: str) -> HttpError:
        self._cut = HttpError(status, detail)
        return self._cut
