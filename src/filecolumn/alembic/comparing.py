"""Alembic's autogenerate: indexes on facts, and generated columns of facts, against what a database has of them.

Databases write expressions in their own way, and Alembic compares text: so what differs in spelling only is taken
out of what it compares.  SQLite's indexes on expressions are compared here, as Alembic does not.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Computed,
    Dialect,
    Index,
    Inspector,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import CreateColumn, CreateIndex
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.visitors import replacement_traverse

from filecolumn.orm.fact_columns import Generated, can_be_made, has_facts
from filecolumn.orm.json_sql import Member, generated_column

__all__ = (
    "include_object",
    "indexes_to_make",
    "is_as_generated",
    "is_in_table",
    "made_by",
    "prepare",
    "with_columns",
)

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

Expression = str | TextClause | ColumnElement[Any]
"""What an operation has of an index: a column or its name, or an expression."""

_TOLD_APART = re.compile(r"::(?:double precision|timestamp with time zone|\w+)(?:\[\])?|\bcollate \"c\"")
"""What PostgreSQL adds, and what it keeps beside an index."""
_OUTSIDE = re.compile(r"'(?:[^']|'')*'|[^']+")
_TOKEN = re.compile(r"'(?:[^']|'')*'|[a-z_]\w*|[0-9]+(?:[.][0-9]*)?(?:e[-+]?[0-9]+)?")
_NUMBER = re.compile(r"'?-?[0-9.]+(?:e[-+]?[0-9]+)?'?")
_INDEX = re.compile(r"[0-9]{1,4}")
_WORDS = frozenset({"and", "between", "case", "else", "end", "null", "then", "when"})
"""What databases add or leave out."""


def include_object(
    object_: object, _name: str | None, type_: str, _reflected: bool, compare_to: object
) -> bool:
    """Leave indexes and columns of facts out of the comparison if the database has them, in whatever spelling.

    For `context.configure(include_object=...)` with Alembic before 1.18.
    """
    if type_ == "index" and isinstance(object_, Index) and has_facts(object_):
        # the only one that tells of its indexes on expressions
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        if isinstance(compare_to, Index):
            return not _is_same_index(object_, compare_to, dialect)
        return can_be_made(object_, dialect)
    if type_ == "column":
        dialects = (
            sqlite.dialect(),
            postgresql.dialect(),  # type: ignore[no-untyped-call]
            mysql.dialect(is_mariadb=True),
            mysql.dialect(),
        )
        return not any(is_as_generated(object_, compare_to, each) for each in dialects)
    return True


def is_as_generated(column: object, found: object, dialect: Dialect) -> bool:
    """Return whether a column of a fact is generated as *found*, that of the database, is."""
    ours, theirs = getattr(column, "server_default", None), getattr(found, "server_default", None)
    if not isinstance(ours, Generated) or not isinstance(theirs, Computed):
        return False
    return _fingerprint(ours.sqltext, dialect) == _fingerprint(theirs.sqltext, dialect)


def prepare(context: AutogenContext) -> None:
    """Let Alembic compare indexes on facts only where it can."""
    impl = context.migration_context.impl
    correct = impl.correct_for_autogen_constraints

    def correct_indexes(
        found_constraints: set[UniqueConstraint],
        found: set[Index],
        constraints: set[UniqueConstraint],
        indexes: set[Index],
    ) -> None:
        for index in [each for each in indexes if has_facts(each)]:
            _leave_out(index, indexes, found, context.dialect)
        correct(found_constraints, found, constraints, indexes)

    # there is no hook for it
    impl.correct_for_autogen_constraints = correct_indexes  # type: ignore[method-assign, assignment]
    if context.dialect.name == "sqlite":
        names = [index.name for table in context.sorted_tables for index in table.indexes if has_facts(index)]
        context.inspector.__class__ = _quiet(type(context.inspector), [str(name) for name in names])


def with_columns(expression: Expression) -> Expression:
    """Return an expression of an index with the columns that hold its facts."""
    if not isinstance(expression, ColumnElement):
        return expression

    def column_of(element: object, **_options: object) -> ColumnElement[Any] | None:
        if not isinstance(element, Member):
            return None
        return generated_column(element)  # pyright: ignore[reportUnknownArgumentType] - of any type

    return cast("Expression", replacement_traverse(expression, {}, column_of))


def _leave_out(index: Index, ours: set[Index], found: set[Index], dialect: Dialect) -> None:
    same = next((each for each in found if each.name == index.name), None)
    if dialect.name != "sqlite" and can_be_made(index, dialect):
        if same is None or not _is_same_index(index, same, dialect):
            return
    elif dialect.name != "sqlite":
        # it is not to be there
        same = None
    ours.discard(index)
    if same is not None:
        found.discard(same)


def _is_same_index(index: Index, found: Index, dialect: Dialect) -> bool:
    ours = [_fingerprint(each, dialect) for each in index.expressions]
    return bool(index.unique) == bool(found.unique) and ours == [
        _fingerprint(each, dialect) for each in found.expressions
    ]


def _fingerprint(expression: str | ClauseElement, dialect: Dialect) -> Sequence[str]:
    """Return the names and strings of an expression, in their order: databases keep them."""
    if isinstance(expression, TextClause):
        expression = expression.text
    if isinstance(expression, ClauseElement):
        options = {"literal_binds": True, "include_table": False}
        expression = str(expression.compile(dialect=dialect, compile_kwargs=options))
    # what is in quotation marks is a name in JSON, or a text
    lowered = _OUTSIDE.sub(
        lambda found: found[0] if found[0].startswith("'") else found[0].lower(), expression
    )
    tokens = _TOKEN.findall(_TOLD_APART.sub("", lowered))
    return list(dict.fromkeys(token for token in tokens if token not in _WORDS and not _is_limit(token)))


def _is_limit(token: str) -> bool:
    """Return whether a token is a number, other than an index of a list."""
    return _NUMBER.fullmatch(token) is not None and _INDEX.fullmatch(token) is None


# SQLite


def indexes_to_make(
    context: AutogenContext, schema: str | None, table: Table, found: Table | None
) -> Iterator[tuple[Index, str | None]]:
    """Yield the indexes on facts that *found*, a table in SQLite, lacks, and what made others of their names."""
    statements = {} if found is None else _statements(context, schema, "index", found.name)
    ours = [each for each in table.indexes if has_facts(each) and can_be_made(each, context.dialect)]
    for index in sorted(ours, key=lambda each: str(each.name)):
        known = statements.get(str(index.name))
        if known is None or _text_of(known) != _text_of(
            str(CreateIndex(index).compile(dialect=context.dialect))
        ):
            yield index, known


def made_by(statement: str) -> tuple[bool, str, str]:
    """Return whether an index is unique, what it is on, and for which rows (empty for all)."""
    start = statement.index("(", statement.upper().index(" ON "))
    end = _end_of_brackets(statement, start)
    where = statement[end + 1 :].strip()[len("WHERE") :].strip()
    return _text_of(statement)[0], statement[start + 1 : end], where


def _end_of_brackets(statement: str, start: int) -> int:
    """Return where the bracket at *start* ends; brackets in quotation marks are none."""
    depth = 0
    for found in re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[()]").finditer(statement, start):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return len(statement)


def is_in_table(context: AutogenContext, schema: str | None, column: Column[Any]) -> bool:
    """Return whether a table in SQLite has the column of a fact as it is: reflection takes it for another's."""
    ours = re.sub(r'[\s"]', "", str(CreateColumn(column).compile(dialect=context.dialect)))
    (table,) = _statements(context, schema, "table", column.table.name).values()
    return re.search(f"[(,]{re.escape(ours)}[),]", re.sub(r'[\s"]', "", table)) is not None


def _statements(context: AutogenContext, schema: str | None, kind: str, table: str) -> dict[str, str]:
    """Return what a table, or its indexes, were made by."""
    assert context.connection is not None  # noqa: S101 - autogenerate has one
    quote = context.dialect.identifier_preparer.quote
    master = f"{quote(schema)}.sqlite_master" if schema else "sqlite_master"
    query = f"SELECT name, sql FROM {master} WHERE type = :kind AND tbl_name = :table AND sql IS NOT NULL"  # noqa: S608 - quoted
    found = context.connection.execute(text(query), {"kind": kind, "table": table})
    return {row.name: row.sql for row in found}


def _text_of(statement: str) -> tuple[bool, str]:
    """Return whether an index is unique, and what it is on, however it is spaced and bracketed."""
    head, _, rest = statement.partition(" ON ")
    return "UNIQUE" in head.upper().split()[:2], re.sub(r'[\s()"]', "", rest)


_READING_INDEXES = (
    "get_indexes",
    "get_multi_indexes",
    "get_multi_unique_constraints",
    "get_unique_constraints",
    "reflect_table",
)
"""The methods of an inspector that do."""


def _quiet(class_: type[Inspector], names: Sequence[str]) -> type[Inspector]:
    """Return an inspector that does not warn of indexes that are not compared by what it tells."""

    def quietly(read: Callable[..., object]) -> Callable[..., object]:
        def call(self: Inspector, *arguments: object, **options: object) -> object:
            with _without_warnings(names):
                return read(self, *arguments, **options)

        return call

    return type("Quiet", (class_,), {name: quietly(getattr(class_, name)) for name in _READING_INDEXES})


@contextmanager
def _without_warnings(names: Sequence[str]) -> Generator[None]:
    known = "|".join(map(re.escape, names))
    with warnings.catch_warnings():
        if known:
            message = f"Skipped unsupported reflection of expression-based index (?:{known})$"
            warnings.filterwarnings("ignore", message, SAWarning)
        yield
