"""`FileObjectList`: the files of a `multiple=True` column; every change by its methods is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Self, SupportsIndex, overload

from filecolumn.files.facts import NotAList, rows_of
from filecolumn.files.file import FileObject
from filecolumn.files.state import AllowedBackends, Owner

__all__ = ("FileObjectList",)

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison


class FileObjectList(list[FileObject]):
    """A list of files that tells its row of every change: append, slices, sort, swap...

    It holds its files from the moment the row is loaded, so C code that reads a list's memory sees them;
    each file decodes its own part of the row on first use.  A row that is not a list of files gives a
    list of one file, which raises CorruptFileMetadataError when it is used.

    Copies, slices, sums and products are plain lists; `copy.copy`, `copy.deepcopy` and pickles are lists
    of this class that belong to no row.  Not thread-safe, as a list is.
    """

    __slots__ = ("__weakref__", "_allowed", "_held", "_is_null", "_owner")

    def __init__(self, files: Iterable[FileObject] = ()) -> None:
        """Make a list of *files*; TypeError for anything but a `FileObject` among them."""
        super().__init__(_checked(file) for file in files)
        self._held: tuple[FileObject, ...] | None = None
        self._allowed: AllowedBackends | None = None
        self._owner: Owner | None = None
        # stands for the None that was assigned: SQL NULL, until the list is changed
        self._is_null = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """Let pydantic models have lists of files."""
        return import_module("filecolumn.files._pydantic").file_list_schema()

    @classmethod
    def _from_row(cls, row: object, allowed: AllowedBackends | None, owner: Owner | None = None) -> Self:
        """Make the value of a row, whose files are read on first use."""
        self = cls.__new__(cls)
        self._allowed = allowed
        self._owner = owner
        self._is_null = False
        self._held = ()
        if row == "[]":
            return self
        new = FileObject.__new__
        files: list[FileObject] = []
        # written out, as where a column's file is loaded: calling `_from_row` for each file is too slow here
        for item in rows_of(row):
            file = new(FileObject)
            file._row = item
            file._allowed = allowed
            file._owner = owner
            files.append(file)
        super(FileObjectList, self).extend(files)
        self._held = None if self._not_a_list() else tuple(files)
        return self

    def _undecoded(self) -> object:
        """Return what the row is, of a list that was just loaded."""
        corrupt = self._not_a_list()
        return [file._row for file in self] if corrupt is None else corrupt.row

    def _not_a_list(self) -> NotAList | None:
        """Return what the one file stands for, if the row is no list."""
        row = self[0]._row if len(self) == 1 else None
        return row if isinstance(row, NotAList) else None

    def _allow(self, allowed: AllowedBackends) -> None:
        """Take note that the row's column has these storages."""
        self._allowed = allowed
        for file in self:
            file._allowed = allowed

    def _row_files(self) -> tuple[FileObject, ...] | None:
        """Return what the row holds, as far as this list knows; None if it does not, or nobody can read it."""
        return self._held

    def _own(self, owner: Owner) -> None:
        """Tell *owner* of changes from now on, also of those of the files that the row holds."""
        self._owner = owner
        for file in self if self._not_a_list() else self._held or ():
            file._owner = owner

    def _row_holds(self, files: tuple[FileObject, ...] | None) -> None:
        """Take note of what the row holds, which is not what the list does; None if nobody knows."""
        self._held = files

    def _flushed(self) -> tuple[FileObject, ...] | None:
        """Take note that the row holds the list as it is now; return what it held before, if that is known."""
        before, self._held = self._held, tuple(self)
        return before

    def _unflush(self, held: tuple[FileObject, ...]) -> None:
        """Take back `_flushed`: the row holds *held* again."""
        self._held = held

    def _swap(self, old: FileObject, new: FileObject, start: int) -> None:
        """Put *new* where *old* is, at *start* or behind it; the owner knows already."""
        for index in range(min(start, len(self)), len(self)):
            if self[index] is old:
                super().__setitem__(index, new)
                return

    def _changing(self) -> None:
        if self._owner is not None:
            self._owner.changed(self)
        self._is_null = False

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
        return _restored, (type(self), list(self), self._held, self._allowed, self._is_null)


def _restored(
    cls: type[FileObjectList],
    items: list[FileObject],
    held: tuple[FileObject, ...] | None,
    allowed: AllowedBackends | None,
    is_null: bool,
) -> FileObjectList:
    files = cls(items)
    files._held, files._allowed, files._is_null = held, allowed, is_null
    return files


def _checked(file: object) -> FileObject:
    if isinstance(file, FileObject):
        return file._taken()
    raise TypeError(
        f"a FileObjectList holds FileObject, not {type(file).__name__}: write FileObject(name, content=...)"
    )
