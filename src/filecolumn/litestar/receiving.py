"""What comes in: parts of forms, grants in JSON, raw bodies, and how long a client may take."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    Message,
    Receive,
    Scope,
    Send,
    TypeDecodersSequence,
    TypeEncodersMap,
    WebSocketReceiveMessage,
)

from filecolumn.backends.base import StorageBackend
from filecolumn.content.sources import AsyncIterableSource
from filecolumn.files.facts import JsonObject
from filecolumn.files.file import FileObject, file_state
from filecolumn.files.file_list import FileObjectList
from filecolumn.files.grants import subject_source, too_large
from filecolumn.files.interchange import dec_hook, enc_hook
from filecolumn.litestar.extraction import close_form
from filecolumn.litestar.sessions import current_scope

__all__ = (
    "RequestBodies",
    "Subject",
    "body_chunks",
    "check_encoding",
    "file_from_body",
    "subject_of",
    "type_decoders",
    "type_encoders",
)

AnyConnection = ASGIConnection[object, object, object, State]
AnyRequest = Request[object, object, State]
Subject = Callable[[AnyConnection], str | None]
"""Says whose request it is, as grants and URLs that name a subject want it."""

SUBJECT_STATE_KEY = "filecolumn_subject"

BATCH_SIZE = 512 * 1024
"""Bytes of a raw body that are handed on at a time; servers give 64 KiB."""

MAX_FORM_TYPE = 256
"""Characters of the `Content-Type` of a form; RFC 2046, section 5.1.1 allows a boundary of 70."""

# `int` refuses thousands of digits
_LENGTH = re.compile(r"[0-9]{1,18}")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


def file_from_body(
    request: AnyRequest,
    filename: str,
    *,
    backend: str | StorageBackend | None = None,
    content_type: str | None = None,
    max_size: int | None = None,
    metadata: JsonObject | None = None,
) -> FileObject:
    """Make a pending file of a request's raw body, which goes to the storage as it comes in.

    The handler needs `request_max_body_size=None`, or a limit of its own.  A body that announces more
    than *max_size* bytes raises FileTooLargeError at once, any other when the limit is passed.
    The column's own `max_size` does the same in the flush.
    A body that is compressed is refused with 415, since what it holds cannot be bounded.
    """
    check_encoding(request.headers)
    announced = request.content_length
    if max_size is not None and announced is not None and announced > max_size:
        raise too_large(filename, max_size)
    file = FileObject(
        filename,
        backend=backend,
        content_type=request.headers.get("content-type") if content_type is None else content_type,
        metadata=metadata,
    )
    file_state(file).read_from(BodySource(body_chunks(request, filename, max_size), announced))
    return file


class BodySource(AsyncIterableSource):
    """A raw body, whose announced length is checked before it is read."""

    def __init__(self, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        super().__init__(chunks)
        self._announced = announced

    def known_size(self) -> int | None:
        return self._announced


async def body_chunks(request: AnyRequest, filename: str, max_size: int | None) -> AsyncIterator[bytes]:
    """Yield a raw body in larger chunks; FileTooLargeError as soon as there are more than *max_size* bytes."""
    waiting: list[bytes] = []
    size = sent = 0
    async for chunk in request.stream():
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


def check_encoding(headers: Headers) -> None:
    """Raise 415 for a body with a `Content-Encoding`."""
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise HTTPException(status_code=415, detail="Compressed uploads are not accepted")


class RequestBodies:
    """Middleware that lets a body end only where it is complete, in bounded time, and refuses compressed forms."""

    def __init__(self, app: ASGIApp, *, idle: float, total: float) -> None:
        self._app = app
        self._idle = idle
        self._total = total

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] not in _WITHOUT_BODY:
            headers = Headers.from_scope(scope)
            _check_form(headers)
            body = _Body(receive, send, _announced(headers), idle=self._idle, total=self._total)
            receive, send = body.receive, body.send
        request = current_scope.set(scope)
        # asked late, as it may want the user that other middleware finds
        source = subject_source.set(partial(subject_of, scope))
        try:
            await self._app(scope, receive, send)
        finally:
            subject_source.reset(source)
            current_scope.reset(request)
            await close_form(scope)


def _check_form(headers: Headers) -> None:
    """Refuse a form whose parts could not be bounded."""
    content_type = headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/"):
        return
    check_encoding(headers)
    if len(content_type) > MAX_FORM_TYPE:
        raise HTTPException(status_code=400, detail="The boundary of the form is too long")


def _announced(headers: Headers) -> int | None:
    """Return how many bytes the body has to have; None if that is not known."""
    length = headers.get("content-length", "")
    # middleware outside may have decoded what the client sent, and left its length as it was
    is_as_sent = headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}
    if "transfer-encoding" in headers or not is_as_sent or _LENGTH.fullmatch(length) is None:
        return None
    return int(length)


class _Body:
    """The body of one request: what stands for its end comes only when all of it has come.

    A form may look complete before it is, when its closing boundary is there.  An error in place of
    the rest keeps the handler from what it would store.
    """

    def __init__(
        self, receive: Receive, send: Send, announced: int | None, *, idle: float, total: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._announced = announced
        self._idle = idle
        self._end = time.monotonic() + total
        self._size = 0
        self._is_over = False
        """Whether nothing of the body is expected: it is complete, or it is answered already."""
        self._cut: HTTPException | None = None

    async def send(self, message: Message) -> None:
        """Send; who has begun to answer waits for the client to leave, and not for the body."""
        self._is_over = True
        await self._send(message)

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """Receive; 408 for a client that is silent, 400 for one that leaves before the body has ended."""
        if self._cut is not None and not self._is_over:
            # whoever goes on after the error must not take what follows for the rest
            raise self._cut
        if self._is_over:
            return await self._receive()
        try:
            # half the price of anyio's, for each chunk
            async with asyncio.timeout(min(self._idle, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise self._cut_off(408, "The body did not come in time") from None
        if self._is_over:
            return message
        if message["type"] != "http.request":
            raise self._cut_off(400, "The body ended before it was complete")
        self._size += len(message["body"])
        if not message["more_body"]:
            if self._announced is not None and self._size < self._announced:
                raise self._cut_off(400, "The body is shorter than its Content-Length")
            self._is_over = True
        return message

    def _cut_off(self, status: int, detail: str) -> HTTPException:
        self._cut = HTTPException(status_code=status, detail=detail)
        return self._cut


def subject_of(scope: Scope) -> str | None:
    """Return whose request it is, by the function that the plugin was given; None without one."""
    ask: Subject | None = scope["litestar_app"].state.get(SUBJECT_STATE_KEY)
    return None if ask is None else ask(ASGIConnection(scope))


def _is_file_type(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, FileObject | FileObjectList)


type_encoders: TypeEncodersMap = {FileObject: enc_hook, FileObjectList: enc_hook}
"""For `Litestar(type_encoders=...)`, without the plugin."""

type_decoders: TypeDecodersSequence = [(_is_file_type, dec_hook)]
"""For `Litestar(type_decoders=...)`, without the plugin."""
