"""`FileValue`: one file as its user sees it, without any I/O: metadata, place, equality, pickling.

`state` has the steps by which it changes; `FileObject` adds the calls that reach a storage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from types import EllipsisType

from filecolumn.backends.base import StorageBackend
from filecolumn.content import Content, checked_source
from filecolumn.errors import (
    BackendMismatchError,
    BackendNotRegisteredError,
    CorruptFileMetadataError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
)
from filecolumn.facts import FileFacts, Json, JsonObject, checked_metadata, row_from_facts
from filecolumn.handles import local_path, name_of
from filecolumn.naming import check_content_type, check_key, clean_filename, guess_content_type
from filecolumn.readonly import read_only
from filecolumn.registry import storages
from filecolumn.signing import Claims
from filecolumn.state import AllowedBackends, BackendsOfSeveral, FileState, Phase

__all__ = ("FileValue", "storage_name")


class FileValue(FileState):
    """State shared by everything that handles one file; see `FileObject` for the public face."""

    __slots__ = ()

    def __init__(
        self,
        filename: str | EllipsisType | None = ...,
        *,
        backend: str | StorageBackend | None = None,
        content: Content | None = None,
        source_path: str | os.PathLike[str] | None = None,
        to_filename: str | None = None,
        content_type: str | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        if content is not None and source_path is not None:
            raise ValueError("give content or source_path, not both")
        if source_path is not None:
            content = _path_of(source_path)
        given_key = None if to_filename is None else check_key(to_filename)
        source = None if content is None else checked_source(content)
        name = clean_filename(_name_in(content) if isinstance(filename, EllipsisType) else filename)
        facts = FileFacts(
            filename=name,
            key=given_key,
            backend=storage_name(backend),
            content_type=guess_content_type(name)
            if content_type is None
            else check_content_type(content_type),
            metadata=checked_metadata(metadata or {}),
        )
        super().__init__(facts, source, given_key)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The user's own data, read-only in all its depth; assign a new mapping or call `update_metadata`."""
        return read_only(self._known().metadata)

    @metadata.setter
    def metadata(self, metadata: JsonObject) -> None:
        self._change(replace(self._known(), metadata=checked_metadata(metadata)))

    def update_metadata(self, metadata: JsonObject) -> None:
        """Add to the metadata; the row has it after the next commit.

        Raises TypeError for what JSON cannot carry, and ValueError above 64 KiB or 8 levels.
        """
        self.metadata = {**self._known().metadata, **metadata}

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON object that a row has for this file."""
        return row_from_facts(self._known())

    def _located(self) -> tuple[StorageBackend, str]:
        """Return storage and key of the content, or raise what says why there is none."""
        facts = self._known()
        match self._phase:
            case Phase.PENDING:
                raise PendingContentError(
                    f"{facts.filename!r} is not stored yet; save it or flush its session first"
                )
            case Phase.CONSUMED:
                raise SourceConsumedError(
                    f"the content of {facts.filename!r} was read once and is gone; assign it again"
                )
            case Phase.REMOVED:
                raise ObjectNotFoundError(f"{facts.filename!r} was deleted; assign a new file")
            case _:
                return self._storage(), check_key(facts.key or "")

    def _storage(self) -> StorageBackend:
        return storages.get(self._storage_name())

    def _storage_name(self) -> str:
        """Return the key of the storage that the file names, else the column's or the default."""
        named = self._known().backend
        if self._allowed is None:
            return storages.resolve(named or storages.default)
        allowed = [backend or storages.default for backend in self._allowed]
        several = (
            isinstance(self._allowed, BackendsOfSeveral) and len(set(map(storages.resolve, allowed))) > 1
        )
        if named is None and several:
            raise BackendMismatchError(
                f"{self.filename!r} names no storage, and it was read from columns of several, "
                f"{', '.join(map(repr, allowed))}: read it through its own class"
            )
        if named is None:
            return storages.resolve(allowed[0])
        if storages.resolve(named) not in map(storages.resolve, allowed):
            raise BackendMismatchError(
                f"{self.filename!r} is in storage {named!r}, and its column uses {', '.join(map(repr, allowed))}; "
                "add the name to the column's reads=(...) if rows may still point there"
            )
        return storages.resolve(named)

    def _restrict(self, allowed: AllowedBackends) -> None:
        """Hold the file to the storages of a column, as if that had loaded it; BackendMismatchError for another."""
        self._allowed = allowed
        self._storage_name()

    def _disowned(self) -> None:
        """Raise OwnedFileError if a row owns the content, or may do."""
        if self._phase is Phase.STORED:
            raise OwnedFileError(
                f"a row owns {self.filename!r}: assign a new FileObject to the attribute, or None to remove it"
            )
        if self._phase is Phase.STAGED and self._found:
            raise OwnedFileError(
                f"{self.filename!r} lay in the storage before from_key(), and rows that filecolumn does not know may "
                "have it: make a new FileObject for new content; storages.get(...).delete([key]) deletes the object"
            )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FileValue):
            return NotImplemented
        return self._has_place() and other._has_place() and self._identity() == other._identity()

    def __hash__(self) -> int:
        if not self._has_place():
            raise TypeError("a FileObject is hashable once it is saved")
        # without the storage, of which the name may become an alias
        return hash(self._known().key)

    def _has_place(self) -> bool:
        return self._phase in {Phase.GRANTED, Phase.STAGED, Phase.STORED, Phase.REMOVED}

    def _identity(self) -> tuple[str | None, str | None]:
        facts = self._known()
        return facts.backend and storages.resolve(facts.backend), facts.key

    def __str__(self) -> str:
        """Return the file's name, as templates show it."""
        try:
            return self.filename
        except CorruptFileMetadataError:
            return repr(self)

    def __repr__(self) -> str:
        try:
            facts = self._known()
        except CorruptFileMetadataError as error:
            return f"<{type(self).__name__} corrupt: {error}>"
        place = _printable(f"{facts.backend}:{facts.key}") if self.is_saved else self._phase.value
        return f"<{type(self).__name__} {facts.filename!r} {place} {facts.size} bytes {facts.content_type}>"

    def __reduce__(self) -> tuple[object, ...]:
        # Never content, credentials or a backend. A copy of a staged file is not attachable: two
        # rows could come to share one object; it is copied instead, as a stored one is
        phase = {Phase.PENDING: Phase.CONSUMED, Phase.STAGED: Phase.STORED}.get(self._phase, self._phase)
        row = self._row if self._facts is None else None
        # a copy of what a grant has given is no second file
        return _restored, (type(self), self._facts, row, phase, self._allowed, self._grant)


def _restored(  # noqa: PLR0917 - what `__reduce__` passes, also that of an older release
    cls: type[FileValue],
    facts: FileFacts | None,
    row: object,
    phase: Phase,
    allowed: AllowedBackends | None,
    grant: Claims | None = None,
) -> FileValue:
    value = cls._from_facts(facts, phase, allowed)
    value._row = row
    value._hold_grant(grant)
    return value


def _printable(text: str) -> str:
    """Return *text* for a message; a row that somebody changed may have anything for a key."""
    return text if text.isprintable() else repr(text)


def _path_of(source_path: str | os.PathLike[str]) -> Content:
    if not isinstance(source_path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"source_path is a path, as a str or a Path, not a {type(source_path).__name__}; "
            "pass anything else as content=..."
        )
    return local_path(source_path)


def _name_in(content: Content | None) -> str:
    """Return the name of content for which none was given; TypeError if it has none."""
    name = name_of(content)
    if name is None:
        raise TypeError(
            "FileObject() needs a filename, as in FileObject('report.pdf', content=...); only a path, an upload and "
            "a file opened by its name have one of their own"
        )
    return name


def storage_name(backend: str | StorageBackend | None) -> str | None:
    """Return the key of the storage that a caller named; BackendNotRegisteredError for an unregistered backend."""
    if not isinstance(backend, StorageBackend):
        return backend
    if not storages.is_registered(backend.key) or storages.get(backend.key) is not backend:
        raise BackendNotRegisteredError(
            f"{backend!r} is not registered; call storages.register_backend(...) first"
        )
    return backend.key
