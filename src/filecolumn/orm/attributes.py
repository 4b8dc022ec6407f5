"""Which attributes of a mapped class hold files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Column, FromClause
from sqlalchemy.orm import ColumnProperty, Mapper, MapperProperty
from sqlalchemy.orm.attributes import flag_modified, set_attribute
from sqlalchemy.orm.exc import ObjectDereferencedError
from sqlalchemy.orm.state import InstanceState

from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.type import StoredObject

__all__ = (
    "FileAttribute",
    "RowOwner",
    "file_attribute",
    "file_attributes",
    "files_in",
    "known_attributes",
    "mapper_of",
    "note_table",
    "own_values",
    "table_attributes",
)


@dataclass(frozen=True, slots=True, eq=False)
class FileAttribute:
    """A mapped `StoredObject` column."""

    key: str
    """Name of the attribute."""
    column: Column[object]
    type: StoredObject

    @property
    def table(self) -> str:
        """Name of the table."""
        return str(self.column.table.name)


class RowOwner:
    """Marks an attribute of an instance as changed; it does not keep the instance alive."""

    __slots__ = ("_key", "_state")

    def __init__(self, state: InstanceState[object], key: str) -> None:
        self._state = state
        self._key = key

    def is_for(self, state: InstanceState[object], key: str) -> bool:
        """Return whether it speaks for this attribute."""
        return self._state is state and self._key == key

    @property
    def is_gone(self) -> bool:
        """Whether nobody holds the instance any more."""
        return self._state.obj() is None

    @property
    def has_expired(self) -> bool:
        """Whether the attribute is to be loaded again."""
        return self._key not in self._state.dict and not self.is_gone

    def changed(self, value: object, /) -> None:
        """Mark the attribute as to be written, if it still holds *value* or has expired since.

        Raises SQLAlchemy's ObjectDereferencedError, as its own collections do, when nobody holds the
        instance any more: the change would be lost.
        """
        instance = self._state.obj()
        if instance is None:
            name = self._state.class_.__name__
            raise ObjectDereferencedError(
                f"the {name} whose {self._key!r} changes is gone; keep the instance in a variable"
            )
        held = self._state.dict
        if self._key not in held:
            set_attribute(instance, self._key, value)
        elif held[self._key] is value:
            flag_modified(instance, self._key)


_known: WeakKeyDictionary[type[object], tuple[object, Sequence[FileAttribute]]] = WeakKeyDictionary()


def file_attributes(mapper: Mapper[object]) -> Sequence[FileAttribute]:
    """Return the file attributes of a mapper, inherited ones included."""
    # made anew when an attribute is added to a mapper that is configured
    columns = mapper.column_attrs
    known = _known.get(mapper.class_)
    if known is None or known[0] is not columns:
        known = _known[mapper.class_] = columns, tuple(_find(mapper))
    return known[1]


def known_attributes() -> Iterator[FileAttribute]:
    """Yield the file attributes of all mappers that are configured."""
    for _, attributes in list(_known.values()):
        yield from attributes


def _find(mapper: Mapper[object]) -> Iterator[FileAttribute]:
    for prop in mapper.column_attrs:
        if (attribute := file_attribute(prop)) is not None:
            yield attribute


def file_attribute(prop: MapperProperty[object]) -> FileAttribute | None:
    """Return the file attribute that *prop* maps, if it maps one."""
    column = prop.columns[0] if isinstance(prop, ColumnProperty) else None
    if isinstance(column, Column) and isinstance(column.type, StoredObject):
        return FileAttribute(prop.key, column, column.type)
    return None


_mappers: WeakKeyDictionary[FromClause, WeakSet[Mapper[object]]] = WeakKeyDictionary()


def note_table(mapper: Mapper[object]) -> bool:
    """Remember the mapper of a table that has columns of files; return whether it is one."""
    table = mapper.local_table
    found = any(isinstance(column.type, StoredObject) for column in table.columns)
    if found:
        _mappers.setdefault(table, WeakSet()).add(mapper)
    return found


def mapper_of(table: FromClause) -> Mapper[object] | None:
    """Return the mapper of a table with columns of files, the base one if several share it."""
    mappers = _mappers.get(table, ())
    return min(mappers, key=lambda mapper: len(list(mapper.iterate_to_root())), default=None)


def table_attributes(table: FromClause) -> Sequence[FileAttribute]:
    """Return the file attributes whose columns a table has, also those of subclasses that share it."""
    found = {
        attribute.column: attribute
        for mapper in _mappers.get(table, ())
        for attribute in file_attributes(mapper)
        if attribute.column.table is table
    }
    return tuple(found.values())


def files_in(value: object) -> Sequence[FileObject]:
    """Return the files of an attribute's value."""
    match value:
        case FileObject():
            return (value,)
        case FileObjectList():
            return value.copy()
        case _:
            return ()


def own_values(state: InstanceState[object], attributes: Sequence[FileAttribute]) -> None:
    """Make the loaded values of an instance tell it of their changes."""
    held = state.dict
    for attribute in attributes:
        if attribute.key not in held:
            continue
        value = held[attribute.key]
        if attribute.type.multiple and not isinstance(value, FileObjectList):
            # SQL NULL, or what a column default made
            value = held[attribute.key] = FileObjectList(value or ())
            value._row_holds(())
        if value is not None:
            value._own(RowOwner(state, attribute.key))
