"""Names of fields, as a request has them, and what they are in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from sqlalchemy import inspect, not_, type_coerce
from sqlalchemy.orm import Mapper, QueryableAttribute

from filecolumn.errors import InvalidConditionError, UnknownFieldError
from filecolumn.orm.column import StoredObject
from filecolumn.orm.facts_sql import FIELDS, FileComparator, comparator_of, fact
from filecolumn.query.kinds import (
    REAL_NUMBER,
    TEXT,
    TRUTH,
    WHOLE_NUMBER,
    Condition,
    Expression,
    Kind,
    Metadata,
    kind_of,
    text_of,
)
from filecolumn.query.lookups import LookupManager

__all__ = ("MAX_DEPTH", "Field", "Fields", "Target")

SEPARATOR = "__"
MAX_DEPTH = 8
"""Names in a path of metadata: as deep as metadata may be."""
PARTS = ("year", "month", "day")

Target = type[Any] | QueryableAttribute[Any]
"""A mapped class, or one of its file attributes."""

_TYPES: Mapping[type, Kind] = {str: TEXT, int: WHOLE_NUMBER, float: REAL_NUMBER, bool: TRUTH}
"""Of what a request gives for a value of metadata."""


_ONE_FILE = StoredObject(ledger=False)


def _itself(column: Expression) -> Expression:
    return column


@dataclass(frozen=True)
class Field:
    """A field of a store."""

    name: str
    """As the store names it: two names of one field have one name here."""
    column: Expression
    """The column of the model."""
    pick: Callable[[Expression], Expression] = _itself
    """The field of a file, or of the column."""
    part: str | None = None
    """The part of a time that it is."""
    of_files: bool = False
    """Whether it is a fact of the files in a list."""
    within: tuple[str, ...] = ()
    """The names of what it is part of: a file, metadata around it, a time."""

    @property
    def expression(self) -> Expression:
        """The field in SQL; InvalidConditionError for a fact of many files."""
        if self.of_files:
            raise InvalidConditionError(
                f"{self.name} has many values in a row, so it cannot be sorted by, or listed"
            )
        return self._of(self.column)

    @property
    def kind(self) -> Kind:
        """What it holds."""
        column = self.column
        if self.of_files:
            column = type_coerce(column, _ONE_FILE)
        return kind_of(self._of(column))

    def condition(self, lookups: LookupManager, operation: str | None, value: object) -> Condition:
        """Return the condition of a lookup: for a list, that it holds for some file of it."""
        if not self.of_files:
            return lookups.resolve(self.expression, operation, value)
        is_absence = value is None or (operation == "exists" and value is False)
        if is_absence:
            # that no file has it, and not that some file lacks it
            return not_(self._some(lambda file: kind_of(file).exists(file)))
        return self._some(lambda file: lookups.resolve(file, operation, value))

    def _some(self, condition: Callable[[Expression], Condition]) -> Condition:
        comparator = cast("FileComparator", comparator_of(self.column))
        return comparator.some(lambda file: condition(self._of(file)))

    def _of(self, column: Expression) -> Expression:
        picked = self.pick(column)
        return picked if self.part is None else kind_of(picked).part(picked, self.part)


class Fields:
    """The fields of a store: facts of its file, the columns of its model, and the facts of each file column."""

    def __init__(self, target: Target, allowed: Iterable[str] | Mapping[str, type] | None) -> None:
        mapper, self._file = _inspected(target)
        self.mapper: Mapper[Any] = mapper
        self.attributes: Mapping[str, QueryableAttribute[Any]] = {
            prop.key: getattr(mapper.class_, prop.key) for prop in mapper.column_attrs
        }
        # an attribute may have __ in its name
        self._most_steps = max((1 + key.count(SEPARATOR) for key in self.attributes), default=1)
        self._allowed: frozenset[str] | None = None
        self._types: dict[str, Kind] = {}
        if allowed is not None:
            self._allow(allowed)

    @property
    def names(self) -> Sequence[str]:
        """The names that may be asked for, without the facts of file columns under the columns' names."""
        if self._allowed is not None:
            return sorted(self._allowed)
        facts = FIELDS if self._file is not None else ()
        return [*facts, *(name for name in self.attributes if name not in facts)]

    def column(self, name: str) -> Expression:
        """Return the expression of an attribute of the model."""
        return self.attributes[name].__clause_element__()

    def field(self, name: str) -> Field:
        """Return the field of a name; UnknownFieldError if there is none, or it is not allowed."""
        found, rest = self._found(name, lambda _: False)
        if len(rest) == 1 and rest[0] in PARTS:
            found = self._part(found, rest[0])
        elif rest:
            raise self._unknown(name)
        return self._permitted(found, name)

    def asked(self, name: str, lookups: LookupManager) -> tuple[Field, str | None]:
        """Return the field and the lookup that the name of a condition has, None for the default.

        UnknownFieldError and LookupProcessorDoesNotExist if there is no such field or lookup.
        """
        found, rest = self._found(name, lambda step: step in lookups and step not in PARTS)
        if len(rest) == 2 and rest[0] in PARTS:
            found, rest = self._part(found, rest[0]), rest[1:]
        found = self._permitted(found, name)
        if not rest:
            return found, None
        operation = SEPARATOR.join(rest)
        lookups.get_processor(operation)
        return found, operation

    def metadata_path(self, name: str) -> tuple[str, Sequence[str]] | None:
        """Return the file attribute and the path, if a name is of metadata that can be written."""
        first, *rest = name.split(SEPARATOR)
        if first == "metadata" and self._file is not None:
            attribute, path = self._file, rest
        elif rest and rest[0] == "metadata" and first in self.attributes:
            attribute, path = first, rest[1:]
        else:
            return None
        type_ = self.column(attribute).type
        return (attribute, path) if isinstance(type_, StoredObject) and not type_.multiple else None

    def kind(self, field: Field) -> Kind:
        """Return what a request gives for a field."""
        return self._types.get(field.name) or field.kind

    def _found(self, name: str, is_lookup: Callable[[str], bool]) -> tuple[Field, Sequence[str]]:
        """Return the field that a name begins with, and the steps that follow."""
        try:
            first, *rest = text_of(name).split(SEPARATOR)
        except InvalidConditionError:
            raise self._unknown(name) from None
        if self._file is not None and first in FIELDS:
            return self._fact(self._file, [first, *rest], is_lookup, name)
        for length in range(min(len(rest), self._most_steps - 1), 0, -1):
            longer = SEPARATOR.join((first, *rest[:length]))
            if longer in self.attributes:
                return Field(longer, self.column(longer)), rest[length:]
        if first not in self.attributes:
            raise self._unknown(name)
        if rest and rest[0] in FIELDS and isinstance(self.column(first).type, StoredObject):
            return self._fact(first, rest, is_lookup, name)
        return Field(first, self.column(first)), rest

    def _fact(
        self, attribute: str, steps: Sequence[str], is_lookup: Callable[[str], bool], name: str
    ) -> tuple[Field, Sequence[str]]:
        column = self.column(attribute)
        of_files = cast("StoredObject", column.type).multiple
        prefix = "" if attribute == self._file else attribute + SEPARATOR
        first, *rest = steps
        path: Sequence[str] = ()
        if first == "metadata":
            is_last_lookup = bool(rest) and is_lookup(rest[-1])
            path, rest = (rest[:-1], rest[-1:]) if is_last_lookup else (rest, [])
        if len(path) > MAX_DEPTH:
            raise UnknownFieldError(
                f"{name!r:.100} is a path of {len(path)} names, and {MAX_DEPTH} may be asked for"
            )
        names = [prefix + SEPARATOR.join((first, *path[:length])) for length in range(len(path) + 1)]
        if prefix or attribute not in FIELDS:
            # else the name is that of a fact
            names.insert(0, attribute)
        *within, own_name = names
        pick = partial(_picked, name=first, path=path)
        return Field(own_name, column, pick, of_files=of_files, within=tuple(within)), rest

    def _part(self, field: Field, part: str) -> Field:
        name, within = f"{field.name}{SEPARATOR}{part}", (*field.within, field.name)
        return Field(name, field.column, field.pick, part, field.of_files, within)

    def _allow(self, allowed: Iterable[str] | Mapping[str, type]) -> None:
        names: list[str] = []
        for name in allowed:
            found = self.field(name)
            names.append(found.name)
            if isinstance(allowed, Mapping):
                if allowed[name] not in _TYPES:
                    raise TypeError(
                        f"the type of {name} is one of {', '.join(each.__name__ for each in _TYPES)}"
                    )
                if isinstance(found.kind, Metadata):
                    self._types[found.name] = _TYPES[allowed[name]]
        self._allowed = frozenset(names)

    def _permitted(self, field: Field, name: str) -> Field:
        """Return the field if it, or what it is part of, may be asked for."""
        if self._allowed is not None and self._allowed.isdisjoint((field.name, *field.within)):
            raise self._unknown(name)
        return field

    def _unknown(self, name: object) -> UnknownFieldError:
        return UnknownFieldError(f"there is no field {name!r:.100} to ask for: {', '.join(self.names)}")


def _picked(file: Expression, name: str, path: Sequence[str]) -> Expression:
    found: Any = fact(file, name)
    for step in path:
        found = found[step]
    return cast("Expression", found)


def _inspected(target: Target) -> tuple[Mapper[Any], str | None]:
    """Return the mapper of a store's target, and the name of its file attribute if it is one."""
    if not isinstance(target, QueryableAttribute):
        found = cast("Mapper[Any] | None", inspect(target, raiseerr=False))
        if isinstance(found, Mapper):
            return found, None
    elif isinstance(target.parent, Mapper) and comparator_of(target) is not None:
        return target.parent, target.key
    raise TypeError(
        f"{target!r} is neither a mapped class nor a file attribute of one, such as Document.file"
    )
