"""The `Range` header (RFC 9110, section 14), pure: one range or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ("ByteRange", "Unsatisfiable", "requested_range")

MAX_HEADER = 256
"""Characters of a `Range` header; a longer one asks for more ranges than anybody needs, and is ignored."""

_ONE_RANGE = re.compile(r"bytes=[ \t]*(?P<first>[0-9]*)-(?P<last>[0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file, at least one."""

    start: int
    length: int


class Unsatisfiable(Enum):
    """A valid range that the file has no byte of."""

    RANGE = "unsatisfiable"


def requested_range(header: str | None, size: int) -> ByteRange | Unsatisfiable | None:
    """Return what a `Range` header asks of a file of *size* bytes; None for the whole of it.

    What is malformed, of another unit or more than one range is ignored, as section 14.2 allows.
    """
    if header is None or len(header) > MAX_HEADER or (match := _ONE_RANGE.fullmatch(header)) is None:
        return None
    first, last = match["first"], match["last"]
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return Unsatisfiable.RANGE
    end = min(int(last) + 1, size) if last else size
    return ByteRange(start, end - start)


def _suffix(last: str, size: int) -> ByteRange | Unsatisfiable | None:
    if not last:
        return None
    length = min(int(last), size)
    return ByteRange(size - length, length) if length else Unsatisfiable.RANGE
