"""What the first bytes of a file show it to be: pure functions, no I/O.

Binary formats have signatures.  Text has none: what a browser would take for a page, or for a picture
with scripts, is told by the tags of the WHATWG's standard and by the root element.
https://mimesniff.spec.whatwg.org/
"""

from __future__ import annotations

import re

from filecolumn.mediatypes import UNKNOWN
from filecolumn.signatures import signature_of

__all__ = ("HEAD_SIZE", "sniff")

HEAD_SIZE = 4096
"""Bytes of the content that are looked at."""

_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has (section 3 of the standard)."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_UTF_8 = b"\xef\xbb\xbf"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TEXT_SIGNATURES = {
    b"%PDF-": "application/pdf",
    b"%!PS-Adobe-": "application/postscript",
    b"{\\rtf": "application/rtf",
    b"<?php": "application/x-httpd-php",
}
_HTML = re.compile(
    rb"<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>]|<!--",
    re.IGNORECASE,
)
"""Section 7.1 of the standard."""
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_PROLOG = {b"<?": b"?>", b"<!--": b"-->", b"<!": b">"}


def sniff(head: bytes) -> str:
    """Return the media type that the first `HEAD_SIZE` bytes of a file show.

    `text/plain` is any text without a mark of its own, also an empty file; `application/octet-stream`
    is what nobody knows.
    """
    if not _BINARY.search(head) or head.startswith(_UTF_16):
        return _sniff_text(head)
    signature = signature_of(head)
    if signature is None and head.startswith(_OLE):
        return "application/x-ole-storage"
    return signature or UNKNOWN


def _sniff_text(head: bytes) -> str:
    if head.startswith(_UTF_16):
        # every second byte of what a tag is made of
        head = head.replace(b"\0", b"")[2:]
    text = head.removeprefix(_UTF_8).lstrip()
    for signature, media_type in _TEXT_SIGNATURES.items():
        if text.startswith(signature):
            return media_type
    if not text.startswith(b"<"):
        return "text/plain"
    return _sniff_markup(text)


def _sniff_markup(text: bytes) -> str:
    root = _root_of(text)
    if root == b"svg":
        return "image/svg+xml"
    if text.startswith(b"<?xml"):
        return "application/xhtml+xml" if root == b"html" else "application/xml"
    return "text/html" if _HTML.match(text) else "text/plain"


def _root_of(text: bytes) -> bytes:
    """Return the local name of the first element, in lower case; empty if it is not in sight."""
    while opening := next((mark for mark in _PROLOG if text.startswith(mark)), None):
        end = _PROLOG[opening]
        before, _, _ = text.partition(b">")
        if opening == b"<!" and b"[" in before:
            # declarations of its own: the end of them, not of the first
            end = b"]>"
        text = text.partition(end)[2].lstrip()
    root = _ROOT.match(text)
    return root[1].lower() if root else b""
