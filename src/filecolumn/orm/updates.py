"""UPDATE and DELETE of rows with files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Result, Table

from filecolumn.errors import ConcurrentFileChangeError, FileColumnError, NotSupportedError
from filecolumn.orm.dml import ValueSet
from filecolumn.orm.held import Held
from filecolumn.orm.matching import Finder, MatchedRow
from filecolumn.orm.rereading import Rereading
from filecolumn.orm.slots import place_of
from filecolumn.orm.statement_unit import StatementUnit, shared_error
from filecolumn.orm.statements import Path
from filecolumn.orm.storing import store_pending

__all__ = ("Deletion", "Update")


class _OfMatchedRows(StatementUnit):
    """A statement about rows that its criteria find."""

    def _run_on(self, finder: Finder, rows: Sequence[MatchedRow], more: Mapping[Path, object]) -> Result[Any]:
        """Run the statement, and leave alone what rows still hold that it did not touch after all."""
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
        if self._removed or is_uncounted:
            identities = [row.identity for row in rows]
            is_of_table: bool = isinstance(finder.source, Table)
            if is_of_table:
                reread.add(cast("Table", finder.source), finder.key, identities)
            else:
                reread.add_of(self._dml.mapper, identities)
            reread.read(finder.connection)
            self._removed = [(home, place) for home, place in self._removed if not reread.holds(place[1])]
        if is_uncounted:
            slots = [slot for slot in slots if reread.holds(place_of(slot.file)[1])]
        self._conclude(slots)
        if self._removed and reread.moves_rows(finder.connection):
            self._recorder.leave_to_drains(place for _, place in self._removed)
        return result


class Deletion(_OfMatchedRows):
    """A DELETE."""

    def run(self) -> Result[Any]:
        finder = self._finder()
        finder.lock()
        found: dict[tuple[object, ...], MatchedRow] = {}
        for parameters in self._parameter_sets():
            for row in finder.matching(self._criteria(), parameters, for_update=True):
                found[row.identity] = row
        rows = list(found.values())
        self._give((), [held for row in rows for held in self._held_in(row, self._dml.attributes, row)])
        return self._run_on(finder, rows, {})


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """A set of values, and the rows that it will be written to."""

    values: ValueSet
    rows: Sequence[MatchedRow]


class Update(_OfMatchedRows):
    """An UPDATE of file attributes, by its criteria or by the primary keys among its parameters."""

    def run(self) -> Result[Any]:
        with self._recorder.claiming():
            return self._run()

    def _run(self) -> Result[Any]:
        gives = any(cell.files for values in self._dml.sets for cell in values.cells.values())
        if gives:
            self._prepare()
            self._register(self._slots())
            store_pending(self._slots(), self._frame, self._recorder)
        finder = self._finder()
        finder.lock()
        matches = self._matches(finder, for_update=True)
        if gives and (error := _misfit(matches)) is not None:
            raise ConcurrentFileChangeError(f"{error} now; roll back and retry")
        self._give(self._slots(), list(self._held_before(matches)))
        rows = {row.identity: row for match in matches for row in match.rows}
        return self._run_on(finder, list(rows.values()), dict(self._unmatched(matches)))

    def _prepare(self) -> None:
        """Make a record for each set of values that has a row; refuse to give one file to several."""
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

    def _held_before(self, matches: Sequence[_Match]) -> Iterator[Held]:
        records = {id(written.values): written.state for written in self._written}
        for match in matches:
            record = records.get(id(match.values))
            for row in match.rows:
                yield from self._held_in(row, match.values.cells, row if record is None else record)

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
