"""`FileState`: where the content of one file is, which row has it, and each step by which that changes.

`file_state(file)` returns it, as `sqlalchemy.orm.base.instance_state` returns the state of an instance.  Whoever
stores, attaches, removes or gives back a file calls the step that says so.  No step does any I/O.  The usual life:

    Pending -- `stage` --> Staged -- `attach` --> Stored -- `remove` --> Removed

A rollback goes back by `detach` and `unstage`; content that could be read only once is then `Consumed`.  What a
client has uploaded by itself begins as `Granted`, and is stored once more under a key of its own; a rollback goes
back to the upload by `regrant`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, cast

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.content.sources import Source
from filecolumn.errors import (
    BackendMismatchError,
    CorruptFileMetadataError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
)
from filecolumn.files.facts import FileFacts, facts_from_row
from filecolumn.naming import check_key
from filecolumn.signing import Claims

__all__ = (
    "LOADED",
    "NOT_LOADED",
    "AllowedBackends",
    "BackendsOfSeveral",
    "Consumed",
    "ContentState",
    "FileState",
    "FromColumn",
    "Granted",
    "Origin",
    "Parent",
    "Pending",
    "Removed",
    "Staged",
    "Stored",
)

AllowedBackends = tuple[str | None, ...]
"""The storages that a row of a column may name, the column's own first; None is the default one."""


class BackendsOfSeveral(tuple[str | None, ...]):
    """The storages of several columns, in any order: a row that names none may be of any of them."""

    __slots__ = ()


class Parent(Protocol):
    """The attribute of a row that holds a file or a list of files, and is told of its changes.

    A value that is in no row has none.  `filecolumn.orm` sets it when a row has the value; the files of a list
    have the parent of the list.
    """

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


class _NotLoaded:
    """The parent of what came from a column query: no instance stands for its row."""

    place: str = ""
    is_gone: bool = True
    has_expired: bool = False

    def changed(self, value: object, /) -> None:
        raise OwnedFileError(
            "this came from a column query, so a change to it cannot be saved; select the instance, as "
            "select(Document) does, and change its attribute"
        )


NOT_LOADED: Parent = _NotLoaded()


class Origin(Protocol):
    """Where values were loaded from, the same for every row: most values are never looked at, and need no parent."""

    @property
    def allowed(self) -> AllowedBackends | None:
        """The storages of the column; None if no column has the value."""
        ...

    def parent_of(self, holder: object, /) -> Parent | None:
        """Return the parent of a value that was kept with *holder*."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FromColumn:
    """The origin of what a query has read from a column: the holder is the parent."""

    allowed: AllowedBackends | None

    def parent_of(self, holder: object, /) -> Parent | None:
        return cast("Parent | None", holder)


def with_place(error: CorruptFileMetadataError, parent: Parent | None) -> CorruptFileMetadataError:
    """Return the error with class, attribute and primary key in front, if they are known: a copy is nowhere."""
    place = "" if parent is None else parent.place
    return CorruptFileMetadataError(f"{place}: {error}") if place else error


# Where the content is


@dataclass(frozen=True, slots=True)
class Pending:
    """The content is with the caller, or there is none yet."""

    source: Source | None
    name: ClassVar[str] = "pending"
    is_saved: ClassVar[bool] = False
    has_key: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Granted:
    """The content is in the storage, where a client has put it; a row gets a copy."""

    name: ClassVar[str] = "granted"
    is_saved: ClassVar[bool] = True
    has_key: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Staged:
    """The content is in the storage, put there by `save()` or found there by `from_key()`; no row owns it."""

    since: float
    """Seconds since the epoch."""
    is_found: bool = False
    """Whether it was in the storage before, so that rows which no ledger knows may have it too."""
    name: ClassVar[str] = "staged"
    is_saved: ClassVar[bool] = True
    has_key: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Stored:
    """The content is in the storage, and a row says so."""

    staged: Staged | None = None
    """What it was before this process attached it; None if the row was loaded."""
    name: ClassVar[str] = "stored"
    is_saved: ClassVar[bool] = True
    has_key: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Consumed:
    """The content is gone: the source was read, and what it gave is not stored."""

    name: ClassVar[str] = "consumed"
    is_saved: ClassVar[bool] = False
    has_key: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Removed:
    """The content was deleted."""

    name: ClassVar[str] = "removed"
    is_saved: ClassVar[bool] = False
    has_key: ClassVar[bool] = True


ContentState = Pending | Granted | Staged | Stored | Consumed | Removed

LOADED = Stored()
"""The content of each file that was loaded from a row."""


@dataclass(slots=True, eq=False)
class FileState:
    """The state of one file."""

    content: ContentState
    known: FileFacts | None = None
    """The facts without changes that wait for a flush; None until a row's JSON is decoded: see `facts`."""
    row: object = None
    """The JSON of the row, text or decoded by the driver, until it is decoded."""
    allowed: AllowedBackends | None = None
    """The storages of the column that has the file; None if no column has it."""
    parent: Parent | None = None
    """What is told of changes."""
    grant: Claims | None = None
    """The grant that the file came with, until a row has used it up."""
    given_key: str | None = None
    """The key that the application chose."""
    unflushed: FileFacts | None = None
    """Changed facts of a file in a row, which has them after the next flush."""

    # Facts

    @property
    def facts(self) -> FileFacts:
        """The facts, with changes that wait for a flush; CorruptFileMetadataError if the row has none."""
        if self.unflushed is None:
            return self.known or self.row_facts
        if self.parent is None or not self.parent.has_expired:
            return self.unflushed
        self.unflushed = None
        return self.row_facts

    @property
    def row_facts(self) -> FileFacts:
        """The facts that the row has, as far as this process knows: without changes that wait for a flush."""
        if self.known is None:
            try:
                self.known = facts_from_row(self.row)
            except CorruptFileMetadataError as error:
                raise with_place(error, self.parent) from error.__cause__
            self.row = None
        return self.known

    @property
    def is_untouched(self) -> bool:
        """Whether a row has the file just as it is."""
        return self.unflushed is None and isinstance(self.content, Stored)

    def decode(self) -> None:
        """Raise CorruptFileMetadataError if the row has no facts."""
        _ = self.row_facts

    def change(self, facts: FileFacts) -> None:
        """Change the facts; a row has them after the next flush."""
        if isinstance(self.content, Stored):
            self.unflushed = facts
        else:
            self.known = facts

    def flushed(self) -> FileFacts | None:
        """Take note that the row has the facts as they are now; return those it had, if they were others."""
        if self.unflushed is None:
            return None
        before, self.known, self.unflushed = self.known, self.unflushed, None
        return before

    def unflush(self, facts: FileFacts) -> None:
        """Undo `flushed`: the row has *facts* again."""
        self.known, self.unflushed = facts, None

    def retype(self, content_type: str) -> None:
        """Change the content type before a row has the file."""
        self.known = replace(self.facts, content_type=content_type)

    # Content

    @property
    def source(self) -> Source | None:
        """What gives the content of a pending file."""
        return self.content.source if isinstance(self.content, Pending) else None

    @property
    def is_found(self) -> bool:
        """Whether the content was in the storage before this process described it."""
        staged = self.content.staged if isinstance(self.content, Stored) else self.content
        return isinstance(staged, Staged) and staged.is_found

    def read_from(self, source: Source) -> None:
        """Take *source* for the content that a flush or `save()` stores."""
        self.content = Pending(source)

    def stage(self, facts: FileFacts) -> None:
        """Take note that the content is stored, as *facts* say."""
        self.known, self.unflushed, self.content = facts, None, Staged(time.time())

    def unstage(self, facts: FileFacts | None, source: Source) -> None:
        """Undo `stage`: pending again, or consumed if the source cannot be re-read."""
        self.known, self.unflushed, self.parent = facts, None, None
        self.content = Consumed() if source.is_spent else Pending(source)

    def attach(self, allowed: AllowedBackends) -> bool:
        """Take note that a row of a column with these storages has the file; return whether none had it before."""
        self.allowed = allowed
        if not isinstance(self.content, Staged):
            return False
        self.content = Stored(self.content)
        return True

    def detach(self) -> None:
        """Undo `attach`: the content stays where it is, and no row has it."""
        self.parent = None
        if isinstance(self.content, Stored) and self.content.staged is not None:
            self.content = self.content.staged

    def regrant(self, key: str, facts: FileFacts, grant: Claims) -> None:
        """Undo the `stage` of a copy under *key*: the client's upload waits for a row again."""
        if self.facts.key in {key, facts.key}:
            self.known, self.unflushed, self.parent = facts, None, None
            # the column's storages are those of the copy
            self.content, self.grant, self.allowed = Granted(), grant, None

    def consume(self) -> None:
        """Take note that the source is used up, and what it gave is not stored."""
        self.content = Consumed()

    def remove(self) -> None:
        """Take note that the content is deleted."""
        self.content = Removed()

    # Where

    def located(self) -> tuple[StorageBackend, str]:
        """Return storage and key of the content, or raise what says why there is none."""
        facts = self.facts
        match self.content:
            case Pending():
                raise PendingContentError(
                    f"{facts.filename!r} is not stored yet; save it or flush its session first"
                )
            case Consumed():
                raise SourceConsumedError(
                    f"the content of {facts.filename!r} was read once and is gone; assign it again"
                )
            case Removed():
                raise ObjectNotFoundError(f"{facts.filename!r} was deleted; assign a new file")
            case _:
                return storages.get(self.storage_name()), check_key(facts.key or "")

    def storage_name(self) -> str:
        """Return the key of the storage that the file names, else the column's or the default.

        Raises BackendMismatchError for a storage that the column does not have.
        """
        named = self.facts.backend
        if self.allowed is None:
            return storages.resolve(named or storages.default)
        if named is not None and named in self.allowed:
            return storages.resolve(named)
        allowed = [backend or storages.default for backend in self.allowed]
        if named is not None:
            if storages.resolve(named) not in map(storages.resolve, allowed):
                raise BackendMismatchError(
                    f"{self.facts.filename!r} is in storage {named!r}, and its column uses "
                    f"{', '.join(map(repr, allowed))}; add the name to the column's reads=(...) if rows may still "
                    "point there"
                )
            return storages.resolve(named)
        if isinstance(self.allowed, BackendsOfSeveral) and len(set(map(storages.resolve, allowed))) > 1:
            raise BackendMismatchError(
                f"{self.facts.filename!r} names no storage, and it was read from columns of several, "
                f"{', '.join(map(repr, allowed))}: read it through its own class"
            )
        return storages.resolve(allowed[0])

    def identity(self) -> tuple[str | None, str | None]:
        """Return what files of the same content have in common: storage and key."""
        facts = self.facts
        return facts.backend and storages.resolve(facts.backend), facts.key

    def restrict(self, allowed: AllowedBackends) -> None:
        """Hold the file to the storages of a column, as if that had loaded it; BackendMismatchError for another."""
        self.allowed = allowed
        self.storage_name()

    def check_unowned(self) -> None:
        """Raise OwnedFileError if a row owns the content, or may own it."""
        match self.content:
            case Stored():
                raise OwnedFileError(
                    f"a row owns {self.facts.filename!r}: assign a new FileObject to the attribute, or None to "
                    "remove it"
                )
            case Staged(is_found=True):
                raise OwnedFileError(
                    f"{self.facts.filename!r} was in the storage before from_key(), and rows that filecolumn does "
                    "not know may have it: make a new FileObject for new content; "
                    "storages.get(...).delete([key]) deletes the object"
                )
            case _:
                return
