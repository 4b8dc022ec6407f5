"""The columns that uploads are granted for, by the names that applications give: attribute, column or text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import Column
from sqlalchemy.orm import InspectionAttr, Mapper, QueryableAttribute, configure_mappers

from filecolumn.files.grants import GrantColumn, column_of, no_column
from filecolumn.orm.attributes import FileAttribute, file_attribute, files_of_classes
from filecolumn.orm.column import StoredObject

__all__ = ("names_of",)


def names_of(mapper: Mapper[object], attribute: FileAttribute) -> Iterator[str]:
    """Yield what a file attribute of a mapper is called: by its class and those above it, and by its table."""
    for each in mapper.iterate_to_root():
        yield f"{each.class_.__name__}.{attribute.key}"
    yield f"{attribute.table}.{attribute.column.name}"


@column_of.register(QueryableAttribute)
def _of_attribute(attribute: QueryableAttribute[Any]) -> GrantColumn:
    configure_mappers()
    found = file_attribute(attribute.property)
    if found is None:
        raise no_column(attribute)
    # an alias has the mapper of its class
    mapper: Mapper[object] = cast("_WithMapper", attribute.parent).mapper
    return _described(f"{mapper.class_.__name__}.{attribute.property.key}", found.type)


@column_of.register(Column)
def _of_table(column: Column[Any]) -> GrantColumn:
    if not isinstance(column.type, StoredObject):
        raise no_column(column)
    return _described(f"{column.table.description}.{column.name}", column.type)


@column_of.register(str)
def _of_name(name: str) -> GrantColumn:
    """Return the column of a name as it is, if no class of this process has it, or several have."""
    configure_mappers()
    types = {
        id(attribute.type): attribute.type
        for class_, attribute in files_of_classes()
        if name in {f"{class_.__name__}.{attribute.key}", f"{attribute.table}.{attribute.column.name}"}
    }
    # of several classes that are called so the row will say which one it is
    return _described(name, *types.values()) if len(types) == 1 else GrantColumn(name)


def _described(name: str, type_: StoredObject) -> GrantColumn:
    return GrantColumn(name, type_.policy, type_.backend)


class _WithMapper(InspectionAttr):
    """A mapper, or an alias of its class."""

    mapper: Mapper[object]
