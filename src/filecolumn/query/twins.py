"""A store and its queries for an asynchronous session: each call runs in a greenlet, so it is written once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast, overload

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import QueryableAttribute, Session

from filecolumn.orm.asynchronous import AsyncSession
from filecolumn.query.converters import ConverterManager
from filecolumn.query.fields import Target
from filecolumn.query.kinds import Condition
from filecolumn.query.lookups import LookupManager
from filecolumn.query.queries import FileQuery
from filecolumn.query.requests import Parameters
from filecolumn.query.stores import FileStore, Pair

__all__ = ("AsyncFileQuery", "AsyncFileStore")

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


class AsyncFileQuery(Generic[T]):
    """The twin of `FileQuery` for an `AsyncSession`: calls that reach the database are awaited."""

    def __init__(self, session: AsyncSession, query: FileQuery[T]) -> None:
        self._session = session
        self._query = query

    @property
    def sync(self) -> FileQuery[T]:
        """The synchronous query, for `AsyncSession.run_sync`."""
        return self._query

    def where(self, /, *criteria: ColumnElement[bool], **conditions: object) -> AsyncFileQuery[T]:
        """Return a query for the rows that meet all conditions; see `FileQuery.where`."""
        return AsyncFileQuery(self._session, self._query.where(*criteria, **conditions))

    def where_not(self, /, *criteria: ColumnElement[bool], **conditions: object) -> AsyncFileQuery[T]:
        """Return a query for the rows that meet none of the conditions; see `FileQuery.where_not`."""
        return AsyncFileQuery(self._session, self._query.where_not(*criteria, **conditions))

    def order_by(self, names: str | Iterable[str], reverse: bool = False) -> AsyncFileQuery[T]:
        """Return a query for the same rows, sorted; see `FileQuery.order_by`."""
        return AsyncFileQuery(self._session, self._query.order_by(names, reverse))

    def statement(self) -> Select[Any]:
        """Return the query as a `Select` of SQLAlchemy."""
        return self._query.statement()

    async def values(self, name: str) -> list[Any]:
        """Return the values of a field in these rows; see `FileQuery.values`."""
        return await self._run(lambda query: query.values(name))

    async def count(self) -> int:
        """Return the number of rows, counted by the database."""
        return await self._run(lambda query: query.count())

    async def exists(self) -> bool:
        """Return whether there is a row; at most one is read."""
        return await self._run(bool)

    async def delete(self) -> int:
        """Delete these rows, and return their number; see `FileQuery.delete`."""
        return await self._run(lambda query: query.delete())

    async def first(self) -> T | None:
        """Return the first row, or None if there is none."""
        return await self._run(lambda query: query.first())

    async def all(self) -> list[T]:
        """Return all rows."""
        return await self._run(lambda query: query.all())

    @overload
    async def get(self, index: int) -> T: ...
    @overload
    async def get(self, index: slice) -> list[T]: ...
    async def get(self, index: int | slice) -> T | list[T]:
        """Return a row, or the rows of a slice; see `FileQuery.__getitem__`."""
        return await self._run(lambda query: query[index])

    async def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the rows, all of which are read first."""
        for each in await self.all():
            yield each

    def __bool__(self) -> bool:
        """Raise TypeError: write `await query.exists()`."""
        raise TypeError("whether there is a row is asked by: await query.exists()")

    def __or__(self, other: object) -> AsyncFileQuery[T]:
        """Return a query for the rows of both, each once, in the order of this one."""
        if not isinstance(other, AsyncFileQuery):
            return NotImplemented
        return AsyncFileQuery(self._session, self._query | cast("AsyncFileQuery[T]", other).sync)

    def __sub__(self, other: object) -> AsyncFileQuery[T]:
        """Return a query for the rows of this one that *other* does not have."""
        if not isinstance(other, AsyncFileQuery):
            return NotImplemented
        return AsyncFileQuery(self._session, self._query - cast("AsyncFileQuery[T]", other).sync)

    async def _run(self, call: Callable[[FileQuery[T]], R]) -> R:
        return await self._session.run_sync(lambda _: call(self._query))


class AsyncFileStore(Generic[M]):
    """The twin of `FileStore` for an `AsyncSession`: calls that reach the database are awaited."""

    @overload
    def __init__(
        self,
        session: AsyncSession,
        target: type[M],
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncFileStore[Any],
        session: AsyncSession,
        target: QueryableAttribute[Any],
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None: ...
    def __init__(
        self,
        session: AsyncSession,
        target: Target,
        *,
        fields: Iterable[str] | Mapping[str, type] | None = None,
        lookups: LookupManager | None = None,
        converters: ConverterManager | None = None,
    ) -> None:
        self._session = session
        self._store: FileStore[M] = _Inner(
            self, session.sync_session, target, fields=fields, lookups=lookups, converters=converters
        )

    @property
    def model(self) -> type[M]:
        """The mapped class."""
        return self._store.model

    @property
    def lookups(self) -> LookupManager:
        """The lookups of the store."""
        return self._store.lookups

    @property
    def converters(self) -> ConverterManager:
        """The converters of values in metadata."""
        return self._store.converters

    async def connect(self) -> None:
        """Use the session again; see `FileStore.connect`."""
        self._store.connect()

    async def disconnect(self) -> None:
        """Close the session; see `FileStore.disconnect`."""
        await self._run(lambda store: store.disconnect())

    async def reconnect(self) -> None:
        """Close the session if it is not closed yet, and use it again."""
        await self._run(lambda store: store.reconnect())

    async def sync(self) -> None:
        """Flush the session; the application commits."""
        await self._run(lambda store: store.sync())

    @overload
    def find(self, doc_class: None = None, /, **conditions: object) -> AsyncFileQuery[M]: ...
    @overload
    def find(self, doc_class: type[dict[Any, Any]], /, **conditions: object) -> AsyncFileQuery[Pair]: ...
    @overload
    def find(self, doc_class: type[T], /, **conditions: object) -> AsyncFileQuery[T]: ...
    def find(self, doc_class: type[Any] | None = None, /, **conditions: object) -> AsyncFileQuery[Any]:
        """Return a query for the rows that meet all conditions; see `FileStore.find`."""
        return AsyncFileQuery(self._session, self._store.find(cast("type[object]", doc_class), **conditions))

    @overload
    async def get(self, key: object, doc_class: None = None, /) -> M: ...
    @overload
    async def get(self, key: object, doc_class: type[dict[Any, Any]], /) -> Pair: ...
    @overload
    async def get(self, key: object, doc_class: type[T], /) -> T: ...
    async def get(self, key: object, doc_class: type[Any] | None = None, /) -> object:
        """Return the row with a primary key; see `FileStore.get`."""
        return await self._run(lambda store: store.get(key, cast("type[object]", doc_class)))

    @overload
    async def get_many(self, keys: Iterable[object], doc_class: None = None, /) -> list[M]: ...
    @overload
    async def get_many(self, keys: Iterable[object], doc_class: type[dict[Any, Any]], /) -> list[Pair]: ...
    @overload
    async def get_many(self, keys: Iterable[object], doc_class: type[T], /) -> list[T]: ...
    async def get_many(self, keys: Iterable[object], doc_class: type[Any] | None = None, /) -> list[Any]:
        """Return the rows with these primary keys, by one SELECT; see `FileStore.get_many`."""
        return await self._run(lambda store: store.get_many(keys, cast("type[object]", doc_class)))

    @overload
    async def get_or_create(self, doc_class: None = None, /, **conditions: object) -> tuple[M, bool]: ...
    @overload
    async def get_or_create(
        self, doc_class: type[dict[Any, Any]], /, **conditions: object
    ) -> tuple[Pair, bool]: ...
    @overload
    async def get_or_create(self, doc_class: type[T], /, **conditions: object) -> tuple[T, bool]: ...
    async def get_or_create(
        self, doc_class: type[Any] | None = None, /, **conditions: object
    ) -> tuple[Any, bool]:
        """Return a row, and whether it was created by this call; see `FileStore.get_or_create`."""
        return await self._run(
            lambda store: store.get_or_create(cast("type[object]", doc_class), **conditions)
        )

    async def contains(self, key: object) -> bool:
        """Return whether there is a row with this primary key."""
        return await self._run(lambda store: key in store)

    async def count(self) -> int:
        """Count the rows."""
        return await self._run(len)

    def __bool__(self) -> bool:
        """Return whether the store is connected."""
        return bool(self._store)

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the primary keys, in their order."""
        for key in await self._run(lambda store: [*iter(store)]):
            yield key

    async def save(self, key: object, data: Mapping[str, object]) -> Any:  # noqa: ANN401 - as the model has it
        """Write values to the row with a primary key, or to a new row, and return the key; see `FileStore.save`."""
        return await self._run(lambda store: store.save(key, data))

    async def delete(self, key: object) -> None:
        """Delete the row with a primary key; see `FileStore.delete`."""
        await self._run(lambda store: store.delete(key))

    async def clear(self) -> int:
        """Delete all rows, and return their number; see `FileStore.clear`."""
        return await self._run(lambda store: store.clear())

    def condition(self, name: str, value: object) -> Condition:
        """Return a condition in SQL, of a name and a value; see `FileStore.condition`."""
        return self._store.condition(name, value)

    def parse(self, params: Parameters) -> dict[str, object]:
        """Return the conditions of a request's query string; see `FileStore.parse`."""
        return self._store.parse(params)

    async def _run(self, call: Callable[[FileStore[M]], T]) -> T:
        return await self._session.run_sync(lambda _: call(self._store))


class _Inner(FileStore[M]):
    """The store itself, which classes of documents know as its twin."""

    def __init__(
        self,
        face: AsyncFileStore[M],
        session: Session,
        target: Target,
        **options: Any,  # noqa: ANN401 - of the store
    ) -> None:
        super().__init__(session, cast("Any", target), **options)
        self._twin = face

    @property
    def _face(self) -> object:
        return self._twin
