"""Which of our errors is which HTTP status; nothing of paths, buckets or keys goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope

from filecolumn.errors import (
    ChecksumMismatchError,
    CommitOutcomeUnknownError,
    ConcurrentFileChangeError,
    ContentRejectedError,
    ContentTypeRejectedError,
    FileTooLargeError,
    InvalidGrantError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    OwnedFileError,
    StaleUploadError,
    StorageError,
)
from filecolumn.logs import warn

__all__ = (
    "SIGNED_ROUTES",
    "exception_handlers",
    "failed_commit",
    "http_content",
    "http_exception",
    "logged_path",
)

SIGNED_ROUTES = ("filecolumn:download", "filecolumn:upload")
"""The names of the routes whose paths carry tokens."""

ExceptionHandler = Callable[[Request[object, object, State], Exception], Response[object]]


@dataclass(frozen=True, slots=True)
class _Mapped:
    status: int
    detail: str


_MAPPED: Mapping[type[Exception], _Mapped] = {
    FileTooLargeError: _Mapped(413, "The file is too large"),
    ContentTypeRejectedError: _Mapped(415, "Files of this type are not accepted"),
    ContentRejectedError: _Mapped(422, "The file is not accepted"),
    InvalidGrantError: _Mapped(403, "The signature is not valid, has expired, or was used before"),
    InvalidKeyError: _Mapped(400, "The name of the file cannot be used"),
    ObjectNotFoundError: _Mapped(404, "The file is not there"),
    ObjectExistsError: _Mapped(409, "The file is there already"),
    CommitOutcomeUnknownError: _Mapped(
        503, "It is not known whether this was stored; look before you repeat it"
    ),
    ConcurrentFileChangeError: _Mapped(409, "The file was changed by somebody else"),
    OwnedFileError: _Mapped(409, "The file is in use"),
    StaleUploadError: _Mapped(409, "The upload is too old; upload the file again"),
    ChecksumMismatchError: _Mapped(502, "The file is damaged"),
    StorageError: _Mapped(503, "Files cannot be reached now; try again later"),
}


def http_exception(error: Exception) -> HTTPException:
    """Return the HTTP error for one of ours; 500 for one that is the application's own mistake."""
    mapped = next((found for kind in type(error).__mro__ if (found := _MAPPED.get(kind))), None)
    if mapped is None:
        return HTTPException(
            status_code=500, detail="Internal Server Error", headers={"Cache-Control": "no-store"}
        )
    extra = [_extra(error)] if isinstance(error, ContentRejectedError) else None
    return _http(mapped, extra)


def failed_commit() -> HTTPException:
    """Return what a client is told of a commit that somebody else has called, and swallowed its error."""
    return _http(_MAPPED[CommitOutcomeUnknownError])


def http_content(error: HTTPException) -> dict[str, object]:
    """Return the JSON of an HTTP error, as Litestar's own has it."""
    content: dict[str, object] = {"status_code": error.status_code, "detail": error.detail}
    return content if error.extra is None else {**content, "extra": error.extra}


def _http(mapped: _Mapped, extra: list[dict[str, object]] | None = None) -> HTTPException:
    # a cache is not to go on with an error when it is over, such as a file that is not there yet
    headers = {"Cache-Control": "no-store", **({"Retry-After": "5"} if mapped.status == 503 else {})}
    return HTTPException(status_code=mapped.status, detail=mapped.detail, extra=extra, headers=headers)


def _extra(error: ContentRejectedError) -> dict[str, object]:
    return {"field": error.field, "code": error.code, "params": dict(error.params)}


def _respond(request: Request[object, object, State], error: Exception) -> Response[object]:
    # what the client is not told is here
    warn("%s %s: %s: %s", request.method, logged_path(request.scope), type(error).__name__, error)
    known = http_exception(error)
    return Response(
        http_content(known), status_code=known.status_code, headers=known.headers, media_type=MediaType.JSON
    )


def logged_path(scope: Scope) -> str:
    """Return the path of a request as a log may have it: without the token of a signed URL."""
    handler = cast("Mapping[str, object]", scope).get("route_handler")
    if isinstance(handler, HTTPRouteHandler) and handler.name in SIGNED_ROUTES:
        # that it was refused does not mean that it opens nothing, as when the storage was away
        return f"{scope['path_template'].rpartition('/')[0]}/…"
    return scope["path"]


exception_handlers: dict[int | type[Exception], ExceptionHandler] = {kind: _respond for kind in _MAPPED}  # noqa: C420 - typed so that Litestar takes it
"""For `Litestar(exception_handlers=...)` or a controller, without the plugin."""
