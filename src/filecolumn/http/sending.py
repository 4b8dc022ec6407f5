"""Sends a file over ASGI: all of its bytes or visibly not, and only as long as the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import quote

import anyio

from filecolumn._threads import aclose, aclosing
from filecolumn.backends.base import StorageBackend
from filecolumn.errors import NotSupportedError, StorageError
from filecolumn.files.file import FileObject, file_state
from filecolumn.http.asgi import Receive, Scope, Send
from filecolumn.http.caching import cacheable_headers, mark_file_response
from filecolumn.http.headers import LOOKED_AT, has_no_charset, with_charset
from filecolumn.http.serving import Decision, Representation, Serving, decide, secure_headers

__all__ = ("FileSender", "beginning", "exactly", "send_all")

REDIRECT_LIFETIME = 60.0
"""Seconds that a URL a client is redirected to may be used."""

SEND_TIMEOUT = 60.0
"""Seconds that a client may take to receive one chunk, before its connection is given up."""

ONE_PIECE = 64 * 1024
"""Bytes of a body that a server takes at once: nothing is left to be stopped when the client leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSender:
    """Sends a file as the response to one GET or HEAD request."""

    file: FileObject
    """The file; it must be saved."""
    method: str
    """`GET` or `HEAD`."""
    request_headers: Mapping[str, str]
    """The headers that the response depends on, as `request_headers` returns them."""
    serving: Serving
    """How the file is sent."""
    filename: str | None = None
    """The name for the client, if it is not the file's own."""
    content_type: str | None = None
    """The media type for the client, if it is not the file's own."""
    redirect: bool = False
    """Whether to redirect to the storage's own signed URL, which lasts a minute, if the storage signs."""
    x_accel: str | None = None
    """The path of an `internal` location of nginx, which then sends the file of a local storage."""

    async def respond(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[str, str],
        cookies: Iterable[tuple[bytes, bytes]] = (),
    ) -> bool:
        """Send the response; return False if the client left before its end.

        *headers* replace the response's own ones of the same names, and *cookies* are added.

        Before the response starts, raises ObjectNotFoundError or StorageError if the storage cannot give the
        content, and NotSupportedError for *x_accel* with a storage that is not local.  An error after that ends the
        connection.
        """
        own = {name.lower(): str(value) for name, value in headers.items()}
        mark_file_response(scope, _encoded({"cache-control": self.serving.cache_control, **own}))
        backend, key = file_state(self.file).located()
        decision = await self._decide(backend, key)
        is_read = self.method != "HEAD" and decision.length > 0
        body = await _Body.opened(backend, key, decision) if is_read else None
        try:
            # whatever the storage refuses is an error response still; from here on it is a cut
            first, content_type = await _seen(backend, key, decision, body)
            lines = {name.lower(): value for name, value in decision.headers.items()}
            if content_type is not None:
                lines["content-type"] = content_type
            # not every framework lets us see what is added to these on their way out
            final = cacheable_headers(decision.status, [*_encoded({**lines, **own}), *cookies], scope)
            await send({"type": "http.response.start", "status": decision.status, "headers": final})
            if body is not None and not len(first) == decision.length <= ONE_PIECE:
                return await send_all(first, body.chunks, receive, send)
            await _send(first, send, more_body=False)
            return True
        finally:
            if body is not None:
                await body.aclose()

    async def _decide(self, backend: StorageBackend, key: str) -> Decision:
        if self.redirect and backend.capabilities.signs:
            # some storages tell only when they are asked that they do not sign this key
            with suppress(NotSupportedError):
                url = await backend.sign_async(key, expires_in=REDIRECT_LIFETIME)
                headers = {**secure_headers(self.serving), "Location": url, "Content-Length": "0"}
                return Decision(307, headers)
        if self.x_accel is not None:
            return await self._handed_over(backend, key, self.x_accel)
        return decide(self.method, self.request_headers, await self._represent(backend, key), self.serving)

    async def _handed_over(self, backend: StorageBackend, key: str, location: str) -> Decision:
        """Leave the bytes to nginx, and with them ranges and conditions: it gives the file a tag of its own."""
        if not backend.location.startswith("file:"):
            raise NotSupportedError(
                f"nginx can send the files of local storages only, not of {backend.key!r}"
            )
        whole = decide(self.method, {}, await self._represent(backend, key), self.serving)
        headers = {name: value for name, value in whole.headers.items() if name != "Content-Length"}
        headers["X-Accel-Redirect"] = f"{location.rstrip('/')}/{quote(key)}"
        return replace(whole, headers=headers, length=0, is_whole=False)

    async def _represent(self, backend: StorageBackend, key: str) -> Representation:
        file = self.file
        size, etag, last_modified = file.size, file.etag, file.last_modified
        if size is None:
            # a row of advanced-alchemy may not know it
            stat = await backend.stat_async(key)
            size, etag, last_modified = stat.size, stat.etag, stat.last_modified
        return Representation(
            filename=file.filename if self.filename is None else self.filename,
            content_type=file.content_type if self.content_type is None else self.content_type,
            size=size,
            checksum=file.checksum,
            etag=etag,
            last_modified=last_modified,
        )


class _Body:
    """The bytes of a response, as they come from a storage."""

    __slots__ = ("_content", "chunks")

    def __init__(self, content: AsyncIterator[bytes], length: int) -> None:
        self._content = content
        self.chunks: AsyncGenerator[bytes] = exactly(content, length)

    @classmethod
    async def opened(cls, backend: StorageBackend, key: str, decision: Decision) -> _Body:
        """Open what *decision* sends."""
        # the whole is read without a limit, so that bytes too many are noticed
        length = None if decision.is_whole else decision.length
        return cls(await backend.get_async(key, start=decision.start, length=length), decision.length)

    async def aclose(self) -> None:
        """Close what is read, also if it was not begun."""
        # first what reads, then what is read
        await self.chunks.aclose()
        await aclose(self._content)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _seen(
    backend: StorageBackend, key: str, decision: Decision, body: _Body | None
) -> tuple[bytes, str | None]:
    """Return the first piece of the body, and the type that goes with it: that of text depends on its bytes."""
    content_type = decision.headers.get("Content-Type")
    if content_type is None or not has_no_charset(content_type):
        return b"" if body is None else await anext(body.chunks, b""), content_type
    if body is not None and decision.is_whole:
        head = first = await beginning(body.chunks, LOOKED_AT)
    else:
        first = b"" if body is None else await anext(body.chunks, b"")
        # HEAD and each range have the same type as the whole
        head = await _head(backend, key) if decision.file_size else b""
    return first, with_charset(content_type, head, decision.file_size)


async def _head(backend: StorageBackend, key: str) -> bytes:
    async with aclosing(await backend.get_async(key, length=LOOKED_AT)) as content:
        return await beginning(content, LOOKED_AT)


async def send_all(first: bytes, rest: AsyncIterator[bytes], receive: Receive, send: Send) -> bool:
    """Send a body; return False if the client left. An error is raised as it is, without a group around it."""
    failure: Exception | None = None
    is_left = False
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_left, receive, group.cancel_scope)
        try:
            await _send(first, send, more_body=True)
            async for chunk in rest:
                await _send(chunk, send, more_body=True)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # noqa: BLE001
            failure = error
        is_left = group.cancel_scope.cancel_called
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return not is_left


async def _send(chunk: bytes, send: Send, *, more_body: bool) -> None:
    # half the price of anyio's, for each chunk
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": chunk, "more_body": more_body})


async def _cancel_when_left(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def exactly(chunks: AsyncIterator[bytes], length: int) -> AsyncGenerator[bytes]:
    """Pass *chunks* on; the first when the second has come, the last of *length* bytes when none has.

    So a small answer of the storage that is not the file is an error, and of a large one no client sees the end.
    Whoever has opened the chunks closes them.
    """
    kept, size = b"", 0
    async for chunk in chunks:
        if not chunk:
            continue
        is_first = not size
        size += len(chunk)
        if size > length:
            break
        if kept:
            yield kept
            kept = b""
        if is_first or size == length:
            kept = chunk
        else:
            yield chunk
    if size != length:
        raise StorageError(
            f"the storage returned {'more than' if size > length else f'{size} of'} {length} bytes"
        )
    yield kept


async def beginning(chunks: AsyncIterator[bytes], size: int) -> bytes:
    """Return the first *size* bytes of a stream or some more, less only if it has no more."""
    parts: list[bytes] = []
    while size > 0 and (chunk := await anext(chunks, None)) is not None:
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)
