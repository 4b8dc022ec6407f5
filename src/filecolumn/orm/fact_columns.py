"""Generated columns that hold facts of files, and indexes on facts where a database can have them.

A condition on a fact that a table has a column for is written as one on that column (see
`filecolumn.orm.json_sql.generated_column`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Computed,
    Connection,
    Dialect,
    Double,
    FromClause,
    Index,
    Table,
    Text,
    event,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler
from sqlalchemy.sql.ddl import DDLIfCallable
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeDecorator, TypeEngine

from filecolumn.errors import NotSupportedError
from filecolumn.orm.json_dialects import collation_of
from filecolumn.orm.json_sql import INFO, Member, ObjectMember, TimeMember, generated_column, member_key
from filecolumn.orm.json_values import FactText

__all__ = ("FactColumn", "Generated", "GeneratedText", "can_be_made", "has_facts")

_INDEXED_CHARACTERS = 255
"""How much of a text an index has on MariaDB and MySQL: what fits into that of all their row formats."""
_WITHOUT_EXPRESSIONS = frozenset({"mariadb", "mysql"})
"""MySQL has indexes on expressions, but those that are as strict as facts are longer than it takes."""


class FactColumn(Column[Any]):
    """A generated column that holds a fact, with an index: `FactColumn("size_bytes", Document.file.size)`.

    Write it after the model's class.  It adds the column *name* to the table of the fact; the model does not select
    it.  Statements that use the fact then use the column, so the table in the database must have it.  MariaDB and
    MySQL have no other way to an index on a fact.

    *index* is the name of the index, True for a name by the naming convention, or False for no index.  The column is
    virtual, on PostgreSQL stored.  Texts may have any length: on MariaDB and MySQL the index has their first 255
    characters, on PostgreSQL it is an SP-GiST index, which does not sort.

    Raises TypeError if *fact* is not a fact of a table's column, or one without an index: `metadata` as a whole, and
    `as_datetime()`, for which conditions use `last_modified`.  Raises ValueError for a name in metadata that is not
    an identifier.
    """

    inherit_cache: bool = True
    # copies have another signature
    _constructor = Column  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - as Column's

    def __init__(self, name: str, fact: ColumnElement[Any], *, index: str | bool = True) -> None:
        if not isinstance(fact, Member) or isinstance(fact, ObjectMember | TimeMember):
            raise TypeError(f"{name} is to hold a fact of a file column, such as Document.file.size")
        columns = [each for each in fact.document.base_columns if isinstance(each, Column)]
        table = cast("FromClause", columns[0].table) if len(columns) == 1 else None
        if not isinstance(table, Table):
            raise TypeError(
                f"{name} is to hold a fact of a table's column: declare it after the class or table"
            )
        member = type(fact)(columns[0], *fact.path)
        key = member_key(member)
        if key is None:
            raise ValueError(
                f"{name} is to hold what is under a name that is no identifier, which has no index"
            )
        is_text = isinstance(member.type, FactText)
        super().__init__(name, _column_type(member.type), Generated(_Definition(member)), info={INFO: key})
        table.append_column(self)
        if index:
            options = _text_options(name) if is_text else {}
            Index(index if isinstance(index, str) else None, self, **options)


def _column_type(of_fact: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return what a fact is in the database, without what a fact refuses."""
    match of_fact:
        case FactText():
            return GeneratedText()
        case BigInteger():
            return BigInteger()
        case Double():
            return Double()
        case Boolean():
            return Boolean()
        case _:
            return of_fact


def _text_options(name: str) -> dict[str, Any]:
    """Return the options of an index that no text is too long for."""
    length = {name: _INDEXED_CHARACTERS}
    return {"mysql_length": length, "mariadb_length": length, "postgresql_using": "spgist"}


class GeneratedText(TypeDecorator[str]):
    """Text of a generated column, compared as the fact itself is."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = FactText
    cache_ok: bool | None = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # not adapted to the dialect, which would make a VARCHAR of it
        if dialect.name == "postgresql":
            return Text(collation="C")
        collation = collation_of(dialect)
        return Text() if collation is None else mysql.LONGTEXT(charset="utf8mb4", collation=collation)


class Generated(Computed):
    """How a column is generated: stored on PostgreSQL, which has no other indexes, and virtual elsewhere."""

    def _copy(self, *, target_table: Table | None = None, **options: object) -> Generated:
        return self._schema_item_copy(Generated(self.sqltext))


@compiles(Generated)
def _compile_generated(element: Generated, compiler: DDLCompiler, **_options: object) -> str:
    definition = compiler.sql_compiler.process(element.sqltext, include_table=False, literal_binds=True)
    stored = " STORED" if compiler.dialect.name == "postgresql" else ""
    return f"GENERATED ALWAYS AS ({definition}){stored}"


class _Definition(FunctionElement[Any]):
    """What a column is generated from: written without the column itself."""

    inherit_cache: bool | None = True
    name: str = "definition"


@compiles(_Definition)
def _compile_definition(element: _Definition, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    (member,) = element.clauses
    return compiler.process(member, filecolumn_generated=False, **options)


# Indexes


def has_facts(index: Index) -> bool:
    """Return whether an index is on a fact."""
    # names of columns that it waits for are strings
    expressions = [each for each in index.expressions if not isinstance(each, str)]
    return any(isinstance(part, Member) for each in expressions for part in iterate(each))


def can_be_made(index: Index, dialect: Dialect) -> bool:
    """Return whether an index on facts is to be made: not where a generated column has one in its place.

    NotSupportedError where it can not be made.
    """
    expressions = list(index.expressions)
    first = expressions[0]
    while isinstance(first, UnaryExpression):
        # it says which way to sort
        first = first.element
    if len(expressions) == 1 and isinstance(first, Member) and not index.unique and _is_indexed(first):
        return False
    if dialect.name not in _WITHOUT_EXPRESSIONS:
        return True
    raise NotSupportedError(
        f"{index.name} cannot be on a fact, as {dialect.name} has no such indexes: "
        "declare FactColumn(name, fact) after the model; "
        "an index that is unique, or on several columns, is to be on that column, not on the fact"
    )


def _is_indexed(member: Member[Any]) -> bool:
    """Return whether a generated column with an index of its own holds the member."""
    column = generated_column(member)
    table = cast("FromClause", column.table) if isinstance(column, Column) else None
    indexes: Iterable[Index] = table.indexes if isinstance(table, Table) else ()
    return any(next(iter(index.expressions)) is column for index in indexes)


def _condition(index: Index) -> object:
    """Return what decides, in the end, whether an index is made."""
    return getattr(index, "_ddl_if", None)


def _on_attach(index: Index, _table: object) -> None:
    # who has set conditions of their own decides by them
    if _condition(index) is None and has_facts(index):
        index.ddl_if(callable_=cast("DDLIfCallable", _is_to_be_made))


def _is_to_be_made(
    _ddl: object, target: object, bind: object, *_arguments: object, dialect: Dialect, **_options: object
) -> bool:
    return can_be_made(cast("Index", target), dialect)


def _on_create(table: Table, connection: Connection, **_options: object) -> None:
    """Refuse what cannot be made while there is no table yet, which would be left without it."""
    for index in table.indexes:
        if getattr(_condition(index), "callable_", None) is _is_to_be_made:
            can_be_made(index, connection.dialect)


event.listen(Index, "after_parent_attach", _on_attach)
event.listen(Table, "before_create", _on_create)
