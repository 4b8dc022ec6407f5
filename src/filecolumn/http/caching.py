"""What caches may keep of a response with a file, decided on its final headers, whoever set them.

A shared cache must not carry one user's cookies to the next (CVE-2024-26144), and no cache may keep an
error, or a redirect to a URL that expires.  What a signed URL gives is kept until the URL expires, and what
it gives to one user by nobody else.
"""

from __future__ import annotations

import re
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import cast

from filecolumn.http.asgi import RawHeaders, Scope

__all__ = (
    "cacheable_headers",
    "is_file_response",
    "is_shared",
    "mark_file_response",
    "mark_signed_url",
    "without_cache_headers",
)

_FILE = "_filecolumn_file_response"
_SIGNED = "_filecolumn_signed_url"

_FOR_CACHES = frozenset({b"cache-control", b"expires", b"pragma"})
# Those of CDNs (RFC 9213 and before it), which go before `Cache-Control` there: `CDN-Cache-Control`, also with a
# vendor's name in front, `Surrogate-Control`, Akamai's `Edge-Control`, nginx's `X-Accel-Expires`
_FOR_SHARED_CACHES = re.compile(rb"(?:.+-)?cdn-cache-control|surrogate-control|edge-control|x-accel-expires")

_DIRECTIVE = re.compile(r'(?:[^,"]|"[^"]*"?)+')
_LIFETIMES = frozenset({"max-age", "s-maxage"})
# beyond what is fresh, and so beyond the end of the URL
_STALE = frozenset({"stale-while-revalidate", "stale-if-error"})


@dataclass(frozen=True, slots=True)
class _SignedUrl:
    """The URL of a request, as far as caches have to know it."""

    expires_at: int
    is_bound: bool

    def limit(self, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
        """Return *headers* with which no cache keeps the file longer than the URL lasts, and no shared one a user's."""
        known = list(headers)
        left = max(floor(self.expires_at - time.time()), 0)
        lines = {b"cache-control": b""}
        for name, value in known:
            lowered = name.lower()
            is_limited = lowered == b"cache-control" or _is_for_cdn(lowered)
            if is_limited and not (self.is_bound and _is_for_cdn(lowered)):
                lines[lowered] = b", ".join(filter(None, [lines.get(lowered, b""), value]))
        limited = {name: _limited(value.decode("latin-1"), left) for name, value in lines.items()}
        if self.is_bound and is_shared(lines.items()):
            limited[b"cache-control"] = _limited(_for_one_user(limited[b"cache-control"]), left)
        return [
            *without_cache_headers(known),
            *((name, value.encode("latin-1")) for name, value in limited.items()),
        ]


def mark_signed_url(scope: Scope, expires_at: int, *, is_bound: bool) -> None:
    """Record in *scope* that the request uses a signed URL, so that no cache keeps the file for longer.

    *expires_at* is in seconds since the epoch; *is_bound* says whether the URL is for one subject only.
    """
    _shared(scope)[_SIGNED] = _SignedUrl(expires_at, is_bound)


def mark_file_response(scope: Scope, headers: RawHeaders) -> None:
    """Record in *scope* that the response is a file with *headers* for caches, or the error in place of one."""
    _shared(scope)[_FILE] = is_shared(headers)


def is_file_response(scope: Scope) -> bool:
    """Return whether the response to the request of *scope* is a file, or an error instead of one."""
    return _FILE in scope


def cacheable_headers(status: int, headers: RawHeaders, scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the final headers of a response: *headers*, made safe for caches if the response is a file.

    Errors and redirects get `no-store`.  A file that a shared cache may keep carries no cookies, and neither do
    errors instead of one.
    """
    known = list(headers)
    if not is_file_response(scope):
        return known
    was_shared = bool(scope[_FILE])
    without_cookies = [pair for pair in known if pair[0].lower() != b"set-cookie"]
    if status >= 400 or (300 <= status < 400 and status != 304):
        return [
            *without_cache_headers(without_cookies if was_shared else known),
            (b"cache-control", b"no-store"),
        ]
    signed = scope.get(_SIGNED)
    if isinstance(signed, _SignedUrl):
        known, without_cookies = signed.limit(known), signed.limit(without_cookies)
    return without_cookies if was_shared or is_shared(known) else known


def _shared(scope: Scope) -> MutableMapping[str, object]:
    """Return the dictionary that a scope is; frameworks type it as one with fixed keys."""
    return cast("MutableMapping[str, object]", scope)


def without_cache_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return *headers* without those for caches."""
    return [pair for pair in headers if not _is_for_caches(pair[0].lower())]


def is_shared(headers: RawHeaders) -> bool:
    """Return whether a shared cache may keep an answer with *headers*.

    It may keep what nothing forbids (RFC 9111, section 3): only `private` and `no-store` do, and next to
    `public` or `s-maxage` not for each cache.  `private` for some fields forbids no cache the others.
    """
    lines = {b"cache-control": b""}
    for name, value in headers:
        if _is_for_caches(lowered := name.lower()) and lowered not in {b"expires", b"pragma"}:
            known = lines.get(lowered)
            lines[lowered] = b"%b,%b" % (known, value) if known else value
    return any(_allows(name, value.decode("latin-1")) for name, value in lines.items())


# of the headers of every response; those that an application sends are few
@lru_cache(maxsize=256)
def _is_for_caches(name: bytes) -> bool:
    return name in _FOR_CACHES or _FOR_SHARED_CACHES.fullmatch(name) is not None


def _is_for_cdn(name: bytes) -> bool:
    # nginx goes by `Cache-Control` where it has no header of its own
    return _FOR_SHARED_CACHES.fullmatch(name) is not None and name != b"x-accel-expires"


def _limited(value: str, left: int) -> str:
    """Return the directives of *value*, by which an answer is kept for *left* seconds at most."""
    kept: list[str] = []
    for directive in map(str.strip, _DIRECTIVE.findall(value)):
        name, _, argument = directive.partition("=")
        if name.strip().lower() in _LIFETIMES:
            seconds = argument.strip(' "')
            kept.append(f"{name.strip()}={min(int(seconds), left) if seconds.isdecimal() else 0}")
        elif name.strip().lower() not in _STALE:
            kept.append(directive)
    # without a lifetime a cache makes one up
    names = _directives(value)
    if "max-age" not in names and not {"no-cache", "no-store"} & names:
        kept.append(f"max-age={left}")
    return ", ".join(filter(None, kept))


def _for_one_user(value: str) -> str:
    kept = (
        directive
        for directive in map(str.strip, _DIRECTIVE.findall(value))
        if directive.partition("=")[0].strip().lower() not in {"public", "s-maxage", "private"}
    )
    return ", ".join(["private", *kept])


@lru_cache(maxsize=256)
def _allows(name: bytes, value: str) -> bool:
    if name == b"x-accel-expires":
        return value.strip() not in {"0", "off"}
    directives = _directives(value)
    if directives & {"public", "s-maxage"}:
        return True
    return not directives & {"private", "no-store"}


def _directives(value: str) -> frozenset[str]:
    """Return the names of the directives; `private` and `no-cache` only if they are for the whole answer."""
    # a quoted argument may hold commas
    outside = '""'.join(value.split('"')[::2])
    found = (directive.partition("=") for directive in outside.split(","))
    names = ((name.strip().lower(), is_qualified) for name, is_qualified, _ in found)
    return frozenset(
        name for name, is_qualified in names if not (name in {"private", "no-cache"} and is_qualified)
    )
