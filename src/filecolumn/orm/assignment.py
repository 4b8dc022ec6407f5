"""The unit of work, as pure decisions: nothing here knows SQLAlchemy, a storage or a loop.

A flush is described by slots (places in rows that are to hold a file) and by what the rows held
before; `assign` says of each slot how it comes by its content.  A `Frame` remembers what one
transaction or savepoint did, and says what to delete once its end is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from filecolumn.backends.registry import ObjectRef
from filecolumn.content.sources import Source
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import FileObject, file_state, set_parent
from filecolumn.files.file_list import FileObjectList, list_state
from filecolumn.files.transfer import Copy, Put
from filecolumn.signing import Claims

__all__ = (
    "Assignment",
    "Frame",
    "GrantUse",
    "Spot",
    "Upload",
    "Use",
    "Wanted",
    "assign",
)

Spot = tuple[Hashable, ObjectRef]
"""A place, as the rows of one database know it: the same place in two databases is two spots."""


class Use(Enum):
    """How a slot comes by its content."""

    ATTACH = "attach"
    """The file was just stored, for nobody else."""
    KEEP = "keep"
    """A row of this flush held it before: its own, or one that gives it away."""
    COPY = "copy"
    """Somebody else has it: the slot gets a copy."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The outcome for a whole flush."""

    uses: Sequence[Use]
    """One for each slot."""
    removed: frozenset[Spot]
    """What rows held and no slot holds any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A slot: a place in a row's attribute that is to hold a file."""

    row: Hashable
    """The attribute of the row."""
    spot: Spot
    """Where the file's content is."""
    may_stay: bool = True
    """Whether the attribute's column allows content there."""


def assign(
    slots: Sequence[Wanted], fresh: Iterable[Spot], held: Mapping[Hashable, Sequence[Spot]]
) -> Assignment:
    """Decide for *slots*, in the order they were found.

    *fresh* are the spots that no row has held yet; *held* is what each row attribute held before
    the flush.  Counted over the whole flush, so that swaps and moves need no special case: first
    each row keeps its own, then what is left goes to whoever asks for it, and the rest are copies.
    """
    left = Counter(spot for spots in held.values() for spot in spots)
    own = {row: Counter(spots) for row, spots in held.items()}
    free = set(fresh)
    uses: list[Use | None] = [None] * len(slots)
    for index, slot in enumerate(slots):
        if slot.row in own and own[slot.row][slot.spot] > 0:
            own[slot.row][slot.spot] -= 1
            left[slot.spot] -= 1
            uses[index] = Use.KEEP
    for index, slot in enumerate(slots):
        if uses[index] is not None or not slot.may_stay:
            continue
        if slot.spot in free:
            free.discard(slot.spot)
            uses[index] = Use.ATTACH
        elif left[slot.spot] > 0:
            left[slot.spot] -= 1
            uses[index] = Use.KEEP
    kept = {slot.spot for slot, use in zip(slots, uses, strict=True) if use is not None}
    before = {spot for spots in held.values() for spot in spots}
    return Assignment([use or Use.COPY for use in uses], frozenset(before - kept))


@dataclass(frozen=True, slots=True)
class GrantUse:
    """A grant that a flush has used up."""

    grant: Claims
    file: FileObject
    place: ObjectRef
    """Where the file is that a row got for it."""


@dataclass(slots=True)
class Upload:
    """Content that a frame stored, or began to."""

    op: Put | Copy
    file: FileObject | None = None
    """The file whose content it is; None for a copy, which nobody has to get back."""
    facts: FileFacts | None = None
    """The file's facts before."""
    source: Source | None = None
    """The file's pending content before."""
    restore: Callable[[], None] | None = None
    """Puts the original back where a copy stands."""
    done: bool = False

    @property
    def place(self) -> ObjectRef:
        """Where the content is."""
        return self.op.facts.backend or self.op.backend.key, self.op.key

    @property
    def deletable(self) -> bool:
        """Whether what lies there is certainly ours: a chosen key is stored only where a taken one is refused."""
        return self.op.fresh or self.done

    def fail(self) -> None:
        """Take note that the transfer did not succeed."""
        if self.restore is not None:
            self.restore()
        if self.file is not None and self.source is not None and self.source.is_spent:
            file_state(self.file).consume()

    def revert(self) -> None:
        """Make the file pending again, or consumed if its source cannot be read twice."""
        if self.restore is not None:
            self.restore()
        file, source = self.file, self.source
        # a file that was stored again since is not this upload's any more
        if not self.done or file is None or source is None or file_state(file).facts.key != self.op.key:
            return
        file_state(file).unstage(self.facts, source)


@dataclass(slots=True, eq=False)
class Frame:
    """What one transaction or savepoint did to files."""

    uploads: dict[ObjectRef, Upload] = field(default_factory=dict[ObjectRef, Upload])
    attached: dict[ObjectRef, FileObject] = field(default_factory=dict[ObjectRef, FileObject])
    """Files that a flush of this frame gave to a row."""
    removed: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """What a flush of this frame took from all rows."""
    released: dict[ObjectRef, list[FileObject]] = field(default_factory=dict[ObjectRef, list[FileObject]])
    """The session's own files of what a flush of this frame took from all rows."""
    used: dict[ObjectRef, GrantUse] = field(default_factory=dict[ObjectRef, GrantUse])
    """The grants that a flush of this frame has used up, by where their uploads lie."""
    rewritten: dict[int, tuple[FileObject, FileFacts]] = field(
        default_factory=dict[int, tuple[FileObject, FileFacts]]
    )
    """Files whose facts a flush of this frame wrote anew, by `id`, and the facts before."""
    rewritten_lists: dict[int, tuple[FileObjectList, tuple[FileObject, ...]]] = field(
        default_factory=dict[int, tuple[FileObjectList, tuple[FileObject, ...]]]
    )
    """Lists that a flush of this frame wrote anew, by `id`, and what their rows held before."""
    committed: bool = False
    """Whether the database said so."""
    commit_sent: bool = False
    """Whether COMMIT was on its way, so that only `committed` tells how it ended."""
    joined: bool = False
    """Whether somebody else ends the database's transaction."""
    outcome: bool | None = None
    """What the database said when it was asked how the transaction ended."""

    def absorb(self, inner: Frame) -> None:
        """Take over what a released savepoint did."""
        self.uploads |= inner.uploads
        self.attached |= inner.attached
        self.removed |= inner.removed
        self.used |= inner.used
        for place, files in inner.released.items():
            self.released.setdefault(place, []).extend(files)
        self.rewritten = inner.rewritten | self.rewritten
        self.rewritten_lists = inner.rewritten_lists | self.rewritten_lists
        self.joined |= inner.joined

    def undo(self) -> set[ObjectRef]:
        """Give the files back to their state before; return what to delete from the storages."""
        for place, file in self.attached.items():
            if place not in self.uploads:
                file_state(file).detach()
        for use in self.used.values():
            file_state(use.file).grant = use.grant
        for file, facts in self.rewritten.values():
            file_state(file).unflush(facts)
        for files, held in self.rewritten_lists.values():
            list_state(files).committed = held
        for upload in self.uploads.values():
            upload.revert()
        return {place for place, upload in self.uploads.items() if upload.deletable}

    def finish(self) -> set[ObjectRef]:
        """Return what to delete from the storages after the real end of a committed transaction."""
        unused = {place: upload for place, upload in self.uploads.items() if place not in self.attached}
        for upload in unused.values():
            upload.revert()
        if self.joined:
            return set()
        for files in self.released.values():
            for file in files:
                file_state(file).remove()
                set_parent(file, None)
        return self.removed | {place for place, upload in unused.items() if upload.deletable}
