"""`FileState`: where the content of one file is, who owns it, and each step by which that changes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol, Self

from filecolumn.content.sources import Source
from filecolumn.errors import CorruptFileMetadataError, OwnedFileError
from filecolumn.files.facts import FileFacts, facts_from_row
from filecolumn.signing import Claims

__all__ = (
    "NOT_LOADED",
    "AllowedBackends",
    "BackendsOfSeveral",
    "Described",
    "FileState",
    "Owner",
    "Phase",
    "located",
)


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


AllowedBackends = tuple[str | None, ...]
"""The storages that a row of a column may name, the column's own first; None is the default one."""


class BackendsOfSeveral(tuple[str | None, ...]):
    """The storages of several columns, in any order: a row that names none may be of any of them."""

    __slots__ = ()


class Phase(Enum):
    """Where the content is."""

    GRANTED = "granted"
    """In the storage, where a client has put it; a row gets a copy."""
    PENDING = "pending"
    """With the caller, or nowhere yet."""
    STAGED = "staged"
    """In the storage, put there by `save()`; no row owns it."""
    STORED = "stored"
    """In the storage, and a row says so."""
    CONSUMED = "consumed"
    """Nowhere: the source was read, and what it gave is not stored."""
    REMOVED = "removed"
    """Nowhere: it was deleted."""


_OF_A_ROW: Mapping[str, object] = {
    "_facts": None,
    "_found": False,
    "_given_key": None,
    "_grant": None,
    "_held": None,
    "_owner": None,
    "_phase": Phase.STORED,
    "_source": None,
    "_staged_at": 0.0,
}


class FileState(Described):
    """The state of one file.

    `_held` is what its row has, while a change waits to be flushed; `_found` says of a staged file that
    it lay in the storage before, so that rows which no ledger knows may have it too.
    """

    __slots__ = (
        "__weakref__",
        "_allowed",
        "_facts",
        "_found",
        "_given_key",
        "_grant",
        "_held",
        "_owner",
        "_phase",
        "_row",
        "_source",
        "_staged_at",
    )

    def __init__(self, facts: FileFacts, source: Source | None, given_key: str | None) -> None:
        self._facts: FileFacts | None = facts
        self._source = source
        self._given_key = given_key
        self._found = False
        self._phase = Phase.PENDING
        self._row: object = None
        self._allowed: AllowedBackends | None = None
        self._owner: Owner | None = None
        self._held: FileFacts | None = None
        self._grant: Claims | None = None
        self._staged_at = 0.0

    @classmethod
    def _from_row(cls, row: object, allowed: AllowedBackends | None) -> Self:
        """Make the value of a row, which is read on first use."""
        self = cls.__new__(cls)
        self._row = row
        self._allowed = allowed
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Fill a slot that `_from_row` left empty: most rows are loaded and never looked at."""
            try:
                value = _OF_A_ROW[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}") from None
            setattr(self, name, value)
            return value

    @classmethod
    def _from_facts(
        cls, facts: FileFacts | None, phase: Phase, allowed: AllowedBackends | None = None
    ) -> Self:
        self = cls._from_row(None, allowed)
        self._facts = facts
        self._phase = phase
        return self

    @classmethod
    def _from_staged(cls, facts: FileFacts, grant: Claims | None = None) -> Self:
        """Make the file of content that was stored just now, perhaps of what a *grant* gave."""
        self = cls._from_facts(facts, Phase.STAGED)
        self._grant = grant
        self._staged_at = time.time()
        return self

    @classmethod
    def _from_granted(cls, facts: FileFacts, grant: Claims) -> Self:
        """Make the file of what a client has uploaded."""
        self = cls._from_facts(facts, Phase.GRANTED)
        self._grant = grant
        return self

    @classmethod
    def _from_found(cls, facts: FileFacts) -> Self:
        """Make the file of content that lay in the storage before."""
        self = cls._from_staged(facts)
        self._found = True
        return self

    def _known(self) -> FileFacts:
        if self._facts is None:
            try:
                self._facts = facts_from_row(self._row)
            except CorruptFileMetadataError as error:
                raise located(error, self._owner) from error.__cause__
            self._row = None
        elif self._held is not None and self._owner is not None and self._owner.has_expired:
            self._facts, self._held = self._held, None
        return self._facts

    def _row_facts(self) -> FileFacts:
        """Return what the row holds, as far as this value knows: without changes not flushed yet."""
        return self._held or self._known()

    @property
    def has_pending_data(self) -> bool:
        """Whether content waits to be stored, `b""` included."""
        return self._phase is Phase.PENDING and self._source is not None

    @property
    def is_saved(self) -> bool:
        """Whether the content is in the storage."""
        return self._phase in {Phase.GRANTED, Phase.STAGED, Phase.STORED}

    def _read_from(self, source: Source) -> None:
        """Let a flush or `save()` store what *source* gives."""
        self._source = source

    def _stage(self, facts: FileFacts) -> None:
        """Take note that the content is stored, as *facts* say."""
        self._facts, self._source = facts, None
        self._phase, self._staged_at = Phase.STAGED, time.time()

    def _retype(self, content_type: str) -> None:
        """Let the content type be another, before a row has it."""
        self._facts = replace(self._known(), content_type=content_type)

    def _attach(self, allowed: AllowedBackends) -> bool:
        """Take note that a row of a column with these storages has the file; return whether none had it before."""
        self._allowed = allowed
        if self._phase is not Phase.STAGED:
            return False
        self._phase = Phase.STORED
        return True

    def _detach(self) -> None:
        """Take back `_attach`: the content stays where it is, and no row has it."""
        self._phase, self._owner = Phase.STAGED, None

    def _unstage(self, facts: FileFacts | None, source: Source) -> None:
        """Take back `_stage`: pending again, or consumed if *source* cannot be read twice."""
        self._facts, self._owner, self._held = facts, None, None
        if source.is_spent:
            self._consume()
        else:
            self._phase, self._source = Phase.PENDING, source

    def _regrant(self, key: str, facts: FileFacts, grant: Claims) -> None:
        """Take back the `_stage` of a copy under *key*: what the client has uploaded waits for a row again."""
        if self._known().key in {key, facts.key}:
            self._facts, self._owner, self._held = facts, None, None
            # the column's storages are those of the copy
            self._phase, self._grant, self._allowed = Phase.GRANTED, grant, None

    def _use_grant(self) -> None:
        """Take note that the grant is used up, if the file has one."""
        self._grant = None

    def _hold_grant(self, grant: Claims | None) -> None:
        """Take note that the file may use *grant* up: it did not, or is a copy of a file that has it."""
        self._grant = grant

    def _consume(self) -> None:
        """Take note that the source is used up, and what it gave is not stored."""
        self._phase, self._source = Phase.CONSUMED, None

    def _remove(self) -> None:
        """Take note that the content is deleted."""
        self._phase = Phase.REMOVED

    def _own(self, owner: Owner | None) -> None:
        """Tell *owner* of changes from now on."""
        self._owner = owner

    def _taken(self) -> Self:
        """Return the value, free for a new place if the instance that it was loaded with is gone."""
        if self._owner is not None and self._owner.is_gone:
            self._owner = None
        return self

    def _change(self, facts: FileFacts) -> None:
        """Let the facts be others; the row has them after the next flush."""
        if facts != self._facts:
            if self._owner is not None:
                self._owner.changed(self)
            if self._held is None:
                self._held = self._facts
            self._facts = facts

    def _flushed(self) -> FileFacts | None:
        """Take note that the row has the facts as they are now; return those it had, if they were others."""
        before, self._held = self._held, None
        return before

    def _unflush(self, facts: FileFacts) -> None:
        """Take back `_flushed`: the row has *facts* again."""
        self._facts, self._held = facts, None
