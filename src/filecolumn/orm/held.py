"""What rows held before a flush or a statement, as far as it can be read.

JSON that nobody can read holds nothing here: nothing is kept by it, and nothing is deleted for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.state import InstanceState

from filecolumn.errors import CorruptFileMetadataError
from filecolumn.file import FileObject
from filecolumn.orm.attributes import FileAttribute, files_in, row_attributes
from filecolumn.orm.conflicts import seen_files
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.rows import HeldRow
from filecolumn.orm.slots import place_of
from filecolumn.orm.unit import Spot

__all__ = ("Held", "held_before", "readable", "spots_in")

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
            file._known()
            yield file
