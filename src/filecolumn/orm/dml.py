"""What a statement writes, said in file attributes: the sets of values that it gives to rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from sqlalchemy import BindParameter, ClauseElement, FromClause, Null, TableClause, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql.expression import UpdateBase

from filecolumn.errors import NotSupportedError
from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.attributes import FileAttribute, file_attributes, mapper_of, table_attributes
from filecolumn.orm.statements import (
    Key,
    Parameters,
    Path,
    Strategy,
    dml_of,
    multi_values_of,
    strategy_of,
    values_of,
)
from filecolumn.orm.type import StoredObject

__all__ = ("Cell", "Dml", "ValueSet", "read_statement", "target_of")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a file attribute, and where it stands in the statement or its parameters."""

    files: Sequence[FileObject]
    path: Path

    @property
    def is_shared(self) -> bool:
        """Whether every parameter set writes it."""
        return self.path[0] == "values"


@dataclass(frozen=True, slots=True)
class ValueSet:
    """What goes into one row, or into all rows that an UPDATE matches."""

    cells: Mapping[FileAttribute, Cell]
    others: Mapping[str, object]
    """The plain values of other attributes, by name."""
    computed: frozenset[str]
    """Names of other attributes whose values the database computes."""
    parameters: Mapping[str, object]
    """What the statement's criteria may refer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dml:
    """A statement about a table with columns of files."""

    statement: UpdateBase
    entity: Mapper[object] | None
    """Of the class that it was written about; None if it names the table."""
    mapper: Mapper[object]
    """A mapper that has file attributes in the table."""
    table: FromClause
    strategy: Strategy
    attributes: Sequence[FileAttribute]
    """Those that it could write or delete."""
    sets: Sequence[ValueSet] = ()

    @property
    def by_key(self) -> bool:
        """Whether the ORM takes primary keys and attributes from the parameters."""
        return self.strategy == "bulk"

    def attribute_of(self, key: Key) -> FileAttribute | None:
        """Return the file attribute that a statement names; NotSupportedError for one of another table."""
        if isinstance(key, str):
            names = (attribute.key if self.by_key else attribute.column.key for attribute in self.attributes)
            return dict(zip(names, self.attributes, strict=True)).get(key)
        for attribute in self.attributes:
            # the ORM's columns carry annotations: they are the same by hash only
            if hash(key) == hash(attribute.column):
                return attribute
        if isinstance(key.type, StoredObject):
            raise NotSupportedError(
                f"the statement about {self.table} writes the files of another table, {key}; "
                "write them by one of its own"
            )
        return None

    def name_of(self, key: Key) -> str:
        """Return the name of the attribute for any column."""
        if isinstance(key, str) and (self.by_key or key not in self.table.columns):
            return key
        column = self.table.columns[key] if isinstance(key, str) else key
        try:
            return str(self.mapper.get_property_by_column(column).key)
        except UnmappedColumnError:
            return str(column.key)


def target_of(statement: UpdateBase, strategy: Strategy) -> Dml | None:
    """Return what a statement is about; None for a table without files."""
    entity: object = statement.entity_description.get("entity")
    if entity is not None:
        return _of_entity(statement, strategy, entity)
    table: FromClause = statement.table
    if not isinstance(table, TableClause):
        if any(isinstance(column.type, StoredObject) for column in table.columns):
            raise _aliased(statement)
        return None
    mapper = mapper_of(table)
    if mapper is None:
        return None
    return Dml(
        statement=statement,
        entity=None,
        mapper=mapper,
        table=table,
        strategy=strategy,
        attributes=table_attributes(table),
    )


def _of_entity(statement: UpdateBase, strategy: Strategy, entity: object) -> Dml | None:
    inspected: Mapper[object] | AliasedInsp[object] = inspect(entity)
    mapper = inspected.mapper
    table = mapper.local_table
    many_tables = strategy == "bulk" and table is not mapper.persist_selectable
    attributes = file_attributes(mapper) if many_tables else table_attributes(table)
    if not attributes:
        return None
    if isinstance(inspected, AliasedInsp):
        raise _aliased(statement)
    return Dml(
        statement=statement,
        entity=mapper,
        # a base may have none of its own
        mapper=mapper if file_attributes(mapper) else mapper_of(table) or mapper,
        table=table,
        strategy=strategy,
        attributes=attributes,
    )


def _aliased(statement: UpdateBase) -> NotSupportedError:
    return NotSupportedError(
        f"a statement that writes an alias of {statement.entity_description['name']} is not covered: "
        "name the class or table itself"
    )


def read_statement(context: ORMExecuteState) -> Dml | None:
    """Return a statement and its sets of values; None for a table without files."""
    statement = dml_of(context)
    dml = None if statement is None else target_of(statement, strategy_of(context))
    if dml is None or context.is_delete:
        return dml
    return replace(dml, sets=tuple(_sets(dml, context.parameters)))


def _sets(dml: Dml, parameters: Parameters) -> Iterator[ValueSet]:
    rows = parameters if isinstance(parameters, Sequence) else [parameters or {}]
    many = list(multi_values_of(dml.statement))
    for path, row in many:
        yield _set(dml, [*_of_row(dml, path, row)], rows[0], 0)
    shared = [(("values", key), key, value) for key, value in values_of(dml.statement).items()]
    if many or not (shared or parameters):
        return
    for index, given in enumerate(rows):
        own = [(("parameters", index, name), name, value) for name, value in given.items()]
        yield _set(dml, [*own, *shared], given, index)


def _of_row(
    dml: Dml, path: Path, row: Mapping[Key, object] | Sequence[object]
) -> Iterator[tuple[Path, Key, object]]:
    if isinstance(row, Mapping):
        for key, value in row.items():
            yield (*path, key), key, value
    else:
        for index, (column, value) in enumerate(zip(dml.table.columns, row, strict=False)):
            yield (*path, index), column, value


def _set(
    dml: Dml, given: Sequence[tuple[Path, Key, object]], row: Mapping[str, object], index: int
) -> ValueSet:
    cells: dict[FileAttribute, Cell] = {}
    others: dict[str, object] = {}
    computed: set[str] = set()
    for path, key, stated in given:
        place, value = _resolved(path, stated, row, index)
        attribute = dml.attribute_of(key)
        if attribute is not None:
            cells[attribute] = Cell(_files(attribute, value), place)
        elif isinstance(value, ClauseElement):
            computed.add(dml.name_of(key))
        else:
            others[dml.name_of(key)] = value
    return ValueSet(cells, others, frozenset(computed), row)


def _resolved(path: Path, stated: object, row: Mapping[str, object], index: int) -> tuple[Path, object]:
    """Return a value, and its place, for what may be a parameter."""
    if not isinstance(stated, BindParameter):
        return path, stated
    if stated.key in row:
        return ("parameters", index, stated.key), row[stated.key]
    return path, cast("BindParameter[object]", stated).effective_value


def _files(attribute: FileAttribute, value: object) -> Sequence[FileObject]:
    """Return the files of a value; TypeError or NotSupportedError for what is none."""
    match value:
        case None | Null():
            return ()
        case FileObject() if not attribute.type.multiple:
            return (value._taken(),)
        case FileObjectList() | list() | tuple() if attribute.type.multiple:
            return FileObjectList(cast("Sequence[FileObject]", value)).copy()
        case ClauseElement():
            raise NotSupportedError(
                f"the column {attribute.key!r} cannot be filled by an SQL expression: two rows would share "
                "the content; give it a FileObject, or load the rows and assign"
            )
        case _:
            raise TypeError(attribute.type.expected(value))
