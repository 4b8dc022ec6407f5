"""`Owner`: what a file or a list of files tells of its changes, without knowing what a row is.

A value that is in no row has none.  The unit of work (`filecolumn.orm`) sets it when a row has
the value; the files of a list have the owner that the list has.
"""

from __future__ import annotations

from typing import Protocol

from filecolumn.errors import CorruptFileMetadataError, OwnedFileError

__all__ = ("NOT_LOADED", "Owner", "located")


class Owner(Protocol):
    """The attribute of the row that holds the value."""

    @property
    def place(self) -> str:
        """What a message calls the attribute and its row, `Document.file of the row (5,)`; empty if nobody knows."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether nobody holds the instance any more, so that no change can reach its row."""
        ...

    @property
    def has_expired(self) -> bool:
        """Whether the attribute has let go of its value, with every change that was not flushed."""
        ...

    def changed(self, value: object, /) -> None:
        """Mark the attribute as to be written, if it still holds *value*, or a list that does."""


class NotLoaded:
    """The owner of what was read from a column alone: a row that no instance stands for."""

    place: str = ""
    is_gone: bool = True
    has_expired: bool = False

    def changed(self, value: object, /) -> None:
        raise OwnedFileError(
            "this was read from a column, so its change has no row to go to: "
            "load the instance, as select(Document) does, and change its attribute"
        )


NOT_LOADED = NotLoaded()


def located(error: CorruptFileMetadataError, owner: Owner | None) -> CorruptFileMetadataError:
    """Return the error with the place of the value in front, if it is known: a copy is nowhere."""
    place = "" if owner is None else owner.place
    return CorruptFileMetadataError(f"{place}: {error}") if place else error
