"""ASGI messages of HTTP, typed so that those of frameworks fit: read as mappings, sent as exact dictionaries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal, TypedDict

__all__ = ("RawHeaders", "Receive", "ResponseBody", "ResponseStart", "Scope", "Send")

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names and values of headers, in the order in which they are sent."""

Scope = Mapping[str, object]
"""One request; it is a dictionary that everything which handles the request shares."""

Receive = Callable[[], Awaitable[Mapping[str, object]]]
"""Returns the next message from the client."""


class ResponseStart(TypedDict):
    """The ASGI message with the status and the headers."""

    type: Literal["http.response.start"]
    """Which message it is."""
    status: int
    """The HTTP status."""
    headers: RawHeaders
    """Pairs of name and value; names are in lower case."""


class ResponseBody(TypedDict):
    """An ASGI message with a part of the body."""

    type: Literal["http.response.body"]
    """Which message it is."""
    body: bytes
    """The bytes; may be empty."""
    more_body: bool
    """Whether another message with bytes follows."""


Send = Callable[[ResponseStart | ResponseBody], Awaitable[None]]
"""Sends a message to the client."""
