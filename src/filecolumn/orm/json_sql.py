"""Members of a JSON document as SQL values: strictly typed, the same rows on every database, and no value fails.

A value of another JSON type is NULL.  Paths are literal text, so that indexes on them are used; only names that
are no identifiers are bound.  Text is compared by code point.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any, ClassVar, TypeVar, cast

from sqlalchemy import (
    Alias,
    BigInteger,
    Boolean,
    ClauseElement,
    Column,
    ColumnElement,
    DateTime,
    Double,
    FromClause,
    Integer,
    Table,
    Text,
    TextClause,
    and_,
    bindparam,
    false,
    literal,
    not_,
    or_,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import JSON, TypeDecorator, TypeEngine

from filecolumn.errors import NotSupportedError

__all__ = (
    "ArrayMember",
    "BooleanMember",
    "CodePoints",
    "Elements",
    "ExistsMember",
    "FactText",
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
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_MAX_FLOAT = "1.7976931348623157e308"
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
_FIRST_SECOND, _END_OF_SECONDS = -62135596800, 253402300800
"""From year 1 to before year 10,000: what Python and every database have dates for."""


# Values


class FactText(Text):
    """Text that is compared by code point; `startswith`, `endswith` and `contains` take a string as it is."""

    class Comparator(Text.Comparator[str]):
        """Conditions that are the same on every database."""

        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            _check(
                op, other, str, "text", "for a value in metadata ask as_integer(), as_float() or as_boolean()"
            )
            escape: str | None = options.get("escape")
            find = _TEXT_OPERATORS.get(op)
            if find is not None and escape is None:
                return find(self.expr, other[0])
            pattern = _PATTERNS.get(op)
            if pattern is None or not isinstance(other[0], str):
                return super().operate(op, *other, **options)
            like = _like(self.expr, pattern.format(other[0]), escape)
            return not_(like) if op.__name__.startswith("not_") else like

    comparator_factory = Comparator


def _check(
    op: OperatorType, other: Sequence[object], kinds: type | tuple[type, ...], what: str, hint: str
) -> None:
    """Raise TypeError for a value that is compared and of another type: databases differ in what they make of it."""
    if not operators.is_comparison(op) and op not in _ORDERED:
        return
    values = other[0] if op in _LISTS else other
    if not isinstance(values, list | tuple | set | frozenset):
        return
    for value in cast("Iterable[object]", values):
        is_of_kind = isinstance(value, kinds) and not isinstance(value, bool)
        if not is_of_kind and value is not None and not is_sql(value):
            raise TypeError(
                f"this is {what} in SQL, and {value!r} is {_article(type(value).__name__)}: {hint}"
            )


def is_sql(value: object) -> bool:
    """Return whether SQLAlchemy takes a value for an expression rather than for data."""
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


_LISTS = frozenset({operators.in_op, operators.not_in_op})
_ORDERED = frozenset({operators.between_op, operators.not_between_op})


def starts_with(value: ColumnElement[str], prefix: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Return a range of texts, which an index finds, rather than a pattern."""
    if not isinstance(prefix, str):
        return _Left(value, _Characters(prefix)) == prefix
    end = _after(prefix)
    return value >= prefix if end is None else and_(value >= prefix, value < end)


def ends_with(value: ColumnElement[str], suffix: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether the last characters of a text are *suffix*."""
    if not isinstance(suffix, str):
        return _Right(value, _Characters(suffix)) == suffix
    return _Right(value, literal(len(suffix), Integer)) == suffix


def contains(value: ColumnElement[str], part: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether a text has *part* somewhere."""
    return _Position(value, literal(part, Text) if isinstance(part, str) else part) > 0


def _after(prefix: str) -> str | None:
    """Return the first text, by code points, after all that begin with *prefix*; None if there is none."""
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return None
    following = ord(head[-1]) + 1
    # no text has surrogates
    return head[:-1] + chr(0xE000 if following == 0xD800 else following)


_TEXT_OPERATORS: dict[object, Callable[[Any, Any], ColumnElement[bool]]] = {
    operators.startswith_op: starts_with,
    operators.endswith_op: ends_with,
    operators.contains_op: contains,
    operators.not_startswith_op: lambda value, part: not_(starts_with(value, part)),
    operators.not_endswith_op: lambda value, part: not_(ends_with(value, part)),
    operators.not_contains_op: lambda value, part: not_(contains(value, part)),
}
_PATTERNS: dict[object, str] = {
    operators.like_op: "{}",
    operators.not_like_op: "{}",
    operators.startswith_op: "{}%",
    operators.not_startswith_op: "{}%",
    operators.endswith_op: "%{}",
    operators.not_endswith_op: "%{}",
    operators.contains_op: "%{}%",
    operators.not_contains_op: "%{}%",
}


class _Left(FunctionElement[str]):
    """The first characters of a text; all of them if there are fewer."""

    name: str = "left"
    inherit_cache: bool | None = True
    type: TypeEngine[str] = Text()


class CodePoints(FunctionElement[str]):
    """Any text, compared by code point whatever its own collation is."""

    name: str = "code_points"
    inherit_cache: bool | None = True
    type: TypeEngine[str] = FactText()


class _Right(FunctionElement[str]):
    """The last characters of a text; all of them if there are fewer."""

    name: str = "right"
    inherit_cache: bool | None = True
    type: TypeEngine[str] = Text()


class _Characters(FunctionElement[int]):
    """How many characters a text has."""

    name: str = "characters"
    inherit_cache: bool | None = True
    type: TypeEngine[int] = Integer()


class _Position(FunctionElement[int]):
    """Where a text contains another one, from 1; 0 if it does not."""

    name: str = "position"
    inherit_cache: bool | None = True
    type: TypeEngine[int] = Integer()


class _Like(FunctionElement[bool]):
    """A text that matches a pattern, by code points: SQLite's LIKE takes `a` for `A`."""

    name: str = "like"
    inherit_cache: bool | None = True
    type: TypeEngine[bool] = Boolean()


class _LikePattern(TypeDecorator[str]):
    """A pattern of LIKE; SQLite gets one of GLOB."""

    impl = Text
    cache_ok: bool | None = True

    def __init__(self, escape: str | None) -> None:
        super().__init__()
        self.escape = escape

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "sqlite":
            return value
        return _glob(value, self.escape or "\\")


def _glob(pattern: str, escape: str) -> str:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            character = next(characters, escape)  # noqa: PLW2901 - what is escaped
        elif character in "%_":
            parts.append("*" if character == "%" else "?")
            continue
        parts.append(f"[{character}]" if character in "*?[" else character)
    return "".join(parts)


def _like(value: ColumnElement[str], pattern: str, escape: str | None) -> ColumnElement[bool]:
    bound = bindparam(None, pattern, _LikePattern(escape), unique=True)
    return _Like(value, bound) if escape is None else _Like(value, bound, literal(escape, Text))


class _FactTime(TypeDecorator[datetime]):
    """A datetime with a time zone, UTC, to the microsecond; compared as seconds, so that an index is used."""

    impl = DateTime(timezone=True)
    cache_ok: bool | None = True

    class Comparator(TypeDecorator.Comparator[datetime]):
        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            if op in _ARITHMETIC:
                raise NotSupportedError(
                    "databases count with dates in ways of their own: add to, or subtract, seconds"
                )
            _check(op, other, datetime, "a time", "give a datetime with a time zone")
            compare = _TIME_OPERATORS.get(_OPPOSITES.get(op, op))
            moments = None if compare is None else _moments(other[0] if op in _LISTS else other)
            if compare is None or moments is None or not isinstance(self.expr, TimeMember):
                return super().operate(op, *other, **options)
            found = compare(self.expr.seconds, [_timestamp(each) for each in moments])
            return not_(found) if op in _OPPOSITES else found

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType] - as its documentation has it

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromtimestamp(_timestamp(value), UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _moments(values: object) -> list[datetime] | None:
    """Return the datetimes in a collection; None if there is anything else."""
    if not isinstance(values, list | tuple | set | frozenset):
        return None
    found = [each for each in cast("Iterable[object]", values) if isinstance(each, datetime)]
    return found if len(found) == len(cast("Sized", values)) else None


def _timestamp(value: datetime) -> float:
    if value.tzinfo is None:
        raise ValueError(
            f"{value.isoformat()} has no time zone, so it is no moment: write datetime(..., tzinfo=UTC)"
        )
    return value.timestamp()


_TOLERANCE = 1e-6
"""Seconds: databases round to microseconds in ways of their own, and what was read is to be found again."""


Seconds = ColumnElement[float]


def _at(seconds: Seconds, moments: Sequence[float]) -> ColumnElement[bool]:
    return or_(false(), *(_within(seconds, (each, each)) for each in moments))


def _within(seconds: Seconds, moments: Sequence[float]) -> ColumnElement[bool]:
    first, last = moments
    return and_(seconds >= first - _TOLERANCE, seconds < last + _TOLERANCE)


def _before(seconds: Seconds, moments: Sequence[float]) -> ColumnElement[bool]:
    return seconds < moments[0] - _TOLERANCE


def _until(seconds: Seconds, moments: Sequence[float]) -> ColumnElement[bool]:
    return seconds < moments[0] + _TOLERANCE


_TIME_OPERATORS: dict[object, Callable[[Seconds, Sequence[float]], ColumnElement[bool]]] = {
    operators.eq: _at,
    operators.in_op: _at,
    operators.between_op: _within,
    operators.lt: _before,
    operators.le: _until,
}
_OPPOSITES: dict[object, object] = {
    operators.ne: operators.eq,
    operators.not_in_op: operators.in_op,
    operators.not_between_op: operators.between_op,
    operators.ge: operators.lt,
    operators.gt: operators.le,
}
_ARITHMETIC = frozenset({operators.add, operators.sub})


class _FactInteger(BigInteger):
    """A whole number of 64 bits; a real number is compared as such."""

    class Comparator(BigInteger.Comparator[int]):
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            _check(op, other, (int, float, Decimal), "a number", "give a number")
            values = [_whole(other[0])] if op in _LISTS else [_bound_number(each) for each in other]
            return super().operate(op, *values, **options)

    comparator_factory = Comparator


class _FactFloat(Double[float]):
    """A real number."""

    class Comparator(Double.Comparator[float]):
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            _check(op, other, (int, float, Decimal), "a number", "give a number, or compare as_datetime()")
            return super().operate(op, *other, **options)

    comparator_factory = Comparator


def _whole(values: object) -> object:
    """Leave out of a list what no integer of 64 bits is equal to; drivers refuse it."""
    if not isinstance(values, list | tuple | set | frozenset):
        return values
    found = [_integer(each) for each in cast("Iterable[object]", values)]
    return [each for each in found if not isinstance(each, int) or _MIN_INTEGER <= each <= _MAX_INTEGER]


def _integer(value: object) -> object:
    if not isinstance(value, float | Decimal):
        return value
    return int(value) if isfinite(value) and value == int(value) else _MAX_INTEGER + 1


def _bound_number(value: object) -> object:
    """Bind what drivers take for no integer of 64 bits as a real number."""
    if isinstance(value, float) or (isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER):
        return literal(_as_float(value), Double)
    return value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float(_MAX_FLOAT) if value > 0 else -float(_MAX_FLOAT)


class _FactObject(JSON):
    """A JSON object, of which single values are compared."""

    class Comparator(JSON.Comparator[Any]):
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            _check(op, other, (), "a JSON object", 'compare a value in it: metadata["name"] == "x"')
            return super().operate(op, *other, **options)

    comparator_factory = Comparator


# Members


class Member(FunctionElement[T]):
    """A member of a JSON document: a column, or an element of a list of files."""

    inherit_cache: bool | None = True
    name: str = "member"
    write: ClassVar[str]
    """The method of `_Writer` for its type."""

    def __init__(self, document: ColumnElement[Any], *path: ColumnElement[Any] | TextClause) -> None:
        super().__init__(document, *cast("Sequence[ColumnElement[Any]]", path))
        if path and isinstance(path[-1], TextClause) and not path[-1].text.isdigit():
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
    type: TypeEngine[int] = _FactInteger()


class FloatMember(Member[float]):
    """A JSON number that is finite as a double."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "float"
    type: TypeEngine[float] = _FactFloat()


class BooleanMember(Member[bool]):
    """A JSON true or false."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "boolean"
    type: TypeEngine[bool] = Boolean()


class TimeMember(Member[datetime]):
    """A JSON number of seconds since the epoch, UTC, as a point in time of the years 1 to 9999."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "time"
    type: TypeEngine[datetime] = _FactTime()

    @property
    def seconds(self) -> FloatMember:
        """The number itself."""
        return FloatMember(self.document, *self.path)


class ObjectMember(Member[dict[str, Any]]):
    """A JSON object."""

    inherit_cache: bool | None = True
    write: ClassVar[str] = "object"
    type: TypeEngine[Any] = _FactObject()


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
    type: TypeEngine[int] = Integer()


class Elements(FunctionElement[Any]):
    """The elements of a JSON array, as rows with a column `value`; none for anything else."""

    inherit_cache: bool | None = True
    name: str = "elements"


class Values(FunctionElement[Any]):
    """The elements of a JSON array of any type, as rows with a column `value` of JSON; none for anything else."""

    inherit_cache: bool | None = True
    name: str = "values"


def step_of(step: PathStep) -> ColumnElement[Any] | TextClause:
    """Return a step of a path; ValueError for a negative index, and for a name that no database stores."""
    if isinstance(step, int):
        if isinstance(step, bool) or step < 0:
            raise ValueError(f"{step!r} is not an index of a JSON array: give one from 0")
        return text(str(step))
    if _UNSTORABLE.search(step):
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
        if not name.isascii():
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


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of a path: literal text, or the SQL of what is bound in its place."""

    name: str
    bound: Sequence[str] = ()

    @property
    def is_index(self) -> bool:
        return not self.bound and self.name.isdigit()


class _Writer(ABC):
    """The SQL of one kind of database: members by JSON type, of a document and a path in SQL."""

    @abstractmethod
    def text(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def integer(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def float(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def boolean(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def object(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def array(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def exists(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def length(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def elements(self, document: str) -> str: ...
    @abstractmethod
    def last_segment(self, document: str, path: Sequence[_Step]) -> str: ...
    @abstractmethod
    def moment(self, seconds: str) -> str: ...
    @abstractmethod
    def left(self, value: str, count: str) -> str: ...
    @abstractmethod
    def code_points(self, value: str) -> str: ...
    @abstractmethod
    def right(self, value: str, count: str) -> str: ...
    @abstractmethod
    def characters(self, value: str) -> str: ...
    @abstractmethod
    def position(self, value: str, part: str) -> str: ...

    def values(self, document: str) -> str:
        return self.elements(document)

    def first_text(self, document: str, path: Sequence[_Step]) -> str:
        return f"coalesce({', '.join(self.text(document, [step]) for step in path)})"

    def time(self, document: str, path: Sequence[_Step]) -> str:
        seconds = self.float(document, path)
        within = f"{seconds} >= {_FIRST_SECOND} AND {seconds} < {_END_OF_SECONDS}"
        return f"(CASE WHEN {within} THEN {self.moment(seconds)} END)"

    def like(self, value: str, pattern: str, escape: str | None) -> str:
        return f"({value} LIKE {pattern}{'' if escape is None else f' ESCAPE {escape}'})"


class _SQLite(_Writer):
    """A column may hold text that is not JSON, on which all functions but json_valid fail."""

    def text(self, document: str, path: Sequence[_Step]) -> str:
        return self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'text' THEN {value} END")

    def last_segment(self, document: str, path: Sequence[_Step]) -> str:
        def segment(kind: str, value: str) -> str:
            folders = f"rtrim({value}, replace({value}, '/', ''))"
            return f"CASE {kind} WHEN 'text' THEN replace({value}, {folders}, '') END"

        return self._member(document, path, segment)

    def integer(self, document: str, path: Sequence[_Step]) -> str:
        def whole(kind: str, value: str) -> str:
            # an integer of more than 64 bits is extracted as a real; what a cast clamps is another number
            exact = f"CASE typeof({value}) WHEN 'integer' THEN {value} END"
            cast_ = f"CAST({value} AS INTEGER)"
            real = f"CASE WHEN {value} = {cast_} THEN {cast_} END"
            return f"CASE {kind} WHEN 'integer' THEN {exact} WHEN 'real' THEN {real} END"

        return self._member(document, path, whole)

    def float(self, document: str, path: Sequence[_Step]) -> str:
        def finite(kind: str, value: str) -> str:
            is_finite = f"{value} BETWEEN -{_MAX_FLOAT} AND {_MAX_FLOAT}"
            return f"CASE WHEN {kind} IN ('integer', 'real') AND {is_finite} THEN CAST({value} AS REAL) END"

        return self._member(document, path, finite)

    def boolean(self, document: str, path: Sequence[_Step]) -> str:
        return self._member(
            document, path, lambda kind, _: f"CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
        )

    def object(self, document: str, path: Sequence[_Step]) -> str:
        return self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'object' THEN {value} END")

    def array(self, document: str, path: Sequence[_Step]) -> str:
        return self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'array' THEN {value} END")

    def exists(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path, lambda kind, _: f"{kind} <> 'null'")
        return f"coalesce({member}, 0)"

    def length(self, document: str, path: Sequence[_Step]) -> str:
        kind = f"CASE json_type({document}) WHEN 'null' THEN 0 WHEN 'array' THEN json_array_length({document}) END"
        return f"(CASE WHEN {document} IS NULL THEN 0 WHEN json_valid({document}) THEN {kind} END)"

    def elements(self, document: str) -> str:
        # a string with JSON in it is no document
        value = "CASE type WHEN 'object' THEN value END AS value"
        return f"(SELECT {value} FROM json_each({self._array(document)}))"

    def values(self, document: str) -> str:
        words = "WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'"
        value = (
            f"CASE type {words} WHEN 'object' THEN value WHEN 'array' THEN value ELSE json_quote(value) END"
        )
        return f"(SELECT {value} AS value FROM json_each({self._array(document)}))"

    def moment(self, seconds: str) -> str:
        micros = f"CAST(round({seconds} * 1000000.0) AS INTEGER)"
        fraction = f"(({micros} % 1000000 + 1000000) % 1000000)"
        date = f"strftime('%Y-%m-%d %H:%M:%S', ({micros} - {fraction}) / 1000000, 'unixepoch')"
        return f"{date} || printf('.%06d', {fraction})"

    def left(self, value: str, count: str) -> str:
        return f"substr({value}, 1, {count})"

    def code_points(self, value: str) -> str:
        return f"({value} COLLATE BINARY)"

    def right(self, value: str, count: str) -> str:
        return f"substr({value}, length({value}) - {count} + 1)"

    def characters(self, value: str) -> str:
        return f"length({value})"

    def position(self, value: str, part: str) -> str:
        return f"instr({value}, {part})"

    def like(self, value: str, pattern: str, escape: str | None) -> str:
        return f"({value} GLOB {pattern})"

    @staticmethod
    def _array(document: str) -> str:
        is_array = f"CASE WHEN json_valid({document}) THEN json_type({document}) = 'array' END"
        return f"CASE WHEN {is_array} THEN {document} END"

    @staticmethod
    def _member(document: str, path: Sequence[_Step], value_of: Callable[[str, str], str]) -> str:
        """Write what *value_of* makes of the SQL of a member's type and value."""
        inner = "$"
        for number, step in enumerate(path, 1):
            if step.bound and number == len(path):
                return _SQLite._each(value_of("type", "value"), document, inner, step.bound[0])
            if step.bound:
                # escapes in a name and in a path differ: only this compares names
                container = "CASE WHEN type IN ('object', 'array') THEN value END"
                document, inner = _SQLite._each(container, document, inner, step.bound[0]), "$"
            else:
                inner += f"[{step.name}]" if step.is_index else f".{step.name}"
        member = value_of(f"json_type({document}, '{inner}')", f"json_extract({document}, '{inner}')")
        return f"(CASE WHEN json_valid({document}) THEN {member} END)"

    @staticmethod
    def _each(selected: str, document: str, path: str, name: str) -> str:
        valid = f"CASE WHEN json_valid({document}) THEN {document} END"
        return f"(SELECT {selected} FROM json_each({valid}, '{path}') WHERE key = {name} LIMIT 1)"


class _PostgreSQL(_Writer):
    """JSONB is valid, and has numbers of any size, which casts fail on."""

    def text(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        is_text = f"jsonb_typeof({member}) = 'string'"
        return f'(CASE WHEN {is_text} THEN {self._text_of(document, path)} END COLLATE "C")'

    def last_segment(self, document: str, path: Sequence[_Step]) -> str:
        # not a regular expression: its dot and its end of line depend on settings
        value = self.text(document, path)
        return f"(reverse(split_part(reverse({value}), '/', 1)))"

    def integer(self, document: str, path: Sequence[_Step]) -> str:
        def whole(number: str) -> str:
            digits = self._text_of(document, path)
            # which nearly all are, and which is faster
            is_short = f"length({digits}) < 19 AND strpos({digits}, '.') = 0"
            fits = f"{number} BETWEEN {_MIN_INTEGER} AND {_MAX_INTEGER} AND trunc({number}) = {number}"
            return f"CASE WHEN {is_short} THEN ({digits})::bigint WHEN {fits} THEN {number}::bigint END"

        return self._number(document, path, whole)

    def float(self, document: str, path: Sequence[_Step]) -> str:
        def finite(number: str) -> str:
            too_small = f"WHEN abs({number}) < 3e-324 THEN 0"
            return f"CASE {too_small} WHEN abs({number}) <= {_MAX_FLOAT} THEN {number}::float8 END"

        return self._number(document, path, finite)

    def boolean(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'boolean' THEN {member}::boolean END)"

    def object(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'object' THEN {member} END)"

    def array(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'array' THEN {member} END)"

    def exists(self, document: str, path: Sequence[_Step]) -> str:
        return f"coalesce(jsonb_typeof({self._member(document, path)}) <> 'null', false)"

    def length(self, document: str, path: Sequence[_Step]) -> str:
        kinds = f"WHEN 'null' THEN 0 WHEN 'array' THEN jsonb_array_length({document})"
        return f"(CASE coalesce(jsonb_typeof({document}), 'null') {kinds} END)"

    def elements(self, document: str) -> str:
        is_array = f"jsonb_typeof({document}) = 'array'"
        return f"jsonb_array_elements(CASE WHEN {is_array} THEN {document} ELSE '[]'::jsonb END)"

    def moment(self, seconds: str) -> str:
        return f"to_timestamp({seconds})"

    def left(self, value: str, count: str) -> str:
        return f"left({value}, {count})"

    def code_points(self, value: str) -> str:
        return f'(CAST({value} AS TEXT) COLLATE "C")'

    def right(self, value: str, count: str) -> str:
        return f"right({value}, {count})"

    def characters(self, value: str) -> str:
        return f"char_length({value})"

    def position(self, value: str, part: str) -> str:
        return f"strpos({value}, {part})"

    def _number(self, document: str, path: Sequence[_Step], value_of: Callable[[str], str]) -> str:
        member = self._member(document, path)
        number = f"({member})::numeric"
        # one CASE in the other: the cast must not be tried on anything else
        return f"(CASE WHEN jsonb_typeof({member}) = 'number' THEN {value_of(number)} END)"

    @classmethod
    def _text_of(cls, document: str, path: Sequence[_Step]) -> str:
        if not path or path[-1].bound or path[-1].is_index:
            return f"{cls._member(document, path)} #>> '{{}}'"
        # which is faster
        return f"{cls._member(document, path[:-1])} ->> '{path[-1].name}'"

    @staticmethod
    def _member(document: str, path: Sequence[_Step]) -> str:
        for step in path:
            if step.bound:
                document += f" -> CAST({step.bound[0]} AS TEXT)"
            elif step.is_index:
                # element 0 of a string or number is the thing itself
                is_array = f"jsonb_typeof({document}) = 'array'"
                document = f"CASE WHEN {is_array} THEN ({document}) -> {step.name} END"
            else:
                document = (
                    f"({document}) -> '{step.name}'"
                    if document.startswith("CASE")
                    else f"{document} -> '{step.name}'"
                )
        return f"({document})"


class _MySQL(_Writer):
    """MySQL: a value of the type JSON is valid, and its numbers fit."""

    collation = "utf8mb4_0900_bin"
    """The one that takes text by code point, and `a` and `a ` for different."""
    integer_types = "('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL')"

    def text(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        is_text = f"json_type({member}) = 'STRING'"
        return f"(CASE WHEN {is_text} THEN {self._value(document, path)} END COLLATE {self.collation})"

    def last_segment(self, document: str, path: Sequence[_Step]) -> str:
        return f"substring_index({self.text(document, path)}, '/', -1)"

    def integer(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        number = f"CAST(json_unquote({member}) AS DOUBLE)"
        exact = f"CAST(json_unquote({member}) AS SIGNED)"
        fits = f"{number} >= {_MIN_INTEGER} AND {number} < {_MAX_INTEGER + 1} AND floor({number}) = {number}"
        return (
            f"(CASE json_type({member}) WHEN 'INTEGER' THEN {exact} "
            f"WHEN 'DOUBLE' THEN CASE WHEN {fits} THEN CAST({number} AS SIGNED) END "
            f"WHEN 'DECIMAL' THEN CASE WHEN {fits} THEN CAST({number} AS SIGNED) END END)"
        )

    def float(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        is_number = f"json_type({member}) IN {self.integer_types}"
        return f"(CASE WHEN {is_number} THEN CAST(json_unquote({member}) AS DOUBLE) END)"

    def boolean(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        is_boolean = f"json_type({member}) = 'BOOLEAN'"
        return f"(CASE WHEN {is_boolean} THEN json_unquote({member}) = 'true' END)"

    def object(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN json_type({member}) = 'OBJECT' THEN {member} END)"

    def array(self, document: str, path: Sequence[_Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN json_type({member}) = 'ARRAY' THEN {member} END)"

    def exists(self, document: str, path: Sequence[_Step]) -> str:
        return f"coalesce(json_type({self._member(document, path)}) <> 'NULL', 0)"

    def length(self, document: str, path: Sequence[_Step]) -> str:
        kinds = f"WHEN 'NULL' THEN 0 WHEN 'ARRAY' THEN json_length({document})"
        return f"(CASE WHEN {document} IS NULL THEN 0 ELSE CASE json_type({document}) {kinds} END END)"

    def elements(self, document: str) -> str:
        array = f"CASE WHEN json_type({document}) = 'ARRAY' THEN {document} ELSE '[]' END"
        return f"JSON_TABLE({array}, '$[*]' COLUMNS (value JSON PATH '$'))"

    def moment(self, seconds: str) -> str:
        micros = f"CAST(round({seconds} * 1000000) AS SIGNED)"
        return f"TIMESTAMPADD(MICROSECOND, {micros}, TIMESTAMP '1970-01-01 00:00:00.000000')"

    def left(self, value: str, count: str) -> str:
        return f"left({value}, {count})"

    def code_points(self, value: str) -> str:
        return f"(CONVERT({value} USING utf8mb4) COLLATE {self.collation})"

    def right(self, value: str, count: str) -> str:
        return f"right({value}, {count})"

    def characters(self, value: str) -> str:
        return f"char_length({value})"

    def position(self, value: str, part: str) -> str:
        return f"locate({part}, {value})"

    def _value(self, document: str, path: Sequence[_Step]) -> str:
        """Return what a string or number is, as text."""
        return f"json_unquote({self._member(document, path)})"

    @classmethod
    def _member(cls, document: str, path: Sequence[_Step]) -> str:
        document, inner = cls._place(document, path)
        return document if inner == "$" and path else f"json_extract({document}, '{inner}')"

    @staticmethod
    def _place(document: str, path: Sequence[_Step]) -> tuple[str, str]:
        """Return a document, and the path in it."""
        inner = "$"
        for step in path:
            if step.bound:
                outer = document if inner == "$" else f"json_extract({document}, '{inner}')"
                forms = ", ".join(f"json_extract({outer}, {name})" for name in step.bound)
                document, inner = f"coalesce({forms})" if len(step.bound) > 1 else forms, "$"
            elif step.is_index:
                # an index of anything else than an array is the thing itself
                outer = document if inner == "$" else f"json_extract({document}, '{inner}')"
                document = (
                    f"CASE WHEN json_type({outer}) = 'ARRAY' THEN json_extract({outer}, '$[{step.name}]') END"
                )
                inner = "$"
            else:
                inner += f".{step.name}"
        return document, inner


class _MariaDB(_MySQL):
    """JSON is text, with numbers of any size: a cast of one that does not fit is an error in a strict INSERT."""

    collation = "utf8mb4_nopad_bin"

    def _value(self, document: str, path: Sequence[_Step]) -> str:
        # which is faster, and for MySQL at most 512 characters
        document, inner = self._place(document, path)
        return f"json_value({document}, '{inner}')"

    def integer(self, document: str, path: Sequence[_Step]) -> str:
        member, number = self._member(document, path), self._value(document, path)
        exact, real = f"CAST({number} AS DECIMAL(20, 0))", f"CAST({number} AS DOUBLE)"
        fits = f"{exact} BETWEEN {_MIN_INTEGER} AND {_MAX_INTEGER}"
        is_whole = f"{real} > -9.2233720368547e18 AND {real} < 9.2233720368547e18 AND floor({real}) = {real}"
        # a string has its quotes there, so all that matches is a number
        return (
            f"(CASE WHEN {member} REGEXP '^-?[0-9]{{1,18}}$' THEN CAST({number} AS SIGNED) "
            f"WHEN {member} REGEXP '^-?[0-9]{{19}}$' THEN CASE WHEN {fits} THEN CAST({exact} AS SIGNED) END "
            f"WHEN {member} REGEXP '^-?[0-9]{{1,19}}([.][0-9]+)?([eE][-+]?[0-9]{{1,2}})?$' "
            f"THEN CASE WHEN {is_whole} THEN CAST({real} AS SIGNED) END END)"
        )

    def float(self, document: str, path: Sequence[_Step]) -> str:
        member, number = self._member(document, path), self._value(document, path)
        return f"(CASE WHEN {member} REGEXP '{_FITS}' THEN CAST({number} AS DOUBLE) END)"


def _up_to(digits: str) -> str:
    """Return a pattern of the digits of a fraction that is not larger."""
    if not digits:
        return ""
    first, rest = digits[0], _up_to(digits[1:])
    smaller = f"[0-{int(first) - 1}][0-9]*|" if first != "0" else ""
    return f"({smaller}{first}{rest})?"


_FITS = (
    "^-?([0-9]{1,308}([.][0-9]+)?([eE]-[0-9]{1,3})?"
    "|[0-9]([.][0-9]+)?[eE][+]?([0-9]{1,2}|[12][0-9]{2}|30[0-7])"
    f"|1([.]{_up_to('7976931348623157')})?[eE][+]?308)$"
)
"""Numbers that fit into a double for certain; all that Python writes."""

_WRITERS: dict[str, _Writer] = {
    "sqlite": _SQLite(),
    "postgresql": _PostgreSQL(),
    "mysql": _MySQL(),
    "mariadb": _MariaDB(),
}


def collation_of(dialect: Dialect) -> str | None:
    """Return the collation of texts, where the column's own would be another one."""
    writer = _writer(dialect)
    return writer.collation if isinstance(writer, _MySQL) else None


def _writer(dialect: Dialect) -> _Writer | None:
    name: str = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    return _WRITERS.get(name)


@compiles(Member)
def _compile_member(element: Member[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    if options.pop("filecolumn_generated", True):
        generated = generated_column(element)
        if generated is not None:
            return compiler.process(generated, **options)
    document = compiler.process(element.document, **options)
    path = [_written(step, compiler, options) for step in element.path]
    writer = _writer(compiler.dialect)
    if writer is None:
        # only to be read, as in `str(statement)`
        return ".".join((document, *(step.name for step in path)))
    write: Callable[[str, Sequence[_Step]], str] = getattr(writer, element.write)
    return write(document, path)


def _written(step: ColumnElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> _Step:
    if isinstance(step, _BoundName):
        return _Step("?", [compiler.process(bind, **options) for bind in step.clauses])
    return _Step(cast("TextClause", step).text)


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


@compiles(Elements)
def _compile_elements(element: Elements, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    (document,) = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"elements({document})" if writer is None else writer.elements(document)


@compiles(Values)
def _compile_values(element: Values, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    (document,) = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"values({document})" if writer is None else writer.values(document)


@compiles(CodePoints)
def _compile_code_points(element: CodePoints, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - as above
    (value,) = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return value if writer is None else writer.code_points(value)


@compiles(_Right)
def _compile_right(element: _Right, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    value, count = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"right({value}, {count})" if writer is None else writer.right(value, count)


@compiles(_Left)
def _compile_left(element: _Left, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    value, count = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"left({value}, {count})" if writer is None else writer.left(value, count)


@compiles(_Characters)
def _compile_characters(element: _Characters, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (value,) = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"char_length({value})" if writer is None else writer.characters(value)


@compiles(_Position)
def _compile_position(element: _Position, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    value, part = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    return f"position({part} IN {value})" if writer is None else writer.position(value, part)


@compiles(_Like)
def _compile_like(element: _Like, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    value, pattern, *escape = (compiler.process(each, **options) for each in element.clauses)
    writer = _writer(compiler.dialect)
    if writer is None:
        return f"{value} LIKE {pattern}"
    return writer.like(value, pattern, escape[0] if escape else None)
