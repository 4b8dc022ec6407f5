"""What the histories of several sessions must come to, in plain values: no database is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Literal

Labelled = tuple[bytes, int]
"""A content, and the label in its file's metadata."""

Attribute = Literal["file", "pages", "scan"]


@dataclass(frozen=True)
class Row:
    """What a row holds."""

    file: Labelled | None = None
    pages: tuple[Labelled, ...] = ()
    scan: Labelled | None = None

    def contents(self) -> list[bytes]:
        files = (self.file, *self.pages, self.scan)
        return [file[0] for file in files if file is not None]


Rows = dict[int, Row]


@dataclass
class Changes:
    """What a transaction has done to rows."""

    rows: dict[int, Row | None] = field(default_factory=dict)
    """How it leaves them; None is deleted."""
    written: dict[int, set[Attribute]] = field(default_factory=dict)
    seen: dict[tuple[int, Attribute | None], object] = field(default_factory=dict)
    """What it took an attribute for when it first wrote it; without one, whether it took the row to be there."""
    is_raw: bool = False
    """Whether by SQL that the session does not understand."""

    def saw(self, number: int, row: Row | None, *attributes: Attribute) -> None:
        """Take note of what a change rests on, unless it is the transaction's own."""
        if number not in self.rows:
            self.seen.setdefault((number, None), row is not None)
        for attribute in attributes:
            if attribute not in self.written.get(number, ()):
                self.seen.setdefault((number, attribute), getattr(row, attribute))

    def write(self, number: int, row: Row, **values: object) -> None:
        """Change *row*, which is what the session takes it for; what it wrote before need not be loaded."""
        mine = self.rows.get(number) or row
        before = {name: getattr(mine, name) for name in self.written.get(number, ())}
        self.rows[number] = replace(row, **{**before, **values})
        self.written.setdefault(number, set()).update(values)  # type: ignore[arg-type]

    def put(self, number: int, row: Row | None) -> None:
        """Insert, replace or delete a row."""
        self.rows[number] = row
        self.written[number] = {"file", "pages", "scan"}

    def revert(self, number: int, before: Changes) -> None:
        """Forget what was done to a row since *before*."""
        for mine, theirs in ((self.rows, before.rows), (self.written, before.written)):
            mine.pop(number, None)
            if number in theirs:
                mine[number] = deepcopy(theirs[number])  # type: ignore[index, assignment]
        for key in [key for key in self.seen if key[0] == number and key not in before.seen]:
            del self.seen[key]

    def copy(self) -> Changes:
        return deepcopy(self)

    def merged(self, committed: Mapping[int, Row]) -> Rows:
        """Return what is committed with these changes; they must rest on nothing that is not so any more."""
        for (number, attribute), value in self.seen.items():
            row = committed.get(number)
            actual = row is not None if attribute is None else getattr(row, attribute, None)
            assert actual == value, f"an update of {attribute} of row {number} was lost"
        rows = {number: self.found(number, committed) for number in {*committed, *self.rows}}
        return {number: row for number, row in rows.items() if row is not None}

    def found(self, number: int, committed: Mapping[int, Row]) -> Row | None:
        """Return what the transaction finds in the database when it has flushed."""
        now, mine = committed.get(number), self.rows.get(number)
        if number not in self.rows or mine is None:
            return None if number in self.rows else now
        return replace(now or Row(), **{name: getattr(mine, name) for name in self.written[number]})


class Chronicle:
    """Every state that was committed, in their order."""

    def __init__(self) -> None:
        self.states: list[Rows] = [{}]

    @property
    def now(self) -> Rows:
        return self.states[-1]

    @property
    def length(self) -> int:
        return len(self.states)

    def add(self, rows: Rows) -> None:
        self.states.append(rows)

    def held(self, number: int, attribute: Attribute, value: object, since: int) -> bool:
        """Return whether a row held *value* at the commit numbered *since*, or at one after it."""
        return any(getattr(state.get(number), attribute, None) == value for state in self.states[since - 1 :])
