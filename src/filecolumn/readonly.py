"""JSON that can be read and not changed: it compares, copies and is written as lists and dicts are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from filecolumn.facts import Json, JsonObject

__all__ = ("read_only",)


class ReadOnlyDict(dict[str, Json]):
    """A dict whose changes raise TypeError; copies of it are plain."""

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)


class ReadOnlyList(list[Json]):
    """A list whose changes raise TypeError; copies of it are plain."""

    def __reduce__(self) -> tuple[object, ...]:
        return list, (list(self),)


def _refuse(self: object, *args: object, **options: object) -> NoReturn:
    raise TypeError(
        "metadata is read-only: assign a new mapping to the file's metadata, or call update_metadata"
    )


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(ReadOnlyDict, _name, _refuse)
for _name in (
    *("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "clear", "extend"),
    *("insert", "pop", "remove", "reverse", "sort"),
):
    setattr(ReadOnlyList, _name, _refuse)


def read_only(data: JsonObject) -> JsonObject:
    """Return a read-only copy of *data*."""
    return ReadOnlyDict((name, _read_only(value)) for name, value in data.items())


def _read_only(value: Json) -> Json:
    if isinstance(value, Mapping):
        return read_only(value)
    if isinstance(value, list | tuple):
        return ReadOnlyList(map(_read_only, value))
    return value
