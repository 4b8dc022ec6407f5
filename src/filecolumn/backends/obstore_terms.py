"""What obstore says, in our terms, and what we ask, in obstore's: facts, errors, ranges, attributes.

Nothing here knows a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from obstore import exceptions as foreign

from filecolumn.backends.base import Stat, check_range
from filecolumn.backends.translate import ErrorTable
from filecolumn.errors import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, ObjectMeta, PutResult

__all__ = ("ERRORS", "attributes_of", "range_options", "stat_of_meta", "stat_of_put")

ERRORS: ErrorTable = {
    # obstore raises the builtin, not an error of its own
    FileNotFoundError: ObjectNotFoundError,
    foreign.AlreadyExistsError: ObjectExistsError,
    foreign.PreconditionError: ObjectExistsError,
    foreign.NotSupportedError: NotSupportedError,
    NotImplementedError: NotSupportedError,
    foreign.InvalidPathError: InvalidKeyError,
    ValueError: InvalidKeyError,
    foreign.BaseError: StorageError,
    OSError: StorageError,
}


def attributes_of(content_type: str | None, metadata: Mapping[str, str] | None) -> Attributes:
    """Return what a store is to keep with an object."""
    attributes: Attributes = {**(metadata or {})}
    if content_type:
        attributes["Content-Type"] = content_type
    return attributes


def range_options(start: int, length: int | None) -> GetOptions:
    """Return the options that read a range; ValueError for one that cannot be."""
    check_range(start, length)
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else {}


def stat_of_put(key: str, size: int, result: PutResult) -> Stat:
    """Describe what was just stored under *key*."""
    # radosgw answers a multipart upload with an empty tag
    return Stat(key=key, size=size, etag=_quoted(result["e_tag"]), version_id=result["version"])


def stat_of_meta(meta: ObjectMeta, attributes: Attributes | None = None) -> Stat:
    """Describe an object, with its media type where *attributes* have it."""
    return Stat(
        key=meta["path"],
        size=meta["size"],
        etag=_quoted(meta["e_tag"]),
        version_id=meta["version"],
        last_modified=meta["last_modified"].timestamp(),
        content_type=(attributes or {}).get("Content-Type"),
    )


def _quoted(tag: str | None) -> str | None:
    """Return a tag as HTTP writes it: Azure's listing has it without quotes, its other answers with them."""
    if not tag or tag.startswith(('"', "W/")):
        return tag or None
    return f'"{tag}"'
