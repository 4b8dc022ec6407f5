"""Reads rows with msgspec; imported where it is installed, when the first row is read."""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from filecolumn.files.facts import MAX_INTEGER, NO_DATA, FileFacts, bounded, clean_media_type
from filecolumn.naming import DEFAULT_CONTENT_TYPE, clean_filename

__all__ = ("facts_by_msgspec",)


class _Row(Struct, forbid_unknown_fields=True):
    """A row of this version or of advanced-alchemy, without anything that needs a second look."""

    filename: str
    to_filename: str | None = None
    backend: str | None = None
    content_type: str | None = None
    size: int | None = None
    checksum: str | None = None
    etag: str | None = None
    version_id: str | None = None
    last_modified: int | float | None = None
    metadata: dict[str, Any] | None = None
    v: int | None = None


_decode = Decoder(_Row).decode


def facts_by_msgspec(text: str) -> FileFacts | None:
    """Read a row; None for what msgspec refuses, and json may take: lone surrogates, keys that are not known."""
    try:
        row = _decode(text)
        filename, key = row.filename, row.to_filename
        is_known = bool(filename) and (bool(key) if key is not None else row.backend is not None)
        if not (is_known and _fits(row.size, 0) and _fits(row.last_modified, -MAX_INTEGER)):
            return None
        return FileFacts(
            filename=clean_filename(filename),
            key=key or filename,
            foreign=key is None,
            backend=row.backend,
            content_type=clean_media_type(row.content_type or DEFAULT_CONTENT_TYPE),
            size=row.size,
            checksum=row.checksum,
            etag=row.etag,
            version_id=row.version_id,
            last_modified=row.last_modified,
            metadata=bounded(row.metadata) if row.metadata else NO_DATA,
        )
    except (DecodeError, ValueError, RecursionError):
        return None


def _fits(number: float | None, least: int) -> bool:
    return number is None or least <= number <= MAX_INTEGER
