"""Uploads that a client makes by itself: what it is given, and what is checked of it afterwards.

An upload goes to a place that the library made, under `INCOMING`, and is never attached from
there: a row gets a copy under a key that no client has ever known, and the upload is removed
with the commit that attaches it.  So a URL that is used again, or content that is changed after
it was checked, changes nothing that a row points to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.errors import FileTooLargeError, InvalidGrantError, NotSupportedError, ObjectNotFoundError
from filecolumn.files.facts import FileFacts, Json
from filecolumn.naming import guess_content_type
from filecolumn.signing import Claims, UrlSigner

__all__ = (
    "TAKEN",
    "GrantColumn",
    "UploadGrant",
    "check_size",
    "column_of",
    "no_column",
    "place_of_grant",
    "too_large",
    "used_error",
)

TAKEN = "the upload is not what was granted; upload it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGrant:
    """What a client needs to upload one file by itself, and what it sends back when it has."""

    url: str = field(repr=False)
    """Where to send the content: the storage's own signed URL, or the plugin's."""
    token: str = field(repr=False)
    """What to send back; `FileObject.from_grant` takes it. The plugin's route answers with one too."""
    expires_at: int
    """Seconds since the epoch, UTC."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Request headers that must go along."""
    method: str = "PUT"
    """The HTTP method of the request."""

    def to_dict(self) -> dict[str, Json]:
        """Return it as JSON for the client."""
        return {
            "url": self.url,
            "method": self.method,
            "headers": dict(self.headers),
            "grant": self.token,
            "expires_at": self.expires_at,
        }


@dataclass(frozen=True, slots=True)
class GrantColumn:
    """The column that an upload is granted for."""

    name: str
    """`Class.attribute`, or `table.column`."""
    policy: ContentPolicy = ANYTHING
    """What it takes, as far as this process knows the column."""
    backend: str | None = None
    """Where it stores."""


@singledispatch
def column_of(column: object) -> GrantColumn:
    """Return the column that an application names; TypeError for what is none.

    What a name, an attribute or a table's column means is known to the layer that maps classes: it
    registers a function for each type.
    """
    raise no_column(column)


def no_column(column: object) -> TypeError:
    """Return the error for what an application names as a column and is none of files."""
    return TypeError(
        f"an upload is granted for a file column, given as Document.file or 'Document.file', not {column!r}"
    )


def configured_signer() -> UrlSigner:
    """Return what signs URLs here, or raise NotSupportedError that says how to have it."""
    if storages.signer is None:
        raise NotSupportedError(
            "no URLs can be signed here: give FileColumnPlugin a signing_key, or set storages.signer"
        )
    return storages.signer


def verified_grant(token: str, *, subject: str | None) -> Claims:
    """Return what a grant says; InvalidGrantError unless it is valid now, and *subject*'s if it is anybody's."""
    claims = configured_signer().tokens.verify(token, "grant", now=time.time())
    check_subject(claims, subject)
    return claims


def check_subject(claims: Claims, subject: str | None) -> None:
    """Raise InvalidGrantError if the token was given to somebody else than *subject*."""
    if claims.subject and claims.subject != subject:
        raise InvalidGrantError("the signature is somebody else's")


def check_size(claims: Claims, size: int) -> None:
    """Raise FileTooLargeError for more than was granted, InvalidGrantError for another size than was received."""
    if 0 <= claims.max_size < size:
        raise too_large(claims.filename, claims.max_size)
    if claims.checksum and size != claims.size:
        raise InvalidGrantError(TAKEN)


def place_of_grant(claims: Claims) -> tuple[str, str]:
    """Return where the upload lies: the grants of one upload, its own and the route's receipt, are one grant."""
    return storages.resolve(claims.backend), claims.key


def used_error() -> InvalidGrantError:
    """Return the error for a grant that has given a file before."""
    return InvalidGrantError(
        "a grant gives one file, and this one was used before, or its upload was given up by a sweep; upload the file "
        "again with a grant of its own"
    )


def missing_upload(claims: Claims) -> ObjectNotFoundError:
    """Return the error for a grant that nothing is uploaded for; its key is nobody's business."""
    return ObjectNotFoundError(
        f"nothing is uploaded with the grant of {claims.filename!r}: not yet, or a row has it by now, or it was "
        "removed because it waited too long"
    )


def too_large(filename: str, limit: int) -> FileTooLargeError:
    """Return the error for content of more than *limit* bytes."""
    return FileTooLargeError(
        f"{filename!r} has more than the {limit} bytes that are allowed",
        code="too_large",
        params={"max_size": limit},
    )


def granted_facts(claims: Claims) -> FileFacts:
    """Return what a grant says of the file; size and checksum only if the server counted them."""
    counted = bool(claims.checksum)
    return FileFacts(
        filename=claims.filename,
        key=claims.key,
        backend=claims.backend,
        content_type=claims.content_type or guess_content_type(claims.filename),
        size=claims.size if counted else None,
        checksum=claims.checksum if counted else None,
    )


def receipt(claims: Claims, facts: FileFacts) -> Claims:
    """Return the grant for content that the server itself has received and counted."""
    return replace(
        claims,
        purpose="grant",
        method="ATTACH",
        content_type=facts.content_type,
        size=facts.size or 0,
        checksum=facts.checksum or "",
    )


def upload_headers(backend: StorageBackend, content_type: str) -> dict[str, str]:
    """Return the headers that an upload to a signed URL needs."""
    return {**backend.signed_put_headers, **({"Content-Type": content_type} if content_type else {})}
