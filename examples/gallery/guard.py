"""Keeps other sites out: the gallery has no login, and any page in the browser can send requests to this machine."""

from __future__ import annotations

import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

__all__ = ("add_headers", "refuse_other_sites")

OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
READING = frozenset({"GET", "HEAD"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # under `no-referrer`, some browsers hide from us that a request is our own
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def refuse_other_sites(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse requests of other sites and what they embed; a link to a page or a file may be followed."""
    host = connection.headers.get("host", "")
    # a site can make its own name lead to this machine; then the name is not one of ours
    if OWN_HOST.fullmatch(host) is None:
        raise PermissionDeniedException("The gallery serves this machine only")
    own = f"{connection.url.scheme}://{host}".lower()
    origins = {origin.lower() for origin in connection.headers.getall("origin", [])}
    if not origins <= {own} or not (is_own(connection) or is_followed_link(connection)):
        raise PermissionDeniedException("Request from another site")


def is_own(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Return whether our page sent it, or no page at all; programs other than browsers do not say."""
    return set(connection.headers.getall("sec-fetch-site", [])) <= {"same-origin", "none"}


def is_followed_link(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Return whether it opens an address in a tab, of which the page with the link sees nothing."""
    headers = connection.headers
    opens_tab = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return opens_tab and connection.scope.get("method") in READING


async def add_headers(message: Message, _: Scope) -> None:
    """Add the headers to every response, errors too; a response that has one keeps its own."""
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            if name not in headers:
                headers[name] = value
