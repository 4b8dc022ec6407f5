"""Lookups: what can be asked of a field, each one function from a field and a value to a condition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar, cast

from sqlalchemy import BinaryExpression, ColumnElement, and_, false, not_, or_
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql import operators

from filecolumn.errors import (
    InvalidConditionError,
    LookupAlreadyRegisteredError,
    LookupProcessorDoesNotExist,
)
from filecolumn.query import patterns
from filecolumn.query.kinds import Condition, Expression, Operator, kind_of, text_of

__all__ = ("LookupManager", "Processor")

Processor = Callable[[Any, Any], ColumnElement[bool] | Iterable[ColumnElement[bool]]]
"""A lookup: a field in SQL, and a value, to a condition, or several that must all hold."""

P = TypeVar("P", bound=Processor)


class LookupManager:
    """The lookups that conditions may use, by name."""

    exception = LookupProcessorDoesNotExist
    """The error for an unknown lookup."""

    def __init__(self) -> None:
        self._processors: dict[str, Processor] = {}
        self._default: str | None = None

    @classmethod
    def standard(cls) -> LookupManager:
        """Return a new manager with the lookups of this package; add and remove what you like."""
        manager = cls()
        for name, processor in _STANDARD.items():
            manager.register(name, default=name == "equals")(processor)
        return manager

    def __contains__(self, name: object) -> bool:
        """Return whether there is a lookup of this name."""
        return name in self._processors

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._processors)

    def register(self, name: str, default: bool = False) -> Callable[[P], P]:
        """Return a decorator that registers a function `(field, value) -> condition` under *name*.

        With *default* it is also used for conditions that name no lookup.

        Raises LookupAlreadyRegisteredError, a RuntimeError, if the name is taken or there is a default already, and
        InvalidConditionError for a name with `__` in it.
        """
        if not name or "__" in name:
            raise InvalidConditionError(
                f"{name!r} cannot follow the name of a field: it is empty or has __ in it"
            )
        if name in self._processors:
            raise LookupAlreadyRegisteredError(
                f"the lookup {name!r} is registered already: unregister it first"
            )
        if default and self._default is not None:
            raise LookupAlreadyRegisteredError(
                f"{self._default!r} is the default already: unregister it first"
            )

        def decorate(processor: P) -> P:
            self._processors[name] = processor
            if default:
                self._default = name
            return processor

        return decorate

    def unregister(self, name: str) -> Processor:
        """Remove a lookup, and return its function; LookupProcessorDoesNotExist if there is none."""
        processor = self.get_processor(name)
        del self._processors[name]
        if self._default == name:
            self._default = None
        return processor

    def get_processor(self, name: str | None) -> Processor:
        """Return the function of a lookup, or of the default for None; LookupProcessorDoesNotExist if there is none."""
        found = self._default if name is None else name
        if found is None:
            raise LookupProcessorDoesNotExist("there is no default lookup: register one with default=True")
        if found not in self._processors:
            raise LookupProcessorDoesNotExist(
                f"there is no lookup {found!r:.100}: {', '.join(self._processors) or 'none is registered'}"
            )
        return self._processors[found]

    def resolve(self, name: Any, operation: str | None, value: object) -> ColumnElement[bool]:  # noqa: ANN401
        """Return the condition that a lookup makes of a field and a value.

        *name* is the field: an attribute of a model, or another expression, such as a fact.  *operation* is the name of
        the lookup, or None for the default.

        Raises LookupProcessorDoesNotExist if there is none, and InvalidConditionError for a value that does not fit.
        """
        processor = self.get_processor(operation)
        is_attribute = isinstance(name, QueryableAttribute)
        field = cast("Any", name).__clause_element__() if is_attribute else name
        found = processor(field, value)
        return found if isinstance(found, ColumnElement) else and_(*found)


def _comparison(op: Operator) -> Processor:
    def compared(field: Expression, value: object) -> Condition:
        return kind_of(field).compare(field, op, value)

    return compared


_equals = _comparison(operators.eq)
_at_least, _at_most = _comparison(operators.ge), _comparison(operators.le)


def _is_list(value: object) -> TypeGuard[Collection[object]]:
    return isinstance(value, list | tuple | set | frozenset)


def _values(value: object) -> Collection[object]:
    if not _is_list(value):
        raise InvalidConditionError(f"{value!r:.100} is no list of values")
    return value


def _in(field: Expression, value: object) -> Condition:
    """Return whether a value is one of others: of a type at once, because chains of OR are limited in length."""
    kind = kind_of(field)
    others: list[Condition] = []
    lists: dict[type, tuple[Expression, list[Expression]]] = {}
    for each in _values(value):
        same = kind.compare(field, operators.eq, each)
        if isinstance(same, BinaryExpression) and same.operator is operators.eq:
            lists.setdefault(type(same.left), (same.left, []))[1].append(same.right)
        else:
            others.append(same)
    return or_(false(), *(left.in_(right) for left, right in lists.values()), *others)


def _between(field: Expression, value: object) -> Condition:
    """Return whether a value is between two others, or one of them."""
    if isinstance(value, set | frozenset) or len(_values(value)) != 2:
        raise InvalidConditionError(f"{value!r:.100} is no pair of the least and the greatest value")
    kind = kind_of(field)
    least, most = _values(value)
    return and_(kind.compare(field, operators.ge, least), kind.compare(field, operators.le, most))


def _contains(field: Expression, value: object) -> Condition:
    """Return whether a value contains another one; for a list, each of it."""
    kind = kind_of(field)
    if _is_list(value):
        return kind.contains_all(field, value)
    return kind.contains(field, value)


def _contains_any(field: Expression, value: object) -> Condition:
    kind = kind_of(field)
    return or_(false(), *(kind.contains(field, each) for each in _values(value)))


def _startswith(field: Expression, value: object) -> Condition:
    return kind_of(field).text(field).startswith(text_of(value))


def _endswith(field: Expression, value: object) -> Condition:
    return kind_of(field).text(field).endswith(text_of(value))


def _exists(field: Expression, value: object) -> Condition:
    """Return whether there is a value; with false, whether there is none."""
    if not isinstance(value, bool):
        raise InvalidConditionError(f"{value!r:.100} is neither True nor False")
    found = kind_of(field).exists(field)
    return found if value else not_(found)


def _matches(field: Expression, value: object) -> Condition:
    return patterns.matches(kind_of(field).text(field), value)


def _matches_caseless(field: Expression, value: object) -> Condition:
    return patterns.matches(kind_of(field).text(field), value, caseless=True)


def _year(field: Expression, value: object) -> Condition:
    return kind_of(field).within_year(field, _whole(value))


def _part(name: str) -> Processor:
    def compared(field: Expression, value: object) -> Condition:
        part = kind_of(field).part(field, name)
        return kind_of(part).compare(part, operators.eq, _whole(value))

    return compared


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidConditionError(f"{value!r:.100} is no whole number")
    return value


_STANDARD: Mapping[str, Processor] = {
    "equals": _equals,
    "in": _in,
    "gt": _comparison(operators.gt),
    "gte": _at_least,
    "lt": _comparison(operators.lt),
    "lte": _at_most,
    "between": _between,
    "contains": _contains,
    "contains_any": _contains_any,
    "startswith": _startswith,
    "endswith": _endswith,
    "exists": _exists,
    "matches": _matches,
    "matches_caseless": _matches_caseless,
    "year": _year,
    "month": _part("month"),
    "day": _part("day"),
}
