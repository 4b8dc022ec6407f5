"""What comes in: parts of forms, grants in JSON, raw bodies, and how long a client may take."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable

import anyio
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    Receive,
    Scope,
    Send,
    TypeDecodersSequence,
    TypeEncodersMap,
    WebSocketReceiveMessage,
)

from filecolumn.async_sources import AsyncIterableSource
from filecolumn.backends.base import StorageBackend
from filecolumn.facts import JsonObject
from filecolumn.file import FileObject
from filecolumn.grants import too_large
from filecolumn.interchange import enc_hook, file_from_input, files_from_input
from filecolumn.lists import FileObjectList
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

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


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
    file._read_from(BodySource(body_chunks(request, filename, max_size), announced))
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
    """Middleware that bounds how long a client may take to send a body, and refuses compressed forms."""

    def __init__(self, app: ASGIApp, *, idle: float, total: float) -> None:
        self._app = app
        self._idle = idle
        self._total = total

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.WEBSOCKET:
            await self._app(scope, receive, send)
            return
        if scope["method"] in _WITH_BODY:
            is_form = _check_form(Headers.from_scope(scope))
            receive = _bounded(receive, idle=self._idle, total=self._total, is_form=is_form)
        token = current_scope.set(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            current_scope.reset(token)
            await close_form(scope)


def _check_form(headers: Headers) -> bool:
    """Return whether the body is a form; refuse one whose parts could not be bounded."""
    content_type = headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/"):
        return False
    check_encoding(headers)
    if len(content_type) > MAX_FORM_TYPE:
        raise HTTPException(status_code=400, detail="The boundary of the form is too long")
    return True


def _bounded(receive: Receive, *, idle: float, total: float, is_form: bool) -> Receive:
    """Return *receive* with an end to its wait, until the body is complete.

    A form that is cut ends as if it were complete: Litestar's parser refuses it then, and closes the
    files of its parts, which it would leave open for any other error.
    """
    end = time.monotonic() + total
    is_complete = False

    async def bounded() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        nonlocal is_complete
        if is_complete:
            return await receive()
        try:
            with anyio.fail_after(max(min(idle, end - time.monotonic()), 0)):
                message = await receive()
        except TimeoutError:
            is_complete = True
            if is_form:
                return {"type": "http.request", "body": b"", "more_body": False}
            raise HTTPException(status_code=408, detail="The body did not come in time") from None
        is_complete = message["type"] != "http.request" or not message["more_body"]
        if is_form and message["type"] == "http.disconnect":
            return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return bounded


def subject_of(scope: Scope | None) -> str | None:
    """Return whose request it is, by the function that the plugin was given; None without one."""
    if scope is None:
        return None
    ask: Subject | None = scope["litestar_app"].state.get(SUBJECT_STATE_KEY)
    return None if ask is None else ask(ASGIConnection(scope))


def _is_file_type(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, FileObject | FileObjectList)


def _decode(kind: type[object], value: object) -> FileObject | FileObjectList:
    subject = subject_of(current_scope.get())
    if issubclass(kind, FileObjectList):
        return files_from_input(value, subject=subject)
    return file_from_input(value, subject=subject)


type_encoders: TypeEncodersMap = {FileObject: enc_hook, FileObjectList: enc_hook}
"""For `Litestar(type_encoders=...)`, without the plugin."""

type_decoders: TypeDecodersSequence = [(_is_file_type, _decode)]
"""For `Litestar(type_decoders=...)`, without the plugin."""
