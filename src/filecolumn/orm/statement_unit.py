"""What INSERT, UPDATE and DELETE statements have in common: one statement is settled as a flush is.

Content is stored before the statement, and what rows held is read before it too.  What it took away
is noted only when it has succeeded: after an error in a statement the transaction may go on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, Result
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.state import InstanceState

from filecolumn.errors import NotSupportedError
from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.attributes import FileAttribute
from filecolumn.orm.dml import Cell, Dml, ValueSet
from filecolumn.orm.flush import FlushUnit
from filecolumn.orm.frames import current_frames
from filecolumn.orm.giving import Gift
from filecolumn.orm.held import Held, readable
from filecolumn.orm.keys import key_columns
from filecolumn.orm.ledger_changes import LedgerChanges
from filecolumn.orm.matching import Finder, MatchedRow
from filecolumn.orm.slots import Slot, place_of, slots_of
from filecolumn.orm.statements import Parameters, Path, autoflush, criteria_of, rewritten
from filecolumn.orm.type import claim, release
from filecolumn.orm.unit import Place, Spot
from filecolumn.orm.watching import watch

__all__ = ("StatementUnit", "Written", "places_held", "shared_error")

State = InstanceState[object]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """An instance that stands for a row, in no session: what a set of values makes of it."""

    instance: object
    values: ValueSet

    @property
    def state(self) -> State:
        """Where its values are."""
        return instance_state(self.instance)

    @property
    def slots(self) -> Iterator[Slot]:
        """The places that are to hold a file."""
        for attribute in self.values.cells:
            yield from slots_of(self.state, attribute)

    def value(
        self, attribute: FileAttribute, cell: Cell
    ) -> FileObject | FileObjectList | list[FileObject] | None:
        """Return what the statement is to write."""
        value = self.state.dict[attribute.key]
        # not one empty list for the loaded instances of several rows
        return value if cell.files or not attribute.type.multiple else []


class StatementUnit(FlushUnit):
    """One statement of one session."""

    def __init__(self, context: ORMExecuteState, dml: Dml) -> None:
        autoflush(context)
        super().__init__(context.session, *current_frames(context.session), dict(context.bind_arguments))
        self._context = context
        self._dml = dml
        self._written: list[Written] = []
        self._removed: Collection[Spot] = ()
        self._held: Sequence[Held] = ()

    @abstractmethod
    def run(self) -> Result[Any]:
        """Store, read, run the statement, and note what it did."""

    def _finder(self, more: Iterable[ColumnElement[Any]] = ()) -> Finder:
        """Return what reads the rows, on the connection that the statement will use."""
        context, dml = self._context, self._dml
        watch(context.session, dict(context.bind_arguments), self._frame, self._root)
        # so that COMMIT has a proof, also if no row matches
        self._recorder.home(dml.mapper)
        connection = context.session.connection(bind_arguments=dict(context.bind_arguments))
        columns = (*(attribute.column for attribute in dml.attributes), *more)
        mapper = dml.mapper
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

    def _write(self, values: ValueSet, row: Mapping[str, object]) -> Written:
        """Make a record of a set of values, on top of what its row has."""
        written = Written(self._dml.mapper.class_manager.new_instance(), values)
        held = written.state.dict
        held.update(row)
        held.update(values.others)
        for attribute, cell in values.cells.items():
            if attribute.type.multiple:
                held[attribute.key] = FileObjectList(cell.files)
            else:
                held[attribute.key] = next(iter(cell.files), None)
        self._written.append(written)
        return written

    def _slots(self) -> list[Slot]:
        return [slot for written in self._written for slot in written.slots]

    def _record(self, gifts: Sequence[Gift], removed: Collection[Spot], held: Sequence[Held]) -> None:
        """Write into the ledgers what is new; what is removed has to wait for the statement to succeed."""
        changes = LedgerChanges(self._frame, self._recorder)
        changes.add_given(gifts)
        changes.write()
        self._removed, self._held = removed, held

    def _held_in(self, row: MatchedRow, attributes: Iterable[FileAttribute], of: object) -> Iterator[Held]:
        """Yield what a row holds, as far as it can be read, as what the row of *of* held."""
        for attribute in attributes:
            yield Held((id(of), attribute.key), self._dml.mapper, list(readable(row.files(attribute))))

    def _invoke(self, more: Mapping[Path, object] | None = None) -> Result[Any]:
        """Run the statement with the files that its rows are to have."""
        changes = {
            cell.path: written.value(attribute, cell)
            for written in self._written
            for attribute, cell in written.values.cells.items()
            if cell.files or attribute.type.multiple
        }
        rewritten(self._context, self._dml.statement, {**(more or {}), **changes})
        claims = [
            claim(value) for value in changes.values() if isinstance(value, FileObject | FileObjectList)
        ]
        try:
            return self._context.invoke_statement()
        except BaseException:
            # the transaction may go on; PostgreSQL's may not, and has undone this too
            with suppress(SQLAlchemyError):
                self._recorder.withdraw_all_but(self._frame.attached)
            raise
        finally:
            release(claims)

    def _conclude(self, attached: Iterable[Slot]) -> None:
        """After the statement: its files are its rows', and others are nobody's."""
        for slot in attached:
            self._attach(slot.file, slot.attribute)
        for written in self._written:
            for attribute in written.values.cells:
                if isinstance(value := written.state.dict[attribute.key], FileObjectList):
                    value._flushed()
        changes = LedgerChanges(self._frame, self._recorder)
        changes.add_removed(self._removed, self._held)
        changes.write()
        for home in {home for home, _ in self._removed}:
            self._recorder.note_generation(home)
        self._recorder.withdraw_all_but(self._frame.attached)


def places_held(rows: Iterable[MatchedRow], attributes: Sequence[FileAttribute]) -> set[Place]:
    """Return the places that rows hold."""
    return {
        place_of(file) for row in rows for attribute in attributes for file in readable(row.files(attribute))
    }


def shared_error(attribute: FileAttribute, rows: int) -> NotSupportedError:
    """Return the error for one file that is to go into several rows."""
    return NotSupportedError(
        f"the statement would give one file to {rows} rows in {attribute.key!r}, and each row owns its own: "
        "give a parameter set with a file to each row"
    )
