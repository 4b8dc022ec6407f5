"""Headers of a response with a file: `Content-Disposition` (RFC 6266, RFC 8187), media types, charsets; pure."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Collection
from urllib.parse import quote

from filecolumn.content.media_types import INLINE_TYPES, canonical, is_inert
from filecolumn.errors import InvalidKeyError
from filecolumn.files.grants import Disposition
from filecolumn.naming import DEFAULT_CONTENT_TYPE, check_content_type, clean_filename, is_device_name

__all__ = (
    "INLINE_TYPES",
    "LOOKED_AT",
    "content_disposition",
    "has_no_charset",
    "is_listed",
    "served_as",
    "served_type",
    "with_charset",
)

LOOKED_AT = 64 * 1024
"""Bytes at the start of a text that decide on its charset."""

_CHARSET = re.compile(r";\s*charset\s*=", re.IGNORECASE)
# Text that only seems to be UTF-8: UTF-16 without a mark has zeros between its letters; ISO-2022-JP writes
# other letters in ASCII, after these escapes: https://encoding.spec.whatwg.org/#iso-2022-jp-decoder.  Terminals use
# `\x1b(B`, which goes back to ASCII
_OTHERS = re.compile(rb"\0|\x1b(?:\$|\([IJ])")


def has_no_charset(content_type: str) -> bool:
    """Return whether a media type is one of text without a charset."""
    return content_type.startswith("text/") and _CHARSET.search(content_type) is None


def with_charset(content_type: str, head: bytes, size: int) -> str:
    """Return the type of text of *size* bytes that begins with *head*, with `charset=utf-8` if that is UTF-8.

    Other text gets no charset: a browser that is told UTF-8 shows it wrong, one that is told nothing guesses.
    """
    head = head[:LOOKED_AT]
    try:
        # a character may be cut at the end of what was looked at
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) >= size)
    except UnicodeDecodeError:
        return content_type
    return content_type if _OTHERS.search(head) else f"{content_type}; charset=utf-8"


_UNSAFE = re.compile(r"[^ !#$&'()+,.0-9;=@A-Z\[\]^_`a-z{|}~-]")
# RFC 8187, section 3.2.1: attr-char
_ATTR_CHARS = "!#$&+-.^_`|~"


def content_disposition(disposition: Disposition, filename: str) -> str:
    """Return the header's value: a name in ASCII, and the true one if it differs."""
    name = _download_name(filename)
    if name.isascii() and not _UNSAFE.search(name):
        return f'{disposition}; filename="{name}"'
    letters = (mark for mark in unicodedata.normalize("NFKD", name) if not unicodedata.combining(mark))
    plain = _UNSAFE.sub("_", "".join(letters))
    value = f'{disposition}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def served_as(wanted: Disposition, content_type: str, inline_types: Collection[str]) -> Disposition:
    """Return `inline` only if that is wanted and the type is listed."""
    return "inline" if wanted == "inline" and is_listed(content_type, inline_types) else "attachment"


def served_type(content_type: str, inline_types: Collection[str]) -> str:
    """Return the `Content-Type`: always valid, and only a type that is known to be inert or that is listed."""
    checked = check_content_type(content_type)
    media_type = checked.partition(";")[0].strip()
    if not is_inert(media_type) and not is_listed(media_type, inline_types):
        return DEFAULT_CONTENT_TYPE
    return checked


def is_listed(content_type: str, types: Collection[str]) -> bool:
    """Return whether a type is in *types*, by any of its names; these may hold wildcards such as `image/*`."""
    media_type = check_content_type(content_type).partition(";")[0].strip()
    # a wildcard is for what a browser shows or plays, never for what it runs
    return canonical(media_type) in map(canonical, types) or (
        is_inert(media_type) and f"{media_type.partition('/')[0]}/*" in types
    )


def _download_name(filename: str) -> str:
    """Clean a name again, since a row may have been written by others; a device of Windows gets `_` in front."""
    try:
        name = clean_filename(filename)
    except InvalidKeyError:
        name = clean_filename("")
    return f"_{name}" if is_device_name(name) else name
