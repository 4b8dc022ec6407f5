"""What a statement writes, in file attributes, and which rows an INSERT may replace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Column,
    Delete,
    FromClause,
    Insert,
    Null,
    SelectBase,
    Table,
    TableClause,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.orm import Mapper, ORMExecuteState
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import UpdateBase

from filecolumn.errors import NotSupportedError
from filecolumn.files.file import FileObject, freed
from filecolumn.files.file_list import FileObjectList
from filecolumn.orm.attributes import FileAttribute, file_attributes, key_columns, mapper_of, table_attributes
from filecolumn.orm.column import StoredObject, wrong_type_error
from filecolumn.orm.statements.clauses import (
    Key,
    Parameters,
    Path,
    Strategy,
    conflict_clauses,
    conflict_target,
    conflict_values,
    dml_of,
    multi_values_of,
    strategy_of,
    values_of,
)

__all__ = (
    "Cell",
    "Dml",
    "UniqueKey",
    "ValueSet",
    "identity_in",
    "keys_that_conflict",
    "may_replace",
    "read_statement",
    "target_of",
)


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
    """A statement about a table with file columns."""

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
            return self._named().get(key)
        for attribute in self.attributes:
            # the ORM's columns carry annotations: they are the same by hash only
            if hash(key) == hash(attribute.column):
                return attribute
        if isinstance(key.type, StoredObject):
            raise NotSupportedError(
                f"the statement on {self.table} also writes {key}, a file column of another table; "
                "write that one with a statement of its own"
            )
        return None

    def _named(self) -> Mapping[str, FileAttribute]:
        if not self.by_key:
            return {attribute.column.key: attribute for attribute in self.attributes}
        # the ORM passes over what the class does not map
        own = () if self.entity is None else file_attributes(self.entity)
        return {attribute.key: attribute for attribute in self.attributes if attribute in own}

    def name_of(self, key: Key) -> str:
        """Return the name of the attribute for any column."""
        if isinstance(key, str) and (self.by_key or key not in self.table.columns):
            return key
        column = self.table.columns[key] if isinstance(key, str) else key
        try:
            return str(self.mapper.get_property_by_column(column).key)
        except UnmappedColumnError:
            return str(column.key)


def target_of(statement: UpdateBase, strategy: Strategy, parameters: Parameters = None) -> Dml | None:
    """Return what a statement is about; None for a table without files."""
    entity: object = statement.entity_description.get("entity")
    if entity is not None:
        return _of_entity(statement, strategy, entity, parameters)
    table: FromClause = statement.table
    if not _is_table(table):
        _refuse_files(statement, table, parameters)
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
        attributes=table_attributes(table, mapper),
    )


def _of_entity(
    statement: UpdateBase, strategy: Strategy, entity: object, parameters: Parameters
) -> Dml | None:
    inspected: Mapper[object] | AliasedInsp[object] = inspect(entity)
    mapper = inspected.mapper
    table = mapper.local_table
    is_join = not _is_table(table) and not isinstance(statement, Insert)
    if strategy == "bulk" and (table is not mapper.persist_selectable or is_join):
        # the ORM makes a statement for each of its tables
        attributes = file_attributes(mapper)
        speaker = mapper
    elif isinstance(inspected, AliasedInsp) or not _is_table(table):
        _refuse_files(statement, inspected.selectable, parameters)
        return None
    else:
        is_its = any(attribute.column.table is table for attribute in file_attributes(mapper))
        speaker = mapper if is_its else mapper_of(table) or mapper
        attributes = table_attributes(table, speaker)
    if not attributes:
        return None
    return Dml(
        statement=statement,
        entity=mapper,
        mapper=speaker,
        table=table,
        strategy=strategy,
        attributes=attributes,
    )


def _is_table(source: FromClause) -> bool:
    return isinstance(source, TableClause)


def _refuse_files(statement: UpdateBase, source: FromClause, parameters: Parameters) -> None:
    """Raise NotSupportedError for a statement about files that names neither a table nor its class."""
    names = {column.key for column in source.columns if isinstance(column.type, StoredObject)}
    if names and (isinstance(statement, Delete) or any(_names(statement, parameters, names))):
        raise NotSupportedError(
            f"a statement cannot write the files of {statement.entity_description['name']} through an alias, a join "
            "or a query; name the table itself, or a class that is mapped to it"
        )


def _names(statement: UpdateBase, parameters: Parameters, names: Collection[str]) -> Iterator[bool]:
    """Yield for each value of a statement whether it may be that of one of the columns *names*."""
    rows = parameters if isinstance(parameters, Sequence) else [parameters or {}]
    keys = [*values_of(statement), *(key for row in rows for key in row)]
    for _, row in multi_values_of(statement):
        keys += row if isinstance(row, Mapping) else names
    for key in keys:
        yield key in names if isinstance(key, str) else isinstance(key.type, StoredObject)


def read_statement(context: ORMExecuteState) -> Dml | None:
    """Return a statement and its sets of values; None for a table without files."""
    statement = dml_of(context)
    dml = None if statement is None else target_of(statement, strategy_of(context), context.parameters)
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
            return (freed(value),)
        case list() | tuple() if attribute.type.multiple:
            return FileObjectList(cast("Sequence[FileObject]", value)).copy()
        case ClauseElement():
            raise NotSupportedError(
                f"the file column {attribute.key!r} cannot be set to an SQL expression: two rows would share "
                "the content; give it a FileObject, or load the rows and assign"
            )
        case _:
            raise wrong_type_error(value, multiple=attribute.type.multiple)


UniqueKey = tuple[Column[Any], ...]


def may_replace(dml: Dml) -> bool:
    """Return whether an INSERT has a clause or prefix for rows that are there already."""
    return isinstance(dml.statement, Insert) and bool(conflict_clauses(dml.statement))


def keys_that_conflict(dml: Dml) -> Sequence[UniqueKey]:
    """Return the keys by which the INSERT meets rows; NotSupportedError where the statement does not tell."""
    if not isinstance(dml.statement, Insert):
        return ()
    # only a table can be inserted into
    table = cast("Table", dml.table)
    keys: dict[UniqueKey, None] = {}
    for clause in conflict_clauses(dml.statement):
        for key, value in conflict_values(clause).items():
            _check_replacement(dml, table, key, value)
        keys.update(dict.fromkeys(_keys_of(dml, table, conflict_target(clause))))
    return tuple(keys)


def identity_in(dml: Dml, values: ValueSet, key: UniqueKey) -> tuple[object, ...] | None:
    """Return the value of a key that a new row will have; None if no row can have it already."""
    identity = tuple(_value(dml, values, column, alone=len(key) == 1) for column in key)
    return None if None in identity else identity


def _value(dml: Dml, values: ValueSet, column: Column[Any], *, alone: bool) -> object:
    name = dml.name_of(column)
    if name in values.others:
        return values.others[name]
    default = column.default
    if name not in values.computed:
        if default is not None and default.is_scalar:
            return getattr(default, "arg", None)
        counted = getattr(dml.table, "autoincrement_column", None)
        generated = column is counted or (default is not None and alone)
        if generated or (default is None and column.server_default is None):
            return None
    raise _cannot_tell(f"the value of {column} is not among its parameters")


def _keys_of(dml: Dml, table: Table, target: Sequence[str | Column[Any]] | str | None) -> Iterator[UniqueKey]:
    match target:
        case None:
            yield from _unique_keys(dml, table)
        case str():
            named = [key for name, key in _named_keys(table) if name == target]
            if not named:
                raise _cannot_tell(f"the table has no unique constraint {target!r}")
            yield from named
        case _:
            yield tuple(_column(table, element) for element in target)


def _column(table: Table, element: str | Column[Any]) -> Column[Any]:
    name = element if isinstance(element, str) else str(getattr(element, "key", None))
    if name not in table.columns:
        raise _cannot_tell(f"{element} is not a column of {table}")
    return table.columns[name]


def _unique_keys(dml: Dml, table: Table) -> Iterator[UniqueKey]:
    # that of the mapper where the table declares none: the database may have one
    key = tuple(key_columns(table, dml.mapper))
    if key:
        yield key
    yield from (each for _, each in _named_keys(table) if each != key)


def _named_keys(table: Table) -> Iterator[tuple[str | None, UniqueKey]]:
    if key := tuple(table.primary_key.columns):
        yield _name(table.primary_key.name), key
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield _name(constraint.name), tuple(constraint.columns)
    for index in table.indexes:
        if index.unique:
            if len(index.columns) != len(index.expressions):
                raise _cannot_tell(f"the index {index.name} is unique in an expression")
            yield _name(index.name), tuple(index.columns)


def _name(name: object) -> str | None:
    return None if name is None else str(name)


def _check_replacement(dml: Dml, table: Table, key: Key, value: object) -> None:
    """Refuse what would give a row the file of another, or change which row it is."""
    attribute = dml.attribute_of(key)
    if attribute is not None:
        if not _is_rows_own(attribute, value):
            raise NotSupportedError(
                f"on a conflict the file column {attribute.key!r} can be set to the new file of its own row only, "
                f"as in set_={{{attribute.column.key!r}: statement.excluded.{attribute.column.key}}}"
            )
        return
    name = key if isinstance(key, str) else str(key.key)
    key_names = {column.key for column in key_columns(table, dml.mapper)}
    if name in key_names and getattr(value, "key", None) != name:
        raise _cannot_tell(f"on a conflict it changes the primary key {name!r}")


def _is_rows_own(attribute: FileAttribute, value: object) -> bool:
    if isinstance(value, FileObject | list | tuple):
        return False
    if not isinstance(value, ClauseElement):
        return value is None
    return all(_is_harmless(attribute, part) for part in visitors.iterate(value))


def _is_harmless(attribute: FileAttribute, part: object) -> bool:
    if isinstance(part, BindParameter):
        value = cast("BindParameter[object]", part).effective_value
        return not isinstance(value, FileObject | list | tuple)
    if isinstance(part, Column):
        column = cast("Column[object]", part)
        return column.key == attribute.column.key or not isinstance(column.type, StoredObject)
    return not isinstance(part, SelectBase)


def _cannot_tell(why: str) -> NotSupportedError:
    return NotSupportedError(
        f"the INSERT does not tell which rows it replaces, so their files could not be removed: {why}; "
        "load the rows and assign, or use session.merge"
    )
