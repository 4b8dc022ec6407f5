"""Which error is which HTTP status, and what a client is told: nothing of paths, buckets or keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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

__all__ = ("STATUS_BY_ERROR", "ErrorStatus", "HttpError", "failed_commit", "http_error")


class HttpError(Exception):
    """An error response to a request, which an adapter turns into its framework's own exception or response."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        extra: list[dict[str, object]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status: int = status
        """The HTTP status."""
        self.detail: str = detail
        """The text for the client."""
        self.extra: list[dict[str, object]] | None = extra
        """What a program can read of it: the field, the code and the parameters of a refused file."""
        self.headers: Mapping[str, str] | None = headers
        """Headers of the response."""


class ErrorStatus(NamedTuple):
    """The status and the text for one class of errors."""

    status: int
    """The HTTP status."""
    detail: str
    """The text for the client."""


STATUS_BY_ERROR: Mapping[type[Exception], ErrorStatus] = {
    FileTooLargeError: ErrorStatus(413, "File too large"),
    ContentTypeRejectedError: ErrorStatus(415, "File type not accepted"),
    ContentRejectedError: ErrorStatus(422, "File not accepted"),
    InvalidGrantError: ErrorStatus(403, "Signature invalid, expired or already used"),
    InvalidKeyError: ErrorStatus(400, "Invalid file name"),
    ObjectNotFoundError: ErrorStatus(404, "File not found"),
    ObjectExistsError: ErrorStatus(409, "File already exists"),
    CommitOutcomeUnknownError: ErrorStatus(
        503, "Outcome unknown; check whether it was stored before you retry"
    ),
    ConcurrentFileChangeError: ErrorStatus(409, "File changed by another request"),
    OwnedFileError: ErrorStatus(409, "File in use"),
    StaleUploadError: ErrorStatus(409, "Upload expired; upload the file again"),
    ChecksumMismatchError: ErrorStatus(502, "File corrupt"),
    StorageError: ErrorStatus(503, "Storage temporarily unavailable"),
}
"""Subclasses have the status of the closest class."""


def http_error(error: Exception) -> HttpError:
    """Return the response to *error*; its status is 500 for a mistake of the application."""
    if isinstance(error, HttpError):
        return error
    found = next((STATUS_BY_ERROR[known] for known in type(error).__mro__ if known in STATUS_BY_ERROR), None)
    if found is None:
        return HttpError(500, "Internal Server Error", headers={"Cache-Control": "no-store"})
    return _answered(found, [_extra(error)] if isinstance(error, ContentRejectedError) else None)


def failed_commit() -> HttpError:
    """Return the response 503 for a commit that failed, where the error itself was caught by other code."""
    return _answered(STATUS_BY_ERROR[CommitOutcomeUnknownError])


def _answered(known: ErrorStatus, extra: list[dict[str, object]] | None = None) -> HttpError:
    # a cache must not go on with an error when it is over, such as a file that is not there yet
    headers = {"Cache-Control": "no-store", **({"Retry-After": "5"} if known.status == 503 else {})}
    return HttpError(known.status, known.detail, extra=extra, headers=headers)


def _extra(error: ContentRejectedError) -> dict[str, object]:
    return {"field": error.field, "code": error.code, "params": dict(error.params)}
