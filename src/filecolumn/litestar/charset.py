"""Which text is announced as UTF-8: what is seen to be it, pure."""

from __future__ import annotations

import codecs
import re

__all__ = ("LOOKED_AT", "has_no_charset", "with_charset")

LOOKED_AT = 64 * 1024
"""Bytes at the beginning of a text that decide; what follows them is taken to be the same."""

_CHARSET = re.compile(r";\s*charset\s*=", re.IGNORECASE)
# What is UTF-8 by its bytes only.  Wide text without a mark has zeros between its letters; ISO-2022-JP says
# other letters in ASCII, after these: https://encoding.spec.whatwg.org/#iso-2022-jp-decoder.  Terminals use
# `\x1b(B`, which goes back to ASCII
_OTHERS = re.compile(rb"\0|\x1b(?:\$|\([IJ])")


def has_no_charset(content_type: str) -> bool:
    """Return whether a type is one of text that does not say how its letters are encoded."""
    return content_type.startswith("text/") and _CHARSET.search(content_type) is None


def with_charset(content_type: str, head: bytes, size: int) -> str:
    """Return the type of text of *size* bytes that begins with *head*, with `charset=utf-8` if that is UTF-8.

    Other text gets none: a browser that is told UTF-8 shows it wrong, one that is told nothing guesses.
    """
    head = head[:LOOKED_AT]
    try:
        # a character may be cut at the end of what was looked at
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) >= size)
    except UnicodeDecodeError:
        return content_type
    return content_type if _OTHERS.search(head) else f"{content_type}; charset=utf-8"
