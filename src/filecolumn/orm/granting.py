"""The columns that grants are for: what an application calls them, and whether a row's attribute is that one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import Column
from sqlalchemy.orm import InspectionAttr, Mapper, QueryableAttribute, configure_mappers

from filecolumn.files.grants import GrantColumn
from filecolumn.orm.attributes import FileAttribute, file_attribute, files_of_classes
from filecolumn.orm.column import StoredObject

__all__ = ("find_column", "names_of")


def find_column(column: object) -> GrantColumn:
    """Return the column that is meant by an attribute (`Document.file`), a table's column, or the name of either.

    TypeError for anything else.  What a name that no class of this process has takes is not known.
    """
    match column:
        case str():
            return _named(column)
        case QueryableAttribute():
            return _of_attribute(column)
        case Column() if isinstance(column.type, StoredObject):
            return _described(f"{column.table.description}.{column.name}", column.type)
        case _:
            raise _no_column(column)


def names_of(mapper: Mapper[object], attribute: FileAttribute) -> Iterator[str]:
    """Yield what a file attribute of a mapper is called: by its class and those above it, and by its table."""
    for each in mapper.iterate_to_root():
        yield f"{each.class_.__name__}.{attribute.key}"
    yield f"{attribute.table}.{attribute.column.name}"


def _of_attribute(attribute: QueryableAttribute[Any]) -> GrantColumn:
    configure_mappers()
    found = file_attribute(attribute.property)
    if found is None:
        raise _no_column(attribute)
    # that of an alias is the class's own
    mapper: Mapper[object] = cast("_WithMapper", attribute.parent).mapper
    return _described(f"{mapper.class_.__name__}.{attribute.property.key}", found.type)


def _named(name: str) -> GrantColumn:
    configure_mappers()
    kinds = {
        id(attribute.type): attribute.type
        for class_, attribute in files_of_classes()
        if name in {f"{class_.__name__}.{attribute.key}", f"{attribute.table}.{attribute.column.name}"}
    }
    # of several classes that are called so the row will say which one it is
    return _described(name, *kinds.values()) if len(kinds) == 1 else GrantColumn(name)


def _described(name: str, kind: StoredObject) -> GrantColumn:
    return GrantColumn(name, kind.policy, kind.backend)


def _no_column(column: object) -> TypeError:
    return TypeError(
        f"an upload is granted for a column of files, named as Document.file or 'Document.file', not for {column!r}"
    )


class _WithMapper(InspectionAttr):
    """A mapper, or an alias of its class."""

    mapper: Mapper[object]
