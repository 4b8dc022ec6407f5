"""Uploads that a client makes by itself: what it is given, and what is checked of it afterwards.

An upload goes to a key that the library made, under `INCOMING`, and is never attached from
there: a row gets a copy under a key that no client has ever known, and the upload is removed
with the commit that attaches it.  So a URL that is used again, or content that is changed after
it was checked, changes nothing that a row points to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial, singledispatch
from typing import Literal

from filecolumn.backends.base import SignMethod, StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.errors import FileTooLargeError, InvalidGrantError, NotSupportedError, ObjectNotFoundError
from filecolumn.files.facts import FileFacts, Json
from filecolumn.files.state import FileState, Pending
from filecolumn.naming import check_content_type, clean_filename, guess_content_type, incoming_key
from filecolumn.signing import Claims, UrlSigner, expiry, seconds_of

__all__ = (
    "TAKEN",
    "Disposition",
    "GrantColumn",
    "Signing",
    "UploadGrant",
    "UploadPlan",
    "check_size",
    "check_subject",
    "column_of",
    "configured_signer",
    "granted_facts",
    "missing_upload",
    "no_column",
    "plan_download",
    "plan_upload",
    "public_url",
    "receipt",
    "ref_of_grant",
    "subject_source",
    "too_large",
    "upload_headers",
    "used_error",
    "verified_grant",
    "verified_input",
)

Disposition = Literal["inline", "attachment"]
"""Whether a browser shows a file or saves it (RFC 6266)."""

URL_LIFETIME = 3600
"""Seconds that the URL for clients lasts at least."""

URL_WINDOW = 900
"""Seconds in which the URL of a file stays the same, so that browsers can cache what it gives."""

subject_source: ContextVar[Callable[[], str | None] | None] = ContextVar("filecolumn_subject", default=None)
"""A context variable with a function that returns the current subject.

Set it where files are validated outside of Litestar, as by pydantic, which does not know the request."""

TAKEN = "the upload is not what was granted; upload it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGrant:
    """What a client needs to upload one file by itself, and the token that it sends back afterwards."""

    url: str = field(repr=False)
    """Where to send the content: the storage's own signed URL, or one of the plugin."""
    token: str = field(repr=False)
    """What the client sends back, for `FileObject.from_grant`.  The plugin's route answers with a token too."""
    expires_at: int
    """When the grant expires, in seconds since the epoch, UTC."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The headers that the client's request must have."""
    method: str = "PUT"
    """The HTTP method of that request."""

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON object for the client: `url`, `method`, `headers`, `grant` (the token), `expires_at`."""
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


def verified_input(token: str) -> Claims:
    """Return what a grant that a client has sent says; InvalidGrantError unless it is `subject_source`'s."""
    ask = subject_source.get()
    return verified_grant(token, subject=None if ask is None else ask())


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


def ref_of_grant(claims: Claims) -> ObjectRef:
    """Return where the upload is; the first grant of an upload and the route's receipt for it count as one."""
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


# URLs


@dataclass(frozen=True, slots=True)
class Signing:
    """A URL that a storage is to sign, and what our own route signs instead, if there is one."""

    backend: StorageBackend
    key: str
    method: SignMethod
    expires_in: float
    route: Callable[[], str] | None = None
    asks_storage: bool = True
    """Whether the storage signs, if it can."""

    def url(self) -> str:
        """Return what the storage signs, or the route where it does not; NotSupportedError if neither does."""
        if self.route is not None and not self.asks_storage:
            return self.route()
        try:
            return self.backend.sign(self.key, expires_in=self.expires_in, method=self.method)
        except NotSupportedError:
            if self.route is None:
                raise
            return self.route()

    async def url_async(self) -> str:
        """Call `url` asynchronously."""
        if self.route is not None and not self.asks_storage:
            return self.route()
        try:
            return await self.backend.sign_async(self.key, expires_in=self.expires_in, method=self.method)
        except NotSupportedError:
            if self.route is None:
                raise
            return self.route()


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What an upload claims, and who signs its URL."""

    signer: UrlSigner
    claims: Claims
    signing: Signing

    def grant(self, url: str) -> UploadGrant:
        """Return what the client gets, with the signed *url*."""
        return UploadGrant(
            url=url,
            token=self.signer.tokens.sign(replace(self.claims, purpose="grant", method="ATTACH")),
            expires_at=self.claims.expires_at,
            headers=upload_headers(self.signing.backend, self.claims.content_type),
        )


def plan_download(
    state: FileState,
    expires_in: float | timedelta,
    *,
    disposition: Disposition | None = None,
    filename: str | None = None,
    content_type: str | None = None,
    subject: str | None = None,
) -> Signing:
    """Return how the URL that reads a file is signed; see `FileObject.sign`."""
    backend, key = state.located()
    seconds = seconds_of(expires_in)
    asked = any(option is not None for option in (disposition, filename, content_type, subject))
    signer = storages.signer
    if signer is None:
        if asked:
            raise NotSupportedError(
                f"storage {backend.key!r} signs no such options; give FileColumnPlugin a signing_key"
            )
        return Signing(backend, key, "GET", seconds)
    claims = _download_claims(
        state,
        expires_at=expiry(time.time(), expires_in),
        disposition=disposition or "",
        filename=filename,
        content_type=content_type,
        subject=subject,
    )
    asks_storage = backend.capabilities.signs and not asked
    return Signing(backend, key, "GET", seconds, partial(signer.url, claims), asks_storage)


def plan_upload(
    state: FileState,
    expires_in: float | timedelta,
    *,
    content_type: str | None = None,
    max_size: int | None = None,
    column: object = None,
    subject: str | None = None,
) -> UploadPlan:
    """Return how the URL that a client uploads to is signed; see `FileObject.grant_upload`."""
    signer = configured_signer()
    if state.content != Pending(None):
        raise ValueError(
            "an upload is granted for a new file without content: FileObject(name).grant_upload()"
        )
    facts = state.facts
    bound = None if column is None else column_of(column)
    policy = ANYTHING if bound is None else bound.policy
    content_type = _bound_type(facts, content_type)
    policy.check_declared(content_type, facts.filename)
    asked = ContentPolicy.of(max_size, None)
    sizes = [size for size in (asked.max_size, policy.max_size) if size is not None]
    named = facts.backend or (None if bound is None else bound.backend)
    claims = Claims(
        purpose="upload",
        method="PUT",
        backend=storages.resolve(named or storages.default),
        key=incoming_key(facts.filename),
        expires_at=expiry(time.time(), expires_in),
        filename=facts.filename,
        content_type=content_type,
        max_size=min(sizes, default=-1),
        column="" if bound is None else bound.name,
        subject=subject or "",
    )
    backend = storages.get(claims.backend)
    route = partial(signer.url, claims)
    asks_storage = backend.capabilities.signs_uploads
    signing = Signing(backend, claims.key, "PUT", seconds_of(expires_in), route, asks_storage)
    return UploadPlan(signer, claims, signing)


def _bound_type(facts: FileFacts, content_type: str | None) -> str:
    """Return the type that an upload must declare: what was said, and not what the name lets guess."""
    if content_type is not None:
        return check_content_type(content_type)
    return "" if facts.content_type == guess_content_type(facts.filename) else facts.content_type


def public_url(state: FileState) -> str | None:
    """Return the URL of a file for clients, of our own route; None without one, and for a file that is not saved."""
    if storages.signer is None or not state.content.is_saved:
        return None
    expires_at = (int(time.time()) // URL_WINDOW + 1) * URL_WINDOW + URL_LIFETIME
    return storages.signer.url(_download_claims(state, expires_at=expires_at))


def _download_claims(
    state: FileState,
    *,
    expires_at: int,
    disposition: str = "",
    filename: str | None = None,
    content_type: str | None = None,
    subject: str | None = None,
) -> Claims:
    """Return what a URL that reads a file claims; what its row does not know, the reader asks the storage."""
    facts = state.facts
    return Claims(
        purpose="download",
        method="GET",
        backend=state.storage_name(),
        key=state.located()[1],
        expires_at=expires_at,
        filename=facts.filename if filename is None else clean_filename(filename),
        content_type=facts.content_type if content_type is None else check_content_type(content_type),
        disposition=disposition,
        size=-1 if facts.size is None else facts.size,
        checksum=facts.checksum or "",
        subject=subject or "",
    )
