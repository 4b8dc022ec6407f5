"""Receives files in Litestar: from forms, as grants in JSON, and as raw bodies, within limits of time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, State
from litestar.enums import ScopeType
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
from filecolumn.files.facts import JsonObject
from filecolumn.files.file import FileObject, file_state
from filecolumn.files.file_list import FileObjectList
from filecolumn.files.grants import subject_source
from filecolumn.files.interchange import dec_hook, enc_hook
from filecolumn.http.errors import HttpError
from filecolumn.http.uploads import (
    BodySource,
    RequestBody,
    announced_length,
    batches,
    check_encoding,
    check_form,
    check_length,
    has_body,
)
from filecolumn.litestar.exceptions import http_exception, http_exceptions
from filecolumn.litestar.extraction import close_form
from filecolumn.litestar.sessions import current_scope

__all__ = (
    "GET_SUBJECT_STATE_KEY",
    "GetSubject",
    "RequestBodies",
    "file_from_body",
    "subject_of",
    "type_decoders",
    "type_encoders",
)

AnyConnection = ASGIConnection[object, object, object, State]
AnyRequest = Request[object, object, State]
GetSubject = Callable[[AnyConnection], str | None]
"""Returns whose request it is, as grants and URLs that name a subject want it."""

GET_SUBJECT_STATE_KEY = "filecolumn_get_subject"
"""Where an application's state has its `GetSubject`."""


def file_from_body(
    request: AnyRequest,
    filename: str,
    *,
    backend: str | StorageBackend | None = None,
    content_type: str | None = None,
    max_size: int | None = None,
    metadata: JsonObject | None = None,
) -> FileObject:
    """Make a pending file of a request's raw body, which is sent to the storage while it is received.

    The handler needs `request_max_body_size=None`, or a limit of its own.  *max_size* is in bytes: a body that
    announces more raises FileTooLargeError at once, any other as soon as it has more.  The column's own
    `max_size` counts too, in the flush.  *content_type* is by default that of the request.

    A compressed body is refused with 415, because its real size is not known before it is unpacked.
    """
    with http_exceptions():
        check_encoding(request.headers)
    announced = request.content_length
    check_length(announced, filename, max_size)
    file = FileObject(
        filename,
        backend=backend,
        content_type=request.headers.get("content-type") if content_type is None else content_type,
        metadata=metadata,
    )
    file_state(file).read_from(BodySource(batches(request.stream(), filename, max_size), announced))
    return file


class RequestBodies:
    """Middleware that lets a body end only where it is complete, in bounded time, and refuses compressed forms."""

    def __init__(self, app: ASGIApp, *, idle_timeout: float, timeout: float) -> None:
        self._app = app
        self._idle_timeout = idle_timeout
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and has_body(scope["method"]):
            headers = Headers.from_scope(scope)
            with http_exceptions():
                check_form(headers)
            body = RequestBody[HTTPReceiveMessage | WebSocketReceiveMessage, Message](
                receive,
                send,
                announced_length(headers),
                idle_timeout=self._idle_timeout,
                timeout=self._timeout,
            )
            receive, send = _received_by_litestar(body), body.send
        request = current_scope.set(scope)
        # asked late, as it may want the user that other middleware finds
        source = subject_source.set(partial(subject_of, scope))
        try:
            await self._app(scope, receive, send)
        finally:
            subject_source.reset(source)
            current_scope.reset(request)
            await close_form(scope)


def _received_by_litestar(
    body: RequestBody[HTTPReceiveMessage | WebSocketReceiveMessage, Message],
) -> Receive:
    async def receive() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        # no context manager, as it is entered for each chunk
        try:
            return await body.receive()
        except HttpError as error:
            raise http_exception(error) from error

    return receive


def subject_of(scope: Scope) -> str | None:
    """Return whose request it is, by the function that the plugin was given; None without one."""
    get_subject: GetSubject | None = scope["litestar_app"].state.get(GET_SUBJECT_STATE_KEY)
    return None if get_subject is None else get_subject(ASGIConnection(scope))


def _is_file_type(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, (FileObject, FileObjectList))


type_encoders: TypeEncodersMap = {FileObject: enc_hook, FileObjectList: enc_hook}
"""For `Litestar(type_encoders=...)`, without the plugin."""

type_decoders: TypeDecodersSequence = [(_is_file_type, dec_hook)]
"""For `Litestar(type_decoders=...)`, without the plugin."""
