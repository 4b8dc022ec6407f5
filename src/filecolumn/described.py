"""The facts of a file as attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from filecolumn.facts import FileFacts

__all__ = ("Described",)


class Described(ABC):
    """Something that `FileFacts` are known of."""

    __slots__ = ()

    @abstractmethod
    def _known(self) -> FileFacts:
        """Return the facts; CorruptFileMetadataError if the row has none."""

    @property
    def filename(self) -> str:
        """What the user called the file, without folders, fit to be shown."""
        return self._known().filename

    @property
    def path(self) -> str | None:
        """The key in the storage; None before the file is saved, if none was given."""
        return self._known().key

    @property
    def backend_key(self) -> str | None:
        """The key of the storage in the registry; None if the column's or the default is to be used."""
        return self._known().backend

    @property
    def size(self) -> int | None:
        """Bytes that were stored; None before."""
        return self._known().size

    @property
    def checksum(self) -> str | None:
        """`sha256:<hex>` of the bytes that were stored; None before."""
        return self._known().checksum

    @property
    def content_type(self) -> str:
        """The media type: declared, else guessed from the file name, unless the stored bytes show another."""
        return self._known().content_type

    @property
    def etag(self) -> str | None:
        """The storage's own tag, if it gave one."""
        return self._known().etag

    @property
    def version_id(self) -> str | None:
        """The storage's own version, if it keeps them."""
        return self._known().version_id

    @property
    def last_modified(self) -> float | None:
        """When the content was stored, in seconds since the epoch, UTC."""
        return self._known().last_modified
