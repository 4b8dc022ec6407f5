"""Which attributes of a mapped class hold files, and which keys its tables have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeGuard, cast
from weakref import WeakKeyDictionary, ref

from sqlalchemy import BinaryExpression, BooleanClauseList, Column, ColumnElement, FromClause, Join, Table
from sqlalchemy.orm import ColumnProperty, Mapper, MapperProperty
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_attribute
from sqlalchemy.orm.exc import ObjectDereferencedError
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.sql import operators

from filecolumn.errors import NotSupportedError
from filecolumn.files.file import (
    FileObject,
    file_from_row,
    file_state,
    is_from_other,
    set_parent,
    take_file,
    undecoded,
)
from filecolumn.files.file_list import (
    FileObjectList,
    allow_list,
    list_from_row,
    list_state,
    set_list_parent,
    undecoded_list,
)
from filecolumn.files.state import NOT_LOADED, AllowedBackends, Parent
from filecolumn.naming import KeyContext, KeyTemplate, check_key, new_key
from filecolumn.orm.column import StoredObject, is_in_table

__all__ = (
    "FileAttribute",
    "RowOrigin",
    "RowParent",
    "TableKey",
    "file_attribute",
    "file_attributes",
    "files_in",
    "files_of_classes",
    "is_untouched",
    "key_columns",
    "key_in",
    "key_names",
    "known_attributes",
    "mapper_of",
    "mappers_of",
    "note_table",
    "row_attributes",
    "table_attributes",
    "tables_of",
    "take_list",
    "track",
    "track_values",
    "tracked",
)


@dataclass(frozen=True, slots=True)
class TableKey:
    """The columns by which one table has the rows of a mapper."""

    columns: Sequence[Column[Any]]
    positions: Sequence[int]
    """Where in the mapper's primary key the value of each is."""

    def identity(self, of_mapper: Sequence[object]) -> tuple[object, ...]:
        """Return the values in the table for a primary key of the mapper."""
        return tuple(of_mapper[position] for position in self.positions)


def key_names(mapper: Mapper[object]) -> list[str]:
    """Return the attributes of the primary key."""
    return [str(mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def key_in(table: Table, mapper: Mapper[object]) -> TableKey | None:
    """Return the key of a table; None if no column of it has a part of the mapper's."""
    same = [_same_as(column, mapper) for column in mapper.primary_key]

    def positions(columns: Sequence[Column[Any]]) -> list[int]:
        found = ((index for index, group in enumerate(same) if column in group) for column in columns)
        return [index for indexes in found for index in list(indexes)[:1]]

    declared = tuple(table.primary_key)
    if declared and len(places := positions(declared)) == len(declared):
        return TableKey(declared, places)
    for_each = [[column for column in group if column.table is table][:1] for group in same]
    columns = [column for found in for_each for column in found]
    return TableKey(columns, positions(columns)) if columns else None


def key_columns(table: FromClause, mapper: Mapper[object]) -> Sequence[Column[Any]]:
    """Return the columns that tell the rows of a table apart: its primary key, or else the mapper's."""
    if not isinstance(table, Table):
        return ()
    source = cast("Table", table)
    if declared := tuple(source.primary_key):
        return declared
    found = key_in(source, mapper)
    return () if found is None else found.columns


def _same_as(column: ColumnElement[Any], mapper: Mapper[object]) -> Sequence[Column[Any]]:
    """Return the columns that have the value of *column* in each row of a mapper."""
    pairs = list(_pairs(mapper))
    found: dict[Column[Any], None] = {}
    new = [column]
    while new:
        each = new.pop()
        if isinstance(each, Column) and each not in found:
            found[each] = None
            new += [other for pair in pairs if each in pair for other in pair]
    return tuple(found)


def _pairs(mapper: Mapper[object]) -> Iterator[Sequence[Column[Any]]]:
    for prop in mapper.column_attrs:
        if len(prop.columns) > 1:
            yield [column for column in prop.columns if isinstance(column, Column)]
    yield from _joined(mapper.persist_selectable)


def _joined(source: FromClause) -> Iterator[Sequence[Column[Any]]]:
    if isinstance(source, Join):
        yield from _joined(source.left)
        yield from _joined(source.right)
        if source.onclause is not None:
            yield from _equated(source.onclause)


def _equated(condition: ColumnElement[bool]) -> Iterator[Sequence[Column[Any]]]:
    match condition:
        case BooleanClauseList() if condition.operator is operators.and_:
            for clause in condition.clauses:
                yield from _equated(clause)
        case BinaryExpression() if condition.operator is operators.eq:
            left, right = condition.left, condition.right
            if isinstance(left, Column) and isinstance(right, Column):
                yield left, right
        case _:
            return


@dataclass(frozen=True, slots=True, eq=False)
class FileAttribute:
    """A mapped `StoredObject` column."""

    key: str
    """Name of the attribute."""
    column: Column[object]
    type: StoredObject
    twins: Sequence[Column[object]] = ()
    """Other file columns that the attribute writes too."""
    in_table: bool = True
    """Whether the column is that of a table: an alias and a query, which are read-only, have columns too."""
    origin: RowOrigin | None = None
    """Where instances that are loaded have their values from; None if no instance has the attribute."""

    @property
    def table(self) -> str:
        """Name of the table."""
        return str(self.column.table.name)

    @property
    def makes_unique_keys(self) -> bool:
        """Whether keys of the column can be no one else's."""
        return not callable(self.type.key_template)

    def key_for(self, filename: str, record: object, file: FileObject) -> str:
        """Return the key for a new file; InvalidKeyError if the column's template or callable makes none."""
        template = self.type.key_template
        match template:
            case None:
                return new_key(filename)
            case str():
                return _parsed(template).render(KeyContext(self.table, self.key, filename, record))
            case _:
                return check_key(template(record, file))

    def check_written(self) -> None:
        """Raise NotSupportedError if a value of the attribute cannot become what one column of a table holds."""
        self.check_deleted()
        if self.twins:
            columns = " and ".join(map(str, (self.column, *self.twins)))
            raise NotSupportedError(
                f"the attribute {self.key!r} is mapped to several file columns, {columns}, but a file is in one row "
                "of one column; map each column to an attribute of its own"
            )

    def check_deleted(self) -> None:
        """Raise NotSupportedError if the attribute's class is mapped to a query: SQLAlchemy deletes no row of it."""
        if not self.in_table:
            raise NotSupportedError(
                f"the attribute {self.key!r} is mapped to {self.column.table.description!r}, an alias or a query, "
                "which is read-only: write and delete the rows through a class that is mapped to their table"
            )


_parsed = lru_cache(KeyTemplate)

_LISTS = "filecolumn.lists"
"""How the keys in the `info` of an instance's state begin under which it has its lists."""


class RowParent:
    """Marks an attribute of an instance as changed; it does not keep the instance alive.

    It does not keep the instance's state alive for longer either, which has the lists that have it: there would
    be a circle of references for each row that is loaded.
    """

    __slots__ = ("_class_name", "_instance", "_key")

    def __init__(self, instance: ref[object], class_name: str, key: str) -> None:
        self._instance = instance
        self._class_name = class_name
        self._key = key

    @property
    def _state(self) -> InstanceState[object] | None:
        instance = self._instance()
        return None if instance is None else instance_state(instance)

    def is_for(self, state: InstanceState[object], key: str) -> bool:
        """Return whether it speaks for this attribute."""
        return self._instance is state.obj and self._key == key

    @property
    def place(self) -> str:
        """Class, attribute and primary key, the last one once the row is written."""
        attribute, state = f"{self._class_name}.{self._key}", self._state
        return attribute if state is None or state.key is None else f"{attribute} of the row {state.key[1]!r}"

    @property
    def is_gone(self) -> bool:
        """Whether nobody holds the instance any more."""
        return self._instance() is None

    @property
    def has_expired(self) -> bool:
        """Whether the attribute is to be loaded again."""
        state = self._state
        return state is not None and self._key not in state.dict

    def changed(self, value: object, /) -> None:
        """Mark the attribute as to be written, if it still holds *value* or has expired since.

        Raises SQLAlchemy's ObjectDereferencedError, as its own collections do, when nobody holds the
        instance any more: the change would be lost.
        """
        instance = self._instance()
        if instance is None:
            raise ObjectDereferencedError(
                f"the {self._class_name} instance of which {self._key!r} is changed is gone; keep a reference to the "
                "instance"
            )
        state = instance_state(instance)
        held = state.dict
        if self._key not in held:
            before = (
                value if isinstance(value, FileObjectList) else state.info.get((_LISTS, self._key), value)
            )
            if _is_in(value, before):
                set_attribute(instance, self._key, before)
        elif self._key not in state.committed_state and _is_in(value, held[self._key]):
            flag_modified(instance, self._key)


@dataclass(frozen=True, slots=True, eq=False)
class RowOrigin:
    """The origin of what instances of a class have loaded into an attribute."""

    class_name: str
    key: str
    allowed: AllowedBackends

    def parent_of(self, holder: object, /) -> Parent:
        """Return the parent of the value of an instance, to which *holder* is the reference of its state."""
        return RowParent(cast("ref[object]", holder), self.class_name, self.key)


def _is_in(value: object, held: object) -> bool:
    """Return whether an attribute holds this very object, or a list that does."""
    return held is value or (isinstance(held, FileObjectList) and any(file is value for file in held))


def track(state: InstanceState[object], key: str, value: FileObject | FileObjectList) -> None:
    """Make the attribute the parent of its value, and of the files of a list: changes of them mark it as changed."""
    parent = RowParent(state.obj, state.class_.__name__, key)
    if isinstance(value, FileObject):
        set_parent(value, parent)
        return
    set_list_parent(value, parent)
    # one of its files may change when the attribute has expired, and nobody else holds the list; an empty one takes
    # the place of one that had files, and loading it makes no `info`
    if list_state(value).committed or "info" in vars(state):
        state.info[_LISTS, key] = value


def tracked(
    value: Sequence[FileObject] | None, state: InstanceState[object], key: str, before: object
) -> FileObjectList:
    """Return the list to put into an attribute that held *before*: a copy, unless it is the attribute's own."""
    if (before is None or before is value) and _is_tracked(value, state, key):
        return value
    files = FileObjectList(value or ())
    list_state(files).is_null = value is None or (
        isinstance(value, FileObjectList) and list_state(value).is_null
    )
    set_list_parent(files, RowParent(state.obj, state.class_.__name__, key))
    if isinstance(before, FileObjectList):
        list_state(files).committed = list_state(before).committed
    return files


def take_list(state: InstanceState[object], attribute: FileAttribute) -> None:
    """Take a list that was put into the instance's dictionary, past the attribute's events, as assigned.

    SQLModel does so: after the attribute was set it writes the value as it was given over the tracked list.
    """
    key, held = attribute.key, state.dict
    if not attribute.type.multiple or key not in held:
        return
    value, before = held[key], state.committed_state.get(key)
    if _is_tracked(value, state, key) or not (value is None or isinstance(value, list | tuple)):
        return
    held[key] = tracked(cast("Sequence[FileObject] | None", value), state, key, before)
    if state.key is not None and key not in state.committed_state:
        flag_modified(state.obj(), key)


def _is_tracked(value: object, state: InstanceState[object], key: str) -> TypeGuard[FileObjectList]:
    """Return whether a value is the attribute's list, or was before the instance expired."""
    if not isinstance(value, FileObjectList):
        return False
    parent = list_state(value).parent
    return isinstance(parent, RowParent) and parent.is_for(state, key)


_Known = tuple[object, Sequence[FileAttribute]]
_KNOWN = "filecolumn.attributes"
"""The key in the `info` of a class's manager under which its attributes are: they are asked for with every row."""
_known: WeakKeyDictionary[type[object], _Known] = WeakKeyDictionary()
"""The same for all classes."""


def file_attributes(mapper: Mapper[object]) -> Sequence[FileAttribute]:
    """Return the file attributes of a mapper, inherited ones included."""
    # made anew when an attribute is added to a mapper that is configured
    columns = mapper.column_attrs
    info: dict[str, _Known] = mapper.class_manager.info  # pyright: ignore[reportUnknownMemberType]
    known = info.get(_KNOWN)
    if known is None or known[0] is not columns:
        known = info[_KNOWN] = _known[mapper.class_] = columns, tuple(_find(mapper))
    return known[1]


def known_attributes() -> Iterator[FileAttribute]:
    """Yield the file attributes of all mappers that are configured."""
    for _, attributes in list(_known.values()):
        yield from attributes


def files_of_classes() -> Iterator[tuple[type[object], FileAttribute]]:
    """Yield the file attributes of all mappers that are configured, with their classes."""
    for class_, (_, attributes) in list(_known.items()):
        for attribute in attributes:
            yield class_, attribute


def _find(mapper: Mapper[object]) -> Iterator[FileAttribute]:
    for prop in mapper.column_attrs:
        attribute = file_attribute(prop)
        # of several names for a column the flush writes one
        if attribute is not None and mapper.get_property_by_column(attribute.column).key == prop.key:
            origin = RowOrigin(mapper.class_.__name__, prop.key, attribute.type.allowed_backends)
            yield replace(attribute, origin=origin)


def file_attribute(prop: MapperProperty[object]) -> FileAttribute | None:
    """Return the file attribute that *prop* maps, if it maps one."""
    columns = prop.columns if isinstance(prop, ColumnProperty) else ()
    found = [column for column in columns if isinstance(column, Column) and _is_file(column)]
    # what a hierarchy of concrete classes adds is the column of a union
    found.sort(key=lambda column: not is_in_table(column))
    for column in found[:1]:
        twins = [each for each in found[1:] if is_in_table(each)]
        type_ = cast("StoredObject", column.type)
        return FileAttribute(prop.key, column, type_, twins, is_in_table(column))
    return None


def _is_file(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, StoredObject)


# Rows

_of_rows: WeakKeyDictionary[
    Mapper[object], tuple[Sequence[FileAttribute], Sequence[Table], int, Sequence[FileAttribute]]
] = WeakKeyDictionary()


def row_attributes(mapper: Mapper[object]) -> Sequence[FileAttribute]:
    """Return what holds files in the rows of a mapper: its file attributes, and the columns that it does not map.

    Another mapper may map those: one of a subclass in the same table, or a second one of the table.
    """
    own = file_attributes(mapper)
    known = _of_rows.get(mapper)
    # a subclass may have added columns to the table of its base
    if known is None or known[0] is not own or known[2] != _width(known[1]):
        tables = tables_of(mapper)
        mapped = {attribute.column for attribute in own}
        # no names that attributes can have
        hidden = (
            FileAttribute(f"{table.name}.{column.key}", column, cast("StoredObject", column.type))
            for table in tables
            for column in table.columns
            if _is_file(column) and column not in mapped
        )
        known = _of_rows[mapper] = own, tables, _width(tables), (*own, *hidden)
    return known[3]


def _width(tables: Sequence[Table]) -> int:
    if len(tables) == 1:
        return len(tables[0].columns)
    return sum(len(table.columns) for table in tables)


def tables_of(mapper: Mapper[object]) -> Sequence[Table]:
    """Return the tables that a mapper writes: none for one of an alias or a query."""
    return tuple(dict.fromkeys(_tables_in(mapper.persist_selectable)))


def _tables_in(source: FromClause) -> Iterator[Table]:
    if isinstance(source, Table):
        yield source
    elif isinstance(source, Join):
        yield from _tables_in(source.left)
        yield from _tables_in(source.right)


# Tables

_mappers: WeakKeyDictionary[FromClause, WeakKeyDictionary[Mapper[object], None]] = WeakKeyDictionary()
"""Of each table with file columns, in the order that the mappers were made."""


def note_table(mapper: Mapper[object]) -> bool:
    """Remember the mapper of each table that has file columns; return whether there is one."""
    tables = [
        table for table in (mapper.local_table, *tables_of(mapper)) if any(map(_is_file, table.columns))
    ]
    for table in tables:
        _mappers.setdefault(table, WeakKeyDictionary())[mapper] = None
    return bool(tables)


def mappers_of(table: FromClause) -> Sequence[Mapper[object]]:
    """Return the mappers of a table with file columns, in the order that they were made."""
    known = _mappers.get(table)
    # not of the dictionary itself, which may grow in another thread
    references = () if known is None else known.keyrefs()
    return tuple(mapper for reference in references if (mapper := reference()) is not None)


def mapper_of(table: FromClause) -> Mapper[object] | None:
    """Return the mapper that speaks for a table with file columns; None if there is no mapper.

    One that maps such a column, and of several the base, the oldest one first.
    """
    for mapper in sorted(mappers_of(table), key=lambda mapper: _rank(mapper, table)):
        return mapper
    return None


def _rank(mapper: Mapper[object], table: FromClause) -> tuple[bool, bool, int]:
    maps = any(attribute.column.table is table for attribute in file_attributes(mapper))
    return not maps, mapper.local_table is not table, len(list(mapper.iterate_to_root()))


def table_attributes(table: FromClause, mapper: Mapper[object]) -> Sequence[FileAttribute]:
    """Return what holds files in a table, under the names that *mapper* has for it, else under those of others."""
    found: dict[Column[object], FileAttribute] = {}
    taken = {prop.key for prop in mapper.attrs}
    for each in (mapper, *mappers_of(table)):
        for attribute in file_attributes(each):
            if attribute.column.table is table and attribute.column not in found:
                found[attribute.column] = attribute if each is mapper else _under_free_name(attribute, taken)
    for column in table.columns:
        if isinstance(column, Column) and _is_file(column) and column not in found:
            bare = FileAttribute(column.key, column, cast("StoredObject", column.type))
            found[column] = _under_free_name(bare, taken)
    return tuple(found.values())


def _under_free_name(attribute: FileAttribute, taken: set[str]) -> FileAttribute:
    """Return an attribute for records of another class, where its name may be that of something else."""
    if attribute.key in taken:
        attribute = replace(attribute, key=f"{attribute.table}.{attribute.column.key}")
    taken.add(attribute.key)
    return attribute


# Values


def files_in(value: object) -> Sequence[FileObject]:
    """Return the files of an attribute's value."""
    match value:
        case FileObject():
            return (value,)
        case FileObjectList():
            return value.copy()
        case _:
            return ()


def track_values(state: InstanceState[object], attributes: Sequence[FileAttribute]) -> None:
    """Make attributes the parents of the values that an instance has loaded."""
    held, instance = state.dict, state.obj
    for attribute in attributes:
        key = attribute.key
        if key not in held:
            continue
        value, origin = held[key], attribute.origin
        # most rows come this way, and there are many of them
        if isinstance(value, FileObject) and origin is not None and take_file(value, origin, instance):
            continue
        _track_any(state, attribute)


def _track_any(state: InstanceState[object], attribute: FileAttribute) -> None:
    value, type_ = state.dict[attribute.key], attribute.type
    if type_.multiple and not isinstance(value, FileObjectList | FileObject):
        # SQL NULL, or what a column default made
        value = state.dict[attribute.key] = FileObjectList(value or ())
        list_state(value).committed = ()
    elif value is not None and _is_from_other(value, type_.allowed_backends):
        # loaded by the column of a union, or by an equal one
        value = state.dict[attribute.key] = _read_as(type_, value)
    if value is not None:
        track(state, attribute.key, value)


def is_untouched(state: InstanceState[object], attributes: Sequence[FileAttribute]) -> bool:
    """Return whether a flush can write nothing into these attributes of a row; false if that takes a second look."""
    held, changed, is_new = state.dict, state.committed_state, state.key is None
    for attribute in attributes:
        key, column = attribute.key, attribute.column
        if held.get(key) is not None if is_new else key in changed:
            return False
        # a list may have been put into the dictionary, past the attribute's events
        if attribute.type.multiple or column.default is not None or column.onupdate is not None:
            return False
    return True


def _read_as(type_: StoredObject, value: FileObject | FileObjectList) -> FileObject | FileObjectList:
    """Return what another column has just loaded as a value of a column of this type."""
    allowed = type_.allowed_backends
    if isinstance(value, FileObjectList):
        if not type_.multiple:
            return file_from_row(undecoded_list(value), allowed, NOT_LOADED)
        allow_list(value, allowed)
        return value
    if type_.multiple:
        return list_from_row(undecoded(value), allowed, NOT_LOADED)
    file_state(value).allowed = allowed
    return value


def _is_from_other(value: FileObject | FileObjectList, allowed: AllowedBackends) -> bool:
    if isinstance(value, FileObject):
        return is_from_other(value, allowed)
    return (of := list_state(value)).parent is NOT_LOADED and of.allowed is not allowed
