"""One flush: store what is new, read what rows hold, decide, and copy what must be copied.

All of it happens before SQLAlchemy writes the rows, so that a row carries true facts of content
that is there.  `FlushUnit.settle` may run several times in one flush: for everything that the
session knows before it, and again for what appears only inside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state, set_attribute
from sqlalchemy.orm.state import InstanceState

from filecolumn.errors import CorruptFileMetadataError, FileColumnError, ObjectExistsError
from filecolumn.facts import FileFacts
from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm import bridge
from filecolumn.orm.admission import Arrival, admit
from filecolumn.orm.attributes import FileAttribute, RowOwner, file_attributes, files_in
from filecolumn.orm.conflicts import check_unchanged, seen_files
from filecolumn.orm.frames import BindArguments, SessionFrame
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.recording import Changes, LedgerAt
from filecolumn.orm.rows import HeldRow, held_rows
from filecolumn.orm.slots import (
    Slot,
    check_passes,
    check_slot,
    copy_for,
    may_stay,
    place_of,
    put_for,
    slots_of,
)
from filecolumn.orm.unit import Place, Spot, Upload, Use, Wanted, assign
from filecolumn.orm.watching import watch
from filecolumn.registry import storages
from filecolumn.transfer import Copy, Inspect, Operation, Put
from filecolumn.value import Phase

__all__ = ("FlushUnit", "Held", "readable")

State = InstanceState[object]


class FlushUnit:
    """What one flush of one session has settled so far."""

    def __init__(
        self,
        session: Session,
        frame: SessionFrame,
        root: SessionFrame,
        bind: BindArguments | None = None,
    ) -> None:
        self._session = session
        self._frame = frame
        self._root = root
        self._recorder = Recorder(session, frame, bind)
        self._settled: dict[tuple[State, str], tuple[FileAttribute, Sequence[FileObject]]] = {}
        self._deleted: set[State] = set()

    def settle(self, written: Iterable[State], deleted: Iterable[State]) -> None:
        """Make the files of rows that are about to be written or deleted what they are to be."""
        changes = list(self._changes(written))
        gone = [state for state in deleted if state not in self._deleted]
        if not changes and not gone:
            return
        slots = [slot for state, attribute in changes for slot in slots_of(state, attribute)]
        self._store_pending(slots)
        for mapper in {state.mapper for state in (*(state for state, _ in changes), *gone)}:
            watch(self._session, {"mapper": mapper}, self._frame, self._root)
        held = held_rows(
            self._session, {**dict.fromkeys(state for state, _ in changes), **dict.fromkeys(gone)}
        )
        for state, attribute in changes:
            check_unchanged(state, attribute, held.get(state))
        for state in gone:
            for attribute in file_attributes(state.mapper):
                check_unchanged(state, attribute, held.get(state))
        self._give(slots, _held_files(changes, gone, held))
        self._deleted.update(gone)
        for state, attribute in changes:
            self._settled[state, attribute.key] = attribute, files_in(state.dict.get(attribute.key))

    def clear_replaced(self, state: State) -> None:
        """Set the files that a new instance does not name to none, if it takes the place of a deleted one.

        SQLAlchemy makes one UPDATE of the two, of what is set only: the row would keep files that go.
        """
        if state.key is not None or not self._deleted:
            return
        instance = state.obj()
        key = state.mapper.identity_key_from_instance(instance)
        replaced = self._session.identity_map.get(key)
        if replaced is None or instance_state(replaced) not in self._deleted:
            return
        for attribute in file_attributes(state.mapper):
            if attribute.key not in state.dict:
                set_attribute(instance, attribute.key, [] if attribute.type.multiple else None)

    def forget(self, state: State) -> None:
        """Take note that the row of *state* is deleted after all, so that nothing is attached to it."""
        for key in [key for key in self._settled if key[0] is state]:
            del self._settled[key]

    def finish(self) -> None:
        """After the rows are written: their files are theirs."""
        for (state, key), (attribute, _) in self._settled.items():
            if state.session is not self._session:
                continue
            value = state.dict.get(key)
            for file in files_in(value):
                self._attach(file, attribute)
            if isinstance(value, FileObjectList):
                value._flushed()
            if value is not None:
                value._owner = RowOwner(state, key)
        self._recorder.withdraw_all_but(self._frame.attached)
        self._recorder.reassert_moved()

    def _attach(self, file: FileObject, attribute: FileAttribute) -> None:
        if file._held is not None:
            self._frame.rewritten.setdefault(id(file), (file, file._held))
            file._held = None
        file._allowed = attribute.type._allowed
        if file._phase is Phase.STAGED:
            file._phase = Phase.STORED
            self._frame.attached[place_of(file)] = file

    def _changes(self, written: Iterable[State]) -> Iterator[tuple[State, FileAttribute]]:
        for state in written:
            for attribute in file_attributes(state.mapper):
                key = attribute.key
                if state.dict.get(key) is None if state.key is None else key not in state.committed_state:
                    continue
                files = files_in(state.dict.get(key))
                settled = self._settled.get((state, key))
                if settled is None or not _same(settled[1], files):
                    yield state, attribute

    def _store_pending(self, slots: Sequence[Slot]) -> None:
        """Check everything first, then store: bad input is refused before anything is stored."""
        pending = {id(slot.file): slot for slot in reversed(slots) if not slot.file.is_saved}
        for slot in slots:
            check_slot(slot)
        check_passes(slot.file for slot in pending.values())
        uploads: dict[Put | Copy, Upload] = {}
        for slot in reversed(pending.values()):
            op = put_for(slot)
            uploads[op] = Upload(op, slot.file, slot.file._known(), op.source)
        self._transfer(uploads)

    def _transfer(self, uploads: Mapping[Put | Copy, Upload]) -> None:
        # before the transfer starts: a cancelled one is cleaned up too
        for upload in uploads.values():
            self._claim(upload, uploads.values())

        def done(op: Operation, facts: FileFacts) -> None:
            assert not isinstance(op, Inspect)  # noqa: S101 - none is in `uploads`
            upload = uploads[op]
            upload.done = True
            if upload.file is not None:
                upload.file._stage(facts)

        try:
            bridge.transfer(list(uploads), done)
        finally:
            for upload in uploads.values():
                if not upload.done:
                    upload.fail()

    def _claim(self, upload: Upload, others: Collection[Upload]) -> None:
        """Note what is to be stored; ObjectExistsError for a key that this transaction has stored, or is about to."""
        known = self._frame.uploads.get(upload.place)
        if known is not None and (known.done or known in others):
            raise ObjectExistsError(f"the storage key {upload.op.key!r} is used twice in one transaction")
        self._frame.uploads[upload.place] = upload

    def _give(self, slots: Sequence[Slot], held: Sequence[Held]) -> None:
        admit(_arrivals(slots, {row.row: row.files for row in held}))
        homes = [self._recorder.home(slot.state.mapper) for slot in slots]
        wanted = [
            Wanted(slot.row, (home, place_of(slot.file)), may_stay(slot))
            for slot, home in zip(slots, homes, strict=True)
        ]
        fresh = {
            place: (home, place)
            for slot, home in zip(reversed(slots), reversed(homes), strict=True)
            if slot.file._phase is Phase.STAGED and (place := place_of(slot.file))
        }
        assignment = assign(wanted, fresh.values(), _spots(held, self._recorder))
        self._recorder.note_moved(_moved(slots, homes, assignment.uses, held))
        given = self._with_copies(slots, assignment.uses)
        self._record(given, zip(homes, assignment.uses, strict=True), assignment.removed, held)

    def _with_copies(self, slots: Sequence[Slot], uses: Sequence[Use]) -> list[FileObject]:
        """Copy what must be copied, and return the file of each slot."""
        files = [slot.file for slot in slots]
        copies: dict[Put | Copy, Upload] = {}
        for index, (slot, use) in enumerate(zip(slots, uses, strict=True)):
            if use is Use.COPY:
                op = copy_for(slot)
                copy = files[index] = FileObject._from_facts(op.facts, Phase.PENDING)
                copy._grant = slot.file._grant
                slot.swap(slot.file, copy)
                copies[op] = Upload(op, copy, restore=partial(slot.swap, copy, slot.file))
        self._transfer(copies)
        return files

    def _record(
        self,
        given: Sequence[FileObject],
        uses: Iterable[tuple[Hashable, Use]],
        removed: Collection[Spot],
        held: Sequence[Held],
    ) -> None:
        """Write into the ledgers what becomes of each object, and note what the commit is to delete."""
        changes: defaultdict[LedgerAt, Changes] = defaultdict(Changes)
        self._add_given(changes, given, uses)
        self._add_removed(changes, removed, held)
        self._recorder.record(changes)

    def _add_given(
        self,
        changes: defaultdict[LedgerAt, Changes],
        given: Sequence[FileObject],
        uses: Iterable[tuple[Hashable, Use]],
    ) -> None:
        for file, (home, use) in zip(given, uses, strict=True):
            place = place_of(file)
            self._use_up(file, home, changes)
            if not isinstance(home, LedgerAt) or self._frame.ledger_with(place):
                continue
            if use is Use.KEEP:
                changes[home].kept.add(place)
            elif place in self._frame.uploads:
                changes[home].stored[place] = file._known()
            else:
                changes[home].staged[place] = file._known()

    def _add_removed(
        self,
        changes: defaultdict[LedgerAt, Changes],
        removed: Collection[Spot],
        held: Sequence[Held],
    ) -> None:
        for row in held:
            home = self._recorder.home(row.mapper)
            for file in row.files:
                if (home, (place := place_of(file))) not in removed or not _is_in_its_column(file):
                    continue
                released = (own for own in row.own if place_of(own) == place)
                self._frame.released.setdefault(place, []).extend(released)
                foreign = file._known().foreign
                if isinstance(home, LedgerAt):
                    (changes[home].doubtful if foreign else changes[home].removed).add(place)
                elif not foreign:
                    self._frame.removed.add(place)

    def _use_up(self, file: FileObject, home: Hashable, changes: Mapping[LedgerAt, Changes]) -> None:
        """Remove what a client uploaded, now that a row has a copy; the ledger refuses it a second time."""
        grant, file._grant = file._grant, None
        if grant is None:
            return
        place = storages.resolve(grant.backend), grant.key
        if isinstance(home, LedgerAt):
            changes[home].used[place] = file._known()
            changes[home].removed.add(place)
        else:
            self._frame.removed.add(place)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What a row's attribute held before."""

    row: tuple[int, str]
    """The attribute of the row, as for `Slot`."""
    mapper: Mapper[object]
    files: Sequence[FileObject]
    own: Sequence[FileObject] = ()
    """What the session's instance had for them."""


def _spots(held: Sequence[Held], recorder: Recorder) -> dict[Hashable, Sequence[Spot]]:
    return {row.row: [(recorder.home(row.mapper), place_of(file)) for file in row.files] for row in held}


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


def _arrivals(
    slots: Iterable[Slot], held: Mapping[tuple[int, str], Sequence[FileObject]]
) -> Iterator[Arrival]:
    """Yield the files that their rows did not hold before."""
    for slot in slots:
        if slot.attribute.type.policy.is_strict and place_of(slot.file) not in map(
            place_of, held.get(slot.row, ())
        ):
            yield Arrival(slot.file, slot.attribute.type, slot.attribute.key)


def _same(before: Sequence[FileObject], now: Sequence[FileObject]) -> bool:
    return len(before) == len(now) and all(one is other for one, other in zip(before, now, strict=True))


def _held_files(
    changes: Iterable[tuple[State, FileAttribute]], gone: Iterable[State], held: Mapping[State, HeldRow]
) -> list[Held]:
    attributes = [
        *changes,
        *((state, attribute) for state in gone for attribute in file_attributes(state.mapper)),
    ]
    return [
        Held(
            (id(state), attribute.key),
            state.mapper,
            list(readable(held[state].get(attribute.key))),
            list(_known(seen_files(state, attribute.key) or ())),
        )
        for state, attribute in attributes
        if state in held
    ]


def readable(value: object) -> Iterator[FileObject]:
    """Yield the files of an attribute's value whose JSON can be read."""
    with suppress(CorruptFileMetadataError):
        yield from _known(files_in(value))


def _known(files: Iterable[FileObject]) -> Iterator[FileObject]:
    with suppress(CorruptFileMetadataError):
        for file in files:
            file._known()
            yield file


def _is_in_its_column(file: FileObject) -> bool:
    """Return whether the row names a place that its column may point to: else nothing there is its to delete."""
    try:
        file._located()
    except FileColumnError:
        return False
    return True
