"""What a flush means for the ledgers, and where there is none, for what the commit is to delete.

Changes are gathered with `add_given` and `add_removed`; `write` hands them to the recorder, which
writes them in the transaction of the rows.  A statement writes the two halves apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence

from filecolumn.errors import FileColumnError, ObjectExistsError
from filecolumn.file import FileObject
from filecolumn.grants import place_of_grant
from filecolumn.orm.frames import SessionFrame
from filecolumn.orm.giving import Gift
from filecolumn.orm.held import Held
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.recording import FOUND_TAKEN, Changes, LedgerAt
from filecolumn.orm.slots import place_of
from filecolumn.orm.unit import GrantUse, Place, Spot, Use

__all__ = ("LedgerChanges",)


class LedgerChanges:
    """What becomes of each object."""

    def __init__(self, frame: SessionFrame, recorder: Recorder) -> None:
        self._frame = frame
        self._recorder = recorder
        self._changes: defaultdict[LedgerAt, Changes] = defaultdict(Changes)
        self._uses: dict[Place, tuple[GrantUse, Hashable]] = {}

    def add_given(self, gifts: Iterable[Gift]) -> None:
        """Add what rows get, unless this transaction has recorded it as new."""
        for gift in gifts:
            home, file, place = gift.home, gift.file, place_of(gift.file)
            self._use_up(file, home)
            if not isinstance(home, LedgerAt):
                continue
            if self._frame.ledger_with(place):
                if gift.use is Use.ATTACH and file._found:
                    raise ObjectExistsError(f"the storage key {place[1]!r} {FOUND_TAKEN}")
                continue
            changes = self._changes[home]
            if gift.use is Use.KEEP:
                changes.kept.add(place)
                if not self._recorder.has_moved(home, place):
                    continue
            changes.held_in[place] = self._recorder.column_id(home, gift.column)
            if gift.use is Use.KEEP:
                changes.moved.add(place)
            elif place in self._frame.uploads:
                changes.stored[place] = file._known()
            elif file._found:
                changes.found[place] = file._known()
            else:
                changes.staged[place] = file._known()

    def add_removed(self, removed: Collection[Spot], held: Sequence[Held]) -> None:
        """Add what no row holds any more, and note whose files the commit makes empty."""
        for row in held:
            home = self._recorder.home(row.mapper)
            own: defaultdict[Place, list[FileObject]] = defaultdict(list)
            for file in row.own:
                own[place_of(file)].append(file)
            for file in row.files:
                if (home, (place := place_of(file))) not in removed or not _is_in_its_column(file):
                    continue
                self._frame.released.setdefault(place, []).extend(own[place])
                foreign = file._known().foreign
                if isinstance(home, LedgerAt):
                    (self._changes[home].doubtful if foreign else self._changes[home].removed).add(place)
                elif not foreign:
                    self._frame.removed.add(place)

    def write(self) -> None:
        """Write all that was added into the ledgers."""
        self._recorder.record(self._changes)
        for upload, (use, home) in self._uses.items():
            self._recorder.note_use(upload, use, home)

    def _use_up(self, file: FileObject, home: Hashable) -> None:
        """Remove what a client uploaded, now that a row has a copy; the ledger refuses it a second time."""
        if (grant := file._grant) is None:
            return
        upload = place_of_grant(grant)
        self._uses[upload] = GrantUse(grant, file, place_of(file)), home
        if isinstance(home, LedgerAt):
            self._changes[home].used[upload] = file._known()
            self._changes[home].removed.add(upload)


def _is_in_its_column(file: FileObject) -> bool:
    """Return whether the row names a place that its column may point to: else nothing there is its to delete."""
    try:
        file._located()
    except FileColumnError:
        return False
    return True
