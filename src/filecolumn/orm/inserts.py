"""INSERT of rows with files, also where it may meet rows that are there already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Result
from sqlalchemy.orm import ORMExecuteState

from filecolumn.file import FileObject
from filecolumn.orm.dml import Dml
from filecolumn.orm.matching import Finder, MatchedRow
from filecolumn.orm.slots import place_of
from filecolumn.orm.statement_unit import StatementUnit, held_by, places_held, shared_error
from filecolumn.orm.uniques import UniqueKey, identity_in

__all__ = ("Insertion", "Replacement")


class Insertion(StatementUnit):
    """An INSERT of new rows."""

    def run(self) -> Result[Any]:
        self._store()
        self._finder()
        self._give(self._slots(), {})
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
        self._store_pending(self._slots())


class Replacement(Insertion):
    """An INSERT with ON CONFLICT, ON DUPLICATE KEY or OR REPLACE.

    What the rows hold before and after it says what it did: its clauses may be of any kind.
    """

    def __init__(self, context: ORMExecuteState, dml: Dml, keys: Sequence[UniqueKey]) -> None:
        super().__init__(context, dml)
        self._keys = keys

    def run(self) -> Result[Any]:
        self._identities()
        self._store()
        finder = self._finder(column for key in self._keys for column in key)
        finder.lock()
        before = list(self._rows(finder, for_update=True))
        self._give(self._slots(), self._held(before))
        result = self._invoke()
        after = [
            *self._rows(finder, for_update=False),
            *finder.with_identities([row.identity for row in before], for_update=False),
        ]
        attributes = self._dml.attributes
        held = places_held(after, attributes)
        self._gone = places_held(before, attributes) - held
        certain = [written for number, written in enumerate(self._written) if not self._identities_of(number)]
        slots = self._slots()
        self._conclude(
            slot
            for slot in slots
            if place_of(slot.file) in held or any(slot.state is written.state for written in certain)
        )
        return result

    def _identities(self) -> list[dict[UniqueKey, tuple[object, ...]]]:
        return [self._identities_of(number) for number in range(len(self._dml.sets))]

    def _identities_of(self, number: int) -> dict[UniqueKey, tuple[object, ...]]:
        """Return the keys by which a new row may meet another, and their values."""
        values = self._dml.sets[number]
        identities = ((key, identity_in(self._dml, values, key)) for key in self._keys)
        return {key: identity for key, identity in identities if identity is not None}

    def _rows(self, finder: Finder, *, for_update: bool) -> Iterator[MatchedRow]:
        identities = self._identities()
        for key in self._keys:
            values = {found[key]: None for found in identities if key in found}
            yield from finder.with_keys(key, values, for_update=for_update)

    def _held(self, rows: Sequence[MatchedRow]) -> dict[tuple[int, str], list[FileObject]]:
        """Return what the row of each set may keep: its own, and nobody else's, for it may stay where it is."""
        held: dict[tuple[int, str], list[FileObject]] = {}
        for key in self._keys:
            by_value = {tuple(row.values[column] for column in key): row for row in rows}
            for number, written in enumerate(self._written):
                row = by_value.get(self._identities_of(number).get(key, ()))
                if row is None:
                    continue
                own = {(slot.attribute.key, place_of(slot.file)) for slot in written.slots}
                for name, files in held_by(row, written.values.cells):
                    kept = [file for file in files if (name, place_of(file)) in own]
                    held[id(written.state), name] = kept
        return held
