"""`FileObjectResponse`: a file as an HTTP response, with ranges, conditions and safe headers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import cast

from litestar import Litestar, Request
from litestar.background_tasks import BackgroundTask, BackgroundTasks
from litestar.datastructures import Cookie, State
from litestar.enums import MediaType
from litestar.response.base import ASGIResponse, Response
from litestar.types import (
    HTTPScope,
    Message,
    Receive,
    ResponseCookies,
    ResponseHeaders,
    Scope,
    Send,
    TypeEncodersMap,
)

from filecolumn.files.file import FileObject
from filecolumn.files.grants import Disposition
from filecolumn.http.caching import cacheable_headers, is_file_response
from filecolumn.http.sending import FileSender
from filecolumn.http.serving import Serving, request_headers

__all__ = ("RESPONSE_DEFAULTS_STATE_KEY", "FileObjectResponse", "limit_caching", "without_files")

RESPONSE_DEFAULTS_STATE_KEY = "filecolumn_response_defaults"
"""Where an application's state has its own `Serving`."""

_DEFAULTS = Serving()

AnyRequest = Request[object, object, State]


class FileObjectResponse(Response[FileObject]):
    """A response with the content of a saved file.

    It answers GET and HEAD, and honours a `Range` of one part, `If-Range`, `If-Match`, `If-None-Match` and
    `If-Modified-Since`.  The content is streamed; if the storage has another number of bytes than the row says,
    the connection is aborted.  If the storage cannot give the content, ObjectNotFoundError or StorageError is
    raised before the response starts.

    *request*
        The request to answer, if it is not the one that the handler got.
    *disposition*
        `inline` lets browsers show files of the types in *inline_types*; every other file is saved.
    *filename*, *content_type*
        What the client gets instead of the file's own.
    *cache_control*, *inline_types*, *serving*
        Headers instead of those of `FileColumnConfig.response_defaults`: one, the types to show, or all.
    *redirect*
        Whether to redirect to the storage's own signed URL, which lasts a minute, if the storage signs.
    *x_accel*
        The path of an `internal` location of nginx, which then sends the file of a local storage.
    *background*, *cookies*, *headers*
        As for every response of Litestar.
    """

    def __init__(
        self,
        file: FileObject,
        request: AnyRequest | None = None,
        *,
        disposition: Disposition = "attachment",
        filename: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
        inline_types: Collection[str] | None = None,
        serving: Serving | None = None,
        redirect: bool = False,
        x_accel: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
        cookies: ResponseCookies | None = None,
        headers: ResponseHeaders | None = None,
    ) -> None:
        super().__init__(file, background=background, cookies=cookies, headers=headers)
        self._request = request
        self._serving = serving
        self._disposition: Disposition = disposition
        self._filename = filename
        self._content_type = content_type
        self._cache_control = cache_control
        self._inline_types = inline_types
        self._redirect = redirect
        self._x_accel = x_accel

    def to_asgi_response(
        self,
        app: Litestar | None,
        request: AnyRequest,
        *,
        background: BackgroundTask | BackgroundTasks | None = None,
        cookies: Iterable[Cookie] | None = None,
        encoded_headers: Iterable[tuple[bytes, bytes]] | None = None,
        headers: dict[str, str] | None = None,
        is_head_response: bool = False,
        media_type: MediaType | str | None = None,
        status_code: int | None = None,
        type_encoders: TypeEncodersMap | None = None,
    ) -> ASGIResponse:
        asked = self._request or request
        sender = FileSender(
            file=self.content,
            method=asked.method,
            request_headers=request_headers(asked.scope["headers"]),
            serving=self._serving_for(request),
            filename=self._filename,
            content_type=self._content_type,
            redirect=self._redirect,
            x_accel=self._x_accel,
        )
        return FileASGIResponse(
            sender,
            background=self.background or background,
            cookies=itertools.chain(self.cookies, cookies or ()),
            headers={**(headers or {}), **self.headers},
        )

    def _serving_for(self, request: AnyRequest) -> Serving:
        default = cast("Serving", request.app.state.get(RESPONSE_DEFAULTS_STATE_KEY, _DEFAULTS))
        serving = self._serving or default
        if serving.disposition != self._disposition:
            serving = replace(serving, disposition=self._disposition)
        if self._cache_control is not None:
            serving = replace(serving, cache_control=self._cache_control)
        if self._inline_types is not None:
            serving = replace(serving, inline_types=self._inline_types)
        return serving


class FileASGIResponse(ASGIResponse):
    """Sends a file, and then does what an application wants done after the response."""

    __slots__ = ("_cookies", "_extra", "_sender")

    def __init__(
        self,
        sender: FileSender,
        *,
        background: BackgroundTask | BackgroundTasks | None,
        cookies: Iterable[Cookie],
        headers: dict[str, str],
    ) -> None:
        super().__init__(background=background)
        self._sender = sender
        self._extra = headers
        self._cookies = [cookie.to_encoded_header() for cookie in cookies if not cookie.documentation_only]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await self._sender.respond(scope, receive, send, headers=self._extra, cookies=self._cookies):
            await self.after_response()


async def limit_caching(message: Message, scope: Scope) -> None:
    """Take from the response with a file what caches must not keep; a `before_send` hook, the last of all."""
    if message["type"] == "http.response.start" and is_file_response(scope):
        message["headers"] = cacheable_headers(message["status"], message["headers"], scope)


def without_files(keeps: Callable[[HTTPScope, int], bool]) -> Callable[[HTTPScope, int], bool]:
    """Return a filter of Litestar's response cache that keeps what *keeps* does, but for files.

    It would send the whole file for a range or a condition, with the cookies of another user, and hold it in memory.
    """

    def filtered(scope: HTTPScope, status: int) -> bool:
        return not is_file_response(scope) and keeps(scope, status)

    return filtered
