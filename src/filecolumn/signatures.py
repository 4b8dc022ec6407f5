"""The signatures of binary formats, as `filetype` knows them; it is named here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import filetype

__all__ = ("SIGNED", "signature_of")


class _Kind(Protocol):
    mime: str

    def match(self, buf: bytes) -> bool: ...


_KINDS = tuple(cast("Iterable[_Kind]", filetype.types))

SIGNED = frozenset(kind.mime for kind in _KINDS)
"""The media types that have a signature, in the spelling of `signature_of`."""


def signature_of(head: bytes) -> str | None:
    """Return the media type whose signature *head* has; None if it has none that is known."""
    return next((kind.mime for kind in _KINDS if kind.match(head)), None)
