"""One face for a store and its twin, so that each scenario is written once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any

from sqlalchemy import Engine, event

from filecolumn.query import AsyncFileQuery, AsyncFileStore, FileQuery, FileStore
from tests.scenarios.drivers import AsyncDriverSession, DriverSession

__all__ = (
    "Query",
    "Store",
    "got",
    "has",
    "ids",
    "is_any",
    "item",
    "keys",
    "length",
    "statements",
    "store_of",
)

Store = FileStore[Any] | AsyncFileStore[Any]
Query = FileQuery[Any] | AsyncFileQuery[Any]


def store_of(session: DriverSession, target: Any, **options: Any) -> Store:
    if isinstance(session, AsyncDriverSession):
        return AsyncFileStore(session.session, target, **options)
    return FileStore(session.sync, target, **options)


async def got(value: Any) -> Any:
    """Return what a call returned, or is awaited for."""
    return await value if isawaitable(value) else value


async def ids(query: Query) -> list[int]:
    return [record.id for record in await got(query.all())]


async def item(query: Query, index: int | slice) -> Any:
    return query[index] if isinstance(query, FileQuery) else await query.get(index)


async def is_any(query: Query) -> bool:
    return bool(query) if isinstance(query, FileQuery) else await query.exists()


async def length(store: Store) -> int:
    return len(store) if isinstance(store, FileStore) else await store.count()


async def has(store: Store, key: object) -> bool:
    return key in store if isinstance(store, FileStore) else await store.contains(key)


async def iterated(things: Any) -> AsyncIterator[Any]:
    if isinstance(things, FileStore | FileQuery):
        for each in things:
            yield each
    else:
        async for each in things:
            yield each


async def keys(things: Any) -> list[Any]:
    return [each async for each in iterated(things)]


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that are sent."""
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *others: object) -> None:
        if statement != "BEGIN":
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
