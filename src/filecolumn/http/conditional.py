"""Conditional requests (RFC 9110, section 13) and ranges (section 14); pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum
from functools import lru_cache

__all__ = (
    "ByteRange",
    "Outcome",
    "Unsatisfiable",
    "Validators",
    "evaluate",
    "range_is_current",
    "requested_range",
)

MAX_HEADER = 256
"""Characters of a `Range` header; a longer one has many ranges, and is ignored."""

_ONE_RANGE = re.compile(r"bytes=[ \t]*(?P<first>[0-9]*)-(?P<last>[0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file, at least one."""

    start: int
    length: int


class Unsatisfiable(Enum):
    """A valid range without any byte of the file."""

    RANGE = "unsatisfiable"


def requested_range(header: str | None, size: int) -> ByteRange | Unsatisfiable | None:
    """Return what a `Range` header asks of a file of *size* bytes; None for the whole of it.

    A malformed header, another unit and more than one range are ignored, as section 14.2 allows.
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


MAX_TAGS = 64 * 1024
"""Characters of a list of tags that are looked at; a longer one matches nothing."""

# An HTTP-date has a year of four digits (RFC 9110, section 5.6.7)
_FIRST_DATE = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_DATE = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


class Outcome(Enum):
    """The result of the conditions of a request."""

    SEND = 200
    NOT_MODIFIED = 304
    FAILED = 412


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of one version of a file."""

    etag: str | None
    """The entity tag with its quotes, and `W/` in front if it is weak; None if there is none."""
    last_modified: float | None
    """When the content was stored, in seconds since the epoch, UTC."""

    @property
    def modified(self) -> int | None:
        """`last_modified` in whole seconds; None if it is not a date that a header can carry."""
        if self.last_modified is None or not _FIRST_DATE <= self.last_modified <= _LAST_DATE:
            return None
        return int(self.last_modified)

    @property
    def http_date(self) -> str | None:
        """`modified` as text for a header, such as `Mon, 30 Nov 2026 12:00:00 GMT`; None if it is None."""
        modified = self.modified
        return None if modified is None else _http_date(modified)


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def evaluate(headers: Mapping[str, str], now: Validators) -> Outcome:
    """Return the outcome of a GET or HEAD with *headers* (names in lower case), in the order of section 13.2.2."""
    if (tags := headers.get("if-match")) is not None:
        if not _matches(tags, now.etag, weakly=False):
            return Outcome.FAILED
    elif (date := _date(headers.get("if-unmodified-since"))) is not None and _is_newer(now, date):
        return Outcome.FAILED
    if (tags := headers.get("if-none-match")) is not None:
        return Outcome.NOT_MODIFIED if _matches(tags, now.etag, weakly=True) else Outcome.SEND
    date = _date(headers.get("if-modified-since"))
    if date is not None and now.modified is not None and not _is_newer(now, date):
        return Outcome.NOT_MODIFIED
    return Outcome.SEND


def range_is_current(if_range: str | None, now: Validators) -> bool:
    """Return whether a range may be sent: its `If-Range` names this very version, or there is none."""
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == now.etag and not if_range.startswith("W/")
    return if_range == now.http_date


def _matches(header: str, etag: str | None, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    if etag is None or len(header) > MAX_TAGS:
        return False
    weak, opaque = etag.startswith("W/"), etag.removeprefix("W/")
    return any(
        f'"{tag}"' == opaque and (weakly or not (weak or prefix)) for prefix, tag in _TAG.findall(header)
    )


def _is_newer(now: Validators, date: datetime) -> bool:
    return now.modified is not None and now.modified > date.timestamp()


def _date(header: str | None) -> datetime | None:
    try:
        date = None if header is None else parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
