"""Decodes rows with msgspec; imported where it is installed, when the first row is read."""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

__all__ = ("Row", "decoded_row")


class Row(Struct, forbid_unknown_fields=True):
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


_decode = Decoder(Row).decode


def decoded_row(text: str) -> Row | None:
    """Decode a row; None for what msgspec refuses, and json may take: lone surrogates, keys that are not known."""
    try:
        return _decode(text)
    except (DecodeError, UnicodeEncodeError, RecursionError):
        return None
