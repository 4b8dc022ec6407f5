"""`FileObjectList`: the files of a `multiple=True` column; every change by its methods is noticed."""

# pyright: reportPrivateUsage=false
# functions beside the class are its friends, where no user sees them
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, SupportsIndex, cast, overload

from filecolumn.files.facts import NotAList, rows_of
from filecolumn.files.file import FileObject, file_state, files_from_rows, freed, set_parent, undecoded
from filecolumn.files.state import NOT_LOADED, AllowedBackends, FromColumn, Parent

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

__all__ = (
    "FileObjectList",
    "ListState",
    "allow_list",
    "list_from_row",
    "list_reader",
    "list_state",
    "replace_file",
    "set_list_parent",
    "undecoded_list",
)


@dataclass(slots=True, eq=False)
class ListState:
    """What is known of a list besides its files."""

    allowed: AllowedBackends | None = None
    """The storages of the column that has the list; None if no column has it."""
    parent: Parent | None = None
    """What is told of changes."""
    committed: tuple[FileObject, ...] | None = None
    """The files that the row has; None if nobody knows, or can read it."""
    is_null: bool = False
    """Whether the list stands for the None that was assigned: SQL NULL, until the list is changed."""

    def flushed(self, files: FileObjectList) -> tuple[FileObject, ...] | None:
        """Take note that the row has *files* as they are now; return what it had before, if that is known."""
        before, self.committed = self.committed, tuple(files)
        return before


class FileObjectList(list[FileObject]):
    """A list of files that reports every change to its row: append, slices, sort, swap...

    It is a real `list`, also for C code, and has its files as soon as the row is loaded.  Each file decodes its
    own part of the row on first use.  A row that is not a list of files gives a list of one file, which raises
    CorruptFileMetadataError when it is used.

    `copy()`, slices, sums and products are plain lists.  `copy.copy`, `copy.deepcopy` and unpickling give
    lists of this class that belong to no row.  A list belongs to one task or thread at a time.
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, files: Iterable[FileObject] = ()) -> None:
        """Make a list of *files*; TypeError for anything but a `FileObject` among them."""
        super().__init__(_checked(file) for file in files)
        self._state = ListState()

    @classmethod
    def from_input(cls, value: object) -> Self:
        """Make a list of files of what a client sent: one input of `FileObject.from_input`, or a list of them.

        Raises ValueError as that does.
        """
        items: list[object] = (
            list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]
        )
        return cls(FileObject.from_input(item) for item in items)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """Let pydantic models have lists of files."""
        from filecolumn.files._pydantic import file_list_schema  # noqa: PLC0415 - pydantic may be missing

        return file_list_schema(cls._validated, FileObject.public_dict)

    @classmethod
    def _validated(cls, value: object) -> FileObjectList:
        return value if isinstance(value, FileObjectList) else cls.from_input(value)

    def _changing(self) -> None:
        state = self._state
        if state.parent is not None:
            state.parent.changed(self)
        state.is_null = False

    def append(self, file: FileObject, /) -> None:
        """Add *file* at the end."""
        file = _checked(file)
        self._changing()
        super().append(file)

    def extend(self, files: Iterable[FileObject], /) -> None:
        """Add *files* at the end; none of them if one is not a `FileObject`, or the iterable raises."""
        checked = [_checked(file) for file in files]
        self._changing()
        super().extend(checked)

    def insert(self, index: SupportsIndex, file: FileObject, /) -> None:
        """Insert *file* before *index*."""
        file = _checked(file)
        self._changing()
        super().insert(index, file)

    @overload
    def __setitem__(self, index: SupportsIndex, value: FileObject, /) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[FileObject], /) -> None: ...
    def __setitem__(self, index: SupportsIndex | slice, value: FileObject | Iterable[FileObject], /) -> None:
        if not isinstance(index, slice):
            file = _checked(value)
            self._changing()
            super().__setitem__(index, file)
            return
        if isinstance(value, FileObject):
            raise TypeError("a slice takes an iterable of FileObject")
        files = [_checked(file) for file in value]
        self._changing()
        super().__setitem__(index, files)

    def __delitem__(self, index: SupportsIndex | slice, /) -> None:
        self._changing()
        super().__delitem__(index)

    def __iadd__(self, files: Iterable[FileObject], /) -> Self:  # type: ignore[misc, override]
        self.extend(files)
        return self

    def __imul__(self, times: SupportsIndex, /) -> Self:
        self._changing()
        return super().__imul__(times)

    def remove(self, file: FileObject, /) -> None:
        """Remove the first file that equals *file*; ValueError if there is none."""
        index = self.index(file)
        self._changing()
        super().__delitem__(index)

    def pop(self, index: SupportsIndex = -1, /) -> FileObject:
        """Remove and return a file; IndexError if there is none at *index*."""
        self._changing()
        return super().pop(index)

    def clear(self) -> None:
        """Remove all files."""
        self._changing()
        super().clear()

    def sort(
        self, *, key: Callable[[FileObject], SupportsRichComparison] | None = None, reverse: bool = False
    ) -> None:
        """Sort in place by *key*; TypeError without one, as files have no order of their own."""
        self._changing()
        super().sort(key=key, reverse=reverse)  # pyright: ignore[reportArgumentType] - None is refused by list

    def reverse(self) -> None:
        """Reverse in place."""
        self._changing()
        super().reverse()

    def __reduce__(self) -> tuple[object, ...]:
        state = self._state
        return _restored, (type(self), list(self), state.committed, state.allowed, state.is_null)


def _restored(
    cls: type[FileObjectList],
    items: list[FileObject],
    committed: tuple[FileObject, ...] | None,
    allowed: AllowedBackends | None,
    is_null: bool,
) -> FileObjectList:
    files = cls(items)
    files._state = ListState(allowed, None, committed, is_null)
    return files


def _checked(file: object) -> FileObject:
    if isinstance(file, FileObject):
        return freed(file)
    raise TypeError(
        f"a FileObjectList holds FileObject, not {type(file).__name__}: write FileObject(name, content=...)"
    )


# What the ORM does with a list.  They are friends of the class: a user has no need of them


def list_state(files: FileObjectList) -> ListState:
    """Return what is known of a list besides its files."""
    return files._state


def list_from_row(
    row: object, allowed: AllowedBackends | None = None, parent: Parent | None = None
) -> FileObjectList:
    """Return the list of a row's JSON, text or decoded by the driver; each file is read on first use."""
    return _list_of(row, FromColumn(allowed), parent)


def _list_of(row: object, origin: FromColumn, parent: Parent | None) -> FileObjectList:
    files = FileObjectList.__new__(FileObjectList)
    if row == "[]":
        files._state = ListState(origin.allowed, parent, ())
        return files
    found = files_from_rows(rows_of(row), origin, parent)
    super(FileObjectList, files).extend(found)
    files._state = ListState(origin.allowed, parent, None if _not_a_list(files) else tuple(found))
    return files


class ListReader(Protocol):
    """Makes the value of a row's column; None for SQL NULL."""

    def __call__(self, value: object) -> FileObjectList | None: ...


def list_reader(allowed: AllowedBackends) -> ListReader:
    """Return what makes the list of each row that a column with these storages loads."""
    origin = FromColumn(allowed)

    def read(value: object) -> FileObjectList | None:
        if value is None or value == "null":
            return None
        return _list_of(value, origin, NOT_LOADED)

    return read


def undecoded_list(files: FileObjectList) -> object:
    """Return the JSON of the row of a list that was just loaded."""
    corrupt = _not_a_list(files)
    return [undecoded(file) for file in files] if corrupt is None else corrupt.row


def _not_a_list(files: FileObjectList) -> NotAList | None:
    """Return what the one file stands for, if the row is not a list."""
    row = undecoded(files[0]) if len(files) == 1 else None
    return row if isinstance(row, NotAList) else None


def set_list_parent(files: FileObjectList, parent: Parent) -> None:
    """Tell *parent* of changes from now on, also of those of the files that the row has."""
    state = files._state
    state.parent = parent
    for file in files if _not_a_list(files) else state.committed or ():
        set_parent(file, parent)


def allow_list(files: FileObjectList, allowed: AllowedBackends) -> None:
    """Take note that the row's column has these storages."""
    files._state.allowed = allowed
    for file in files:
        file_state(file).allowed = allowed


def replace_file(files: FileObjectList, old: FileObject, new: FileObject, start: int) -> None:
    """Put *new* where *old* is, at *start* or behind it; the parent is not told, it knows already."""
    for index in range(min(start, len(files)), len(files)):
        if files[index] is old:
            super(FileObjectList, files).__setitem__(index, new)
            return
