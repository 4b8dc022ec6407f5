"""One flush: store what is new, read what rows hold, decide, and copy what must be copied.

All of it happens before SQLAlchemy writes the rows, so that a row carries true facts of content
that is there.  `FlushUnit.settle` may run several times in one flush: for everything that the
session knows before it, and again for what appears only inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state, set_attribute
from sqlalchemy.orm.state import InstanceState

from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.attributes import FileAttribute, file_attributes, files_in, own, take_list
from filecolumn.orm.conflicts import check_unchanged
from filecolumn.orm.defaults import fill_defaults
from filecolumn.orm.frames import BindArguments, SessionFrame
from filecolumn.orm.giving import Gift, give
from filecolumn.orm.held import Held, held_before
from filecolumn.orm.ledger_changes import LedgerChanges
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.rereading import Rereading, identities_of
from filecolumn.orm.rows import held_rows, session_connection
from filecolumn.orm.slots import Slot, may_stay, place_of, slots_of, target_of
from filecolumn.orm.storing import store_pending
from filecolumn.orm.unit import Spot, Use
from filecolumn.orm.watching import watch
from filecolumn.state import Phase

__all__ = ("FlushUnit",)

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
            if isinstance(value, FileObjectList) and (before := value._flushed()) is not None:
                self._frame.rewritten_lists.setdefault(id(value), (value, before))
            if value is not None:
                own(state, key, value)
        self._recorder.withdraw_all_but(self._frame.attached)
        self._recorder.reassert_moved()

    def _register(self, slots: Iterable[Slot]) -> None:
        """Register as a writer of the storages that new content goes to."""
        targets: dict[Mapper[object], set[str]] = {}
        for slot in slots:
            if slot.file._phase is not Phase.STORED or not may_stay(slot):
                targets.setdefault(slot.state.mapper, set()).add(target_of(slot))
        for mapper, names in targets.items():
            self._recorder.register(mapper, names)

    def _attach(self, file: FileObject, attribute: FileAttribute) -> None:
        if (before := file._flushed()) is not None:
            self._frame.rewritten.setdefault(id(file), (file, before))
        if file._attach(attribute.type._allowed):
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
            if not gift.file._found:
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
