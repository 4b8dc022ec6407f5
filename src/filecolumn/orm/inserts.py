"""INSERT of rows with files, also where it may meet rows that are there already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Result
from sqlalchemy.orm import ORMExecuteState

from filecolumn.orm.dml import Dml
from filecolumn.orm.held import Held
from filecolumn.orm.matching import Finder, MatchedRow
from filecolumn.orm.slots import place_of
from filecolumn.orm.statement_unit import StatementUnit, places_held, shared_error
from filecolumn.orm.storing import store_pending
from filecolumn.orm.uniques import UniqueKey, identity_in

__all__ = ("Insertion", "Replacement")


class Insertion(StatementUnit):
    """An INSERT of new rows."""

    def run(self) -> Result[Any]:
        with self._recorder.claiming():
            return self._run()

    def _run(self) -> Result[Any]:
        self._store()
        self._finder()
        self._give(self._slots(), ())
        result = self._invoke()
        self._conclude(self._slots())
        return result

    def _store(self) -> None:
        sets = self._dml.sets
        for values in sets:
            for attribute, cell in values.cells.items():
                if cell.is_shared and cell.files and len(sets) > 1:
                    raise shared_error(attribute, len(sets))
        for values in sets:
            self._write(values, {})
        self._register(self._slots())
        store_pending(self._slots(), self._frame, self._recorder)


class Replacement(Insertion):
    """An INSERT with ON CONFLICT, ON DUPLICATE KEY or OR REPLACE.

    What the rows hold before and after it says what it did: its clauses may be of any kind.
    """

    def __init__(self, context: ORMExecuteState, dml: Dml, keys: Sequence[UniqueKey]) -> None:
        super().__init__(context, dml)
        self._identities = {key: [identity_in(dml, values, key) for values in dml.sets] for key in keys}
        """By which a new row may meet another: for each key its value in each set, None if it meets none."""

    def _run(self) -> Result[Any]:
        self._store()
        finder = self._finder(column for key in self._identities for column in key)
        finder.lock()
        before = list(self._rows(finder, for_update=True))
        self._give(self._slots(), list(self._own(before)))
        result = self._invoke()
        after = [
            *self._rows(finder, for_update=False),
            *finder.with_identities([row.identity for row in before], for_update=False),
        ]
        held = places_held(after, self._dml.attributes)
        attributes = self._dml.attributes
        self._held = [each for row in before for each in self._held_in(row, attributes, row)]
        home = self._recorder.home(self._dml.mapper)
        self._removed = {(home, place) for place in places_held(before, attributes) - held}
        self._conclude(
            slot
            for number, written in enumerate(self._written)
            for slot in written.slots
            if place_of(slot.file) in held or self._meets_none(number)
        )
        return result

    def _meets_none(self, number: int) -> bool:
        return all(identities[number] is None for identities in self._identities.values())

    def _rows(self, finder: Finder, *, for_update: bool) -> Iterator[MatchedRow]:
        for key, identities in self._identities.items():
            known = dict.fromkeys(identity for identity in identities if identity is not None)
            yield from finder.with_keys(key, known, for_update=for_update)

    def _own(self, rows: Sequence[MatchedRow]) -> Iterator[Held]:
        """Yield what the row of each set may keep: its own, and nobody else's, for that may stay where it is."""
        for key, identities in self._identities.items():
            by_value = {tuple(row.values[column] for column in key): row for row in rows}
            for written, identity in zip(self._written, identities, strict=True):
                row = None if identity is None else by_value.get(identity)
                if row is None:
                    continue
                wanted = {(slot.row, place_of(slot.file)) for slot in written.slots}
                for held in self._held_in(row, written.values.cells, written.state):
                    kept = [file for file in held.files if (held.row, place_of(file)) in wanted]
                    yield replace(held, files=kept)
