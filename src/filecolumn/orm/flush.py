"""One flush: store what is new, read what rows hold, decide, copy what must be copied, and record it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Column
from sqlalchemy.orm import LoaderCallableStatus, Mapper, Session
from sqlalchemy.orm.attributes import instance_state, set_attribute
from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.registry import ObjectRef
from filecolumn.errors import (
    ConcurrentFileChangeError,
    CorruptFileMetadataError,
    FileColumnError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from filecolumn.files import execution
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import FileObject, file_state, file_with
from filecolumn.files.file_list import FileObjectList, list_state
from filecolumn.files.grants import place_of_grant
from filecolumn.files.state import FileState, Granted, Pending, Staged, Stored
from filecolumn.files.transfer import Copy, Inspect, Operation, Put, overwriting_error
from filecolumn.ledger.transitions import FOUND_TAKEN, Changes, LedgerAt
from filecolumn.orm.assignment import Frame, GrantUse, Spot, Upload, Use, Wanted, assign
from filecolumn.orm.attributes import (
    FileAttribute,
    RowOwner,
    file_attributes,
    files_in,
    own,
    row_attributes,
    take_list,
)
from filecolumn.orm.defaults import fill_defaults
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.rereading import Rereading, identities_of
from filecolumn.orm.rows import HeldRow, held_rows, session_connection
from filecolumn.orm.slots import (
    Arrival,
    Slot,
    admit,
    check_passes,
    check_slot,
    copy_for,
    may_stay,
    place_of,
    put_for,
    slots_of,
    take_for,
    target_of,
)
from filecolumn.orm.transaction import BindArguments, SessionFrame, watch

__all__ = (
    "FlushUnit",
    "Gift",
    "Held",
    "LedgerChanges",
    "check_unchanged",
    "copied_for",
    "give",
    "held_before",
    "readable",
    "seen_files",
    "spots_in",
    "store_pending",
)


def store_pending(slots: Sequence[Slot], frame: Frame, recorder: Recorder) -> None:
    """Check everything first, then store: bad input is refused before anything is stored."""
    pending = {id(slot.file): slot for slot in reversed(slots) if not slot.file.is_saved}
    granted = [slot for slot in slots if isinstance(file_state(slot.file).content, Granted)]
    for slot in slots:
        check_slot(slot)
    recorder.check_grants(slots)
    check_passes(slot.file for slot in pending.values())
    uploads: dict[Put | Copy, Upload] = {}
    slot_of: dict[Put | Copy, Slot] = {}
    for slot in reversed(pending.values()):
        op = put_for(slot)
        uploads[op] = Upload(op, slot.file, file_state(slot.file).facts, op.source)
        slot_of[op] = slot
    for slot in granted:
        taking = take_for(slot)
        file, facts = slot.file, file_state(slot.file).facts
        restore = partial(file_state(file).regrant, taking.key, facts, taking.grant)
        uploads[taking] = Upload(taking, file, restore=restore)
        slot_of[taking] = slot
    try:
        _transfer(uploads, slot_of, frame, recorder)
    except ObjectNotFoundError:
        # another transaction may have used the grant since, and removed the upload with its commit
        recorder.check_grants(slots)
        raise


def copied_for(
    slots: Sequence[Slot], uses: Sequence[Use], frame: Frame, recorder: Recorder
) -> list[FileObject]:
    """Put a copy into each slot that gets one, and return the file of each slot."""
    files = [slot.file for slot in slots]
    copies: dict[Put | Copy, Upload] = {}
    slot_of: dict[Put | Copy, Slot] = {}
    for index, (slot, use) in enumerate(zip(slots, uses, strict=True)):
        if use is Use.COPY:
            op = copy_for(slot)
            copy = files[index] = file_with(
                FileState(Pending(None), op.facts, grant=file_state(slot.file).grant)
            )
            slot.swap(slot.file, copy)
            copies[op] = Upload(op, copy, restore=partial(slot.swap, copy, slot.file))
            slot_of[op] = slot
    _transfer(copies, slot_of, frame, recorder)
    return files


def _transfer(
    uploads: Mapping[Put | Copy, Upload],
    slot_of: Mapping[Put | Copy, Slot],
    frame: Frame,
    recorder: Recorder,
) -> None:
    stored: dict[ObjectRef, FileFacts] = {}

    def done(op: Operation, facts: FileFacts) -> None:
        assert not isinstance(op, Inspect)  # noqa: S101 - none is in `uploads`
        upload = uploads[op]
        upload.done = True
        if upload.file is not None:
            file_state(upload.file).stage(facts)
        if not op.fresh:
            stored[upload.place] = facts

    _refuse_overwriting(uploads)
    try:
        # before the transfer starts: a cancelled one is cleaned up too
        for upload in uploads.values():
            _claim(upload, uploads.values(), frame)
        chosen = {upload.place: slot_of[op] for op, upload in uploads.items() if not op.fresh}
        if chosen:
            recorder.claim(chosen)
        execution.transfer(list(uploads), done)
        if stored:
            recorder.describe(stored)
    finally:
        for upload in uploads.values():
            if not upload.done:
                upload.fail()


def _refuse_overwriting(ops: Iterable[Put | Copy]) -> None:
    """Raise NotSupportedError for a chosen key in a storage that would overwrite what has it."""
    for op in {op.backend: op for op in ops if not op.fresh}.values():
        if not execution.asked(op.backend, op.backend.refuses_taken_keys, f"create {op.key!r}"):
            raise overwriting_error(op)


def _claim(upload: Upload, others: Collection[Upload], frame: Frame) -> None:
    """Note what is to be stored; ObjectExistsError for a key that this transaction has stored, or is about to."""
    known = frame.uploads.get(upload.place)
    if known is not None and (known.done or known in others):
        raise ObjectExistsError(f"the storage key {upload.op.key!r} is used twice in one transaction")
    frame.uploads[upload.place] = upload


def check_unchanged(state: InstanceState[object], attribute: FileAttribute, row: HeldRow | None) -> None:
    """Raise ConcurrentFileChangeError if another transaction has changed the attribute or deleted the row."""
    if state.key is None:
        return
    try:
        files = seen_files(state, attribute.key)
        seen = None if files is None else [file_state(file).row_facts for file in files]
        now = None if row is None else [file_state(file).facts for file in files_in(row[attribute.key])]
    except CorruptFileMetadataError:
        # what nobody can read cannot be compared; nothing will be deleted for it either
        return
    if seen is None or (not seen and now is None) or seen == now:
        return
    name = f"{state.class_.__name__}.{attribute.key}"
    what = "deleted the row" if now is None else "changed its files"
    raise ConcurrentFileChangeError(
        f"another transaction {what} first, so {name} is not written; roll back, load the row again and retry"
    )


def seen_files(state: InstanceState[object], key: str) -> Sequence[FileObject] | None:
    """Return the files that the session believes the row to hold; None if it never read it."""
    value: object = state.committed_state.get(key, state.dict.get(key, LoaderCallableStatus.NO_VALUE))
    if isinstance(value, LoaderCallableStatus):
        # changed in place, or set while it was not loaded: only a value that came from the row knows
        value = state.dict.get(key)
        if value is None or (isinstance(value, FileObject) and not _is_from(value, state, key)):
            return None
    match value:
        case FileObjectList():
            return list_state(value).committed
        case FileObject():
            return [value]
        case None:
            return []
        case _:
            return None


def _is_from(file: FileObject, state: InstanceState[object], key: str) -> bool:
    parent = file_state(file).parent
    return isinstance(parent, RowOwner) and parent.is_for(state, key)


State = InstanceState[object]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What a row's attribute held before."""

    row: tuple[int, str]
    """The attribute of the row, as for `Slot`."""
    mapper: Mapper[object]
    files: Sequence[FileObject]
    own: Sequence[FileObject] = ()
    """What the session's instance had for them."""


def held_before(
    changes: Iterable[tuple[State, FileAttribute]], gone: Iterable[State], rows: Mapping[State, HeldRow]
) -> list[Held]:
    """Return what *rows* held in the attributes that change, and what those that go held."""
    attributes = [
        *changes,
        *((state, attribute) for state in gone for attribute in row_attributes(state.mapper)),
    ]
    return [
        Held(
            (id(state), attribute.key),
            state.mapper,
            list(readable(rows[state].get(attribute.key))),
            list(_known(seen_files(state, attribute.key) or ())),
        )
        for state, attribute in attributes
        if state in rows
    ]


def readable(value: object) -> Iterator[FileObject]:
    """Yield the files of an attribute's value whose JSON can be read."""
    with suppress(CorruptFileMetadataError):
        yield from _known(files_in(value))


def spots_in(held: Sequence[Held], recorder: Recorder) -> dict[Hashable, Sequence[Spot]]:
    """Return for each row's attribute where its files are."""
    return {row.row: [(recorder.home(row.mapper), place_of(file)) for file in row.files] for row in held}


def _known(files: Iterable[FileObject]) -> Iterator[FileObject]:
    with suppress(CorruptFileMetadataError):
        for file in files:
            file_state(file).decode()
            yield file


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
        if isinstance(file_state(slot.file).content, Staged)
        and (isinstance(home, LedgerAt) or not file_state(slot.file).is_found)
        and (place := place_of(slot.file))
    }.values()


def _moved(
    slots: Sequence[Slot], homes: Sequence[Hashable], uses: Sequence[Use], held: Sequence[Held]
) -> Iterator[tuple[LedgerAt, ObjectRef]]:
    """Yield what rows keep that their own attribute did not hold before."""
    before = {(row.row, place_of(file)) for row in held for file in row.files}
    for slot, home, use in zip(slots, homes, uses, strict=True):
        if use is Use.KEEP and isinstance(home, LedgerAt):
            place = place_of(slot.file)
            if (slot.row, place) not in before:
                yield home, place


class LedgerChanges:
    """What becomes of each object."""

    def __init__(self, frame: SessionFrame, recorder: Recorder) -> None:
        self._frame = frame
        self._recorder = recorder
        self._changes: defaultdict[LedgerAt, Changes] = defaultdict(Changes)
        self._uses: dict[ObjectRef, tuple[GrantUse, Hashable]] = {}

    def add_given(self, gifts: Iterable[Gift]) -> None:
        """Add what rows get, unless this transaction has recorded it as new."""
        for gift in gifts:
            home, file, place = gift.home, gift.file, place_of(gift.file)
            self._use_up(file, home)
            if not isinstance(home, LedgerAt):
                continue
            if self._frame.ledger_with(place):
                if gift.use is Use.ATTACH and file_state(file).is_found:
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
                changes.stored[place] = file_state(file).facts
            elif file_state(file).is_found:
                changes.found[place] = file_state(file).facts
            else:
                changes.staged[place] = file_state(file).facts

    def add_removed(self, removed: Collection[Spot], held: Sequence[Held]) -> None:
        """Add what no row holds any more, and note whose files the commit makes empty."""
        for row in held:
            home = self._recorder.home(row.mapper)
            own: defaultdict[ObjectRef, list[FileObject]] = defaultdict(list)
            for file in row.own:
                own[place_of(file)].append(file)
            for file in row.files:
                if (home, (place := place_of(file))) not in removed or not _is_in_its_column(file):
                    continue
                self._frame.released.setdefault(place, []).extend(own[place])
                foreign = file_state(file).facts.foreign
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
        if (grant := file_state(file).grant) is None:
            return
        upload = place_of_grant(grant)
        self._uses[upload] = GrantUse(grant, file, place_of(file)), home
        if isinstance(home, LedgerAt):
            self._changes[home].used[upload] = file_state(file).facts
            self._changes[home].removed.add(upload)


def _is_in_its_column(file: FileObject) -> bool:
    """Return whether the row names a place that its column may point to: else nothing there is its to delete."""
    try:
        file_state(file).located()
    except FileColumnError:
        return False
    return True


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
        self._made: set[tuple[State, str]] = set()
        self._deleted: set[State] = set()
        self._given_up: set[Spot] = set()
        self._arrived: list[tuple[State, str, Gift]] = []
        self._reread_rows: dict[Hashable, tuple[Mapper[object], Rereading]] = {}

    def settle(self, written: Collection[State], deleted: Iterable[State]) -> None:
        """Make the files of rows that are about to be written or deleted what they are to be."""
        fill_defaults(written, self._made)
        with self._recorder.claiming():
            self._settle(written, deleted)

    def _settle(self, written: Iterable[State], deleted: Iterable[State]) -> None:
        changes = list(self._changes(written))
        gone = [state for state in deleted if state not in self._deleted]
        if not changes and not gone:
            return
        for _, attribute in changes:
            attribute.check_written()
        for attribute in (each for state in gone for each in file_attributes(state.mapper)):
            attribute.check_deleted()
        slots = [slot for state, attribute in changes for slot in slots_of(state, attribute)]
        self._register(slots)
        store_pending(slots, self._frame, self._recorder)
        for mapper in {state.mapper for state in (*(state for state, _ in changes), *gone)}:
            watch(self._session, {"mapper": mapper}, self._frame, self._root)
            # so that COMMIT has a proof, also if nothing is recorded in the end
            self._recorder.home(mapper)
        held = held_rows(
            self._session, {**dict.fromkeys(state for state, _ in changes), **dict.fromkeys(gone)}
        )
        for state, attribute in changes:
            check_unchanged(state, attribute, held.get(state))
        for state in gone:
            for attribute in file_attributes(state.mapper):
                check_unchanged(state, attribute, held.get(state))
        self._give(slots, held_before(changes, gone, held))
        self._note_rows(held)
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
        self._reread()
        for (state, key), (attribute, _) in self._settled.items():
            if state.session is not self._session:
                continue
            value = state.dict.get(key)
            for file in files_in(value):
                self._attach(file, attribute)
            if isinstance(value, FileObjectList) and (before := list_state(value).flushed(value)) is not None:
                self._frame.rewritten_lists.setdefault(id(value), (value, before))
            if value is not None:
                own(state, key, value)
        self._recorder.withdraw_all_but(self._frame.attached)
        self._recorder.reassert_moved()

    def _register(self, slots: Iterable[Slot]) -> None:
        """Register as a writer of the storages that new content goes to."""
        targets: dict[Mapper[object], set[str]] = {}
        for slot in slots:
            if not isinstance(file_state(slot.file).content, Stored) or not may_stay(slot):
                targets.setdefault(slot.state.mapper, set()).add(target_of(slot))
        for mapper, names in targets.items():
            self._recorder.register(mapper, names)

    def _attach(self, file: FileObject, attribute: FileAttribute) -> None:
        if (before := file_state(file).flushed()) is not None:
            self._frame.rewritten.setdefault(id(file), (file, before))
        if file_state(file).attach(attribute.type._allowed):
            self._frame.attached[place_of(file)] = file

    def _changes(self, written: Iterable[State]) -> Iterator[tuple[State, FileAttribute]]:
        for state in written:
            for attribute in file_attributes(state.mapper):
                key = attribute.key
                take_list(state, attribute)
                if state.dict.get(key) is None if state.key is None else key not in state.committed_state:
                    continue
                files = files_in(state.dict.get(key))
                settled = self._settled.get((state, key))
                if settled is None or not _same(settled[1], files):
                    yield state, attribute

    def _give(self, slots: Sequence[Slot], held: Sequence[Held]) -> None:
        gifts, removed = give(slots, held, self._frame, self._recorder)
        self._record(gifts, removed, held)
        self._given_up |= removed
        for slot, gift in zip(slots, gifts, strict=True):
            if slot.state.key is not None and gift.use is not Use.KEEP:
                self._arrived.append((slot.state, slot.attribute.key, gift))

    def _note_rows(self, held: Iterable[State]) -> None:
        """Remember the rows that are there before the flush's SQL, also those that give nothing up.

        The flush may find more to give up later, and what no row of it holds then counts as refused.
        """
        for state in held:
            home = self._recorder.home(state.mapper)
            _, rows = self._reread_rows.setdefault(home, (state.mapper, Rereading()))
            for table, key, identity in identities_of(state):
                rows.add(table, key, (identity,))

    def _reread(self) -> None:
        """Read what rows hold now, and keep what the flush was to give up and they still hold."""
        for home, (mapper, rows) in self._reread_rows.items():
            given_up = {place for of, place in self._given_up if of == home}
            if not given_up:
                continue
            connection = session_connection(self._session, mapper)
            rows.read(connection)
            kept = {place for place in given_up if rows.holds(place[1])}
            self._recorder.note_generation(home)
            self._recorder.keep(home, kept, dict.fromkeys(table.name for table, _ in rows.rows))
            if rows.moves_rows(connection):
                self._recorder.leave_to_drains(given_up)
            self._give_up_refused(home, rows)

    def _give_up_refused(self, home: Hashable, rows: Rereading) -> None:
        """Doom new content that its row did not take, for a drain to look for: a trigger kept what it had."""
        for state, key, gift in self._arrived:
            place = place_of(gift.file)
            instance = state.obj()
            # what the flush has deleted itself is not settled any more, and its upload goes with the commit
            settled = self._settled.get((state, key))
            if settled is None or instance is None or gift.home != home or rows.holds(place[1]):
                continue
            # what lay there before stays, and is not recorded
            if not file_state(gift.file).is_found:
                # an upload that no row got would go with the commit too: another row may have it
                self._attach(gift.file, settled[0])
                self._recorder.doom_refused(home, place)
            self._session.expire(instance, [key])

    def _record(self, gifts: Sequence[Gift], removed: Collection[Spot], held: Sequence[Held]) -> None:
        """Write into the ledgers what becomes of each object, and note what the commit is to delete."""
        changes = LedgerChanges(self._frame, self._recorder)
        changes.add_given(gifts)
        changes.add_removed(removed, held)
        changes.write()


def _same(before: Sequence[FileObject], now: Sequence[FileObject]) -> bool:
    return len(before) == len(now) and all(one is other for one, other in zip(before, now, strict=True))
