"""Models that differ in the type of one column."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, Integer, String, Table
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeEngine


class Record:
    """Every model has these attributes."""

    id: int
    title: str
    file: Any

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)


def model(name: str, kind: TypeEngine[Any] | None) -> type[Record]:
    """Return a model, in a metadata of its own, with a column `file` of type *kind*, or without one."""
    mappers = registry()
    columns = [Column("id", Integer, primary_key=True), Column("title", String(50))]
    if kind is not None:
        columns.append(Column("file", kind))
    class_ = type(name, (Record,), {})
    mappers.map_imperatively(class_, Table(name, mappers.metadata, *columns))
    mappers.configure()
    return class_


def table_of(class_: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = class_.__table__  # type: ignore[attr-defined]
    return table


def plain_json() -> JSON:
    """Return what a `StoredObject` column is in the database."""
    return JSON(none_as_null=True)
