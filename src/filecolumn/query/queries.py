"""Queries of a store: lazy, and each a value of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    and_,
    delete,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import Mapper, Session, undefer

from filecolumn.errors import InvalidConditionError
from filecolumn.query.fields import Field, Fields
from filecolumn.query.kinds import Condition, kind_of

__all__ = ("MAX_ORDER", "FileQuery", "Storage")

T = TypeVar("T")

MAX_ORDER = 16
"""Fields that a query is sorted by: databases limit how long an expression is."""
_MAX_OFFSET = 2**63


class Storage(Protocol):
    """What a query needs of its store."""

    @property
    def fields(self) -> Fields: ...
    @property
    def mapper(self) -> Mapper[Any]: ...
    @property
    def session(self) -> Session: ...
    def condition(self, name: str, value: object) -> Condition: ...
    def wrapped(self, instance: object, doc_class: type[Any] | None) -> object: ...


@dataclass(frozen=True)
class _Order:
    field: Field
    is_reversed: bool


class FileQuery(Generic[T]):
    """A query for rows of a store; nothing is sent before rows are read, counted or deleted.

    `where`, `where_not` and `order_by` return new queries.  Rows that were read completely, by `list()` or `len()`,
    are kept; a new query reads again.  `a | b` gives the rows of both queries, `a - b` those of `a` without those of
    `b`.
    """

    def __init__(
        self,
        storage: Storage,
        doc_class: type[T] | None = None,
        *,
        criteria: tuple[Condition, ...] = (),
        order: tuple[_Order, ...] = (),
    ) -> None:
        self._store = storage
        self._doc_class: type[Any] | None = doc_class
        self._criteria = criteria
        self._order = order
        self._read: list[T] | None = None

    @property
    def storage(self) -> Storage:
        """The store that it is a query of."""
        return self._store

    @property
    def criteria(self) -> tuple[Condition, ...]:
        """The conditions of the query, in SQL."""
        return self._criteria

    def where(self, /, *criteria: ColumnElement[bool], **conditions: object) -> FileQuery[T]:
        """Return a query for the rows of this one that meet all conditions.

        A condition is a field, or `field__lookup`, with a value; *criteria* are expressions of SQLAlchemy.

        Raises UnknownFieldError, LookupProcessorDoesNotExist, or InvalidConditionError if a value does not fit its
        field.
        """
        found = (self._store.condition(name, value) for name, value in conditions.items())
        return self._changed((*self._criteria, *criteria, *found))

    def where_not(self, /, *criteria: ColumnElement[bool], **conditions: object) -> FileQuery[T]:
        """Return a query for the rows of this one that meet none of the conditions, also those without a value.

        Raises what `where` does.
        """
        found = (self._store.condition(name, value) for name, value in conditions.items())
        return self._changed((*self._criteria, *(_complement(each) for each in (*criteria, *found))))

    def order_by(self, names: str | Iterable[str], reverse: bool = False) -> FileQuery[T]:
        """Return a query for the same rows, sorted by a field, or by several of which the first counts most.

        Rows without a value come first, with *reverse* last; equal rows are sorted by their keys.  This replaces the
        order of this query.

        Raises UnknownFieldError, or InvalidConditionError for a field without an order, such as metadata as a whole,
        and for more than 16 names.
        """
        asked = [names] if isinstance(names, str) else [*islice(names, MAX_ORDER + 1)]
        if len(asked) > MAX_ORDER:
            raise InvalidConditionError(f"rows are sorted by {MAX_ORDER} fields at most")
        found = tuple(_Order(self._store.fields.field(name), reverse) for name in asked)
        for each in found:
            kind_of(each.field.expression).sort_keys(each.field.expression)
        return FileQuery(self._store, self._doc_class, criteria=self._criteria, order=found)

    def values(self, name: str) -> list[Any]:
        """Return the values of a field in these rows, each once, without None, sorted.

        Raises UnknownFieldError, or InvalidConditionError for a field with several values in one row.
        """
        expression = self._store.fields.field(name).expression
        kind = kind_of(expression)
        columns = [each.label(f"value_{number}") for number, each in enumerate(kind.selected(expression))]
        statement = (
            select(*columns)
            .select_from(self._store.mapper)
            .where(*self._criteria, kind.exists(expression))
            .distinct()
            .order_by(*columns)
        )
        found = [kind.value(row) for row in self._store.session.execute(statement)]
        return list({(type(value), value): value for value in found if value is not None}.values())

    def count(self) -> int:
        """Return the number of rows, counted by the database."""
        statement = select(func.count()).select_from(self._store.mapper).where(*self._criteria)
        return self._store.session.scalars(statement).one()

    def delete(self) -> int:
        """Delete these rows by the session, and return their number.

        The commit deletes their content; a rollback keeps rows and content.  Rows of a model in several tables are
        loaded and deleted one by one, others by one statement, without the cascades of relationships.
        """
        store = self._store
        if _has_several_tables(store.mapper):
            found = store.session.scalars(select(store.mapper).where(*self._criteria)).unique().all()
            for instance in found:
                store.session.delete(instance)
            store.session.flush()
            return len(found)
        result = store.session.execute(delete(store.mapper.class_).where(*self._criteria))
        return cast("CursorResult[Any]", result).rowcount

    def statement(self) -> Select[Any]:
        """Return the query as a `Select` of SQLAlchemy, to be changed and run by the session."""
        keys: list[ColumnElement[Any]] = []
        is_reversed = False
        for each in self._order:
            expression = each.field.expression
            is_reversed = each.is_reversed
            keys += [key.desc() if is_reversed else key for key in kind_of(expression).sort_keys(expression)]
        primary = self._store.mapper.primary_key
        keys += [key.desc() if is_reversed else key.asc() for key in primary]
        return select(self._store.mapper).where(*self._criteria).order_by(*keys)

    def first(self) -> T | None:
        """Return the first row, or None if there is none."""
        found = self._fetched(0, 1)
        return found[0] if found else None

    def all(self) -> list[T]:
        """Return all rows."""
        if self._read is None:
            self._read = self._run(self.statement())
        return list(self._read)

    def __iter__(self) -> Iterator[T]:
        """Iterate over the rows."""
        if self._read is not None:
            yield from self._read
            return
        for instance in self._instances(self.statement()):
            yield self._wrapped(instance)

    def __len__(self) -> int:
        """Read all rows, and return their number."""
        return len(self.all())

    def __bool__(self) -> bool:
        """Return whether there is a row; at most one is read."""
        if self._read is not None:
            return bool(self._read)
        statement = select(literal(1)).select_from(self._store.mapper).where(*self._criteria).limit(1)
        return self._store.session.scalars(statement).first() is not None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return a row, or the rows of a slice as a list, by LIMIT and OFFSET; IndexError if there is no such row.

        Negative numbers and steps work as in a list, but read all rows, so check the numbers that a client gives.
        """
        if isinstance(index, slice):
            start, stop = index.start or 0, index.stop
            if index.step not in {None, 1} or start < 0 or (stop is not None and stop < 0):
                return self.all()[index]
            return self._fetched(start, stop)
        if index < 0:
            return self.all()[index]
        found = self._fetched(index, index + 1)
        if not found:
            raise IndexError(f"the query has no row {index}")
        return found[0]

    def __or__(self, other: FileQuery[T]) -> FileQuery[T]:
        """Return a query for the rows of both, each once, in the order of this one."""
        if not self._is_like(other):
            return NotImplemented
        return self._changed((or_(and_(_ALL, *self._criteria), and_(_ALL, *other.criteria)),))

    def __sub__(self, other: FileQuery[T]) -> FileQuery[T]:
        """Return a query for the rows of this one that *other* does not have."""
        if not self._is_like(other):
            return NotImplemented
        return self._changed((*self._criteria, _complement(and_(_ALL, *other.criteria))))

    def _is_like(self, other: object) -> bool:
        return isinstance(other, FileQuery) and other.storage.mapper is self._store.mapper

    def _changed(self, criteria: tuple[Condition, ...]) -> FileQuery[T]:
        return FileQuery(self._store, self._doc_class, criteria=criteria, order=self._order)

    def _fetched(self, start: int, stop: int | None) -> list[T]:
        if self._read is not None:
            return self._read[start:stop]
        if start >= _MAX_OFFSET or (stop is not None and stop <= start):
            return []
        statement = self.statement()
        if stop is not None:
            statement = statement.limit(min(stop - start, _MAX_OFFSET - 1))
        return self._run(statement.offset(start) if start else statement)

    def _run(self, statement: Select[Any]) -> list[T]:
        return [self._wrapped(instance) for instance in self._instances(statement)]

    def _instances(self, statement: Select[Any]) -> Iterable[object]:
        if self._doc_class not in {None, self._store.mapper.class_}:
            # a dictionary has each value
            statement = statement.options(undefer("*"))
        return self._store.session.scalars(statement).unique()

    def _wrapped(self, instance: object) -> T:
        return cast("T", self._store.wrapped(instance, self._doc_class))


_ALL = literal(1) == literal(1)


def _has_several_tables(mapper: Mapper[Any]) -> bool:
    """Return whether a row of a class, or of one that inherits from it, is in several tables."""
    return any(len(each.tables) > 1 for each in mapper.self_and_descendants)


def _complement(condition: Condition) -> Condition:
    """Return whether a condition does not hold: also where it is NULL."""
    return not_(func.coalesce(condition, false()))
