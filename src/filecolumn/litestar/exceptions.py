"""Which of our errors is which HTTP status; nothing of paths, buckets or keys goes out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.exceptions.responses import create_exception_response
from litestar.types import ExceptionHandlersMap

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

__all__ = ("exception_handlers", "http_exception")

_log = logging.getLogger("filecolumn")


@dataclass(frozen=True, slots=True)
class _Mapped:
    status: int
    detail: str


_MAPPED: Mapping[type[Exception], _Mapped] = {
    FileTooLargeError: _Mapped(413, "The file is too large"),
    ContentTypeRejectedError: _Mapped(415, "Files of this type are not accepted"),
    ContentRejectedError: _Mapped(422, "The file is not accepted"),
    InvalidGrantError: _Mapped(403, "The signature is not valid, or has expired"),
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
        return HTTPException(status_code=500, detail="Internal Server Error")
    extra = [_extra(error)] if isinstance(error, ContentRejectedError) else None
    headers = {"Retry-After": "5"} if mapped.status == 503 else None
    return HTTPException(status_code=mapped.status, detail=mapped.detail, extra=extra, headers=headers)


def _extra(error: ContentRejectedError) -> dict[str, object]:
    return {"field": error.field, "code": error.code, "params": dict(error.params)}


def _respond(request: Request[object, object, State], error: Exception) -> Response[object]:
    # what the client is not told is here; a name cannot break the line, since messages quote it with repr
    _log.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return create_exception_response(request, http_exception(error))


exception_handlers: ExceptionHandlersMap = dict.fromkeys(_MAPPED, _respond)
"""For `Litestar(exception_handlers=...)` or a controller, without the plugin."""
