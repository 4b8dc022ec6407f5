"""What a query is to find, in plain Python: an oracle over a list of dictionaries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from filecolumn.query.patterns import portable
from tests.orm.facts_oracle import exists, filename, integer, member, moment, number, path_of, string

__all__ = ("LOOKUPS", "finds", "value_of")

Row = Mapping[str, object]


def value_of(row: Row, name: str) -> object:
    """Return the value of a field of a row, of any type for metadata; None if it has none."""
    first, *rest = name.split("__")
    file = row["file"]
    readers: Mapping[str, Callable[[], object]] = {
        "path": lambda: path_of(file),
        "filename": lambda: filename(file),
        "size": lambda: integer(member(file, "size")),
        "last_modified": lambda: number(member(file, "last_modified")),
        "metadata": lambda: member(file, "metadata", *rest),
        "content_type": lambda: string(member(file, "content_type")),
    }
    return readers[first]() if first in readers else row[first]


def finds(row: Row, name: str, lookup: str, value: object) -> bool:
    """Return whether a row is found by a condition."""
    return LOOKUPS[lookup](value_of(row, name), value)


def _number(value: object) -> int | float | None:
    """Return a number as databases compare it: whole ones of 64 bits as they are, others as doubles."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    whole = integer(value)
    return number(value) if whole is None else whole


def _pair(value: object, other: object) -> tuple[object, object] | None:
    """Return two values that can be compared."""
    if isinstance(value, datetime) and isinstance(other, datetime):
        return value, other
    if isinstance(other, datetime) and other.tzinfo:
        other = other.timestamp()
    if isinstance(value, bool) or isinstance(other, bool):
        return (value, other) if isinstance(value, bool) and isinstance(other, bool) else None
    if isinstance(value, int | float) and isinstance(other, int | float):
        mine, its = _number(value), _number(other)
        # a number beyond all doubles is greater than each of them, and equals none
        return None if mine is None else (mine, other if its is None else its)
    return (value, other) if type(value) is type(other) and value is not None else None


def _compared(compare: Callable[[object, object], bool]) -> Callable[[object, object], bool]:
    def holds(value: object, other: object) -> bool:
        pair = _pair(value, other)
        return pair is not None and compare(*pair)

    return holds


def equals(value: object, other: object) -> bool:
    return not exists(value) if other is None else _compared(lambda mine, its: mine == its)(value, other)


greater = _compared(lambda mine, its: mine > its)  # type: ignore[operator]
at_least = _compared(lambda mine, its: mine >= its)  # type: ignore[operator]
less = _compared(lambda mine, its: mine < its)  # type: ignore[operator]
at_most = _compared(lambda mine, its: mine <= its)  # type: ignore[operator]


def contains(value: object, part: object) -> bool:
    if isinstance(part, list):
        return exists(value) and all(contains(value, each) for each in part)
    if isinstance(value, list):
        return any(equals(each, part) for each in value)
    return isinstance(value, str) and isinstance(part, str) and part in value


def matches(value: object, pattern: object, flags: int = 0) -> bool:
    return isinstance(value, str) and bool(re.search(portable(str(pattern)), value, flags))


def _date(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value
    return value if isinstance(value, date) else moment(value)


def _part(name: str) -> Callable[[object, object], bool]:
    return lambda value, part: getattr(_date(value), name, None) == part


LOOKUPS: Mapping[str, Callable[[object, object], bool]] = {
    "equals": equals,
    "in": lambda value, others: any(equals(value, each) for each in others),  # type: ignore[attr-defined]
    "gt": greater,
    "gte": at_least,
    "lt": less,
    "lte": at_most,
    "between": lambda value, pair: at_least(value, pair[0]) and at_most(value, pair[1]),  # type: ignore[index]
    "contains": contains,
    "contains_any": lambda value, parts: any(contains(value, each) for each in parts),  # type: ignore[attr-defined]
    "startswith": lambda value, part: isinstance(value, str) and value.startswith(str(part)),
    "endswith": lambda value, part: isinstance(value, str) and value.endswith(str(part)),
    "exists": lambda value, wanted: exists(value) is wanted,
    "matches": matches,
    "matches_caseless": lambda value, pattern: matches(value, pattern, re.IGNORECASE),
    "year": _part("year"),
    "month": _part("month"),
    "day": _part("day"),
}
