"""Conditions from the query string of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from filecolumn.errors import InvalidConditionError
from filecolumn.query.kinds import TRUTH, WHOLE_NUMBER, Kind, text_of
from filecolumn.query.lookups import LookupManager
from filecolumn.query.queries import Storage

__all__ = ("MAX_VALUES", "Parameters", "parse")

MAX_VALUES = 200
"""Of a request: databases limit how many conditions a query has, and how many values."""
_LISTS = frozenset({"in", "between", "contains_any"})
_REPEATED = frozenset({*_LISTS, "contains"})

Parameters = Mapping[str, str] | Iterable[tuple[str, str]]


def parse(store: Storage, lookups: LookupManager, params: Parameters) -> dict[str, object]:
    """Return the conditions of a request; see `FileStore.parse`."""
    texts: dict[str, list[str]] = {}
    given = cast("Mapping[str, str]", params).items() if isinstance(params, Mapping) else params
    for name, text in given:
        texts.setdefault(name, []).append(text)
    conditions: dict[str, object] = {}
    left = MAX_VALUES
    for name, repeated in texts.items():
        field, operation = store.fields.asked(name, lookups)
        try:
            values = _split(operation, repeated, left)
            conditions[name] = _read(_kind(store.fields.kind(field), operation), operation, values)
        except InvalidConditionError as error:
            raise InvalidConditionError(f"{name}: {error}") from None
        left -= len(values)
        # InvalidConditionError for a lookup that is not for this field
        store.condition(name, conditions[name])
    return conditions


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
