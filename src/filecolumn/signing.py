"""Signed tokens and the URLs that carry them: pure, the time is an argument.

A token holds its claims in the open and an HMAC-SHA256 over them.  What is signed is the
sequence of all fields, each with its length in front, so that no two sets of claims share one
form.  Each purpose has a key of its own, derived from the secret: what signs downloads cannot
sign anything else, also not what another part of an application signs with the same secret.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import timedelta
from hashlib import sha256
from math import ceil
from typing import Literal

from filecolumn.errors import InvalidGrantError

__all__ = ("MAX_LIFETIME", "Claims", "Purpose", "TokenSigner", "UrlSigner", "expiry", "seconds_of")

Purpose = Literal["download", "upload", "grant"]
"""What a token is for: reading by URL, storing by URL, or attaching what was stored to a row."""

MAX_LIFETIME = 7 * 24 * 3600
"""Seconds that a token may live at most; what the clouds allow their own URLs."""

MAX_TOKEN_CHARACTERS = 8192
MIN_SECRET_BYTES = 32

_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_MAC_BYTES = 32
_LENGTH_BYTES = 4
_REFUSED = "the signature is not valid, has expired, or is for something else; ask for a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says and signs; an empty string or -1 means that it says nothing of this."""

    purpose: Purpose
    """What the token is for: `download`, `upload` or `grant`; it is not valid for anything else."""
    method: str
    """The HTTP method, `GET` or `PUT`; `ATTACH` for a grant."""
    backend: str
    """The key of the storage."""
    key: str
    """The key of the object in the storage."""
    expires_at: int
    """When the token expires, in seconds since the epoch, UTC."""
    filename: str = ""
    """The name that the reader gets, or that the uploaded file has."""
    content_type: str = ""
    """The media type that the reader gets, or that the upload must declare."""
    disposition: str = ""
    """`inline` or `attachment`."""
    size: int = -1
    """Bytes that were uploaded."""
    max_size: int = -1
    """Bytes that may be uploaded at most."""
    checksum: str = ""
    """`sha256:<hex>` of the uploaded bytes, as the server has received them."""
    column: str = ""
    """`table.column` that the file is for."""
    subject: str = ""
    """Whom the token is for."""


_INTEGERS = frozenset({"expires_at", "size", "max_size"})
_NAMES = tuple(field.name for field in fields(Claims))


class TokenSigner:
    """Signs claims with the first of its secrets, and verifies tokens with each of them."""

    def __init__(self, secrets: str | bytes | Sequence[str | bytes]) -> None:
        """Take a secret, or several with the newest first, each of at least 32 bytes.

        Raises ValueError for a secret that is shorter, or none.
        """
        given = [secrets] if isinstance(secrets, str | bytes) else list(secrets)
        encoded = [secret.encode() if isinstance(secret, str) else secret for secret in given]
        if not encoded or min(map(len, encoded)) < MIN_SECRET_BYTES:
            raise ValueError(
                f"a signing key needs at least {MIN_SECRET_BYTES} bytes; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._secrets = encoded

    def sign(self, claims: Claims) -> str:
        """Return the token of *claims*: letters, digits, `-` and `_`."""
        key = _derived(self._secrets[0], claims.purpose)
        signed = _VERSION + _key_id(key) + _payload(claims)
        return _encoded(signed + _mac(key, signed))

    def verify(self, token: str, purpose: Purpose, *, now: float) -> Claims:
        """Return the claims of *token*; InvalidGrantError unless it is valid for *purpose* at the time *now*.

        *now* is in seconds since the epoch, UTC.
        """
        raw = _decoded(token)
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        keys = (_derived(secret, purpose) for secret in self._secrets)
        # every key is tried, whatever the id says, so that the time tells nothing about which there are
        valid = [
            hmac.compare_digest(_mac(key, signed), mac) and signed.startswith(_VERSION + _key_id(key))
            for key in keys
        ]
        if not any(valid):
            raise InvalidGrantError(_REFUSED)
        claims = _claims(signed[len(_VERSION) + _KEY_ID_BYTES :])
        if claims.purpose != purpose or not 0 < claims.expires_at - now <= MAX_LIFETIME + 1:
            raise InvalidGrantError(_REFUSED)
        return claims


@dataclass(frozen=True, slots=True)
class UrlSigner:
    """Makes URLs with tokens, for a route that verifies them.  `storages.signer` holds the one in use."""

    tokens: TokenSigner
    """What signs the tokens."""
    base_url: str
    """The path or absolute URL of the route, without a slash at its end."""

    def url(self, claims: Claims) -> str:
        """Return a URL with a token of *claims*."""
        return f"{self.base_url}/{self.tokens.sign(claims)}"


def expiry(now: float, expires_in: float | timedelta) -> int:
    """Return when what is signed at *now* ends; ValueError for a lifetime that is not in (0, 7 days]."""
    seconds = seconds_of(expires_in)
    if not 0 < seconds <= MAX_LIFETIME:
        raise ValueError(f"expires_in must be above 0 and at most {MAX_LIFETIME} seconds, not {expires_in!r}")
    return ceil(now + seconds)


def seconds_of(duration: float | timedelta) -> float:
    """Return a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _derived(secret: bytes, purpose: Purpose) -> bytes:
    return hmac.digest(secret, b"filecolumn signing 1 " + purpose.encode(), "sha256")


def _key_id(key: bytes) -> bytes:
    return sha256(b"id" + key).digest()[:_KEY_ID_BYTES]


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")


def _payload(claims: Claims) -> bytes:
    values = [str(value).encode() for value in astuple(claims)]
    return b"".join(len(value).to_bytes(_LENGTH_BYTES) + value for value in values)


def _claims(payload: bytes) -> Claims:
    """Read what a valid MAC vouches for; its form was ours when it was signed."""
    values: dict[str, str | int] = {}
    for name in _NAMES:
        end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES])
        text = payload[_LENGTH_BYTES:end].decode()
        values[name] = int(text) if name in _INTEGERS else text
        payload = payload[end:]
    return Claims(**values)  # type: ignore[arg-type]  # by name, each of its field's type


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    """Return the bytes of *token*, of which it must be the one spelling: base64 has several for most."""
    if not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise InvalidGrantError(_REFUSED)
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (Base64Error, ValueError):
        raise InvalidGrantError(_REFUSED) from None
    if len(raw) <= len(_VERSION) + _KEY_ID_BYTES + _MAC_BYTES or not hmac.compare_digest(
        _encoded(raw).encode(), token.encode()
    ):
        raise InvalidGrantError(_REFUSED)
    return raw
