"""One flush, from the top to the bottom.

A flush and a statement take the same steps with each file that a row will have, its `Slot`:

    collect > check > store > read_for_update > refuse_conflicts > assign > copy > record

All of it happens before SQLAlchemy writes the rows, so that a row carries true facts of content that
is there.  What the database did instead of what it was told is found by `Flush.finish`, after them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import LoaderCallableStatus, Mapper, Session
from sqlalchemy.orm.attributes import instance_state, set_attribute
from sqlalchemy.orm.state import InstanceState

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef
from filecolumn.backends.streams import batches
from filecolumn.errors import (
    ConcurrentFileChangeError,
    CorruptFileMetadataError,
    FileColumnError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from filecolumn.files import execution
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import FileObject, file_state, file_with, is_untouched, row_facts, undecoded
from filecolumn.files.file_list import FileObjectList, list_state
from filecolumn.files.grants import ref_of_grant, used_error
from filecolumn.files.state import FileState, Granted, Pending, Staged, Stored
from filecolumn.files.transfer import Operation, Put, overwriting_error
from filecolumn.ledger import transitions
from filecolumn.ledger.owner import generation_in
from filecolumn.ledger.transitions import FOUND_TAKEN, Changes, LedgerAt
from filecolumn.logs import warn
from filecolumn.orm.assignment import HomeRef, Use, assign
from filecolumn.orm.attributes import (
    FileAttribute,
    RowParent,
    file_attributes,
    files_in,
    row_attributes,
    take_list,
    track,
)
from filecolumn.orm.column import WritePermit, end_permits
from filecolumn.orm.defaults import fill_default
from filecolumn.orm.homes import Home, Homes
from filecolumn.orm.rereading import Rereading
from filecolumn.orm.rows import RowValues, rows_for_update
from filecolumn.orm.slots import (
    CommittedFile,
    RowKey,
    Slot,
    check,
    check_content,
    check_kept,
    copy_for,
    locate,
    put_for,
    ref_of,
    slots_of,
    take_for,
    target_of,
)
from filecolumn.orm.transaction import Frame, Frames, GrantUse, Upload
from filecolumn.signing import Claims

__all__ = (
    "NOTHING",
    "Flush",
    "SessionFiles",
    "Unit",
    "copy",
    "files_in_row",
    "files_of",
    "find_files",
    "record",
    "store",
    "touches_files",
)

State = InstanceState[object]

NOTHING: Mapping[int, Any] = MappingProxyType({})


# A flush of the ORM


class Change:
    """An attribute of a row that a flush writes, or deletes with its row."""

    __slots__ = (
        "attribute",
        "files",
        "is_compared",
        "is_deleted",
        "kept",
        "kept_refs",
        "kept_texts",
        "slots",
        "state",
    )

    def __init__(
        self,
        state: State,
        attribute: FileAttribute,
        files: Sequence[FileObject] = (),
        kept: Mapping[int, FileObject] = NOTHING,
        *,
        is_deleted: bool = False,
    ) -> None:
        self.state: State = state
        self.attribute: FileAttribute = attribute
        self.files: Sequence[FileObject] = files
        """What the attribute will have."""
        self.kept: Mapping[int, FileObject] = kept
        """Files that the row has and keeps as they are, by `id`.

        Nothing is to be decided about them: a list of a thousand files that gets another one has one slot.
        """
        self.slots: list[Slot] = slots_of(state, attribute, files, kept)
        """One for each of the others."""
        self.kept_texts: Mapping[int, object] = NOTHING
        """The JSON of their rows, by `id`, if it was not decoded before."""
        self.kept_refs: set[ObjectRef] = set()
        """Where they are."""
        self.is_compared: bool = False
        """Whether the row was found to have, one for one, the files that the session saw."""
        self.is_deleted: bool = is_deleted

    @property
    def row(self) -> RowKey:
        """The attribute of the row."""
        return id(self.state), self.attribute.key

    def check_kept(self) -> None:
        """Note where kept files are; raise what makes it impossible to write them again."""
        self.kept_texts = {key: undecoded(file) for key, file in self.kept.items()}
        self.kept_refs = check_kept(self.attribute, self.kept.values())

    def keep_nothing(self) -> list[Slot]:
        """Make a slot of each file that the row was to keep, since nobody can tell whether it has them."""
        slots = slots_of(self.state, self.attribute, self.files)
        new = [slot for slot in slots if id(slot.file) in self.kept]
        self.kept, self.kept_texts, self.kept_refs = NOTHING, NOTHING, set()
        self.slots += new
        return new


Written = Collection[tuple[State, Sequence[FileAttribute]]]
"""Instances that a flush writes or deletes, each with what holds its files."""


class Flush:
    """What one flush of one session has settled so far.

    `settle` may run several times in one flush: for everything that the session knows before it, and
    again for what appears only inside it.
    """

    __slots__ = (
        "_arrived",
        "_attached",
        "_deleted",
        "_given_up",
        "_made",
        "_rereadings",
        "_session",
        "_settled",
        "_unit",
    )

    def __init__(self, session: Session, unit: Unit) -> None:
        self._session = session
        self._unit = unit
        self._settled: dict[tuple[State, str], Change] = {}
        self._made: set[tuple[State, str]] = set()
        """The attributes for which a column has made files."""
        self._deleted: set[State] = set()
        self._given_up: set[HomeRef] = set()
        self._arrived: list[Slot] = []
        """What rows get that were there before."""
        self._attached: dict[ObjectRef, tuple[State, str]] = {}
        """What has new content, and the attribute that it was given to."""
        self._rereadings: dict[Home, Rereading] = {}

    def settle(self, written: Written, deleted: Written) -> None:
        """Make the files of rows that are about to be written or deleted what they are to be.

        Of what is *deleted* also columns are named that its class does not map: see `row_attributes`.
        """
        changes = self._collect(written)
        if deleted:
            changes += self._deletions(deleted)
        if not changes:
            return
        try:
            self._carry_out(changes)
        except BaseException:
            self._unit.abandon()
            raise
        self._unit.reserved.clear()

    def _collect(self, written: Written) -> list[Change]:
        """Return the attributes that are to be written, and were not settled as they are now."""
        attributes: list[tuple[State, FileAttribute]] = []
        for state, of_class in written:
            for attribute in of_class:
                attributes.append((state, attribute))
                if attribute.column.default is not None or attribute.column.onupdate is not None:
                    fill_default(state, attribute, self._made)
        changes: list[Change] = []
        for state, attribute in attributes:
            if attribute.type.multiple:
                take_list(state, attribute)
            key = attribute.key
            value = state.dict.get(key)
            if value is None if state.key is None else key not in state.committed_state:
                continue
            files = files_in(value)
            settled = self._settled.get((state, key))
            if settled is None or not _are(settled.files, files):
                if attribute.twins or not attribute.in_table:
                    attribute.check_written()
                kept = _kept(state, key, files) if attribute.type.multiple else NOTHING
                changes.append(Change(state, attribute, files, kept))
        return changes

    def _deletions(self, deleted: Written) -> Iterator[Change]:
        """Yield the attributes of rows that are to be deleted."""
        for state, attributes in deleted:
            if state not in self._deleted:
                for attribute in attributes:
                    attribute.check_deleted()
                    yield Change(state, attribute, is_deleted=True)

    def _carry_out(self, changes: Sequence[Change]) -> None:
        """Go through the steps for what was collected."""
        unit, slots = self._unit, list[Slot]()
        for change in changes:
            slots += change.slots
        check(slots)
        for change in changes:
            if change.kept:
                change.check_kept()
        store(unit, slots)
        if self._attached:
            for slot in slots:
                # another attribute has got the same file earlier in the flush: this one gets a copy
                slot.is_fresh &= self._attached.get(slot.ref) in {None, (slot.state, slot.attribute.key)}
        if are_new(changes, slots):
            for slot in slots:
                slot.use = Use.ATTACH
            record(unit, slots)
            self._note(changes, ())
            return
        # before the rows are read: on SQLite the INSERT takes the lock that they are read under
        record(unit, [slot for slot in slots if _is_certain(slot)])
        rows = read_for_update(unit, changes)
        if unknown := refuse_conflicts(changes, rows):
            check(unknown)
            store(unit, unknown)
            slots += unknown
        committed = committed_files(unit, changes, rows)
        check_content(slots, committed, ((each.row, ref) for each in changes for ref in each.kept_refs))
        kept = kept_by_home(unit, changes)
        removed = assign(slots, committed) - {(home, ref) for home, refs in kept.items() for ref in refs}
        copy(unit, slots)
        record(unit, slots, committed, removed, kept)
        self._given_up |= removed
        self._note(changes, rows)

    def _note(self, changes: Iterable[Change], rows: Iterable[State]) -> None:
        """Remember what is settled, and the rows that are there before the flush's SQL.

        Also those that give nothing up: the flush may find more to give up later, and what no row of it
        has then counts as refused.
        """
        for change in changes:
            if change.is_deleted:
                self._deleted.add(change.state)
                continue
            self._settled[change.state, change.attribute.key] = change
            uses = [slot.use for slot in change.slots]
            if Use.COPY in uses:
                # they stand where the originals were
                change.files = files_in(change.state.dict.get(change.attribute.key))
            for slot in change.slots:
                if slot.use is not Use.KEEP:
                    self._attached[slot.ref] = change.state, change.attribute.key
            if change.state.key is not None:
                self._arrived += [slot for slot in change.slots if slot.use is not Use.KEEP]
        by_mapper: defaultdict[Mapper[object], list[State]] = defaultdict(list)
        for state in rows:
            by_mapper[state.mapper].append(state)
        for mapper, states in by_mapper.items():
            self._rereadings.setdefault(self._unit.homes.of(mapper), Rereading()).add_states(mapper, states)

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

    def kept_texts(self, state: State, key: str) -> Mapping[int, object]:
        """Return the JSON of files that a row keeps, by `id`: what is not decoded may be written as it is."""
        change = self._settled.get((state, key))
        return NOTHING if change is None else change.kept_texts

    def delete(self, state: State) -> None:
        """Settle that a row is deleted after all: nothing is attached to it."""
        if state in self._deleted and not self._settled:
            return
        attributes = row_attributes(state.mapper)
        for attribute in attributes:
            self._settled.pop((state, attribute.key), None)
        self.settle((), ((state, attributes),))

    def finish(self) -> None:
        """Attach the files: their rows are written."""
        if self._given_up or self._unit.moved:
            self._reread()
        for change in self._settled.values():
            state, key = change.state, change.attribute.key
            value = state.dict.get(key)
            if value is not None and state.session is self._session:
                self._unit.attach_files(change, value)
                track(state, key, value)
        self._unit.withdraw_unattached()
        if self._unit.moved:
            self._unit.reassert_moved()
        self._unit.conclude()

    def abandon(self) -> None:
        """Take note that the flush has ended without its SQL, and the transaction goes on."""
        self._unit.abandon()

    def _reread(self) -> None:
        """Read what rows hold now, and keep what the flush was to give up and they still hold."""
        for home, rereading in self._rereadings.items():
            given_up = {ref for of, ref in self._given_up if of is home}
            if not given_up and home not in self._unit.moved:
                continue
            rereading.read(home.connection, None if home.at is None else home.at.ledger)
            self._doubt_moved(home, rereading)
            if not given_up:
                continue
            kept = {ref for ref in given_up if rereading.holds(ref[1])}
            self._unit.note_generation(home, rereading.generation)
            self._unit.keep(home, kept, dict.fromkeys(table.name for table, _ in rereading.rows))
            if rereading.moves_rows(home.connection):
                self._unit.leave_to_drains(given_up)
            self._give_up_refused(home, rereading)

    def _doubt_moved(self, home: Home, rereading: Rereading) -> None:
        """Leave moved files to drains from now on that a row which was to give them up may still have."""
        moved = self._unit.moved.get(home)
        if not moved or home.at is None:
            return
        may_be_elsewhere = rereading.moves_rows(home.connection)
        shared = [
            ref
            for ref, state in moved.items()
            if may_be_elsewhere or rereading.counts(ref[1]) > rereading.includes(state)
        ]
        transitions.doubt(home.connection, home.at.ledger, shared)

    def _give_up_refused(self, home: Home, rereading: Rereading) -> None:
        """Doom new content that its row did not take, for a drain to look for: a trigger kept what it had."""
        for slot in self._arrived:
            instance = slot.state.obj()
            # what the flush has deleted itself is not settled any more, and its upload goes with the commit
            is_settled = (slot.state, slot.attribute.key) in self._settled
            if not is_settled or instance is None or slot.home is not home or rereading.holds(slot.ref[1]):
                continue
            # what lay there before stays, and is not recorded
            if not slot.file_state.is_found:
                # an upload that no row got would go with the commit too: another row may have it
                self._unit.attach(slot)
                self._unit.doom_refused(slot)
            self._session.expire(instance, [slot.attribute.key])


def are_new(changes: Iterable[Change], slots: Iterable[Slot]) -> bool:
    """Return whether all rows are new, and so is each file's content: nothing is to be read, compared or shared."""
    for change in changes:
        if change.state.key is not None:
            return False
    # the second of two slots with one file has no operation
    return all(slot.op is not None for slot in slots)


def _is_certain(slot: Slot) -> bool:
    """Return whether the slot's file is attached whatever rows have: it was just stored, and for no grant."""
    return isinstance(slot.op, Put) and slot.home.at is not None


def _are(settled: Sequence[FileObject], files: Sequence[FileObject]) -> bool:
    """Return whether these are the very files that are settled."""
    return list(map(id, settled)) == list(map(id, files))


def _kept(state: State, key: str, files: Sequence[FileObject]) -> dict[int, FileObject]:
    """Return the files of a list that its row keeps as they are, by `id`."""
    seen = (_seen_files(state, key) or ()) if state.key is not None else ()
    had = set(map(id, seen))
    # one that stands in the list twice is copied
    if not had or len(set(map(id, files))) < len(files):
        return {}
    return {id(file): file for file in files if id(file) in had and is_untouched(file)}


# Storing


def store(unit: Unit, slots: Sequence[Slot]) -> None:
    """Store what is not stored yet, and find out which ledger records each slot's file.

    Whatever can be refused is refused before anything is stored.
    """
    _register(unit, slots)
    granted = [slot for slot in slots if slot.file_state.grant is not None]
    if granted:
        unit.check_grants(granted)
    uploads: list[tuple[Slot, Upload]] = []
    pending: set[int] = set()
    for slot in slots:
        file = slot.file_state
        if isinstance(file.content, Granted) and file.grant is not None:
            uploads.append((slot, _take(slot, file.grant)))
        elif isinstance(file.content, Pending) and id(file) not in pending:
            pending.add(id(file))
            uploads.append((slot, _put(slot)))
    if uploads:
        try:
            _transfer(unit, uploads)
        except ObjectNotFoundError:
            # another transaction may have used the grant since, and removed the upload with its commit
            unit.check_grants(granted)
            raise
    for slot in slots:
        if slot.op is None and pending:
            locate(slot)
        slot.home = home = unit.homes.of(slot.state.mapper)
        # what lay in the storage before is free for nobody without a ledger, which knows whether a row has it
        content = slot.file_state.content
        slot.is_fresh = isinstance(content, Staged) and (home.at is not None or not content.is_found)


def _register(unit: Unit, slots: Iterable[Slot]) -> None:
    """Register as a writer of the storages that new content goes to."""
    targets: dict[Mapper[object], dict[StorageBackend, None]] = {}
    for slot in slots:
        is_new = not isinstance(slot.file_state.content, Stored) or not slot.may_stay
        # of a staged file it need not be registered
        if is_new and target_of(slot) and slot.backend is not None:
            targets.setdefault(slot.state.mapper, {})[slot.backend] = None
    for mapper, backends in targets.items():
        unit.homes.register(mapper, backends)


def _put(slot: Slot) -> Upload:
    facts = slot.file_state.facts
    slot.op = op = put_for(slot, facts)
    slot.ref = slot.target, op.key
    return Upload(op, slot.ref, slot.file_state, facts, op.source)


def _take(slot: Slot, grant: Claims) -> Upload:
    facts = slot.file_state.facts
    slot.op = op = take_for(slot, grant)
    slot.ref = slot.target, op.key
    return Upload(
        op, slot.ref, slot.file_state, restore=partial(slot.file_state.regrant, op.key, facts, grant)
    )


def _transfer(unit: Unit, uploads: Sequence[tuple[Slot, Upload]]) -> None:
    """Carry out uploads, each noted in the frame before: a cancelled one is cleaned up too.

    A key that the application chose is reserved in the ledger first: two transactions may have chosen the same.
    """
    by_op: dict[Operation, Upload] = {upload.op: upload for _, upload in uploads}
    chosen = [slot for slot, upload in uploads if not upload.op.fresh]
    stored: dict[ObjectRef, FileFacts] = {}

    def done(op: Operation, facts: FileFacts) -> None:
        upload = by_op[op]
        upload.done = True
        upload.file.stage(facts)
        if not upload.op.fresh:
            stored[upload.ref] = facts

    if chosen:
        _refuse_overwriting(chosen)
    try:
        _note_uploads(unit.frame, by_op.values())
        if chosen:
            unit.reserve(chosen)
        execution.transfer(list(by_op), done)
        if stored:
            unit.describe(stored)
    finally:
        for upload in by_op.values():
            if not upload.done:
                upload.fail()


def _refuse_overwriting(chosen: Iterable[Slot]) -> None:
    """Raise NotSupportedError for a chosen key in a storage that would overwrite what has it."""
    for op in {slot.op.backend: slot.op for slot in chosen if slot.op is not None}.values():
        if not execution.asked(op.backend, op.backend.refuses_taken_keys, f"create {op.key!r}"):
            raise overwriting_error(op)


def _note_uploads(frame: Frame, uploads: Iterable[Upload]) -> None:
    """Note uploads before they begin; ObjectExistsError for a key that another upload of this transaction has."""
    others: set[ObjectRef] = set()
    for upload in uploads:
        ref = upload.ref
        known = frame.uploads.get(ref)
        if known is not None and (known.done or ref in others):
            raise ObjectExistsError(f"the storage key {upload.op.key!r} is used twice in one transaction")
        others.add(ref)
        frame.uploads[ref] = upload


def copy(unit: Unit, slots: Iterable[Slot]) -> None:
    """Put a copy into each slot whose use is COPY."""
    copies = [(slot, _copy(slot)) for slot in slots if slot.use is Use.COPY]
    if copies:
        _transfer(unit, copies)


def _copy(slot: Slot) -> Upload:
    slot.op = op = copy_for(slot)
    slot.ref = slot.target, op.key
    state = FileState(Pending(None), op.facts, grant=slot.file_state.grant)
    original, copied = slot.file, file_with(state)
    slot.swap(original, copied)
    slot.file, slot.file_state = copied, state
    return Upload(op, slot.ref, state, restore=partial(slot.swap, copied, original))


# What rows have


def read_for_update(unit: Unit, changes: Iterable[Change]) -> dict[State, RowValues]:
    """Return what the rows of changes hold, locked against others until the transaction ends.

    A row that is gone is missing from the result, and so is one that is new.
    """
    by_mapper: dict[Mapper[object], dict[State, None]] = {}
    for change in changes:
        # the mappers of new rows too, so that COMMIT has a proof even if nothing is recorded in the end
        states = by_mapper.setdefault(change.state.mapper, {})
        if change.state.key is not None:
            states[change.state] = None
    found: dict[State, RowValues] = {}
    for mapper, states in by_mapper.items():
        home = unit.homes.of(mapper)
        if states:
            written = home.at.ledger if home.at is not None and home in unit.written else None
            found |= rows_for_update(home.connection, mapper, list(states), written)
    return found


def refuse_conflicts(changes: Iterable[Change], rows: Mapping[State, RowValues]) -> list[Slot]:
    """Raise ConcurrentFileChangeError if another transaction has changed an attribute or deleted its row.

    Return slots for files that rows were to keep, and that nobody can tell whether they have.
    """
    unknown: list[Slot] = []
    for change in changes:
        if change.state.key is None:
            continue
        try:
            change.is_compared = _is_unchanged(change, rows.get(change.state))
        except CorruptFileMetadataError:
            # what nobody can read cannot be compared; nothing will be deleted for it either
            unknown += change.keep_nothing()
    return unknown


def _is_unchanged(change: Change, row: RowValues | None) -> bool:
    """Return whether a row's attribute is what the session saw: not if it saw nothing.

    Raises ConcurrentFileChangeError if it is something else.
    """
    state, key = change.state, change.attribute.key
    seen = _seen_files(state, key)
    if seen is None or (not seen and row is None):
        return False
    if row is not None and (
        _is_text_of(change, seen, row) or _have_same_facts(seen, row.files(change.attribute))
    ):
        return True
    what = "deleted the row" if row is None else "changed its files"
    raise ConcurrentFileChangeError(
        f"another transaction {what} first, so {state.class_.__name__}.{key} is not written; roll back, "
        "load the row again and retry"
    )


def _is_text_of(change: Change, seen: Sequence[FileObject], row: RowValues) -> bool:
    """Return whether an attribute's text is that of which the files were read, without reading it."""
    texts = [change.kept_texts.get(id(file)) or undecoded(file) for file in seen]
    known = [text for text in texts if isinstance(text, str)]
    if len(known) < len(seen):
        return False
    whole = f"[{', '.join(known)}]" if change.attribute.type.multiple else "".join(known)
    return whole == row.raw(change.attribute)


def _have_same_facts(seen: Sequence[FileObject], now: Sequence[FileObject]) -> bool:
    """Return whether a row has the facts that the session saw; CorruptFileMetadataError if one cannot be read."""
    facts = [list(map(row_facts, files)) for files in (seen, now)]
    return facts[0] == facts[1]


def _seen_files(state: State, key: str) -> Sequence[FileObject] | None:
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


def _is_from(file: FileObject, state: State, key: str) -> bool:
    parent = file_state(file).parent
    return isinstance(parent, RowParent) and parent.is_for(state, key)


def committed_files(
    unit: Unit, changes: Iterable[Change], rows: Mapping[State, RowValues]
) -> list[CommittedFile]:
    """Return the files that rows had in the attributes that change, as far as they can be read.

    JSON that nobody can read has no file here: nothing is kept by it, and nothing is deleted for it.
    """
    found: list[CommittedFile] = []
    for change in changes:
        state, key = change.state, change.attribute.key
        if (row := rows.get(state)) is None:
            continue
        home = unit.homes.of(state.mapper)
        if change.is_compared:
            for seen, file in _given_up(change, row):
                found.append(CommittedFile(change.row, home, ref_of(file), file, (seen,)))
            continue
        by_ref: defaultdict[ObjectRef, list[FileState]] = defaultdict(list)
        for file in _readable(_seen_files(state, key) or ()):
            by_ref[ref_of(file)].append(file)
        for file in _readable(row.files(change.attribute)):
            ref = ref_of(file)
            found.append(CommittedFile(change.row, home, ref, file, by_ref[ref]))
    return found


def _given_up(change: Change, row: RowValues) -> Iterator[tuple[FileState, FileState]]:
    """Yield what the session saw in an attribute and is not kept, and the same as the row has it.

    The session's own object says it too, unless it was read as another column's, or means something else by now.
    """
    before = _seen_files(change.state, change.attribute.key) or ()
    if len(before) == len(change.kept):
        return
    allowed = change.attribute.type.allowed_backends
    with suppress(CorruptFileMetadataError):
        for index, each in enumerate(before):
            if id(each) in change.kept:
                continue
            seen = file_state(each)
            seen.decode()
            if isinstance(seen.content, Stored) and seen.allowed == allowed:
                yield seen, seen
                continue
            file = file_state(row.files(change.attribute)[index])
            file.decode()
            yield seen, file


def kept_by_home(unit: Unit, changes: Iterable[Change]) -> dict[Home, set[ObjectRef]]:
    """Return where the files are that rows keep as they are."""
    kept: dict[Home, set[ObjectRef]] = {}
    for change in changes:
        if change.kept_refs:
            kept.setdefault(unit.homes.of(change.state.mapper), set()).update(change.kept_refs)
    return kept


def files_in_row(value: object) -> Iterator[FileState]:
    """Yield the files of an attribute's value whose JSON can be read."""
    with suppress(CorruptFileMetadataError):
        yield from _readable(files_in(value))


def _readable(files: Iterable[FileObject]) -> Iterator[FileState]:
    with suppress(CorruptFileMetadataError):
        for file in files:
            state = file_state(file)
            state.decode()
            yield state


# Recording


def record(
    unit: Unit,
    slots: Sequence[Slot],
    committed: Sequence[CommittedFile] = (),
    removed: Collection[HomeRef] = (),
    kept: Mapping[Home, set[ObjectRef]] = MappingProxyType({}),
) -> None:
    """Write into the ledgers what becomes of each object, and note what the commit deletes.

    That is what *slots* get, what rows *kept* without one, and of what rows had before the *removed*, which
    no row has any more.
    """
    _note_moved(unit, slots, committed)
    changes: defaultdict[Home, Changes] = defaultdict(Changes)
    uses: list[tuple[ObjectRef, GrantUse, Home]] = []
    for slot in slots:
        if (grant := slot.file_state.grant) is not None:
            # what a client uploaded is removed, now that a row has a copy; the ledger refuses it a second time
            upload = ref_of_grant(grant)
            uses.append((upload, GrantUse(grant, slot.file_state, slot.ref), slot.home))
            if slot.home.at is not None:
                changes[slot.home].used[upload] = slot.file_state.facts
                changes[slot.home].removed.add(upload)
        if slot.home.at is not None:
            _add_given(unit, slot, changes[slot.home])
    for home, refs in kept.items():
        if home.at is not None:
            changes[home].kept |= unit.frame.not_added(refs)
    for file in committed:
        if (file.home, file.ref) in removed and _is_in_its_column(file.file):
            _add_removed(unit, file, changes)
    unit.write(changes)
    for upload, use, home in uses:
        unit.note_use(upload, use, home)


def _note_moved(unit: Unit, slots: Iterable[Slot], committed: Iterable[CommittedFile]) -> None:
    """Note what attributes keep that they did not have before."""
    before: set[tuple[RowKey, ObjectRef]] | None = None
    for slot in slots:
        if slot.use is Use.KEEP and slot.home.at is not None:
            if before is None:
                before = {(file.row, file.ref) for file in committed}
            if (slot.row, slot.ref) not in before:
                unit.moved.setdefault(slot.home, {})[slot.ref] = slot.state


def _add_given(unit: Unit, slot: Slot, changes: Changes) -> None:
    """Add what a row gets, unless this transaction has recorded it as new."""
    file, ref = slot.file_state, slot.ref
    if unit.frame.ledger_with(ref) is not None:
        if slot.use is Use.ATTACH and file.is_found:
            raise ObjectExistsError(f"the storage key {ref[1]!r} {FOUND_TAKEN}")
        return
    if slot.use is Use.KEEP:
        changes.kept.add(ref)
        if ref not in unit.moved.get(slot.home, ()):
            return
        changes.moved.add(ref)
    elif ref in unit.frame.uploads:
        changes.stored[ref] = file.facts
    elif file.is_found:
        changes.found[ref] = file.facts
    else:
        changes.staged[ref] = file.facts
    changes.held_in[ref] = unit.homes.column_id(slot.home, slot.attribute.column)


def _add_removed(unit: Unit, file: CommittedFile, changes: Mapping[Home, Changes]) -> None:
    """Add what no row has any more, and note whose files the commit makes empty."""
    unit.released.setdefault(file.ref, []).extend(file.seen)
    is_foreign = file.file.facts.foreign
    if file.home.at is not None:
        (changes[file.home].doubtful if is_foreign else changes[file.home].removed).add(file.ref)
    elif not is_foreign:
        unit.removed.add(file.ref)


def _is_in_its_column(file: FileState) -> bool:
    """Return whether the column may point to where the row says the file is: else the row has nothing to delete."""
    try:
        file.located()
    except FileColumnError:
        return False
    return True


# The ledgers of a flush or statement


class Unit:
    """The ledgers of one flush or statement, and what it has written into them so far."""

    __slots__ = (
        "_added",
        "_used",
        "doomed",
        "frame",
        "homes",
        "moved",
        "released",
        "removed",
        "reserved",
        "written",
    )

    def __init__(self, frame: Frame, homes: Homes) -> None:
        self.frame: Frame = frame
        """That of the innermost savepoint, or of the transaction."""
        self.homes: Homes = homes
        self.moved: dict[Home, dict[ObjectRef, State]] = {}
        """What rows keep that other rows gave up, by home, and the row that is to have it."""
        self.reserved: dict[ObjectRef, Home] = {}
        """Keys that the application chose, to be withdrawn if a step fails: the transaction may go on."""
        # What the rows are to give up; only `conclude` tells the frame of it: the SQL may never come
        self.doomed: dict[ObjectRef, LedgerAt] = {}
        """What is recorded as removed and may be deleted after the commit, and where."""
        self.removed: set[ObjectRef] = set()
        """What no row will have any more."""
        self.released: dict[ObjectRef, list[FileState]] = {}
        """The session's own files of it."""
        self.written: set[Home] = set()
        """The homes into whose ledgers new keys were written."""
        self._added: dict[ObjectRef, Home] = {}
        self._used: dict[ObjectRef, tuple[GrantUse, Home]] = {}

    def conclude(self) -> None:
        """Let the commit delete what the rows have given up: the SQL has run."""
        frame = self.frame
        frame.doomed |= self.doomed
        frame.removed |= self.removed
        for ref, files in self.released.items():
            frame.released.setdefault(ref, []).extend(files)

    def abandon(self) -> None:
        """Take back what was recorded for SQL that does not come, after an error or for want of work.

        The transaction may go on.
        """
        by_home: defaultdict[LedgerAt, set[ObjectRef]] = defaultdict(set)
        for ref, at in self.doomed.items():
            by_home[at].add(ref)
        with suppress(SQLAlchemyError):
            self.withdraw_unattached()
            for home in self.homes.known():
                if home.at is not None and (refs := by_home.get(home.at)):
                    transitions.reassert(home.connection, home.at.ledger, refs)
        # once: the next flush abandons the one before it, which may have done so at its error
        for noted in (self.reserved, self.doomed, self.removed, self.released, self._added):
            noted.clear()

    # Keys that the application chose

    def reserve(self, chosen: Iterable[Slot]) -> None:
        """Record keys that the application chose, before they are used; ObjectExistsError if one is taken."""
        by_home: defaultdict[Home, dict[ObjectRef, str]] = defaultdict(dict)
        for slot in chosen:
            home = self.homes.of(slot.state.mapper)
            if home.at is not None:
                by_home[home][slot.ref] = self.homes.column_id(home, slot.attribute.column)
        for home, held_in in by_home.items():
            assert home.at is not None  # noqa: S101 - see above
            for batch in batches(sorted(held_in), transitions.RESERVED):
                transitions.reserve(home.connection, home.at.ledger, {ref: held_in[ref] for ref in batch})
                new = dict.fromkeys(batch, home)
                self.reserved |= new
                self._added |= new
                self.frame.added |= dict.fromkeys(batch, home.at)

    def describe(self, stored: Mapping[ObjectRef, FileFacts]) -> None:
        """Complete the entries of reserved keys, now that their content is stored."""
        by_home: defaultdict[Home, dict[ObjectRef, FileFacts]] = defaultdict(dict)
        for ref, facts in stored.items():
            if (home := self.reserved.get(ref)) is not None:
                by_home[home][ref] = facts
        for home, described in by_home.items():
            assert home.at is not None  # noqa: S101 - what is reserved is in a ledger
            transitions.describe(home.connection, home.at.ledger, described)

    def withdraw_all(self) -> None:
        """Withdraw what was reserved and recorded, after a failure: the transaction may go on."""
        # PostgreSQL's does not, and has undone this too
        with suppress(SQLAlchemyError):
            self.withdraw_unattached()
        self.reserved.clear()

    # Grants

    def check_grants(self, slots: Iterable[Slot]) -> None:
        """Raise InvalidGrantError if a grant would give a second file, here or by what has committed before."""
        uploads: dict[Mapper[object], set[ObjectRef]] = {}
        given: set[ObjectRef] = set()
        for slot in slots:
            if (grant := slot.file_state.grant) is None:
                continue
            upload = ref_of_grant(grant)
            if upload in given or self.frame.has_used(upload):
                raise used_error()
            given.add(upload)
            uploads.setdefault(slot.state.mapper, set()).add(upload)
        for mapper, refs in uploads.items():
            if self.homes.knows_any(mapper, refs):
                raise used_error()

    def note_use(self, upload: ObjectRef, use: GrantUse, home: Home) -> None:
        """Note that a grant is used up; where there is no ledger, the commit removes its upload without one."""
        use.file.grant = None
        self._used[upload] = use, home
        self.frame.used[upload] = use
        if home.at is None:
            self.frame.removed.add(upload)

    def _free_grants(self, attached: Collection[ObjectRef]) -> None:
        """Undo the uses of grants whose files no row came to hold."""
        freed: dict[ObjectRef, Home] = {}
        for upload, (use, home) in list(self._used.items()):
            if use.ref in attached:
                continue
            use.file.grant = use.grant
            for noted in (self._used, self.frame.used, self.frame.doomed, self.doomed):
                noted.pop(upload, None)
            for removed in (self.removed, self.frame.removed):
                removed.discard(upload)
            freed[upload] = home
        self._delete_entries(freed)

    # Changes

    def write(self, changes: Mapping[Home, Changes]) -> None:
        """Write changes into the ledgers, each key once in a transaction."""
        frame = self.frame
        for home, change in changes.items():
            assert home.at is not None  # noqa: S101 - changes are for ledgers
            failpoint("flush.before_ledger")
            deletable = transitions.record(home.connection, home.at.ledger, change)
            if change.stored:
                self.written.add(home)
            failpoint("flush.after_ledger")
            for ref in (*change.stored, *change.staged):
                self._added[ref], frame.added[ref] = home, home.at
            for ref in change.found:
                self._added[ref], frame.found[ref] = home, home.at
            for ref in deletable:
                self.doomed[ref] = home.at
                self.removed.add(ref)

    def withdraw_unattached(self) -> None:
        """Withdraw what this unit recorded as new and did not give to a row after all."""
        attached = self.frame.attached
        strays = {ref: home for ref, home in self._added.items() if ref not in attached}
        if strays:
            self._withdraw(strays)
        if self._used:
            self._free_grants(attached)

    def _withdraw(self, recorded: Mapping[ObjectRef, Home]) -> None:
        for ref in recorded:
            self.frame.added.pop(ref, None)
            self.frame.found.pop(ref, None)
        self._delete_entries(recorded)

    def _delete_entries(self, refs: Mapping[ObjectRef, Home]) -> None:
        by_home: defaultdict[Home, set[ObjectRef]] = defaultdict(set)
        for ref, home in refs.items():
            by_home[home].add(ref)
        for home, strays in by_home.items():
            if home.at is not None:
                transitions.withdraw(home.connection, home.at.ledger, strays)

    def reassert_moved(self) -> None:
        """Mark moved keys LIVE again that a trigger doomed when one row gave them up for another."""
        for home, refs in self.moved.items():
            assert home.at is not None  # noqa: S101 - see `record`
            transitions.reassert(home.connection, home.at.ledger, refs)
        self.moved.clear()

    # What the database did instead

    def keep(self, home: Home, refs: Collection[ObjectRef], tables: Iterable[str]) -> None:
        """Mark keys LIVE again that their rows still hold after the SQL that was to take them away."""
        if not refs:
            return
        warn(
            "rows of %s still hold files after they were replaced or deleted, as a trigger or policy has it; "
            "the files stay: %s",
            ", ".join(tables),
            sorted(refs),
        )
        if home.at is not None:
            transitions.reassert(home.connection, home.at.ledger, refs)
        self.leave_to_drains(refs)
        for ref in refs:
            self.released.pop(ref, None)

    def note_generation(self, home: Home, known: int | None = None) -> None:
        """Note the database's generation in the transaction of what it is about to remove; read it if unknown."""
        if home.at is not None and home.at not in self.frame.generations:
            self.frame.generations[home.at] = (
                generation_in(home.connection, home.at.ledger) if known is None else known
            )

    def leave_to_drains(self, refs: Iterable[ObjectRef]) -> None:
        """Remove nothing of these at the end of the transaction: a drain looks for rows first."""
        for ref in refs:
            for of in (self, self.frame):
                of.doomed.pop(ref, None)
                of.removed.discard(ref)

    def doom_refused(self, slot: Slot) -> None:
        """Doom a new key that its row did not take; a drain looks for a row before it deletes."""
        if (at := slot.home.at) is not None:
            transitions.doom_unchecked(slot.home.connection, at.ledger, [slot.ref])

    def attach_files(self, change: Change, value: FileObject | FileObjectList) -> None:
        """Note that a row has the files of an attribute now, as far as its *value* still has them."""
        present = set(map(id, files_in(value)))
        for slot in change.slots:
            if id(slot.file) in present:
                self.attach(slot)
        for file in change.kept.values():
            if not is_untouched(file):
                # a listener has changed it since
                self.note_flushed(file_state(file))
        if isinstance(value, FileObjectList):
            of_list = list_state(value)
            if (before := of_list.flushed(value)) is not None:
                self.frame.rewritten_lists.setdefault(id(of_list), (of_list, before))

    def attach(self, slot: Slot) -> None:
        """Note that a row has the slot's file now."""
        file = slot.file_state
        self.note_flushed(file)
        if file.attach(slot.attribute.type.allowed_backends):
            self.frame.attached[slot.ref] = file

    def note_flushed(self, file: FileState) -> None:
        """Note that a row has the facts of a file as they are now."""
        if (before := file.flushed()) is not None:
            self.frame.rewritten.setdefault(id(file), (file, before))


# What is remembered of a session


class SessionFiles:
    """What filecolumn remembers of one session."""

    __slots__ = ("flush", "frames", "permits")

    def __init__(self) -> None:
        self.frames: Frames = Frames()
        self.flush: Flush | None = None
        """The flush that is under way."""
        self.permits: list[WritePermit] = []
        """The values that it may write."""

    def begin_flush(self, session: Session) -> Flush:
        """Return the flush that is under way from now on."""
        frames = self.frames.current(session)
        self.flush = Flush(session, Unit(frames[0], Homes(session, *frames)))
        return self.flush

    def revoke_permits(self) -> None:
        """Let no other statement write the values that a flush was permitted to."""
        if self.permits:
            end_permits(self.permits)
            self.permits.clear()


_KEY = "filecolumn"
"""Where a session has it in its `info`, with its number: a session may be made with a copy of another's."""


def find_files(session: Session) -> SessionFiles | None:
    """Return what is remembered of a session; None before its first flush or statement with files."""
    found: SessionFiles | None = session.info.get((_KEY, session.hash_key))
    return found


def files_of(session: Session) -> SessionFiles:
    """Return what is remembered of a session, from now on."""
    found: SessionFiles | None = session.info.get((_KEY, session.hash_key))
    if found is None:
        found = session.info[_KEY, session.hash_key] = SessionFiles()
    return found


def touches_files(session: Session) -> bool:
    """Return whether the session's transaction has stored a file so far, given one to a row or taken one."""
    files = find_files(session)
    frame = None if files is None else files.frames.find(session.get_transaction())
    return frame is not None and bool(frame.uploads or frame.attached or frame.removed)
