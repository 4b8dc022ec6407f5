"""Litestar's exceptions and responses for the errors of `filecolumn.http`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import cast

from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import MediaType
from litestar.exceptions import ClientException, HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope

from filecolumn.http.errors import STATUS_BY_ERROR, HttpError, http_error
from filecolumn.logs import warn

__all__ = (
    "SIGNED_ROUTES",
    "client_exceptions",
    "exception_handlers",
    "http_exception",
    "http_exceptions",
    "json_of",
    "logged_path",
)

SIGNED_ROUTES = ("filecolumn:download", "filecolumn:upload")
"""The names of the routes whose paths carry tokens."""

ExceptionHandler = Callable[[Request[object, object, State], Exception], Response[object]]


def http_exception(error: HttpError) -> HTTPException:
    """Return Litestar's exception for an HTTP error."""
    headers = None if error.headers is None else dict(error.headers)
    return HTTPException(status_code=error.status, detail=error.detail, extra=error.extra, headers=headers)


@contextmanager
def http_exceptions() -> Generator[None]:
    """Raise Litestar's HTTPException for an HttpError of the block, as applications without the plugin expect."""
    try:
        yield
    except HttpError as error:
        raise http_exception(error) from error


@contextmanager
def client_exceptions() -> Generator[None]:
    """Raise Litestar's ClientException for an HttpError of the block, as Litestar's own parsers do."""
    try:
        yield
    except HttpError as error:
        raise ClientException(detail=error.detail) from error


def json_of(error: HttpError) -> dict[str, object]:
    """Return the JSON of an HTTP error, as that of Litestar's own exceptions."""
    content: dict[str, object] = {"status_code": error.status, "detail": error.detail}
    return content if error.extra is None else {**content, "extra": error.extra}


def _respond(request: Request[object, object, State], error: Exception) -> Response[object]:
    # what the client is not told is here
    warn("%s %s: %s: %s", request.method, logged_path(request.scope), type(error).__name__, error)
    known = http_error(error)
    headers = None if known.headers is None else dict(known.headers)
    return Response(json_of(known), status_code=known.status, headers=headers, media_type=MediaType.JSON)


def logged_path(scope: Scope) -> str:
    """Return the path of a request as a log may have it: without the token of a signed URL."""
    handler = cast("Mapping[str, object]", scope).get("route_handler")
    if isinstance(handler, HTTPRouteHandler) and handler.name in SIGNED_ROUTES:
        # that it was refused does not mean that it opens nothing, as when the storage was away
        return f"{scope['path_template'].rpartition('/')[0]}/…"
    return scope["path"]


exception_handlers: dict[int | type[Exception], ExceptionHandler] = {
    **dict.fromkeys(STATUS_BY_ERROR, _respond)
}
"""For `Litestar(exception_handlers=...)` or a controller, without the plugin."""
