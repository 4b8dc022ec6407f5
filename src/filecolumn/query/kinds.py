"""What the fields of a store hold: with which values each is compared, how it is sorted, and what it gives."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    TypeDecorator,
    Uuid,
    and_,
    case,
    exists,
    extract,
    false,
    func,
    literal,
    not_,
    or_,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from filecolumn.errors import InvalidConditionError, PendingContentError
from filecolumn.files.file import FileObject
from filecolumn.orm.column import StoredObject
from filecolumn.orm.facts_sql import FileComparator, FileMetadata, LastModified, MetadataValue, comparator_of
from filecolumn.orm.json_dialects import MAX_FLOAT, MAX_INTEGER, MIN_INTEGER
from filecolumn.orm.json_sql import (
    UNSTORABLE,
    ArrayMember,
    BooleanMember,
    ExistsMember,
    FloatMember,
    IntegerMember,
    Member,
    TextMember,
    TimeMember,
    Values,
)
from filecolumn.orm.json_values import CodePoints

__all__ = (
    "REAL_NUMBER",
    "TEXT",
    "TRUTH",
    "WHOLE_NUMBER",
    "Condition",
    "Expression",
    "Kind",
    "Metadata",
    "Operator",
    "WholeNumber",
    "fits",
    "kind_of",
    "text_of",
)

Expression = ColumnElement[Any]
Condition = ColumnElement[bool]
Operator = Callable[[Any, Any], Any]
"""One of `operator`'s: eq, lt, le, gt, ge."""

_MAX_EXACT = 2**53
"""Up to here each whole number is a double."""
MAX_DIGITS = 1_000
"""Of a decimal number, and places after its point: PostgreSQL has 16,383 of these."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")


class Kind(ABC):
    """What a field holds."""

    says: str
    """What it is compared with, for messages."""

    @abstractmethod
    def bound(self, field: Expression, value: object) -> Expression:
        """Return a value as SQL; InvalidConditionError if the field holds nothing of the kind."""

    @abstractmethod
    def read(self, text: str) -> object:
        """Return a value of a request; InvalidConditionError if it is none."""

    def compare(self, field: Expression, op: Operator, value: object) -> Condition:
        """Return a comparison with a value; with None it is whether there is none."""
        if value is None:
            if op is not operators.eq:
                raise InvalidConditionError("None has no order: ask for equals or exists")
            return not_(self.exists(field))
        return self._compared(field, op, value)

    def exists(self, field: Expression) -> Condition:
        """Return whether there is a value; never NULL."""
        return field.is_not(None)

    def text(self, field: Expression) -> ColumnElement[str]:
        """Return the text to search in, by code points."""
        raise InvalidConditionError(f"this is for text, and the field holds {self.says}")

    def contains(self, field: Expression, part: object) -> Condition:
        """Return whether *part* is in the value."""
        return self.text(field).contains(text_of(part))

    def contains_all(self, field: Expression, parts: Collection[object]) -> Condition:
        """Return whether each of the parts is in the value."""
        return and_(self.exists(field), *(self.contains(field, each) for each in parts))

    def within_year(self, field: Expression, year: int) -> Condition:
        """Return whether a time is within a year, UTC."""
        raise InvalidConditionError(f"year, month and day are for times, and the field holds {self.says}")

    def part(self, field: Expression, name: str) -> ColumnElement[int]:
        """Return the year, month or day of a time, UTC."""
        raise InvalidConditionError(f"year, month and day are for times, and the field holds {self.says}")

    def sort_keys(self, field: Expression) -> Sequence[Expression]:
        """Return what rows are sorted by; rows without a value come first."""
        if isinstance(field, Column) and not field.nullable:
            # so that its index is used
            return [field]
        return [case((field.is_(None), 0), else_=1), field]

    def selected(self, field: Expression) -> Sequence[Expression]:
        """Return what is selected to read a value."""
        return [field]

    def value(self, columns: Sequence[Any]) -> object:
        """Return the value in the selected columns; None if there is none that can be in a set."""
        return columns[0]

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        return cast("Condition", op(field, self.bound(field, value)))

    def _refused(self, value: object) -> InvalidConditionError:
        return InvalidConditionError(f"{value!r:.100} cannot be compared with a field that holds {self.says}")


def text_of(value: object) -> str:
    """Return a text that each database takes; InvalidConditionError for others."""
    if not isinstance(value, str):
        raise InvalidConditionError(f"{value!r:.100} is no text")
    if UNSTORABLE.search(value):
        raise InvalidConditionError(
            f"{value!r:.100} has characters that databases do not take: NUL, or half of a pair"
        )
    return str.__str__(value)


class Text(Kind):
    """Text; that of facts is compared by code point, that of the model's columns by their own collation."""

    says = "text"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, str):
            raise self._refused(value)
        return literal(text_of(value), field.type)

    def read(self, text: str) -> object:
        return text_of(text)

    def text(self, field: Expression) -> ColumnElement[str]:
        return field if isinstance(field, Member) else CodePoints(field)


class _Number(Kind):
    least: float = -MAX_FLOAT
    greatest: float = MAX_FLOAT

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self._refused(value)
        number = cast("float", value)
        if number != number:  # noqa: PLR0124 - not a number, which equals nothing; isnan() takes no long ones
            return false()
        if not self.least <= number <= self.greatest:
            # no driver takes it, and no field holds it
            is_true = op in ({operators.lt, operators.le} if number > 0 else {operators.gt, operators.ge})
            return field.is_not(None) if is_true else false()
        return self._ordered(field, op, int(number) if number == int(number) else number)

    def _ordered(self, field: Expression, op: Operator, value: float) -> Condition:
        """Return a comparison with a finite number, which is an int if it is whole."""
        return cast("Condition", op(field, self.bound(field, value)))


class WholeNumber(_Number):
    """A whole number."""

    says = "a whole number"
    least: float = MIN_INTEGER
    greatest: float = MAX_INTEGER

    def bound(self, field: Expression, value: object) -> Expression:
        # not of the field's type: a number beyond it is no error
        return literal(value, BigInteger)

    def read(self, text: str) -> object:
        if not _INTEGER.fullmatch(text):
            raise InvalidConditionError(f"{text!r:.100} is no whole number")
        return int(text)

    def _ordered(self, field: Expression, op: Operator, value: float) -> Condition:
        if isinstance(value, int):
            return super()._ordered(field, op, value)
        if op is operators.eq:
            return false()
        # between two whole numbers
        is_below = op in {operators.lt, operators.le}
        nearest = math.floor(value) if is_below else math.ceil(value)
        return super()._ordered(field, operators.le if is_below else operators.ge, nearest)

    def value(self, columns: Sequence[Any]) -> object:
        return None if columns[0] is None else int(columns[0])


class RealNumber(_Number):
    """A number that may have a fraction, as a double."""

    says = "a number"

    def bound(self, field: Expression, value: object) -> Expression:
        return literal(float(cast("float", value)), Double)

    def read(self, text: str) -> object:
        return number_of(text)


def number_of(text: str) -> float:
    """Return a finite number; InvalidConditionError for other texts."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidConditionError(f"{text!r:.100} is no number")
    return value


class ExactNumber(_Number):
    """A decimal number."""

    says = "a number"

    def bound(self, field: Expression, value: object) -> Expression:
        if isinstance(value, float):
            return literal(value, Double)
        return literal(decimal_of(value), Numeric)

    def read(self, text: str) -> object:
        number_of(text)
        return decimal_of(Decimal(text))


def decimal_of(value: object) -> Decimal:
    """Return a number as a decimal; InvalidConditionError for one with more digits than databases take."""
    found = Decimal(cast("Decimal | int", value))
    parts = found.as_tuple()
    if isinstance(parts.exponent, str) or len(parts.digits) > MAX_DIGITS or abs(parts.exponent) > MAX_DIGITS:
        raise InvalidConditionError(f"{str(value)[:100]} has more than {MAX_DIGITS} digits")
    return found


class Truth(Kind):
    """True or false."""

    says = "true or false"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, bool):
            raise self._refused(value)
        return literal(value, Boolean)

    def read(self, text: str) -> object:
        if text not in {"true", "false"}:
            raise InvalidConditionError(f"{text!r:.100} is neither true nor false")
        return text == "true"

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        if op is not operators.eq:
            raise InvalidConditionError("true and false have no order: ask for equals")
        return super()._compared(field, op, value)


class _Time(Kind):
    """A point in time, or a day."""

    def within_year(self, field: Expression, year: int) -> Condition:
        if not 1 <= year <= 9999:
            return false()
        start = self.compare(field, operators.ge, datetime(year, 1, 1, tzinfo=UTC))
        if year == 9999:
            return and_(start, self._before_the_end(field))
        return and_(start, self.compare(field, operators.lt, datetime(year + 1, 1, 1, tzinfo=UTC)))

    def _before_the_end(self, field: Expression) -> Condition:
        return field.is_not(None)

    def part(self, field: Expression, name: str) -> ColumnElement[int]:
        return cast("ColumnElement[int]", extract(name, _Utc(self._time(field))))

    def _time(self, field: Expression) -> Expression:
        return field


class Seconds(_Time, RealNumber):
    """A point in time, in seconds since the epoch."""

    says = "seconds since the epoch, or a datetime with a time zone"

    def read(self, text: str) -> object:
        try:
            return number_of(text)
        except InvalidConditionError:
            return moment_of(text)

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise InvalidConditionError(f"{value.isoformat()} has no time zone, so it is no moment")
            value = value.timestamp()
        return super()._compared(field, op, value)

    def _before_the_end(self, field: Expression) -> Condition:
        return field < literal(253402300800.0, Double)

    def _time(self, field: Expression) -> Expression:
        return TimeMember(cast("Member[float]", field).document, *cast("Member[float]", field).path)


def moment_of(text: str, *, needs_zone: bool = True) -> datetime:
    """Return the moment that an ISO 8601 text says; InvalidConditionError for others."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        # in the query of a URL, + is a space
        raise InvalidConditionError(
            f"{text!r:.100} is no time: write 2026-01-31T12:00:00Z, and + of a time zone as %2B"
        ) from None
    if needs_zone and value.tzinfo is None:
        raise InvalidConditionError(f"{text!r:.100} has no time zone: end it with Z, or +hh:mm with + as %2B")
    return value


class Moment(_Time):
    """A datetime: with a time zone, or UTC without saying so."""

    def __init__(self, *, has_zone: bool) -> None:
        self.has_zone = has_zone
        self.says: str = "times with a time zone" if has_zone else "times, UTC"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, datetime):
            raise self._refused(value)
        return literal(self._of_column(value), field.type)

    def read(self, text: str) -> object:
        return moment_of(text, needs_zone=self.has_zone)

    def _of_column(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            if self.has_zone:
                raise InvalidConditionError(f"{value.isoformat()} has no time zone, so it is no moment")
            return value
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise InvalidConditionError(
                f"{value.isoformat()} is not within the years 1 to 9999, UTC"
            ) from None
        return value if self.has_zone else value.replace(tzinfo=None)

    def part(self, field: Expression, name: str) -> ColumnElement[int]:
        return (
            super().part(field, name) if self.has_zone else cast("ColumnElement[int]", extract(name, field))
        )


class Day(_Time):
    """A date."""

    says = "dates"

    def bound(self, field: Expression, value: object) -> Expression:
        if isinstance(value, datetime):
            value = value.date()
        if not isinstance(value, date):
            raise self._refused(value)
        return literal(value, field.type)

    def read(self, text: str) -> object:
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise InvalidConditionError(f"{text!r:.100} is no date: write 2026-01-31") from None

    def part(self, field: Expression, name: str) -> ColumnElement[int]:
        return cast("ColumnElement[int]", extract(name, field))


class TimeOfDay(Kind):
    """A time of day."""

    says = "times of day"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, time):
            raise self._refused(value)
        return literal(value, field.type)

    def read(self, text: str) -> object:
        try:
            return time.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            raise InvalidConditionError(f"{text!r:.100} is no time of day: write 12:30") from None


class Duration(Kind):
    """A span of time."""

    says = "durations"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, timedelta):
            raise self._refused(value)
        return literal(value, field.type)

    def read(self, text: str) -> object:
        raise InvalidConditionError("durations cannot be asked for in a request")


class Identifier(Kind):
    """A UUID."""

    says = "UUIDs"

    def bound(self, field: Expression, value: object) -> Expression:
        if isinstance(value, str):
            value = self.read(value)
        if not isinstance(value, UUID):
            raise self._refused(value)
        as_uuid = getattr(plain_type(field.type), "as_uuid", True)
        return literal(value if as_uuid else str(value), field.type)

    def read(self, text: str) -> object:
        try:
            return UUID(text)
        except ValueError:
            raise InvalidConditionError(f"{text!r:.100} is no UUID") from None


class Choice(Kind):
    """One of the members of an enumeration."""

    def __init__(self, type_: Enum) -> None:
        self._members: dict[object, object] = {}
        for name in type_.enums:
            self._members[name] = name
        for member in type_.enum_class or ():
            self._members |= {member: member, member.name: member}
        self.says: str = f"one of {', '.join(map(str, type_.enums))}"

    def bound(self, field: Expression, value: object) -> Expression:
        return literal(self._member(value), field.type)

    def read(self, text: str) -> object:
        return self._member(text)

    def _member(self, value: object) -> object:
        try:
            return self._members[value]
        except (KeyError, TypeError):
            raise self._refused(value) from None

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        if op is not operators.eq:
            raise InvalidConditionError("members of an enumeration have no order: ask for equals or in")
        return super()._compared(field, op, value)


class Bytes(Kind):
    """Bytes."""

    says = "bytes"

    def bound(self, field: Expression, value: object) -> Expression:
        if not isinstance(value, bytes):
            raise self._refused(value)
        return literal(value, field.type)

    def read(self, text: str) -> object:
        raise InvalidConditionError("bytes cannot be asked for in a request")


class Other(Kind):
    """What this package knows nothing of: the database compares it."""

    says = "values of a type of its own"

    def bound(self, field: Expression, value: object) -> Expression:
        return literal(value, field.type)

    def read(self, text: str) -> object:
        raise InvalidConditionError("only exists can be asked of this field in a request")


class Decorated(Kind):
    """What a type of the application makes of another one: values go through it."""

    def __init__(self, inner: Kind) -> None:
        self._inner = inner
        self.says: str = inner.says

    def bound(self, field: Expression, value: object) -> Expression:
        if isinstance(value, str):
            text_of(value)
        is_long = isinstance(value, int) and value.bit_length() >= 64
        if is_long or (isinstance(self._inner, _Number) and not _is_within(field.type, value)):
            raise self._refused(value)
        return literal(value, field.type)

    def read(self, text: str) -> object:
        return self._inner.read(text)

    def text(self, field: Expression) -> ColumnElement[str]:
        return self._inner.text(field)

    def within_year(self, field: Expression, year: int) -> Condition:
        return self._inner.within_year(field, year)

    def part(self, field: Expression, name: str) -> ColumnElement[int]:
        return self._inner.part(field, name)

    def sort_keys(self, field: Expression) -> Sequence[Expression]:
        return self._inner.sort_keys(field)

    def selected(self, field: Expression) -> Sequence[Expression]:
        return self._inner.selected(field)


class _Unordered(Kind):
    def bound(self, field: Expression, value: object) -> Expression:
        raise self._refused(value)

    def read(self, text: str) -> object:
        raise InvalidConditionError(f"only exists can be asked of {self.says} in a request")

    def sort_keys(self, field: Expression) -> Sequence[Expression]:
        raise InvalidConditionError(f"{self.says} cannot be sorted by, or listed: name one of its values")

    def selected(self, field: Expression) -> Sequence[Expression]:
        return self.sort_keys(field)


class Files(_Unordered):
    """A file, or a list of files."""

    says = "a file"

    def exists(self, field: Expression) -> Condition:
        comparator = cast("FileComparator", comparator_of(field))
        if cast("StoredObject", field.type).multiple:
            return func.coalesce(comparator.count(), 0) > 0
        return comparator.path.is_not(None)

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        is_list = cast("StoredObject", field.type).multiple
        is_of_shape = isinstance(value, list | tuple) if is_list else isinstance(value, FileObject)
        files = cast("Sequence[object]", value) if is_list and is_of_shape else [value]
        if (
            not is_of_shape
            or op is not operators.eq
            or not all(isinstance(each, FileObject) for each in files)
        ):
            raise self._refused(value)
        try:
            return field == value
        except PendingContentError as error:
            raise InvalidConditionError(str(error)) from error


class Document(_Unordered):
    """A column of JSON that is not of files."""

    says = "JSON"


class WholeMetadata(_Unordered):
    """The metadata of a file."""

    says = "metadata"


class Metadata(Kind):
    """A value in the metadata of a file: compared as what it is compared with."""

    says = "text, a number, true or false"

    def bound(self, field: Expression, value: object) -> Expression:
        return literal(value)

    def read(self, text: str) -> object:
        return text_of(text)

    def exists(self, field: Expression) -> Condition:
        return _member(ExistsMember, field)

    def text(self, field: Expression) -> ColumnElement[str]:
        return _member(TextMember, field)

    def contains(self, field: Expression, part: object) -> Condition:
        rows = Values(_member(ArrayMember, field)).table_valued("value", name=None)
        element = MetadataValue(rows.c.value)
        same = self.compare(element, operators.eq, part)
        found = exists().select_from(rows).where(same)
        return or_(found, self.text(field).contains(text_of(part))) if isinstance(part, str) else found

    def contains_all(self, field: Expression, parts: Collection[object]) -> Condition:
        # as one condition: PostgreSQL takes seconds to plan for a score of subqueries that are joined by AND
        return func.coalesce(super().contains_all(field, parts), false())

    def sort_keys(self, field: Expression) -> Sequence[Expression]:
        boolean, number, text = self.selected(field)[1:]
        ranks = [(not_(self.exists(field)), 0), (boolean.is_not(None), 1), (number.is_not(None), 2)]
        return [case(*ranks, (text.is_not(None), 3), else_=4), boolean, number, text]

    def selected(self, field: Expression) -> Sequence[Expression]:
        types: Sequence[type[Member[Any]]] = (IntegerMember, BooleanMember, FloatMember, TextMember)
        return [_member(type_, field) for type_ in types]

    def value(self, columns: Sequence[Any]) -> object:
        return next((each for each in columns if each is not None), None)

    def _compared(self, field: Expression, op: Operator, value: object) -> Condition:
        if isinstance(value, bool):
            return TRUTH.compare(_member(BooleanMember, field), op, value)
        if isinstance(value, str):
            return TEXT.compare(_member(TextMember, field), op, value)
        if isinstance(value, int | float | Decimal):
            return self._number(field, op, cast("float", value))
        raise self._refused(value)

    @staticmethod
    def _number(field: Expression, op: Operator, value: float) -> Condition:
        whole, real = _member(IntegerMember, field), _member(FloatMember, field)
        if abs(value) < _MAX_EXACT and op is not operators.eq:
            return REAL_NUMBER.compare(real, op, value)
        is_whole = MIN_INTEGER <= value <= MAX_INTEGER and value == int(value)
        same = WHOLE_NUMBER.compare(whole, op, value)
        if op is operators.eq and is_whole:
            return same
        if op is operators.eq and abs(value) < _MAX_EXACT:
            return REAL_NUMBER.compare(real, op, value)
        # whole numbers of 64 bits are not all doubles, and none of them is to be rounded up to what is beyond them
        nearest = math.nextafter(2.0**63, 0) if is_whole and float(value) == 2.0**63 else value
        return or_(same, and_(whole.is_(None), REAL_NUMBER.compare(real, op, nearest)))


def _member(type_: type[Member[Any]], field: Expression) -> Expression:
    value = cast("MetadataValue", field)
    return type_(value.document, *value.path)


class _Utc(FunctionElement[datetime]):
    """A point in time as a datetime without a time zone, UTC, whatever zone the session has."""

    inherit_cache = True
    name = "utc"
    type: TypeEngine[datetime] = DateTime()


@compiles(_Utc)
def _compile_utc(element: _Utc, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    (value,) = (compiler.process(each, **options) for each in element.clauses)
    return f"({value} AT TIME ZONE 'UTC')" if compiler.dialect.name == "postgresql" else value


TEXT, TRUTH, WHOLE_NUMBER, REAL_NUMBER = Text(), Truth(), WholeNumber(), RealNumber()
_KINDS_OF_ELEMENTS: Sequence[tuple[type[Expression], Kind]] = (
    (MetadataValue, Metadata()),
    (FileMetadata, WholeMetadata()),
    (LastModified, Seconds()),
)
_KINDS: Sequence[tuple[type[TypeEngine[Any]], Callable[[Any], Kind]]] = (
    (StoredObject, lambda _: Files()),
    (JSON, lambda _: Document()),
    (Interval, lambda _: Duration()),
    (Enum, Choice),
    (Boolean, lambda _: TRUTH),
    (Integer, lambda _: WHOLE_NUMBER),
    (Float, lambda _: REAL_NUMBER),
    (Numeric, lambda _: ExactNumber()),
    (DateTime, lambda type_: Moment(has_zone=bool(type_.timezone))),
    (Date, lambda _: Day()),
    (Time, lambda _: TimeOfDay()),
    (Uuid, lambda _: Identifier()),
    (LargeBinary, lambda _: Bytes()),
    (String, lambda _: TEXT),
)
_DIALECT = DefaultDialect()
_BITS: Sequence[tuple[type[TypeEngine[Any]], int]] = ((SmallInteger, 16), (BigInteger, 64), (Integer, 32))


def kind_of(field: Expression) -> Kind:
    """Return what an expression holds."""
    for element, kind in _KINDS_OF_ELEMENTS:
        if isinstance(field, element):
            return kind
    type_ = plain_type(field.type)
    kind = next((make(type_) for base, make in _KINDS if isinstance(type_, base)), Other())
    return kind if type_ is field.type or isinstance(kind, _Time) else Decorated(kind)


def plain_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a decorated one is stored as."""
    while isinstance(type_, TypeDecorator) and not isinstance(type_, StoredObject | Interval):
        type_ = type_.impl_instance
    return type_


def fits(type_: TypeEngine[Any], value: int) -> bool:
    """Return whether a column of integers can hold a value."""
    plain = plain_type(type_)
    bits = next((bits for base, bits in _BITS if isinstance(plain, base)), 64)
    return value.bit_length() < bits


def _is_within(type_: TypeEngine[Any], value: object) -> bool:
    """Return whether a type of numbers takes a value, after what the application's own type makes of it."""
    process = type_.bind_processor(_DIALECT)
    try:
        stored: object = process(value) if process else value
        if not isinstance(stored, int | float | Decimal):
            return stored is None
        if isinstance(plain_type(type_), Integer):
            return fits(type_, int(stored))
        number = decimal_of(repr(stored) if isinstance(stored, float) else stored)
    except (ValueError, TypeError, ArithmeticError):
        return False
    return _has_places(plain_type(type_), number)


def _has_places(type_: TypeEngine[Any], number: Decimal) -> bool:
    """Return whether a number has no more digits before its point than a type, also when it is rounded."""
    if isinstance(type_, Float) or not isinstance(type_, Numeric) or type_.precision is None:
        return True
    scale = type_.scale or 0
    with localcontext(prec=4 * MAX_DIGITS):
        return abs(number) <= Decimal(10) ** (type_.precision - scale) - Decimal(10) ** -scale
