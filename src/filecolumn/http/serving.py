"""The response to a GET or HEAD of a file, decided from its row and the request without any I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from filecolumn.files.grants import Disposition
from filecolumn.http.asgi import RawHeaders
from filecolumn.http.conditional import (
    Outcome,
    Unsatisfiable,
    Validators,
    evaluate,
    range_is_current,
    requested_range,
)
from filecolumn.http.headers import INLINE_TYPES, content_disposition, served_as, served_type

__all__ = (
    "CONTENT_SECURITY_POLICY",
    "Decision",
    "Representation",
    "Serving",
    "decide",
    "request_headers",
    "secure_headers",
)

CONTENT_SECURITY_POLICY = (
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
)
"""A document that is shown runs no script and belongs to no origin; pictures still show."""

_PLAYER_POLICY = CONTENT_SECURITY_POLICY.removeprefix("sandbox; ")
"""Without the sandbox, in which the page that a browser makes around a sound or a film may not load it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """The facts of a file that its response depends on."""

    filename: str
    """The name for the client."""
    content_type: str
    """The media type of the file; `decide` serves it only if it is known to be inert."""
    size: int
    """Bytes of the content."""
    checksum: str | None = None
    """`sha256:<hex>` of the content."""
    etag: str | None = None
    """The storage's own tag."""
    last_modified: float | None = None
    """When the content was stored, in seconds since the epoch, UTC."""

    @property
    def validators(self) -> Validators:
        """The validators of the file: a strong tag from the checksum, else a weak one from the storage's own."""
        if self.checksum is not None:
            return Validators(f'"{self.checksum.rpartition(":")[2]}"', self.last_modified)
        tag = (self.etag or "").removeprefix("W/").strip('"')
        is_sound = bool(tag) and tag.isascii() and tag.isprintable() and not set(tag) & set('" ')
        return Validators(f'W/"{tag}"' if is_sound else None, self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The headers of responses with files; the defaults are the safe ones."""

    disposition: Disposition = "attachment"
    """`attachment`: browsers save files.  `inline`: they show those of `inline_types`, and save the others."""
    inline_types: Collection[str] = field(default=INLINE_TYPES)
    """The media types that browsers may show, also as wildcards such as `image/*`."""
    cache_control: str = "private, no-cache"
    """The `Cache-Control` of each response with a file."""
    content_security_policy: str = CONTENT_SECURITY_POLICY
    """The `Content-Security-Policy`: by default a file that is shown runs no script, and loads nothing but itself.

    For sound and films that are shown, the default is sent without `sandbox`, with which they would not play.
    """
    cross_origin_resource_policy: str = "same-origin"
    """The `Cross-Origin-Resource-Policy`: which pages may embed the file."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided response: its status, its headers, and the bytes of the file that are its body."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The headers of filecolumn, without those of the application."""
    start: int = 0
    """The first byte of the body, counted from the start of the file."""
    length: int = 0
    """Bytes of the body, also for HEAD."""
    is_whole: bool = False
    """Whether the body is the whole file."""
    file_size: int = 0
    """Bytes of the whole file; 0 for a response without a type."""


def decide(method: str, headers: Mapping[str, str], file: Representation, serving: Serving) -> Decision:
    """Return the response to a GET or HEAD with *headers*, whose names are in lower case."""
    validators = file.validators
    common = _common_headers(file, validators, serving)
    outcome = evaluate(headers, validators)
    if outcome is not Outcome.SEND:
        return Decision(outcome.value, {**common, **(_REFUSED if outcome is Outcome.FAILED else {})})
    described = {**common, **_described(file, serving)}
    wanted = None
    if method == "GET" and range_is_current(headers.get("if-range"), validators):
        wanted = requested_range(headers.get("range"), file.size)
    if wanted is Unsatisfiable.RANGE:
        return Decision(416, {**common, **_REFUSED, "Content-Range": f"bytes */{file.size}"})
    if wanted is None:
        whole = {**described, "Content-Length": str(file.size)}
        return Decision(200, whole, length=file.size, is_whole=True, file_size=file.size)
    span = f"bytes {wanted.start}-{wanted.start + wanted.length - 1}/{file.size}"
    partial = {**described, "Content-Range": span, "Content-Length": str(wanted.length)}
    return Decision(206, partial, wanted.start, wanted.length, file_size=file.size)


def request_headers(raw: RawHeaders) -> dict[str, str]:
    """Return the request headers that a response depends on; repeated ones are joined (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in raw:
        lowered = name.lower()
        if lowered == b"range" or lowered.startswith(b"if-"):
            key, text = lowered.decode("latin-1"), value.decode("latin-1").strip()
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found


_REFUSED: Mapping[str, str] = {"Cache-Control": "no-store", "Content-Length": "0"}


def secure_headers(serving: Serving) -> dict[str, str]:
    """Return the headers that every response with a file has, and every error in place of one."""
    return {
        "Cache-Control": serving.cache_control,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": serving.content_security_policy,
        "Cross-Origin-Resource-Policy": serving.cross_origin_resource_policy,
        "Referrer-Policy": "no-referrer",
    }


def _common_headers(file: Representation, validators: Validators, serving: Serving) -> dict[str, str]:
    # a 304 too: it updates what the browser has kept of the file
    headers = {**secure_headers(serving), "Accept-Ranges": "bytes"}
    headers["Content-Security-Policy"] = _policy(file, serving)
    if validators.etag is not None:
        headers["ETag"] = validators.etag
    if (date := validators.http_date) is not None:
        headers["Last-Modified"] = date
    return headers


def _policy(file: Representation, serving: Serving) -> str:
    """Return the `Content-Security-Policy`; one of the application's own stays as it is."""
    if serving.content_security_policy != CONTENT_SECURITY_POLICY:
        return serving.content_security_policy
    is_shown = served_as(serving.disposition, file.content_type, serving.inline_types) == "inline"
    is_played = served_type(file.content_type, serving.inline_types).startswith(("audio/", "video/"))
    return _PLAYER_POLICY if is_shown and is_played else CONTENT_SECURITY_POLICY


def _described(file: Representation, serving: Serving) -> dict[str, str]:
    disposition = served_as(serving.disposition, file.content_type, serving.inline_types)
    return {
        "Content-Type": served_type(file.content_type, serving.inline_types),
        "Content-Disposition": content_disposition(disposition, file.filename),
    }
