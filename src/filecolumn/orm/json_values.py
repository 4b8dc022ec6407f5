"""Values of facts in SQL: text, numbers and times, and what each may be compared with.

Text is compared by code point, and a value of another type is refused: databases differ in what they make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isnan
from typing import Any, ClassVar, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    ClauseElement,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Text,
    and_,
    bindparam,
    false,
    literal,
    not_,
    or_,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import ColumnOperators, OperatorType
from sqlalchemy.types import JSON, TypeDecorator, TypeEngine

from filecolumn.errors import NotSupportedError
from filecolumn.orm.json_dialects import MAX_FLOAT, MAX_INTEGER, MIN_INTEGER, writer_of

__all__ = (
    "CodePoints",
    "FactBoolean",
    "FactFloat",
    "FactInteger",
    "FactObject",
    "FactText",
    "FactTime",
    "WrittenFunction",
    "is_sql",
)

T = TypeVar("T")


class FactText(Text):
    """Text that is compared by code point; `startswith`, `endswith` and `contains` take a string as it is."""

    class Comparator(Text.Comparator[str]):
        """Conditions that are the same on every database."""

        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            other = _listed(op, other)
            _check(
                op, other, str, "text", "for a value in metadata ask as_integer(), as_float() or as_boolean()"
            )
            escape: str | None = options.get("escape")
            find = _TEXT_OPERATORS.get(op)
            if op in _PATTERNS and other[0] is None:
                raise TypeError("no text is like None: leave the condition out")
            if find is not None and escape is None:
                return find(self.expr, other[0])
            pattern = _PATTERNS.get(op)
            if pattern is None or not isinstance(other[0], str):
                return super().operate(op, *other, **options)
            like = _like(self.expr, pattern.format(other[0]), escape)
            return not_(like) if op.__name__.startswith("not_") else like

    comparator_factory: Any = Comparator


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
        is_of_kind = isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))
        if not is_of_kind and value is not None and not is_sql(value):
            raise TypeError(
                f"this is {what} in SQL, and {value!r} is {_article(type(value).__name__)}: {hint}"
            )


def is_sql(value: object) -> bool:
    """Return whether SQLAlchemy takes a value for an expression rather than for data."""
    # a variable of a lambda is only an operand
    return isinstance(value, ClauseElement | ColumnOperators) or hasattr(value, "__clause_element__")


def _listed(op: OperatorType, other: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the operands of a condition, an iterable of values as a list: it is looked at more than once."""
    given: object = other[0] if op in _LISTS else None
    if is_sql(given) or isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return other
    return (list(cast("Iterable[object]", given)),)


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


class WrittenFunction(FunctionElement[T]):
    """A function that each kind of database has in a way of its own."""

    inherit_cache: bool | None = True
    write: ClassVar[str]
    """The method of `Writer` for it."""
    readable: ClassVar[str]
    """What it is for other dialects, which are only read."""


@compiles(WrittenFunction)
def _compile_written(element: WrittenFunction[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    operands: list[str] = [compiler.process(each, **options) for each in element.clauses]
    writer = writer_of(compiler.dialect)
    if writer is None:
        return element.readable.format(*operands)
    write: Callable[..., str] = getattr(writer, element.write)
    return write(*operands)


class _Left(WrittenFunction[str]):
    """The first characters of a text; all of them if there are fewer."""

    name: str = "left"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "left"
    readable: ClassVar[str] = "left({0}, {1})"
    type: TypeEngine[str] = Text()


class CodePoints(WrittenFunction[str]):
    """Any text, compared by code point whatever its own collation is."""

    name: str = "code_points"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "code_points"
    readable: ClassVar[str] = "{0}"
    type: TypeEngine[str] = FactText()


class _Right(WrittenFunction[str]):
    """The last characters of a text; all of them if there are fewer."""

    name: str = "right"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "right"
    readable: ClassVar[str] = "right({0}, {1})"
    type: TypeEngine[str] = Text()


class _Characters(WrittenFunction[int]):
    """How many characters a text has."""

    name: str = "characters"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "characters"
    readable: ClassVar[str] = "char_length({0})"
    type: TypeEngine[int] = Integer()


class _Position(WrittenFunction[int]):
    """Where a text contains another one, from 1; 0 if it does not."""

    name: str = "position"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "position"
    readable: ClassVar[str] = "position({1} IN {0})"
    type: TypeEngine[int] = Integer()


class _Like(WrittenFunction[bool]):
    """A text that matches a pattern, by code points: SQLite's LIKE takes `a` for `A`."""

    name: str = "like"
    inherit_cache: bool | None = True
    write: ClassVar[str] = "like"
    readable: ClassVar[str] = "{0} LIKE {1}"
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


class FactTime(TypeDecorator[datetime]):
    """A datetime with a time zone, UTC, to the microsecond; compared as seconds, so that an index is used."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    class Comparator(TypeDecorator.Comparator[datetime]):  # noqa: D106 - as the type
        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            if op in _ARITHMETIC:
                raise NotSupportedError(
                    "databases count with dates in ways of their own: add to, or subtract, seconds"
                )
            other = _listed(op, other)
            _check(op, other, datetime, "a time", "give a datetime with a time zone")
            compare = _TIME_OPERATORS.get(_OPPOSITES.get(op, op))
            moments = None if compare is None else _moments(other[0] if op in _LISTS else other)
            number: Seconds | None = getattr(self.expr, "seconds", None)
            if compare is None or moments is None or number is None:
                return super().operate(op, *other, **options)
            seconds = [_timestamp(each) for each in moments]
            found = compare(number, sorted(seconds) if options.get("symmetric") else seconds)
            return not_(found) if op in _OPPOSITES else found

    comparator_factory: Any = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromtimestamp(_timestamp(value), UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            # MariaDB's drivers do not read times in what functions return
            value = datetime.fromisoformat(value)
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


class FactInteger(BigInteger):
    """A whole number of 64 bits; a real number is compared as such."""

    class Comparator(BigInteger.Comparator[int]):  # noqa: D106 - as the type
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            other = _listed(op, other)
            _check(op, other, (int, float, Decimal), "a number", "give a number")
            values = [_whole(other[0])] if op in _LISTS else [_bound_number(each) for each in other]
            return super().operate(op, *values, **options)

    comparator_factory: Any = Comparator


class FactFloat(Double[float]):
    """A real number."""

    class Comparator(Double.Comparator[float]):  # noqa: D106 - as the type
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            other = _listed(op, other)
            _check(op, other, (int, float, Decimal), "a number", "give a number, or compare as_datetime()")
            if op in _LISTS and isinstance(other[0], list):
                return super().operate(
                    op, [_real(each) for each in cast("list[object]", other[0])], **options
                )
            return super().operate(op, *(_real(each) for each in other), **options)

    comparator_factory: Any = Comparator


def _whole(values: object) -> object:
    """Leave out of a list what no integer of 64 bits is equal to; drivers refuse it."""
    if not isinstance(values, list | tuple | set | frozenset):
        return values
    found = [_integer(each) for each in cast("Iterable[object]", values)]
    return [each for each in found if not isinstance(each, int) or MIN_INTEGER <= each <= MAX_INTEGER]


def _integer(value: object) -> object:
    if not isinstance(value, float | Decimal):
        return value
    return int(value) if isfinite(value) and value == int(value) else MAX_INTEGER + 1


def _bound_number(value: object) -> object:
    """Bind what drivers take for no integer of 64 bits as a real number."""
    is_real = isinstance(value, float) or (isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER)
    return literal(_real(value), Double) if is_real else value


def _real(value: object) -> object:
    """Return a number as one that is finite as a double; ValueError for NaN, which is like no number."""
    if not isinstance(value, int | float):
        return value
    if isinstance(value, float) and isnan(value):
        raise ValueError("NaN cannot be compared with: no number is less, equal or greater")
    return float(min(max(value, -MAX_FLOAT), MAX_FLOAT))


class FactBoolean(Boolean):
    """True or false."""

    class Comparator(Boolean.Comparator[bool]):  # noqa: D106 - as the type
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            other = _listed(op, other)
            _check(op, other, bool, "true or false", "give a bool")
            return super().operate(op, *other, **options)

    comparator_factory: Any = Comparator


class FactObject(JSON):
    """A JSON object, of which single values are compared."""

    class Comparator(JSON.Comparator[Any]):  # noqa: D106 - as the type
        __slots__ = ()

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
            _check(op, other, (), "a JSON object", 'compare a value in it: metadata["name"] == "x"')
            return super().operate(op, *other, **options)

    comparator_factory: Any = Comparator
