"""What caches may keep of the answer to a request for a file, decided on its final headers, whoever set them.

What a shared cache keeps must not carry one user's cookies to the next (CVE-2024-26144), and no cache
may go on with an error, or with a redirect to a URL that expires.  What a signed URL gives is kept until
the URL ends, and what it gives to one user by nobody else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from math import floor
from typing import cast

from litestar.types import HTTPScope, Message, Scope

__all__ = (
    "about_a_file",
    "by_signed_url",
    "is_shared",
    "kept_by_caches",
    "settle_caching",
    "uncached",
    "without_files",
)

Headers = Iterable[tuple[bytes, bytes]]

_MARK = "_filecolumn_about_a_file"
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

    def limit(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return *headers* with which no cache goes on longer than the URL does, and no shared one with a user's."""
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
        return [*uncached(known), *((name, value.encode("latin-1")) for name, value in limited.items())]


def by_signed_url(scope: Scope, expires_at: int, *, is_bound: bool) -> None:
    """Take note that a request has come by a URL that ends, and whether it is for one user only."""
    cast("MutableMapping[str, object]", scope)[_SIGNED] = _SignedUrl(expires_at, is_bound)


def about_a_file(scope: Scope, headers: Headers) -> None:
    """Take note that what answers the request is a file, with *headers* for caches, or says why it is not."""
    cast("MutableMapping[str, object]", scope)[_MARK] = is_shared(headers)


def without_files(keeps: Callable[[HTTPScope, int], bool]) -> Callable[[HTTPScope, int], bool]:
    """Return a filter of Litestar's response cache that keeps what *keeps* does, but for files.

    It would send the whole file for a range or a condition, with the cookies of another user, and hold it in memory.
    """

    def filtered(scope: HTTPScope, status: int) -> bool:
        return _MARK not in scope and keeps(scope, status)

    return filtered


async def settle_caching(message: Message, scope: Scope) -> None:
    """Settle what caches may keep of an answer about a file; a `before_send` hook, the last of all."""
    if message["type"] == "http.response.start" and _MARK in scope:
        message["headers"] = kept_by_caches(message["status"], message["headers"], scope)


def kept_by_caches(status: int, headers: Headers, scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return *headers* without what must not be kept, if they are about a file.

    Nobody keeps an error or a redirect.  Cookies do not go with a file that a shared cache may keep, nor
    with the errors of one.
    """
    known = list(headers)
    about = cast("Mapping[str, object]", scope).get(_MARK)
    if about is None:
        return known
    without_cookies = [pair for pair in known if pair[0].lower() != b"set-cookie"]
    if status >= 400 or (300 <= status < 400 and status != 304):
        return [*uncached(without_cookies if about else known), (b"cache-control", b"no-store")]
    signed = cast("Mapping[str, object]", scope).get(_SIGNED)
    if isinstance(signed, _SignedUrl):
        known, without_cookies = signed.limit(known), signed.limit(without_cookies)
    return without_cookies if about or is_shared(known) else known


def uncached(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return *headers* without those that are for caches."""
    return [pair for pair in headers if not _is_for_caches(pair[0].lower())]


def is_shared(headers: Headers) -> bool:
    """Return whether a shared cache may keep an answer with *headers*.

    It may keep what nothing forbids (RFC 9111, section 3): only `private` and `no-store` do, and next to
    `public` or `s-maxage` not for each cache.  `private` for some fields forbids no cache the others.
    """
    lines: dict[bytes, list[str]] = {b"cache-control": []}
    for name, value in headers:
        if _is_for_caches(lowered := name.lower()) and lowered not in {b"expires", b"pragma"}:
            lines.setdefault(lowered, []).append(value.decode("latin-1"))
    return any(_allows(name, ",".join(values)) for name, values in lines.items())


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
