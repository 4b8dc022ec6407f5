"""What the first bytes of a file show it to be: pure functions, no I/O.

Binary formats have signatures.  Text has none: what a browser would take for a page, or for a picture
with scripts, is told by the tags of the WHATWG's standard and by the root element.
https://mimesniff.spec.whatwg.org/
"""

from __future__ import annotations

import re

from filecolumn.mediatypes import DANGEROUS, FRAGMENT, SCRIPT, TEXT, UNKNOWN, XML
from filecolumn.signatures import late_signature_of, signature_of

__all__ = ("HEAD_SIZE", "sniff")

HEAD_SIZE = 4096
"""Bytes of the content that are looked at."""

# Text has bells, backspaces, form feeds, escapes and the DOS end of file; other controls are few in it,
# as separators of fields or what switches a character set (ISO 2022)
_NOT_IN_TEXT = re.compile(rb"[\x00-\x06\x0b\x0e-\x19\x1c-\x1f]")
_RARE_IN_TEXT = 10
"""One in so many bytes, at most, may be a control that most text does not have."""
_UTF_8 = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_WIDE = re.compile(
    rb"(?:[\t\n\r -~]\0){8}|(?:\0[\t\n\r -~]){8}|(?:[\t\n\r -~]\0\0\0){4}|(?:\0\0\0[\t\n\r -~]){4}"
)
"""UTF-16 or UTF-32 without a mark: Latin letters whose other bytes are 0."""

_TEXT_SIGNATURES = (
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"%!PS"), "application/postscript"),
    (re.compile(rb"\{\\rtf"), "application/rtf"),
    (re.compile(rb"<\?(?:php\b|=)", re.IGNORECASE), "application/x-httpd-php"),
    (re.compile(rb"#!\s*/\S"), SCRIPT),
    (re.compile(rb"@echo\s+off\b", re.IGNORECASE), "application/x-bat"),
)
# Printers' commands or a mail's header may stand before it: https://www.iso.org/standard/75839.html, annex
_LATE_PDF = re.compile(rb"%PDF-\d\.\d\s{1,2}%[\x80-\xff]{2}")
_LATE_PDF_SIZE = 1024
# An installer or a zipped program of Python may begin with a script, and XML may hold binary data
_SEEN_IN_BINARY = DANGEROUS - {SCRIPT, XML} | {"application/pdf"}

_HTML = re.compile(rb"<(?:!doctype html|html|head|script|iframe|style|title|body)[\s>]", re.IGNORECASE)
_HTML_PARTS = re.compile(rb"<(?:h1|div|font|table|a|b|br|p)[\s>]|<!--", re.IGNORECASE)
"""Section 7.1 of the standard: what begins a page, and what begins many a Markdown file too."""
# Each part ends at the next tag or is bounded: without that, the time grows with the square of the size
_RUNS = re.compile(
    rb"<(?:script|iframe|object|embed|body|html)[\s>]|<[^<>]*\son[a-z]{1,32}\s{0,8}=", re.IGNORECASE
)
# https://spec.commonmark.org/0.31.2/: fenced and indented code, and spans within a line
_SHOWN_CODE = re.compile(
    rb"^ {0,3}(`{3,}|~{3,}).*?(?:\n {0,3}\1|\Z)|(?<=\n)\r?\n(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+|`[^`\n]+`",
    re.DOTALL | re.MULTILINE,
)
_DECLARATION = re.compile(rb"<!(?:ENTITY|ELEMENT|ATTLIST|NOTATION)\s")
_PAGES = frozenset((b"html", b"head", b"body", b"script", b"iframe", b"style", b"title"))
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_PROLOG = {b"<?": b"?>", b"<!--": b"-->", b"<!": b">"}


def sniff(head: bytes) -> str:
    """Return the media type that the first `HEAD_SIZE` bytes of a file show.

    `text/plain` is any text without a mark of its own, also an empty file; `application/octet-stream`
    is what nobody knows.
    """
    if head.startswith(_WIDE_MARKS) or _WIDE.match(head):
        # every second or fourth byte of what a tag is made of
        return _sniff_text(head.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff"))
    odd = _NOT_IN_TEXT.findall(head)
    if not odd:
        return _sniff_text(head)
    if signature := signature_of(head):
        return signature
    shown = _sniff_text(head)
    if late := late_signature_of(head):
        # a page or a script may stand before it
        return late if shown == TEXT else shown
    is_text = b"\0" not in odd and len(odd) * _RARE_IN_TEXT <= len(head)
    return shown if is_text or shown in _SEEN_IN_BINARY else UNKNOWN


def _sniff_text(head: bytes) -> str:
    text = head.removeprefix(_UTF_8).lstrip()
    for signature, media_type in _TEXT_SIGNATURES:
        if signature.match(text):
            return media_type
    if text.startswith(b"<"):
        return _sniff_markup(text)
    return "application/pdf" if _LATE_PDF.search(text[:_LATE_PDF_SIZE]) else TEXT


def _sniff_markup(text: bytes) -> str:
    root = _root_of(text)
    if root == b"svg":
        return "image/svg+xml"
    if text.startswith(b"<?xml"):
        return "application/xhtml+xml" if root == b"html" else "application/xml"
    if _HTML.match(text) or (root in _PAGES and text.startswith(b"<!")):
        return "text/html"
    if _DECLARATION.search(text) and not root:
        # a DTD
        return TEXT
    if not _HTML_PARTS.match(text) or (
        root and text.startswith(b"<!--") and not _HTML_PARTS.match(b"<%b>" % root)
    ):
        return TEXT
    return "text/html" if _RUNS.search(_SHOWN_CODE.sub(b"\n", text)) else FRAGMENT


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
