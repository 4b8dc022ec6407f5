"""Conditions from the query string of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, cast, runtime_checkable

from filecolumn.errors import InvalidConditionError
from filecolumn.query.fields import Field
from filecolumn.query.kinds import TRUTH, WHOLE_NUMBER, Kind, Metadata, text_of
from filecolumn.query.lookups import LookupManager
from filecolumn.query.queries import Storage

__all__ = ("MAX_SEARCHES", "MAX_VALUES", "Parameters", "parse")

MAX_VALUES = 200
"""Of a request: databases limit how many conditions a query has, and how many values."""
MAX_SEARCHES = 20
"""Of them those that each take a subquery: the planner of PostgreSQL takes longer than in proportion to them."""
_LISTS = frozenset({"in", "between", "contains_any"})
_REPEATED = frozenset({*_LISTS, "contains"})

_SEARCHES = frozenset({"contains", "contains_any"})


@runtime_checkable
class MultiItems(Protocol):
    """The parameters of a request as frameworks have them: a mapping, with `multi_items()` for repeated ones."""

    def multi_items(self) -> Iterable[tuple[str, str]]:
        """Return each parameter with its value, in the order of the request, repeated ones too."""
        ...


Parameters = MultiItems | Mapping[str, str] | Iterable[tuple[str, str]]


def parse(store: Storage, lookups: LookupManager, params: Parameters) -> dict[str, object]:
    """Return the conditions of a request; see `FileStore.parse`."""
    texts: dict[str, list[str]] = {}
    for name, text in _given(params):
        texts.setdefault(name, []).append(text)
    conditions: dict[str, object] = {}
    left, searches = MAX_VALUES, MAX_SEARCHES
    for name, repeated in texts.items():
        field, operation = store.fields.asked(name, lookups)
        try:
            values = _split(operation, repeated, left)
            searches = _less(searches, _searches(field, operation, len(values)))
            conditions[name] = _read(_kind(store.fields.kind(field), operation), operation, values)
        except InvalidConditionError as error:
            raise InvalidConditionError(f"{name}: {error}") from None
        left -= len(values)
        # InvalidConditionError for a lookup that is not for this field
        store.condition(name, conditions[name])
    return conditions


def _given(params: Parameters) -> Iterable[tuple[str, str]]:
    if isinstance(params, MultiItems):
        return params.multi_items()
    return cast("Mapping[str, str]", params).items() if isinstance(params, Mapping) else params


def _less(left: int, searches: int) -> int:
    if searches > left:
        raise InvalidConditionError(
            f"a request has {MAX_SEARCHES} values at most to search for in arrays and lists of files"
        )
    return left - searches


def _searches(field: Field, operation: str | None, values: int) -> int:
    """Return how many subqueries a condition takes."""
    if operation in _SEARCHES and isinstance(field.kind, Metadata):
        return values
    return int(field.of_files)


def _split(operation: str | None, texts: list[str], left: int) -> list[str]:
    """Return the values of a parameter: a list is separated by commas, or a parameter that is repeated."""
    if len(texts) > 1 and operation not in _REPEATED:
        raise InvalidConditionError("it is given more than once, and takes one value")
    if len(texts) == 1 and operation in _LISTS:
        texts = texts[0].split(",")
    if len(texts) > left:
        raise InvalidConditionError(f"a request has {MAX_VALUES} values at most")
    return texts


def _kind(kind: Kind, operation: str | None) -> Kind:
    return {"exists": TRUTH, "year": WHOLE_NUMBER, "month": WHOLE_NUMBER, "day": WHOLE_NUMBER}.get(
        operation or "", kind
    )


def _read(kind: Kind, operation: str | None, texts: list[str]) -> object:
    values = [kind.read(text_of(text)) for text in texts]
    return values if operation in _LISTS or len(values) > 1 else values[0]
