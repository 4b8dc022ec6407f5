"""What a save copies: which row keeps its object, gets one, or gets a copy, for one flush or statement.

Pure decisions: nothing here knows SQLAlchemy, a storage or a ledger.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from filecolumn.backends.registry import ObjectRef

__all__ = ("Assignable", "HomeRef", "RowFile", "Use", "assign")

HomeRef = tuple[Hashable, ObjectRef]
"""An object as the rows of one database know it: for two databases the same object is two of these."""


class Use(Enum):
    """How a slot comes by its content."""

    ATTACH = "attach"
    """The file was just stored, for nobody else."""
    KEEP = "keep"
    """A row of this flush had it before: the slot's, or one that gives it up."""
    COPY = "copy"
    """Somebody else has it: the slot gets a copy."""


class RowFile(Protocol):
    """A file that a row had before the flush or statement."""

    @property
    def row(self) -> Hashable:
        """The attribute of the row."""
        ...

    @property
    def home(self) -> Hashable:
        """The database and ledger of the row."""
        ...

    @property
    def ref(self) -> ObjectRef:
        """Where the file's content is."""
        ...


class Assignable(RowFile, Protocol):
    """A file that a row will have after the flush or statement."""

    use: Use
    """Set by `assign`."""

    @property
    def may_stay(self) -> bool:
        """Whether the attribute's column allows content there."""
        ...

    @property
    def is_fresh(self) -> bool:
        """Whether no row has had it yet."""
        ...


def assign(slots: Sequence[Assignable], committed: Iterable[RowFile]) -> frozenset[HomeRef]:
    """Set the `use` of each slot, in the order they were found; return what rows had and no slot keeps.

    Counted over the whole flush, so that swaps and moves need no special case: first each row keeps what
    it had, then what is left goes to the first slot that asks for it, and the rest are copies.  A fresh object
    is free for the database of the first slot that has it.
    """
    left: dict[HomeRef, int] = {}
    of_rows: dict[tuple[Hashable, HomeRef], int] = {}
    for file in committed:
        at = file.home, file.ref
        left[at] = left.get(at, 0) + 1
        of_rows[file.row, at] = of_rows.get((file.row, at), 0) + 1
    before = frozenset(left)
    free: dict[ObjectRef, Hashable] = {}
    for slot in slots:
        if slot.is_fresh:
            free.setdefault(slot.ref, slot.home)
    kept: set[HomeRef] = set()
    waiting: list[Assignable] = []
    for slot in slots:
        at = slot.home, slot.ref
        if of_rows.get((slot.row, at), 0):
            of_rows[slot.row, at] -= 1
            left[at] -= 1
            kept.add(at)
            slot.use = Use.KEEP
        else:
            waiting.append(slot)
    for slot in waiting:
        at = slot.home, slot.ref
        if not slot.may_stay:
            slot.use = Use.COPY
        elif free.get(slot.ref) == slot.home:
            del free[slot.ref]
            kept.add(at)
            slot.use = Use.ATTACH
        elif left.get(at, 0):
            left[at] -= 1
            kept.add(at)
            slot.use = Use.KEEP
        else:
            slot.use = Use.COPY
    return before - kept
