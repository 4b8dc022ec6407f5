"""Who gets which object: what `unit.assign` decides for the slots of one flush, and the copies it asks for.

Content of the slots is stored already, and what their rows held is read.  Nothing is recorded
here: `ledger_changes` does that with what is returned.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Column

from filecolumn.file import FileObject
from filecolumn.orm.admission import Arrival, admit
from filecolumn.orm.held import Held, spots_in
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.recording import LedgerAt
from filecolumn.orm.slots import Slot, may_stay, place_of
from filecolumn.orm.storing import copied_for
from filecolumn.orm.unit import Frame, Place, Spot, Use, Wanted, assign
from filecolumn.state import Phase

__all__ = ("Gift", "give")


@dataclass(frozen=True, slots=True, eq=False)
class Gift:
    """What one slot gets."""

    file: FileObject
    home: Hashable
    """Where its row records it, as `Recorder.home` says."""
    use: Use
    column: Column[object]
    """The column that takes it."""


def give(
    slots: Sequence[Slot], held: Sequence[Held], frame: Frame, recorder: Recorder
) -> tuple[list[Gift], frozenset[Spot]]:
    """Return what each slot gets, and what no row holds any more; ContentRejectedError for what a column refuses."""
    admit(_arrivals(slots, held))
    homes = [recorder.home(slot.state.mapper) for slot in slots]
    wanted = [
        Wanted(slot.row, (home, place_of(slot.file)), may_stay(slot))
        for slot, home in zip(slots, homes, strict=True)
    ]
    assignment = assign(wanted, _fresh(slots, homes), spots_in(held, recorder))
    recorder.note_moved(_moved(slots, homes, assignment.uses, held))
    files = copied_for(slots, assignment.uses, frame, recorder)
    columns = (slot.attribute.column for slot in slots)
    gifts = [Gift(*each) for each in zip(files, homes, assignment.uses, columns, strict=True)]
    return gifts, assignment.removed


def _arrivals(slots: Iterable[Slot], held: Iterable[Held]) -> Iterator[Arrival]:
    """Yield the files that their rows did not hold before."""
    if not (strict := [slot for slot in slots if slot.attribute.type.policy.is_strict]):
        return
    before = {(row.row, place_of(file)) for row in held for file in row.files}
    for slot in strict:
        if (slot.row, place_of(slot.file)) not in before:
            yield Arrival(slot.file, slot.attribute.type, slot.attribute.key)


def _fresh(slots: Sequence[Slot], homes: Sequence[Hashable]) -> Iterable[Spot]:
    """Return where staged files are, each place once: the home of the first slot that has it counts.

    What lay in the storage before is free for nobody without a ledger, which knows whether a row has it.
    """
    return {
        place: (home, place)
        for slot, home in zip(reversed(slots), reversed(homes), strict=True)
        if slot.file._phase is Phase.STAGED
        and (isinstance(home, LedgerAt) or not slot.file._found)
        and (place := place_of(slot.file))
    }.values()


def _moved(
    slots: Sequence[Slot], homes: Sequence[Hashable], uses: Sequence[Use], held: Sequence[Held]
) -> Iterator[tuple[LedgerAt, Place]]:
    """Yield what rows keep that their own attribute did not hold before."""
    before = {(row.row, place_of(file)) for row in held for file in row.files}
    for slot, home, use in zip(slots, homes, uses, strict=True):
        if use is Use.KEEP and isinstance(home, LedgerAt):
            place = place_of(slot.file)
            if (slot.row, place) not in before:
                yield home, place
