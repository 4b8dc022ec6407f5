"""A store: the rows of a model by their keys, and by conditions on their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from sqlalchemy import ColumnElement, func, inspect, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapper, QueryableAttribute, Session, undefer

from filecolumn.errors import (
    InvalidConditionError,
    RecordNotFoundError,
    StoreConnectionError,
    UnknownFieldError,
)
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.query import requests
from filecolumn.query.converters import ConverterManager
from filecolumn.query.fields import Fields, Target
from filecolumn.query.kinds import Condition, Metadata, WholeNumber, fits, kind_of
from filecolumn.query.lookups import LookupManager
from filecolumn.query.queries import FileQuery
from filecolumn.query.requests import Parameters

__all__ = ("FileStore", "Pair")

M = TypeVar("M")
T = TypeVar("T")

Pair = tuple[Any, dict[str, Any]]
"""A key, and the values under the names of attributes."""

_LOOKUPS, _CONVERTERS = LookupManager.standard(), ConverterManager.standard()
_KEYS_AT_ONCE = 10_000
"""Databases limit how many values a statement has."""


class FileStore(Generic[M]):
    """The rows of a model, found, saved and deleted by a session; the application begins and ends its transactions.

    *session*
        The session to use.
    *target*
        A mapped class, or a file attribute of one.  Conditions name attributes of the model, and facts of its file
        columns as `file__size`.  With a file attribute as the target its facts are also named without it, as `size`;
        such a name hides an attribute of the model.
    *fields*
        The names that conditions may use; by default all.  In a mapping each has a type, as which `parse` reads
        values of metadata.
    *lookups*, *converters*
        The lookups that conditions may use, and the converters of values in metadata; by default all of this package.

    Raises TypeError for another target, and UnknownFieldError for a field that does not exist.
    """

    @overload
    def __init__(
        self,
        session: Session,
        target: type[M],
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: FileStore[Any],
        session: Session,
        target: QueryableAttribute[Any],
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None: ...
    def __init__(
        self,
        session: Session,
        target: Target,
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None:
        self._session = session
        self._fields = Fields(target, fields)
        self.lookups: LookupManager = _LOOKUPS if lookups is None else lookups
        self.converters: ConverterManager = _CONVERTERS if converters is None else converters
        self._is_connected = True

    @property
    def model(self) -> type[M]:
        """The mapped class."""
        return cast("type[M]", self._fields.mapper.class_)

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the class."""
        return self._fields.mapper

    @property
    def fields(self) -> Fields:
        """The fields that conditions may name."""
        return self._fields

    @property
    def session(self) -> Session:
        """The session; StoreConnectionError, a RuntimeError, after `disconnect()`."""
        if not self._is_connected:
            raise StoreConnectionError("the store has no connection: call connect()")
        return self._session

    # Connection

    def connect(self) -> None:
        """Use the session again after `disconnect()`; StoreConnectionError if the store is connected."""
        if self._is_connected:
            raise StoreConnectionError("the store is already connected: call reconnect() to begin anew")
        self._is_connected = True

    def disconnect(self) -> None:
        """Close the session, which rolls back what is not committed; StoreConnectionError if it is closed already."""
        self.session.close()
        self._is_connected = False

    def reconnect(self) -> None:
        """Close the session if it is not closed yet, and use it again."""
        if self._is_connected:
            self.disconnect()
        self.connect()

    def sync(self) -> None:
        """Flush the session; the application commits."""
        self.session.flush()

    # Reading

    @overload
    def find(self, doc_class: None = None, /, **conditions: object) -> FileQuery[M]: ...
    @overload
    def find(self, doc_class: type[dict[Any, Any]], /, **conditions: object) -> FileQuery[Pair]: ...
    @overload
    def find(self, doc_class: type[T], /, **conditions: object) -> FileQuery[T]: ...
    def find(self, doc_class: type[Any] | None = None, /, **conditions: object) -> FileQuery[Any]:
        """Return a query for the rows that meet all conditions; it is not sent yet.

        The query gives instances of the model.  With `dict` as *doc_class* it gives pairs `(key, values)`, and with
        another class what its `from_storage(store, key, values)` returns.

        Raises what `FileQuery.where` does, and TypeError for a class without `from_storage`.
        """
        self._check(doc_class)
        return FileQuery(self, doc_class).where(**conditions)

    @overload
    def get(self, key: object, doc_class: None = None, /) -> M: ...
    @overload
    def get(self, key: object, doc_class: type[dict[Any, Any]], /) -> Pair: ...
    @overload
    def get(self, key: object, doc_class: type[T], /) -> T: ...
    def get(self, key: object, doc_class: type[Any] | None = None, /) -> object:
        """Return the row with a primary key, which is a tuple if it has several columns; *doc_class* as for `find`.

        RecordNotFoundError, a KeyError, if there is none.
        """
        self._check(doc_class)
        return self.wrapped(self._loaded(key), doc_class)

    @overload
    def get_many(self, keys: Iterable[object], doc_class: None = None, /) -> list[M]: ...
    @overload
    def get_many(self, keys: Iterable[object], doc_class: type[dict[Any, Any]], /) -> list[Pair]: ...
    @overload
    def get_many(self, keys: Iterable[object], doc_class: type[T], /) -> list[T]: ...
    def get_many(self, keys: Iterable[object], doc_class: type[Any] | None = None, /) -> list[Any]:
        """Return the rows with these primary keys, in the order of the keys, by one SELECT.

        RecordNotFoundError, a KeyError, for the first key without a row.
        """
        self._check(doc_class)
        wanted = [self._identity(key) for key in keys]
        found: dict[tuple[Any, ...], object] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            found |= self._rows_of(wanted[start : start + _KEYS_AT_ONCE], doc_class)
        missing = next((identity for identity in wanted if identity not in found), None)
        if missing is not None:
            raise self._missing_error(_key(missing))
        return [self.wrapped(found[identity], doc_class) for identity in wanted]

    @overload
    def get_or_create(self, doc_class: None = None, /, **conditions: object) -> tuple[M, bool]: ...
    @overload
    def get_or_create(
        self, doc_class: type[dict[Any, Any]], /, **conditions: object
    ) -> tuple[Pair, bool]: ...
    @overload
    def get_or_create(self, doc_class: type[T], /, **conditions: object) -> tuple[T, bool]: ...
    def get_or_create(
        self, doc_class: type[Any] | None = None, /, **conditions: object
    ) -> tuple[object, bool]:
        """Return the first row, by its key, that meets the conditions, and whether it was created by this call.

        A new row gets the values of the conditions, so each must be equality of an attribute, or of metadata of a file
        that is given too.  A file that is not stored yet is not a condition; it is given to a new row only.  If a
        unique constraint shows that another session was faster, its row is returned.  On SQLite OperationalError
        ("database is locked") may be raised instead, unless transactions start with BEGIN IMMEDIATE.

        InvalidConditionError, a ValueError, without conditions, and for conditions that give no value.
        """
        self._check(doc_class)
        if not (asked := {name: value for name, value in conditions.items() if not _is_pending(value)}):
            raise InvalidConditionError("get_or_create takes the conditions that the row is to be found by")
        query = self.find(**asked)
        found = query.first()
        if found is not None:
            return self.wrapped(found, doc_class), False
        values = self._creating(conditions)
        savepoint = self.session.begin_nested()
        try:
            with savepoint:
                made = self._new(values)
                self.session.flush()
        except IntegrityError:
            found = self._found_after_all(query)
            if found is None:
                raise
            return self.wrapped(found, doc_class), False
        return self.wrapped(made, doc_class), True

    def __contains__(self, key: object) -> bool:
        """Return whether there is a row with this primary key."""
        try:
            identity = self._identity(key)
        except RecordNotFoundError:
            return False
        columns = self.mapper.primary_key
        same = (column == value for column, value in zip(columns, identity, strict=True))
        return (
            self.session.scalars(select(literal(1)).select_from(self.mapper).where(*same)).first() is not None
        )

    def __len__(self) -> int:
        """Count the rows."""
        return self.session.scalars(select(func.count()).select_from(self.mapper)).one()

    def __bool__(self) -> bool:
        """Return whether the store is connected."""
        return self._is_connected

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the primary keys, in their order."""
        columns = self.mapper.primary_key
        statement = select(*columns).select_from(self.mapper).order_by(*columns)
        for row in self.session.execute(statement):
            yield _key(tuple(row))

    # Writing

    def save(self, key: object, data: Mapping[str, object]) -> Any:  # noqa: ANN401 - as the model has it
        """Write values to the row with a primary key, and return the key.

        With None as the key, or one without a row, a new row is created.  *data* has values by the names of
        attributes; others stay as they are.  `metadata`, `metadata__name` and `file__metadata__name` mean metadata of
        the row's file, and are converted.

        UnknownFieldError for other names; InvalidConditionError for metadata of a row without a file, and if a value
        in metadata that is not a dictionary would be replaced by one.
        """
        if key is None:
            instance = self._new(data)
        else:
            identity = self._identity(key)
            found = self.session.get(self.model, identity)
            instance = self._new(data, identity) if found is None else found
            if found is not None:
                self._assign(found, data)
        self.session.flush()
        return self._key_of(instance)

    def delete(self, key: object) -> None:
        """Delete the row with a primary key; the commit deletes its content.  RecordNotFoundError if there is none."""
        self.session.delete(self._loaded(key))
        self.session.flush()

    def clear(self) -> int:
        """Delete all rows, and return their number; the commit deletes their content."""
        return self.find().delete()

    def parse(self, params: Parameters) -> dict[str, object]:
        """Return the conditions of a request's query string, for `find(**conditions)`.

        *params* is a mapping, pairs, or an object with `multi_items()`, such as `request.query_params`.

        Values are read as the types of their fields: numbers, `true` and `false`, and times in ISO 8601 with a time
        zone; `last_modified` also as seconds.  The values of `in`, `between` and `contains_any` are separated by
        commas, or the parameter is repeated.

        Raises UnknownFieldError, LookupProcessorDoesNotExist, or InvalidConditionError, a ValueError, which names the
        parameter that cannot be read.
        """
        return requests.parse(self, self.lookups, params)

    # For queries

    @property
    def _face(self) -> object:
        """What `from_storage` and converters are given."""
        return self

    def condition(self, name: str, value: object) -> Condition:
        """Return a condition in SQL, of a name such as `size__gt` and a value; raises what `FileQuery.where` does."""
        field, operation = self._fields.asked(name, self.lookups)
        try:
            if isinstance(field.kind, Metadata):
                value = self._converted(value)
            return field.condition(self.lookups, operation, value)
        except InvalidConditionError as error:
            raise InvalidConditionError(f"{name}: {error}") from error

    def wrapped(self, instance: object, doc_class: type[Any] | None) -> object:
        """Return an instance as a *doc_class*."""
        if doc_class is None or doc_class is self.model:
            return instance
        key = self._key_of(instance)
        values = {name: getattr(instance, name) for name in self._fields.attributes}
        return (key, values) if doc_class is dict else doc_class.from_storage(self._face, key, values)

    def _check(self, doc_class: type[Any] | None) -> None:
        self.session  # noqa: B018 - that there is one
        if doc_class not in {None, dict, self.model} and not callable(
            getattr(doc_class, "from_storage", None)
        ):
            raise TypeError(
                f"{doc_class!r} is neither {self.model.__name__} nor dict, and has no from_storage"
            )

    def _converted(self, value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [self.converters.to_db(each, self._face) for each in cast("Iterable[object]", value)]
        return self.converters.to_db(value, self._face)

    # Keys

    def _identity(self, key: object) -> tuple[Any, ...]:
        """Return a key as a tuple of values that the columns can have; RecordNotFoundError if they cannot."""
        columns = self.mapper.primary_key
        parts = _parts(key)
        if len(parts) != len(columns):
            raise self._missing_error(key)
        try:
            return tuple(_checked(column, part) for column, part in zip(columns, parts, strict=True))
        except InvalidConditionError:
            raise self._missing_error(key) from None

    def _loaded(self, key: object) -> object:
        found = self.session.get(self.model, self._identity(key))
        if found is None:
            raise self._missing_error(key)
        return found

    def _rows_of(
        self, wanted: list[tuple[Any, ...]], doc_class: type[Any] | None
    ) -> dict[tuple[Any, ...], object]:
        columns = self.mapper.primary_key
        one = len(columns) == 1
        key: ColumnElement[Any] = columns[0] if one else tuple_(*columns)
        statement = select(self.mapper).where(key.in_([each[0] for each in wanted] if one else wanted))
        if doc_class not in {None, self.model}:
            statement = statement.options(undefer("*"))
        rows = self.session.scalars(statement).unique()
        return {tuple(self.mapper.primary_key_from_instance(row)): row for row in rows}

    def _key_of(self, instance: object) -> Any:  # noqa: ANN401
        identity = inspect(instance, raiseerr=True).identity
        return _key(tuple(identity))

    def _missing_error(self, key: object) -> RecordNotFoundError:
        return RecordNotFoundError(f"{self.model.__name__} has no row {key!r:.100}")

    # New values

    def _new(self, data: Mapping[str, object], identity: tuple[Any, ...] = ()) -> object:
        attributes = self.mapper.attrs
        instance = self.model(**{name: value for name, value in data.items() if name in attributes})
        for column, value in zip(self.mapper.primary_key, identity, strict=bool(identity)):
            setattr(instance, self.mapper.get_property_by_column(column).key, value)
        self._assign(instance, {name: value for name, value in data.items() if name not in attributes})
        self.session.add(instance)
        return instance

    def _assign(self, instance: object, data: Mapping[str, object]) -> None:
        """Set attributes, and then metadata of the files that they may be."""
        attributes = self.mapper.attrs
        for name, value in data.items():
            if name in attributes:
                setattr(instance, name, value)
        for name, value in data.items():
            if name not in attributes:
                self._assign_metadata(instance, name, value)

    def _assign_metadata(self, instance: object, name: str, value: object) -> None:
        found = self._fields.metadata_path(name)
        if found is None:
            raise UnknownFieldError(
                f"{self.model.__name__} has no attribute {name!r:.100} to write: {', '.join(self.mapper.attrs.keys())}"
            )
        attribute, path = found
        file = getattr(instance, attribute)
        if not isinstance(file, FileObject):
            raise InvalidConditionError(f"{name}: the row has no file, whose metadata it could be")
        try:
            changed = _with(file.metadata, path, self.converters.to_db(value, self._face))
        except InvalidConditionError as error:
            raise InvalidConditionError(f"{name}: {error}") from error
        if not isinstance(changed, dict):
            raise InvalidConditionError(f"{name}: metadata is a dictionary")
        file.metadata = changed

    def _creating(self, conditions: Mapping[str, object]) -> dict[str, object]:
        """Return the values of a row that conditions hold for."""
        values: dict[str, object] = {}
        for name, value in conditions.items():
            if name in self.mapper.attrs:
                values[name] = value
                continue
            field, operation = self._fields.asked(name, self.lookups)
            is_equality = operation is None or operation == "equals"
            is_written = field.name in self.mapper.attrs or self._fields.metadata_path(field.name)
            if not is_equality or not is_written or field.part:
                raise InvalidConditionError(
                    f"{name}: no row can be created from this: give the values of attributes"
                )
            values[field.name] = value
        return values

    def _found_after_all(self, query: FileQuery[M]) -> M | None:
        """Look again: with InnoDB, a snapshot does not show what another session has committed, and a lock does."""
        statement = query.statement().limit(1)
        if self.session.get_bind(self.mapper).dialect.name in {"mysql", "mariadb"}:
            statement = statement.with_for_update(read=True)
        return self.session.scalars(statement).unique().first()


def _parts(key: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", key) if isinstance(key, tuple) else (key,)


def _key(identity: tuple[Any, ...]) -> Any:  # noqa: ANN401
    return identity[0] if len(identity) == 1 else identity


def _checked(column: ColumnElement[Any], value: object) -> object:
    """Return a value of a primary key; InvalidConditionError if the column can have no such value."""
    kind = kind_of(column)
    if isinstance(kind, WholeNumber):
        if isinstance(value, bool) or not isinstance(value, int) or not fits(column.type, value):
            raise InvalidConditionError(f"{value!r:.100} is no key")
        return value
    if value is None:
        raise InvalidConditionError("None is no key")
    return cast("Any", kind.bound(column, value)).value


def _is_pending(value: object) -> bool:
    if isinstance(value, FileObject):
        return not value.is_saved
    files = cast("Iterable[object]", value) if isinstance(value, FileObjectList | list | tuple) else ()
    return any(isinstance(each, FileObject) and not each.is_saved for each in files)


def _with(outer: object, path: Sequence[str], value: object) -> object:
    """Return a copy of JSON with a value under a path; InvalidConditionError if it goes through another value."""
    if not path:
        return value
    first, *rest = path
    if outer is not None and not isinstance(outer, Mapping):
        raise InvalidConditionError(
            f"{first!r:.100} cannot be written into {outer!r:.100}, which is no dictionary"
        )
    members = dict(cast("Mapping[str, object]", outer or {}))
    return {**members, first: _with(members.get(first), rest, value)}
