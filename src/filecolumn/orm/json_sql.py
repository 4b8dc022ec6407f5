"""Members of a JSON document as SQL values: strictly typed, the same rows on every database, and no value fails.

A value of another JSON type is NULL.  Paths are literal text, so that indexes on them are used; only names that
are no identifiers are bound.  Text is compared by code point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar, TypeVar, cast

from sqlalchemy import (
    Alias,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Table,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import JSON, TypeDecorator, TypeEngine

from filecolumn.orm.json_dialects import Step, writer_of
from filecolumn.orm.json_values import (
    FactBoolean,
    FactFloat,
    FactInteger,
    FactObject,
    FactText,
    FactTime,
    WrittenFunction,
)

__all__ = (
    "UNSTORABLE",
    "ArrayMember",
    "BooleanMember",
    "Elements",
    "ExistsMember",
    "FirstTextMember",
    "FloatMember",
    "IntegerMember",
    "LastSegmentMember",
    "Length",
    "Member",
    "ObjectMember",
    "PathStep",
    "TextMember",
    "TimeMember",
    "Values",
    "step_of",
)

T = TypeVar("T")

PathStep = str | int
"""The name of a member of an object, or the index of an element of an array, from 0."""

INFO = "filecolumn.member"
"""In `Column.info`: which member of which column of the same table a generated column holds."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_END_OF_INDEXES = 2**31
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""What is in no text that databases store."""


# Members


class Member(FunctionElement[T]):
    """A member of a JSON document: a column, or an element of a list of files."""

    inherit_cache: bool | None = True
    name: str = "member"
    write: ClassVar[str]
    """The method of `Writer` for its type."""

    def __init__(self, document: ColumnElement[Any], *path: ColumnElement[Any] | TextClause) -> None:
        super().__init__(document, *cast("Sequence[ColumnElement[Any]]", path))
        is_named = self.name != Member.name
        if not is_named and path and isinstance(path[-1], TextClause) and not path[-1].text.isdigit():
            self.name = path[-1].text

    @property
    def document(self) -> ColumnElement[Any]:
        """Where it is a member of."""
        return next(iter(self.clauses))

    @property
    def path(self) -> Sequence[ColumnElement[Any]]:
        """The steps to it."""
        return list(self.clauses)[1:]


class TextMember(Member[str]):
    """A JSON string."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "text"
    type: TypeEngine[str] = FactText()


class FirstTextMember(Member[str]):
    """The first JSON string of several members of an object."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "first_text"
    type: TypeEngine[str] = FactText()


class LastSegmentMember(Member[str]):
    """What follows the last slash of a JSON string."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "last_segment"
    type: TypeEngine[str] = FactText()


class IntegerMember(Member[int]):
    """A JSON number that is whole, and has 64 bits."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "integer"
    type: TypeEngine[int] = FactInteger()


class FloatMember(Member[float]):
    """A JSON number that is finite as a double."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "float"
    type: TypeEngine[float] = FactFloat()


class BooleanMember(Member[bool]):
    """A JSON true or false."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "boolean"
    type: TypeEngine[bool] = FactBoolean()


class TimeMember(Member[datetime]):
    """A JSON number of seconds since the epoch, UTC, as a point in time of the years 1 to 9999."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "time"
    type: TypeEngine[datetime] = FactTime()

    @property
    def seconds(self) -> FloatMember:
        """The number itself."""
        return FloatMember(self.document, *self.path)


class ObjectMember(Member[dict[str, Any]]):
    """A JSON object."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "object"
    type: TypeEngine[Any] = FactObject()


class ArrayMember(Member[list[Any]]):
    """A JSON array."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "array"
    type: TypeEngine[list[Any]] = JSON()


class ExistsMember(Member[bool]):
    """Whether there is such a member, and it is not null; never NULL."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "exists"
    type: TypeEngine[bool] = Boolean()


class Length(Member[int]):
    """How many elements a JSON array has; 0 for null and NULL, NULL for anything else than an array."""

    inherit_cache: bool | None = True
    name: str = "count"
    write: ClassVar[str] = "length"
    type: TypeEngine[int] = FactInteger()


class Elements(WrittenFunction[Any]):
    """The elements of a JSON array, as rows with a column `value`; none for anything else."""

    inherit_cache: bool | None = True
    name: str = "elements"
    write: ClassVar[str] = "elements"
    readable: ClassVar[str] = "elements({0})"


class Values(WrittenFunction[Any]):
    """The elements of a JSON array of any type, as rows with a column `value` of JSON; none for anything else."""

    inherit_cache: bool | None = True
    name: str = "values"
    write: ClassVar[str] = "values"
    readable: ClassVar[str] = "values({0})"


def step_of(step: PathStep) -> ColumnElement[Any] | TextClause:
    """Return a step of a path; ValueError for an index out of range, and for a name that no database stores."""
    given: object = step
    if isinstance(given, bool) or not isinstance(given, str | int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{step!r} is neither the name of a member, a str, nor an index of an array, an int")
    if isinstance(step, int):
        if not 0 <= step < _END_OF_INDEXES:
            raise ValueError(f"{step!r} is not an index of a JSON array: give one from 0")
        return text(str(step))
    if UNSTORABLE.search(step):
        raise ValueError(
            f"{step!r} is not a name in JSON that databases store: U+0000 and unpaired surrogates are not"
        )
    return text(step) if _IDENTIFIER.fullmatch(step) else _BoundName(step)


class _BoundName(FunctionElement[str]):
    """A name of a member that is bound: with characters beyond ASCII as they are, and in escapes."""

    inherit_cache: bool | None = True
    name: str = "name"
    type: TypeEngine[str] = Text()

    def __init__(self, name: str) -> None:
        # one name has one parameter: PostgreSQL groups only by what is the same expression as is selected
        key = f"name_{blake2b(name.encode(), digest_size=8).hexdigest()}"
        binds = [bindparam(key, name, _MemberName(is_escaped=False))]
        if json.dumps(name) != json.dumps(name, ensure_ascii=False):
            binds.append(bindparam(f"{key}_escaped", name, _MemberName(is_escaped=True)))
        super().__init__(*binds)


class _MemberName(TypeDecorator[str]):
    """The name of a member; MySQL and MariaDB get it as a path."""

    impl = Text
    cache_ok: bool | None = True

    def __init__(self, *, is_escaped: bool) -> None:
        super().__init__()
        self.is_escaped = is_escaped

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name not in {"mysql", "mariadb"}:
            return value
        return f"$.{json.dumps(value, ensure_ascii=self.is_escaped)}"


# SQL


@compiles(Member)
def _compile_member(element: Member[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    if options.pop("filecolumn_generated", True):
        generated = generated_column(element)
        if generated is not None:
            return _processed(generated, element, compiler, options)
    document = compiler.process(element.document, **options)
    path = [_written(step, compiler, options) for step in element.path]
    writer = writer_of(compiler.dialect)
    if writer is None:
        # only to be read, as in `str(statement)`
        return ".".join((document, *(step.name for step in path)))
    write: Callable[[str, Sequence[Step]], str] = getattr(writer, element.write)
    return write(document, path)


def _processed(
    generated: ColumnElement[Any], element: Member[Any], compiler: SQLCompiler, options: dict[str, Any]
) -> str:
    """Return the SQL of a column that holds a member, which is compared as the member itself."""
    column: str = compiler.process(generated, **options)
    writer = writer_of(compiler.dialect)
    if writer is None or not isinstance(element.type, FactText):
        return column
    return writer.column(column)


def _written(step: ColumnElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> Step:
    if isinstance(step, _BoundName):
        writer = writer_of(compiler.dialect)
        # a driver counts what is compiled
        binds = list(step.clauses)[: 1 if writer is None else writer.forms_of_names]
        return Step("?", [compiler.process(bind, **options) for bind in binds])
    return Step(cast("TextClause", step).text)


def generated_column(element: Member[Any]) -> ColumnElement[Any] | None:
    """Return the column of the same table that holds the member, if one does."""
    document = element.document
    member = member_key(element)
    if not isinstance(document, Column) or member is None:
        return None
    rows = cast("FromClause", document.table)
    table = _table_of(rows)
    columns = () if table is None else table.columns
    key = next((column.key for column in columns if column.info.get(INFO) == member), None)
    # an alias that is older than the column does not have it
    return None if key is None else rows.c.get(key)


def _table_of(rows: FromClause) -> Table | None:
    """Return the table that rows are of, by an alias too: a query has columns of several tables."""
    named: FromClause = rows.element if isinstance(rows, Alias) else rows
    return cast("Table", named) if isinstance(named, Table) else None


def member_key(element: Member[Any]) -> tuple[str, ...] | None:
    """Return what identifies a member within its table; None if its path has names that are bound."""
    document = element.document
    names = [base.name for base in document.base_columns if isinstance(base, Column)]
    path = element.path
    if len(names) != 1 or any(isinstance(step, _BoundName) for step in path):
        return None
    return (element.write, names[0], *(cast("TextClause", step).text for step in path))
