"""`FileObjectList`: the files of a `multiple=True` column; every change of it is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from contextlib import suppress
from importlib import import_module
from typing import ClassVar, Self, SupportsIndex, overload

from filecolumn.errors import CorruptFileMetadataError
from filecolumn.facts import rows_of
from filecolumn.file import FileObject
from filecolumn.owner import Owner
from filecolumn.state import AllowedBackends

__all__ = ("FileObjectList",)


class FileObjectList(MutableSequence[FileObject]):
    """A list of files that tells its row of every change: append, slices, sort, swap...

    Loaded from a row it reads the row's text on first use.  Not thread-safe, as a list is.
    """

    __slots__ = ("__weakref__", "_allowed", "_held", "_is_null", "_items", "_owner", "_row")

    def __init__(self, files: Iterable[FileObject] = ()) -> None:
        self._items: list[FileObject] | None = [_checked(file) for file in files]
        self._held: tuple[FileObject, ...] | None = None
        self._row: object = None
        self._allowed: AllowedBackends | None = None
        self._owner: Owner | None = None
        # stands for the None that was assigned: SQL NULL, until the list is changed
        self._is_null = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """Let pydantic models have lists of files."""
        return import_module("filecolumn.pydantic_schema").file_list_schema()

    @classmethod
    def _from_row(cls, row: object, allowed: AllowedBackends | None) -> Self:
        self = cls()
        self._items = None
        self._row = row
        self._allowed = allowed
        return self

    def _read(self) -> list[FileObject]:
        if self._items is None:
            self._items = [FileObject._from_row(row, self._allowed) for row in rows_of(self._row)]
            self._row = None
            self._flushed()
        return self._items

    def _row_files(self) -> tuple[FileObject, ...] | None:
        """Return what the row holds, as far as this list knows; None if it does not, or nobody can read it."""
        with suppress(CorruptFileMetadataError):
            self._read()
        return self._held

    def _own(self, owner: Owner) -> None:
        """Tell *owner* of changes from now on."""
        self._owner = owner

    def _row_holds(self, files: tuple[FileObject, ...] | None) -> None:
        """Take note of what the row holds, which is not what the list does; None if nobody knows."""
        self._held = files

    def _flushed(self) -> None:
        """Take note that the row holds the list as it is now."""
        self._held = tuple(self._read())
        for file in self._held:
            file._own(self)

    @property
    def is_gone(self) -> bool:
        """Whether the instance that the list was loaded with is gone."""
        return self._owner is not None and self._owner.is_gone

    @property
    def has_expired(self) -> bool:
        """Whether the attribute has let go of the list."""
        return self._owner is not None and self._owner.has_expired

    def changed(self, value: object, /) -> None:
        """Mark the column as to be written, because one of the files has changed."""
        if self._owner is not None and any(file is value for file in self._read()):
            self._owner.changed(self)

    def _changing(self) -> list[FileObject]:
        items = self._read()
        if self._owner is not None:
            self._owner.changed(self)
        self._is_null = False
        return items

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[FileObject]:
        return iter(self._read())

    @overload
    def __getitem__(self, index: SupportsIndex) -> FileObject: ...
    @overload
    def __getitem__(self, index: slice) -> list[FileObject]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> FileObject | list[FileObject]:
        return self._read()[index]

    @overload
    def __setitem__(self, index: SupportsIndex, value: FileObject) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[FileObject]) -> None: ...
    def __setitem__(self, index: SupportsIndex | slice, value: FileObject | Iterable[FileObject]) -> None:
        if isinstance(index, slice):
            if isinstance(value, FileObject):
                raise TypeError("a slice takes an iterable of FileObject")
            self._changing()[index] = [_checked(file) for file in value]
        else:
            self._changing()[index] = _checked(value)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self._changing()[index]

    def insert(self, index: SupportsIndex, value: FileObject) -> None:
        """Insert *value* before *index*."""
        self._changing().insert(index, _checked(value))

    def sort(self, *, key: Callable[[FileObject], str | float], reverse: bool = False) -> None:
        """Sort in place by *key*; files have no order of their own."""
        self._changing().sort(key=key, reverse=reverse)

    def copy(self) -> list[FileObject]:
        """Return a plain list of the same files."""
        return list(self._read())

    def __add__(self, other: Iterable[FileObject]) -> list[FileObject]:
        return [*self._read(), *other]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FileObjectList):
            return self._read() == other._read()
        return self._read() == other if isinstance(other, list) else NotImplemented

    # it changes in place, so it has no hash, as a list has none
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        try:
            return f"{type(self).__name__}({self._read()})"
        except CorruptFileMetadataError as error:
            return f"<{type(self).__name__} corrupt: {error}>"

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self._items, self._row, self._allowed, self._held)


def _restored(
    cls: type[FileObjectList],
    items: list[FileObject] | None,
    row: object,
    allowed: AllowedBackends | None,
    held: tuple[FileObject, ...] | None,
) -> FileObjectList:
    files = cls._from_row(row, allowed)
    files._items = items
    files._held = held
    return files


def _checked(file: object) -> FileObject:
    if isinstance(file, FileObject):
        return file._taken()
    raise TypeError(
        f"a FileObjectList holds FileObject, not {type(file).__name__}: write FileObject(name, content=...)"
    )
