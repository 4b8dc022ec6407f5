"""INSERT, UPDATE and DELETE statements of a session: each runs by the steps of a flush.

Content is stored before the statement, and what rows hold is read before it too.  What it took away
is recorded only when it has succeeded: after an error in a statement the transaction may go on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, Result, Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.registry import ObjectRef
from filecolumn.errors import ConcurrentFileChangeError, FileColumnError, NotSupportedError
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList, list_state
from filecolumn.ledger.columns import translating
from filecolumn.orm.assignment import HomeRef, assign
from filecolumn.orm.attributes import FileAttribute, files_in, key_columns
from filecolumn.orm.column import end_permits, permit_write
from filecolumn.orm.flush import Unit, copy, files_in_row, files_of, record, store
from filecolumn.orm.homes import Homes
from filecolumn.orm.rereading import Rereading
from filecolumn.orm.rows import Finder, MatchedRow
from filecolumn.orm.slots import CommittedFile, RowKey, Slot, check, check_content, ref_of, slots_of
from filecolumn.orm.statements.clauses import (
    Parameters,
    Path,
    autoflush,
    criteria_of,
    dml_of,
    execute_last,
    may_copy_files,
    rewritten,
    selected_names,
    strategy_of,
)
from filecolumn.orm.statements.dml import (
    Cell,
    Dml,
    UniqueKey,
    ValueSet,
    identity_in,
    keys_that_conflict,
    may_replace,
    read_statement,
    target_of,
)

__all__ = ("on_execute",)

State = InstanceState[object]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """An instance that stands for a row, in no session: what a set of values makes of it."""

    state: State
    instance: object
    """Kept here: its state refers to it weakly."""
    values: ValueSet
    slots: Sequence[Slot]
    """One for each file that the row gets."""

    def value(
        self, attribute: FileAttribute, cell: Cell
    ) -> FileObject | FileObjectList | list[FileObject] | None:
        """Return the value for the statement."""
        value = self.state.dict[attribute.key]
        # not one empty list for the loaded instances of several rows
        return value if cell.files or not attribute.type.multiple else []


class Statement(ABC):
    """One statement of one session."""

    def __init__(self, context: ORMExecuteState, dml: Dml) -> None:
        autoflush(context)
        session = context.session
        frames = files_of(session).frames.current(session)
        self._unit = Unit(frames[0], Homes(session, *frames, dict(context.bind_arguments)))
        self._context = context
        self._dml = dml
        self._written: list[Written] = []

    def run(self) -> Result[Any]:
        """Store, read, run the statement, and note what it did."""
        try:
            return self._run()
        except BaseException:
            self._unit.withdraw_all()
            raise

    @abstractmethod
    def _run(self) -> Result[Any]:
        """Call the steps of a flush in the order that such a statement needs."""

    def _finder(self, more: Iterable[ColumnElement[Any]] = ()) -> Finder:
        """Return what reads the rows, on the connection that the statement will use."""
        dml, mapper = self._dml, self._dml.mapper
        connection = self._unit.homes.of(mapper).connection
        columns = (*(attribute.column for attribute in dml.attributes), *more)
        key = mapper.primary_key if dml.by_key else key_columns(dml.table, mapper)
        needed = (*key, *(attribute.column for attribute in dml.attributes))
        if key and all(isinstance(column, Column) and column.table is dml.table for column in needed):
            return Finder(connection, dml.table, dml.table, key, columns)
        return Finder(connection, dml.table, mapper.persist_selectable, mapper.primary_key, columns)

    def _criteria(self) -> tuple[ColumnElement[bool], ...]:
        return criteria_of(self._dml.statement, self._dml.entity)

    def _parameter_sets(self) -> Sequence[Mapping[str, object]]:
        parameters = cast("Parameters", self._context.parameters)
        return parameters if isinstance(parameters, Sequence) else [parameters or {}]

    def _write(self, values: ValueSet, row: Mapping[str, object]) -> None:
        """Make an instance of a set of values, on top of what its row has."""
        instance = self._dml.mapper.class_manager.new_instance()
        state = instance_state(instance)
        state.dict.update(row)
        state.dict.update(values.others)
        slots: list[Slot] = []
        for attribute, cell in values.cells.items():
            is_list = attribute.type.multiple
            value = FileObjectList(cell.files) if is_list else next(iter(cell.files), None)
            state.dict[attribute.key] = value
            slots += slots_of(state, attribute, files_in(value))
        self._written.append(Written(state, instance, values, slots))

    def _slots(self) -> list[Slot]:
        return [slot for written in self._written for slot in written.slots]

    def _store(self) -> None:
        slots = self._slots()
        check(slots)
        store(self._unit, slots)

    def _assign(self, committed: Sequence[CommittedFile]) -> frozenset[HomeRef]:
        """Decide and record what the slots get; return what no row has any more if the statement succeeds."""
        slots = self._slots()
        check_content(slots, committed)
        removed = assign(slots, committed)
        copy(self._unit, slots)
        record(self._unit, slots, committed)
        return removed

    def _committed(
        self, row: MatchedRow, attributes: Iterable[FileAttribute], of: object
    ) -> Iterator[CommittedFile]:
        """Yield the files of a row, as far as they can be read, as what the row of *of* had."""
        home = self._unit.homes.of(self._dml.mapper)
        for attribute in attributes:
            for file in files_in_row(row.files(attribute)):
                yield CommittedFile((id(of), attribute.key), home, ref_of(file), file)

    def _invoke(self, more: Mapping[Path, object] | None = None) -> Result[Any]:
        """Run the statement with the files that its rows are to have."""
        changes = {
            cell.path: written.value(attribute, cell)
            for written in self._written
            for attribute, cell in written.values.cells.items()
            if cell.files or attribute.type.multiple
        }
        rewritten(self._context, self._dml.statement, {**(more or {}), **changes})
        permits = [
            permit_write(value)
            for value in changes.values()
            if isinstance(value, FileObject | FileObjectList)
        ]
        try:
            return self._context.invoke_statement()
        except BaseException:
            # the transaction may go on; PostgreSQL's may not, and has undone this too
            with suppress(SQLAlchemyError):
                self._unit.withdraw_unattached()
            raise
        finally:
            end_permits(permits)

    def _conclude(
        self,
        attached: Iterable[Slot],
        committed: Sequence[CommittedFile],
        removed: Collection[HomeRef],
    ) -> None:
        """Attach files whose rows are written, and record what the statement took away."""
        for slot in attached:
            self._unit.attach(slot)
        for written in self._written:
            for attribute in written.values.cells:
                if isinstance(value := written.state.dict[attribute.key], FileObjectList):
                    list_state(value).flushed(value)
        record(self._unit, (), committed, removed)
        if removed:
            # all of them are of one mapper
            self._unit.note_generation(self._unit.homes.of(self._dml.mapper))
        self._unit.withdraw_unattached()
        self._unit.conclude()


def refs_in(rows: Iterable[MatchedRow], attributes: Sequence[FileAttribute]) -> set[ObjectRef]:
    """Return where the files of rows are."""
    return {
        ref_of(file)
        for row in rows
        for attribute in attributes
        for file in files_in_row(row.files(attribute))
    }


def shared_error(attribute: FileAttribute, rows: int) -> NotSupportedError:
    """Return the error for one file that the statement would give to several rows."""
    return NotSupportedError(
        f"the statement would give one file to {rows} rows in {attribute.key!r}, and each row owns its own: "
        "give a parameter set with a file to each row"
    )


class Insertion(Statement):
    """An INSERT of new rows."""

    def _run(self) -> Result[Any]:
        self._store_values()
        # so that COMMIT has a proof, also if nothing is recorded in the end
        self._unit.homes.of(self._dml.mapper)
        self._assign(())
        result = self._invoke()
        self._conclude(self._slots(), (), ())
        return result

    def _store_values(self) -> None:
        sets = self._dml.sets
        for values in sets:
            for attribute, cell in values.cells.items():
                if cell.is_shared and cell.files and len(sets) > 1:
                    raise shared_error(attribute, len(sets))
        for values in sets:
            self._write(values, {})
        self._store()


class Replacement(Insertion):
    """An INSERT with ON CONFLICT, ON DUPLICATE KEY or OR REPLACE.

    What the rows hold before and after it says what it did: its clauses may say anything.
    """

    def __init__(self, context: ORMExecuteState, dml: Dml, keys: Sequence[UniqueKey]) -> None:
        super().__init__(context, dml)
        self._identities = {key: [identity_in(dml, values, key) for values in dml.sets] for key in keys}
        """For each key by which a new row may meet another: its value in each set, None if it meets none."""

    def _run(self) -> Result[Any]:
        self._store_values()
        finder = self._finder(column for key in self._identities for column in key)
        finder.lock()
        before = list(self._rows(finder, for_update=True))
        self._assign(list(self._kept_by_sets(before)))
        result = self._invoke()
        after = [
            *self._rows(finder, for_update=False),
            *finder.with_identities([row.identity for row in before], for_update=False),
        ]
        attributes = self._dml.attributes
        held = refs_in(after, attributes)
        committed = [file for row in before for file in self._committed(row, attributes, row)]
        attached = [
            slot
            for number, written in enumerate(self._written)
            for slot in written.slots
            if slot.ref in held or self._meets_none(number)
        ]
        removed = {(file.home, file.ref) for file in committed if file.ref not in held}
        self._conclude(attached, committed, removed)
        return result

    def _meets_none(self, number: int) -> bool:
        return all(identities[number] is None for identities in self._identities.values())

    def _rows(self, finder: Finder, *, for_update: bool) -> Iterator[MatchedRow]:
        for key, identities in self._identities.items():
            known = dict.fromkeys(identity for identity in identities if identity is not None)
            yield from finder.with_keys(key, known, for_update=for_update)

    def _kept_by_sets(self, rows: Sequence[MatchedRow]) -> Iterator[CommittedFile]:
        """Yield what the row of each set may keep: what it had, nothing of other rows, which may stay as they are."""
        # by attribute: a row that several keys find has its files once, else another row would share them
        kept: dict[RowKey, list[CommittedFile]] = {}
        for key, identities in self._identities.items():
            by_value = {tuple(row.values[column] for column in key): row for row in rows}
            for written, identity in zip(self._written, identities, strict=True):
                row = None if identity is None else by_value.get(identity)
                if row is None:
                    continue
                wanted = {(slot.row, slot.ref) for slot in written.slots}
                for attribute in written.values.cells:
                    files = self._committed(row, (attribute,), written.state)
                    of_attribute = id(written.state), attribute.key
                    kept[of_attribute] = [file for file in files if (file.row, file.ref) in wanted]
        for found in kept.values():
            yield from found


class _OfMatchedRows(Statement):
    """A statement about rows that its criteria find."""

    def _run_on(
        self,
        finder: Finder,
        rows: Sequence[MatchedRow],
        committed: Sequence[CommittedFile],
        more: Mapping[Path, object],
    ) -> Result[Any]:
        """Run the statement, and leave alone what rows still hold that it did not touch after all."""
        removed: Collection[HomeRef] = self._assign(committed)
        result = self._invoke(more)
        # no result that returns rows tells their number
        count: int = getattr(result, "rowcount", -1)
        if count > len(rows):
            raise ConcurrentFileChangeError(
                f"the statement touched {count} rows where {len(rows)} matched before it, because another transaction "
                "added some; roll back and retry"
            )
        reread = Rereading()
        slots = self._slots()
        # a view's triggers write rows that no count tells of
        is_uncounted = count == 0 and bool(slots)
        if removed or is_uncounted:
            identities = [row.identity for row in rows]
            is_of_table: bool = isinstance(finder.source, Table)
            if is_of_table:
                reread.add(cast("Table", finder.source), finder.key, identities)
            else:
                reread.add_of(self._dml.mapper, identities)
            reread.read(finder.connection)
            removed = [(home, ref) for home, ref in removed if not reread.holds(ref[1])]
        if is_uncounted:
            slots = [slot for slot in slots if reread.holds(slot.ref[1])]
        self._conclude(slots, committed, removed)
        if removed and reread.moves_rows(finder.connection):
            self._unit.leave_to_drains(ref for _, ref in removed)
        return result


class Deletion(_OfMatchedRows):
    """A DELETE."""

    def _run(self) -> Result[Any]:
        finder = self._finder()
        finder.lock()
        found: dict[tuple[object, ...], MatchedRow] = {}
        for parameters in self._parameter_sets():
            for row in finder.matching(self._criteria(), parameters, for_update=True):
                found[row.identity] = row
        rows = list(found.values())
        committed = [file for row in rows for file in self._committed(row, self._dml.attributes, row)]
        return self._run_on(finder, rows, committed, {})


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """A set of values, and the rows that it will be written to."""

    values: ValueSet
    rows: Sequence[MatchedRow]


class Update(_OfMatchedRows):
    """An UPDATE of file attributes, by its criteria or by the primary keys among its parameters."""

    def _run(self) -> Result[Any]:
        gives = any(cell.files for values in self._dml.sets for cell in values.cells.values())
        if gives:
            self._prepare()
            self._store()
        finder = self._finder()
        finder.lock()
        matches = self._matches(finder, for_update=True)
        if gives and (error := _misfit(matches)) is not None:
            raise ConcurrentFileChangeError(f"{error} now; roll back and retry")
        rows = {row.identity: row for match in matches for row in match.rows}
        committed = list(self._committed_before(matches))
        return self._run_on(finder, list(rows.values()), committed, dict(self._unmatched(matches)))

    def _prepare(self) -> None:
        """Make an instance for each set of values that has a row; refuse to give one file to several."""
        columns = self._dml.table.columns if self._needs_rows() else ()
        matches = self._matches(self._finder(columns), for_update=False)
        if (error := _misfit(matches)) is not None:
            raise error
        for match in matches:
            for row in match.rows[:1]:
                self._write(
                    match.values, {self._dml.name_of(column): row.values[column] for column in columns}
                )

    def _needs_rows(self) -> bool:
        """Whether a key has to be made of what a row has."""
        return any(
            attribute.type.key_template is not None for values in self._dml.sets for attribute in values.cells
        )

    def _matches(self, finder: Finder, *, for_update: bool) -> list[_Match]:
        sets = self._dml.sets
        criteria = self._criteria()
        if not self._dml.by_key:
            return [
                _Match(values, finder.matching(criteria, values.parameters, for_update=for_update))
                for values in sets
            ]
        names = [self._dml.name_of(column) for column in finder.key]
        keys = [tuple(values.parameters.get(name) for name in names) for values in sets]
        found = {row.identity: row for row in finder.with_identities(set(keys), for_update=for_update)}
        matches: list[_Match] = []
        for values, key in zip(sets, keys, strict=True):
            rows = [found[key]] if key in found else []
            if criteria or not rows:
                # a key of another type may still be the same to the database
                same = (*criteria, *(column == part for column, part in zip(finder.key, key, strict=True)))
                rows = finder.matching(same, values.parameters, for_update=for_update)
            matches.append(_Match(values, rows))
        return matches

    def _committed_before(self, matches: Sequence[_Match]) -> Iterator[CommittedFile]:
        states = {id(written.values): written.state for written in self._written}
        for match in matches:
            state = states.get(id(match.values))
            for row in match.rows:
                yield from self._committed(row, match.values.cells, row if state is None else state)

    def _unmatched(self, matches: Sequence[_Match]) -> Iterator[tuple[Path, object]]:
        """Yield what has no row: it is not stored, and could not be bound."""
        matched = {cell.path for match in matches if match.rows for cell in match.values.cells.values()}
        for match in matches:
            for attribute, cell in match.values.cells.items():
                if cell.path not in matched:
                    yield cell.path, [] if attribute.type.multiple else None


def _misfit(matches: Sequence[_Match]) -> FileColumnError | None:
    """Return the error if one file would be given to several rows, or one row two files."""
    shared: Counter[Path] = Counter()
    identities: Counter[tuple[object, ...]] = Counter()
    for match in matches:
        identities.update(row.identity for row in match.rows)
        for attribute, cell in match.values.cells.items():
            shared[cell.path] += len(match.rows)
            if cell.files and shared[cell.path] > 1:
                return shared_error(attribute, shared[cell.path])
    twice = [identity for identity, count in identities.items() if count > 1]
    if twice:
        return NotSupportedError(f"several parameter sets write the files of one row, {twice[0]!r}")
    return None


def on_execute(context: ORMExecuteState) -> Result[Any] | None:
    """Run the statement that a session executes, if it is about files; the listener of `do_orm_execute`."""
    if context.is_select:
        return None
    statement = dml_of(context)
    if statement is None or target_of(statement, strategy_of(context), context.parameters) is None:
        if may_copy_files(context, statement):
            _note_other_dml(context.session)
        return None
    return execute_last(context, _execute)


def _note_other_dml(session: Session) -> None:
    """Note that a statement wrote rows past the flush, which may have copied what others hold."""
    frame, _ = files_of(session).frames.current(session)
    frame.other_dml = True


def _execute(context: ORMExecuteState) -> Result[Any] | None:
    dml = read_statement(context)
    if dml is None:
        return None
    with _translated(context):
        statement = _statement(context, dml)
        return None if statement is None else statement.run()


@contextmanager
def _translated(context: ORMExecuteState) -> Generator[None]:
    """Let the session's connection translate schemas as the statement does: it may be for another tenant."""
    translation = context.execution_options.get("schema_translate_map")
    if translation is None:
        yield
        return
    with translating(context.session.connection(context.bind_arguments), translation):
        yield


def _statement(context: ORMExecuteState, dml: Dml) -> Statement | None:
    """Return what runs a statement; None if it touches no file."""
    if context.is_delete:
        return Deletion(context, dml)
    if context.is_update:
        return Update(context, dml) if any(values.cells for values in dml.sets) else None
    for name in selected_names(dml.statement):
        if (attribute := dml.attribute_of(name)) is not None:
            raise NotSupportedError(
                f"from_select() cannot fill the column {attribute.key!r}: two rows would share the content; "
                "leave the column out, or load the rows and add new ones"
            )
    if may_replace(dml):
        return Replacement(context, dml, keys_that_conflict(dml))
    gives = any(cell.files for values in dml.sets for cell in values.cells.values())
    return Insertion(context, dml) if gives else None
