"""`FileObjectResponse`: a file as an HTTP response, with ranges, conditions and safe headers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import cast
from urllib.parse import quote

from litestar import Litestar, Request
from litestar.background_tasks import BackgroundTask, BackgroundTasks
from litestar.datastructures import Cookie, MutableScopeHeaders, State
from litestar.enums import MediaType
from litestar.response.base import ASGIResponse, Response
from litestar.types import Receive, ResponseCookies, ResponseHeaders, Scope, Send, TypeEncodersMap

from filecolumn._threads import aclose, aclosing
from filecolumn.errors import NotSupportedError
from filecolumn.files.file import FileObject, file_state
from filecolumn.files.grants import Disposition
from filecolumn.http.caching import about_a_file, kept_by_caches
from filecolumn.http.headers import LOOKED_AT, has_no_charset, with_charset
from filecolumn.http.sending import beginning, exactly, send_all
from filecolumn.http.serving import Answer, Representation, Serving, answer, request_headers, secure_headers

__all__ = ("SERVING_STATE_KEY", "FileObjectResponse")

REDIRECT_LIFETIME = 60.0
"""Seconds that a URL a client is redirected to may be used."""

SERVING_STATE_KEY = "filecolumn_serving"
"""Where an application's state has its own `Serving`."""

AnyRequest = Request[object, object, State]


class FileObjectResponse(Response[FileObject]):
    """A response with the content of a saved file.

    Answers GET and HEAD: one `Range`, `If-Range`, `If-Match`, `If-None-Match`, `If-Modified-Since`.
    *disposition* `inline` shows types of `Serving.inline_types`, everything else is saved; *filename*
    and *content_type* stand in for the file's own.  The content is streamed; it ends in an aborted
    connection if the storage has other than the row's number of bytes.

    With *redirect* a storage that signs answers by itself, by a URL that lasts a minute.  With
    *x_accel*, the path of an `internal` location of nginx, nginx sends the file of a local storage.

    Raises, as errors before the response starts, ObjectNotFoundError and StorageError.
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
        serving = self._serving_for(request)
        return FileASGIResponse(
            self.content,
            serving,
            request=self._request or request,
            filename=self._filename,
            content_type=self._content_type,
            redirect=self._redirect,
            x_accel=self._x_accel,
            background=self.background or background,
            cookies=itertools.chain(self.cookies, cookies or ()),
            headers={**(headers or {}), **self.headers},
        )

    def _serving_for(self, request: AnyRequest) -> Serving:
        default = cast("Serving", request.app.state.get(SERVING_STATE_KEY, Serving()))
        serving = replace(self._serving or default, disposition=self._disposition)
        if self._cache_control is not None:
            serving = replace(serving, cache_control=self._cache_control)
        if self._inline_types is not None:
            serving = replace(serving, inline_types=self._inline_types)
        return serving


class FileASGIResponse(ASGIResponse):
    """The answer of one request: decided, opened, then sent."""

    __slots__ = (
        "_extra",
        "_file",
        "_filename",
        "_redirect",
        "_request",
        "_served_type",
        "_serving",
        "_size",
        "_x_accel",
    )

    def __init__(
        self,
        file: FileObject,
        serving: Serving,
        *,
        request: AnyRequest,
        filename: str | None,
        content_type: str | None,
        redirect: bool,
        x_accel: str | None,
        background: BackgroundTask | BackgroundTasks | None,
        cookies: Iterable[Cookie],
        headers: dict[str, str],
    ) -> None:
        super().__init__(background=background, cookies=cookies)
        self._file = file
        self._serving = serving
        self._request = request
        self._filename = filename
        self._served_type = content_type
        self._redirect = redirect
        self._x_accel = x_accel
        self._extra = headers
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = {"cache-control": self._serving.cache_control}
        wanted.update((name.lower(), str(value)) for name, value in self._extra.items())
        about_a_file(scope, [(name.encode(), value.encode()) for name, value in wanted.items()])
        async with AsyncExitStack() as stack:
            method = self._request.method
            decided = await self._decide(method)
            is_head = method == "HEAD"
            chunks = None if is_head or not decided.length else await self._open(decided, stack)
            # whatever the storage refuses is an error response still; from here on it is a cut
            first, content_type = await self._seen(decided, chunks)
            self._set_start(decided, content_type)
            # without the plugin nobody sees what is added to these on their way out
            headers = kept_by_caches(decided.status, self.encode_headers(), scope)
            await send({"type": "http.response.start", "status": decided.status, "headers": headers})
            if chunks is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif not await send_all(first, chunks, receive, send):
                return
        await self.after_response()

    async def _decide(self, method: str) -> Answer:
        backend, key = file_state(self._file).located()
        if self._redirect and backend.capabilities.signs:
            # some storages tell only when they are asked that they do not sign this key
            with suppress(NotSupportedError):
                url = await backend.sign_async(key, expires_in=REDIRECT_LIFETIME)
                return Answer(307, {**secure_headers(self._serving), "Location": url, "Content-Length": "0"})
        if self._x_accel is not None:
            return await self._handed_over(method, self._x_accel)
        headers = request_headers(self._request.scope["headers"])
        return answer(method, headers, await self._represent(), self._serving)

    async def _handed_over(self, method: str, location: str) -> Answer:
        """Leave the bytes to nginx, and with them ranges and conditions: it gives the file a tag of its own."""
        backend, key = file_state(self._file).located()
        if not backend.location.startswith("file:"):
            raise NotSupportedError(
                f"nginx can send the files of local storages only, not of {backend.key!r}"
            )
        decided = answer(method, {}, await self._represent(), self._serving)
        headers = {name: value for name, value in decided.headers.items() if name != "Content-Length"}
        return Answer(200, {**headers, "X-Accel-Redirect": f"{location.rstrip('/')}/{quote(key)}"})

    async def _represent(self) -> Representation:
        file = self._file
        size, etag, last_modified = file.size, file.etag, file.last_modified
        if size is None:
            # a row of advanced-alchemy may not know it
            backend, key = file_state(file).located()
            stat = await backend.stat_async(key)
            size, etag, last_modified = stat.size, stat.etag, stat.last_modified
        self._size = size
        return Representation(
            filename=file.filename if self._filename is None else self._filename,
            content_type=file.content_type if self._served_type is None else self._served_type,
            size=size,
            checksum=file.checksum,
            etag=etag,
            last_modified=last_modified,
        )

    async def _open(self, decided: Answer, stack: AsyncExitStack) -> AsyncGenerator[bytes]:
        backend, key = file_state(self._file).located()
        # the whole is read without a limit, so that bytes too many are noticed
        length = None if decided.is_whole else decided.length
        content = await backend.get_async(key, start=decided.start, length=length)
        stack.push_async_callback(aclose, content)
        chunks = exactly(content, decided.length)
        # first what reads, then what is read
        stack.push_async_callback(chunks.aclose)
        return chunks

    async def _seen(self, decided: Answer, chunks: AsyncGenerator[bytes] | None) -> tuple[bytes, str | None]:
        """Return the first piece of the body, and the type that goes with it: that of text depends on its bytes."""
        content_type = decided.headers.get("Content-Type")
        if content_type is None or not has_no_charset(content_type):
            return b"" if chunks is None else await anext(chunks, b""), content_type
        if chunks is not None and decided.is_whole:
            head = first = await beginning(chunks, LOOKED_AT)
        else:
            first = b"" if chunks is None else await anext(chunks, b"")
            # HEAD and each range have the same type as the whole
            head = await self._head() if self._size else b""
        return first, with_charset(content_type, head, self._size)

    async def _head(self) -> bytes:
        backend, key = file_state(self._file).located()
        async with aclosing(await backend.get_async(key, length=LOOKED_AT)) as content:
            return await beginning(content, LOOKED_AT)

    def _set_start(self, decided: Answer, content_type: str | None) -> None:
        self.status_code: int = decided.status
        self.headers: MutableScopeHeaders = MutableScopeHeaders()
        for name, value in decided.headers.items():
            self.headers[name] = value
        if content_type is not None:
            self.headers["Content-Type"] = content_type
        for name, value in self._extra.items():
            self.headers[name] = value
