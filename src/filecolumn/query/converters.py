"""Values of metadata as JSON, and back: one converter for each type."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import NoneType
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from filecolumn.errors import DataProcessorDoesNotExist, InvalidConditionError, LookupAlreadyRegisteredError

__all__ = ("Converter", "ConverterManager")

C = TypeVar("C")


class Converter(Protocol):
    """What a class needs to be registered as a converter; one instance of it is made."""

    def to_db(self, value: Any, storage: Any) -> object:  # noqa: ANN401 - of its type
        """Return the value as JSON; *storage* is the calling store."""
        ...

    def from_db(self, value: Any) -> object:  # noqa: ANN401 - as its own to_db has written it
        """Return the value of the JSON that `to_db` has returned."""
        ...


class ConverterManager:
    """Converters of values in metadata, by type; a subclass uses that of its nearest base."""

    exception = DataProcessorDoesNotExist
    """The error for a type without a converter."""

    def __init__(self) -> None:
        self._converters: dict[type, Converter] = {}

    @classmethod
    def standard(cls) -> ConverterManager:
        """Return a new manager with the converters of this package.

        They are for the types of JSON (str, int, float, bool, None, list and dict), and for types that are written as
        text: date, datetime (with a time zone; kept in UTC), time, Decimal, bytes (base64) and UUID.
        """
        manager = cls()
        for type_, to_db, from_db in _STANDARD:
            manager._converters[type_] = _Functions(type_, to_db, from_db)
        manager._converters[list] = _Lists(manager)
        manager._converters[dict] = _Dicts(manager)
        return manager

    def register(self, datatype: type) -> Callable[[type[C]], type[C]]:
        """Return a decorator that registers a class with `to_db` and `from_db` for values of *datatype*.

        Raises LookupAlreadyRegisteredError, a RuntimeError, if the type has a converter, and TypeError if the class
        lacks a method.
        """

        def decorate(converter: type[C]) -> type[C]:
            missing = [name for name in ("to_db", "from_db") if not callable(getattr(converter, name, None))]
            if missing:
                raise TypeError(f"{converter.__name__} has no {' and no '.join(missing)}")
            if datatype in self._converters:
                raise LookupAlreadyRegisteredError(
                    f"{datatype.__name__} has a converter: unregister it first"
                )
            self._converters[datatype] = cast("Converter", converter())
            return converter

        return decorate

    def unregister(self, datatype: type) -> Converter:
        """Remove the converter of a type, and return it; DataProcessorDoesNotExist if there is none."""
        try:
            return self._converters.pop(datatype)
        except KeyError:
            raise self._missing_error(datatype) from None

    def get_processor(self, datatype: type) -> Converter:
        """Return the converter of a type or of its nearest base; DataProcessorDoesNotExist if there is none."""
        for base in datatype.__mro__:
            if base in self._converters:
                return self._converters[base]
        raise self._missing_error(datatype)

    def to_db(self, value: object, storage: object = None) -> object:
        """Return a value as JSON; *storage* is the calling store.

        Raises DataProcessorDoesNotExist if its type has no converter, and InvalidConditionError for a value that JSON
        does not have, such as NaN.
        """
        return self.get_processor(type(value)).to_db(value, storage)

    def from_db(self, datatype: type[C], value: object) -> C | None:
        """Return the value of *datatype* of the JSON that `to_db` has returned; None for None.

        Raises DataProcessorDoesNotExist if the type has no converter, and InvalidConditionError if the JSON does not
        fit the type.
        """
        converter = self.get_processor(datatype)
        if value is None:
            return None
        try:
            return cast("C", converter.from_db(value))
        except InvalidConditionError:
            raise
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise InvalidConditionError(f"{value!r:.100} is no {datatype.__name__}: {error}") from error

    @staticmethod
    def _missing_error(type_: type) -> DataProcessorDoesNotExist:
        return DataProcessorDoesNotExist(
            f"there is no converter for {type_.__module__}.{type_.__qualname__}: register one, or store another value"
        )


class _Functions:
    """A converter of two functions, for values of one type."""

    def __init__(self, type_: type, to_db: Callable[[Any], object], from_db: Callable[[Any], object]) -> None:
        self._type = type_
        self._to_db = to_db
        self._from_db = from_db

    def to_db(self, value: Any, storage: Any) -> object:  # noqa: ANN401
        return self._to_db(value)

    def from_db(self, value: Any) -> object:  # noqa: ANN401
        return self._from_db(value)


class _Lists:
    """Lists, whose elements are converted."""

    def __init__(self, manager: ConverterManager) -> None:
        self._manager = manager

    def to_db(self, value: list[object], storage: object) -> object:
        return [self._manager.to_db(each, storage) for each in value]

    def from_db(self, value: object) -> object:
        return cast("object", _of(list, value))


class _Dicts:
    """Dictionaries, whose values are converted."""

    def __init__(self, manager: ConverterManager) -> None:
        self._manager = manager

    def to_db(self, value: Mapping[object, object], storage: object) -> object:
        if not all(isinstance(name, str) for name in value):
            raise InvalidConditionError("the names of a JSON object are strings")
        return {name: self._manager.to_db(each, storage) for name, each in value.items()}

    def from_db(self, value: object) -> object:
        return cast("object", _of(dict, value))


def _of(type_: type[C], value: object) -> C:
    # true is no number
    if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
        raise TypeError(f"it is {type(value).__name__}")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise InvalidConditionError(f"{value} is no JSON: leave it out, or write it as text")
    return float(value)


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise InvalidConditionError(f"{value.isoformat()} has no time zone, so it is no moment")
    # texts of one form sort as the moments do
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_STANDARD: tuple[tuple[type, Callable[[Any], object], Callable[[Any], object]], ...] = (
    (NoneType, lambda _: None, lambda _: None),
    (str, str.__str__, lambda value: _of(str, value)),
    (bool, bool, lambda value: _of(bool, value)),
    (int, int, lambda value: _of(int, value)),
    (float, _finite, lambda value: float(value) if type(value) is int else _of(float, value)),
    (date, date.isoformat, date.fromisoformat),
    (datetime, _moment, datetime.fromisoformat),
    (time, lambda value: value.isoformat(timespec="microseconds"), time.fromisoformat),
    (Decimal, str, lambda value: Decimal(_of(str, value))),
    (bytes, lambda value: b64encode(value).decode("ascii"), lambda value: b64decode(value, validate=True)),
    (UUID, str, lambda value: UUID(_of(str, value))),
)
