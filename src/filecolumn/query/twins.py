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
    """The twin of `FileQuery` for an asynchronous session: it is awaited, and iterated with `async for`."""

    def __init__(self, session: AsyncSession, query: FileQuery[T]) -> None:
        self._session = session
        self._query = query

    @property
    def sync(self) -> FileQuery[T]:
        """The query itself, for `AsyncSession.run_sync`."""
        return self._query

    def where(self, /, *criteria: ColumnElement[bool], **conditions: object) -> AsyncFileQuery[T]:
        """Return the rows that all conditions hold for; see `FileQuery.where`."""
        return AsyncFileQuery(self._session, self._query.where(*criteria, **conditions))

    def where_not(self, /, *criteria: ColumnElement[bool], **conditions: object) -> AsyncFileQuery[T]:
        """Return the rows that none of the conditions holds for; see `FileQuery.where_not`."""
        return AsyncFileQuery(self._session, self._query.where_not(*criteria, **conditions))

    def order_by(self, names: str | Iterable[str], reverse: bool = False) -> AsyncFileQuery[T]:
        """Return the same rows in another order; see `FileQuery.order_by`."""
        return AsyncFileQuery(self._session, self._query.order_by(names, reverse))

    def statement(self) -> Select[Any]:
        """Return the query as SQLAlchemy's."""
        return self._query.statement()

    async def values(self, name: str) -> list[Any]:
        """Return the values that a field has in these rows; see `FileQuery.values`."""
        return await self._run(lambda query: query.values(name))

    async def count(self) -> int:
        """Return how many rows there are, counted by the database."""
        return await self._run(lambda query: query.count())

    async def exists(self) -> bool:
        """Return whether there is a row; one is read at most."""
        return await self._run(bool)

    async def delete(self) -> int:
        """Delete these rows, and return how many they were; see `FileQuery.delete`."""
        return await self._run(lambda query: query.delete())

    async def first(self) -> T | None:
        """Return the first row, None if there is none."""
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
        """Iterate over the rows, which are read at once."""
        for each in await self.all():
            yield each

    def __bool__(self) -> bool:
        """Raise TypeError: whether there is a row is what `await query.exists()` returns."""
        raise TypeError("whether there is a row is asked by: await query.exists()")

    def __or__(self, other: object) -> AsyncFileQuery[T]:
        """Return the rows of both queries, each once, in the order of this one."""
        if not isinstance(other, AsyncFileQuery):
            return NotImplemented
        return AsyncFileQuery(self._session, self._query | cast("AsyncFileQuery[T]", other).sync)

    def __sub__(self, other: object) -> AsyncFileQuery[T]:
        """Return the rows of this query that *other* has not."""
        if not isinstance(other, AsyncFileQuery):
            return NotImplemented
        return AsyncFileQuery(self._session, self._query - cast("AsyncFileQuery[T]", other).sync)

    async def _run(self, call: Callable[[FileQuery[T]], R]) -> R:
        return await self._session.run_sync(lambda _: call(self._query))


class AsyncFileStore(Generic[M]):
    """The twin of `FileStore` for an asynchronous session: what reaches the database is awaited."""

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
        """What can be asked."""
        return self._store.lookups

    @property
    def converters(self) -> ConverterManager:
        """What values of metadata are written by."""
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
        """Send what is pending to the database."""
        await self._run(lambda store: store.sync())

    @overload
    def find(self, doc_class: None = None, /, **conditions: object) -> AsyncFileQuery[M]: ...
    @overload
    def find(self, doc_class: type[dict[Any, Any]], /, **conditions: object) -> AsyncFileQuery[Pair]: ...
    @overload
    def find(self, doc_class: type[T], /, **conditions: object) -> AsyncFileQuery[T]: ...
    def find(self, doc_class: type[Any] | None = None, /, **conditions: object) -> AsyncFileQuery[Any]:
        """Return the rows that all conditions hold for, as a query that is not sent yet; see `FileStore.find`."""
        return AsyncFileQuery(self._session, self._store.find(cast("type[object]", doc_class), **conditions))

    @overload
    async def get(self, key: object, doc_class: None = None, /) -> M: ...
    @overload
    async def get(self, key: object, doc_class: type[dict[Any, Any]], /) -> Pair: ...
    @overload
    async def get(self, key: object, doc_class: type[T], /) -> T: ...
    async def get(self, key: object, doc_class: type[Any] | None = None, /) -> object:
        """Return the row of a key; see `FileStore.get`."""
        return await self._run(lambda store: store.get(key, cast("type[object]", doc_class)))

    @overload
    async def get_many(self, keys: Iterable[object], doc_class: None = None, /) -> list[M]: ...
    @overload
    async def get_many(self, keys: Iterable[object], doc_class: type[dict[Any, Any]], /) -> list[Pair]: ...
    @overload
    async def get_many(self, keys: Iterable[object], doc_class: type[T], /) -> list[T]: ...
    async def get_many(self, keys: Iterable[object], doc_class: type[Any] | None = None, /) -> list[Any]:
        """Return the rows of keys, in the order of the keys, by one SELECT; see `FileStore.get_many`."""
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
        """Return a row, and whether it was made for this; see `FileStore.get_or_create`."""
        return await self._run(
            lambda store: store.get_or_create(cast("type[object]", doc_class), **conditions)
        )

    async def contains(self, key: object) -> bool:
        """Return whether there is a row of this key."""
        return await self._run(lambda store: key in store)

    async def count(self) -> int:
        """Count the rows."""
        return await self._run(len)

    def __bool__(self) -> bool:
        """Return whether the store is connected."""
        return bool(self._store)

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the keys, in their order."""
        for key in await self._run(lambda store: [*iter(store)]):
            yield key

    async def save(self, key: object, data: Mapping[str, object]) -> Any:  # noqa: ANN401 - as the model has it
        """Write values to the row of a key, or to a new row, and return its key; see `FileStore.save`."""
        return await self._run(lambda store: store.save(key, data))

    async def delete(self, key: object) -> None:
        """Delete the row of a key, and after the commit its content; see `FileStore.delete`."""
        await self._run(lambda store: store.delete(key))

    async def clear(self) -> int:
        """Delete all rows, and after the commit their content; return how many they were."""
        return await self._run(lambda store: store.clear())

    def condition(self, name: str, value: object) -> Condition:
        """Return the condition that a name and a value say, in SQL; see `FileStore.condition`."""
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
