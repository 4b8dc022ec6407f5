"""Each write method of advanced-alchemy's repositories and services leaves rows and objects in agreement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

import pytest
from advanced_alchemy.filters import CollectionFilter
from advanced_alchemy.repository import SQLAlchemyAsyncRepository, SQLAlchemySyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService, SQLAlchemySyncRepositoryService

from filecolumn import FileObject, NotSupportedError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import AsyncDriverSession, Driver, DriverSession, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held, insert_files


class SyncRepository(SQLAlchemySyncRepository[Any]):
    model_type = Document


class AsyncRepository(SQLAlchemyAsyncRepository[Any]):
    model_type = Document


class SyncService(SQLAlchemySyncRepositoryService[Any, Any]):
    repository_type = SyncRepository


class AsyncService(SQLAlchemyAsyncRepositoryService[Any, Any]):
    repository_type = AsyncRepository


Call = Callable[..., Any]
Open = Callable[[DriverSession], Any]


def repository(session: DriverSession) -> Any:
    if isinstance(session, AsyncDriverSession):
        return AsyncRepository(session=session.session)
    return SyncRepository(session=session.sync)


def service(session: DriverSession) -> Any:
    if isinstance(session, AsyncDriverSession):
        return AsyncService(session=session.session)
    return SyncService(session=session.sync)


@pytest.fixture(params=[repository, service])
def face(request: pytest.FixtureRequest) -> Open:
    """The repository and the service have the same methods."""
    opened: Open = request.param
    return opened


@asynccontextmanager
async def opened(driver: Driver, face: Open) -> AsyncIterator[Any]:
    """Give a repository or service whose work is committed at the end."""
    async with driver.session() as session:
        yield face(session)
        await session.commit()


async def done(result: Any) -> Any:
    return await result if isawaitable(result) else result


def document(number: int, body: bytes, **more: Any) -> Document:
    return Document(id=number, title="", file=file(body), **more)


async def test_add(driver: Driver, storage: StorageBackend, face: Open) -> None:
    async with opened(driver, face) as documents:
        add = documents.create if face is service else documents.add
        added = await done(add(document(1, b"one")))
        assert added.file.size == 3
    await agree(driver, {1: b"one"})


async def test_add_many(driver: Driver, storage: StorageBackend, face: Open) -> None:
    async with opened(driver, face) as documents:
        add_many = documents.create_many if face is service else documents.add_many
        await done(add_many([document(1, b"one"), document(2, b"two")]))
    await agree(driver, {1: b"one", 2: b"two"})


async def test_update(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two")
    async with opened(driver, face) as documents:
        await done(documents.update(document(1, b"new")))
    await agree(driver, {1: b"new", 2: b"two"})


async def test_update_many(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    async with opened(driver, face) as documents:
        changed = await done(documents.update_many([document(1, b"new one"), document(2, b"new two")]))
        assert [each.file.size for each in changed] == [7, 7]
    await agree(driver, {1: b"new one", 2: b"new two", 3: b"three"})


async def test_update_many_of_loaded_instances(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two")
    before = set(stored())
    async with opened(driver, face) as documents:
        one, two = [await done(documents.get(number)) for number in (1, 2)]
        one.title = "changed"
        two.file = file(b"new two")
        await done(documents.update_many([one, two]))
    await agree(driver, {1: b"one", 2: b"new two"})
    assert len(before & set(stored())) == 1


async def test_update_many_with_one_file_gives_copies(
    driver: Driver, storage: StorageBackend, face: Open
) -> None:
    await insert_files(driver, b"one", b"two")
    shared = file(b"shared")
    async with opened(driver, face) as documents:
        await done(documents.update_many([{"id": 1, "file": shared}, {"id": 2, "file": shared}]))
    await agree(driver, {1: b"shared", 2: b"shared"})


async def test_upsert(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one")
    async with opened(driver, face) as documents:
        await done(documents.upsert(document(1, b"new one")))
        await done(documents.upsert(document(2, b"two")))
    await agree(driver, {1: b"new one", 2: b"two"})


@pytest.mark.parametrize("no_merge", [True, False])
async def test_upsert_many(driver: Driver, storage: StorageBackend, face: Open, no_merge: bool) -> None:
    await insert_files(driver, b"one", b"two")
    async with opened(driver, face) as documents:
        rows = [document(1, b"new one"), document(3, b"three")]
        await done(documents.upsert_many(rows, no_merge=no_merge))
    await agree(driver, {1: b"new one", 2: b"two", 3: b"three"})


async def test_upsert_many_with_a_file_of_another_row(
    driver: Driver, storage: StorageBackend, face: Open
) -> None:
    await insert_files(driver, b"one", b"two")
    async with opened(driver, face) as documents:
        given = (await done(documents.get(1))).file
        rows = [Document(id=2, title="", file=given, pages=[]), document(3, b"three")]
        await done(documents.upsert_many(rows))
    await agree(driver, {1: b"one", 2: b"one", 3: b"three"})


async def test_delete(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two")
    async with opened(driver, face) as documents:
        await done(documents.delete(1))
    await agree(driver, {2: b"two"})


async def test_delete_many(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    async with opened(driver, face) as documents:
        gone = await done(documents.delete_many([1, 2]))
        assert sorted(each.id for each in gone) == [1, 2]
    await agree(driver, {3: b"three"})


async def test_delete_many_in_chunks(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    async with opened(driver, face) as documents:
        await done(documents.delete_many([1, 2, 3], chunk_size=1))
    await agree(driver, {})


async def test_delete_where(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    async with opened(driver, face) as documents:
        await done(documents.delete_where(CollectionFilter("id", [1, 3])))
    await agree(driver, {2: b"two"})


async def test_delete_where_by_a_condition(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one", b"two")
    async with opened(driver, face) as documents:
        await done(documents.delete_where(Document.id > 1, title=""))
    await agree(driver, {1: b"one"})


async def test_get_or_upsert(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one")
    async with opened(driver, face) as documents:
        for number, body in ((1, b"new one"), (2, b"two")):
            new: FileObject = file(body)
            _, created = await done(
                documents.get_or_upsert(match_fields=["id"], id=number, title="", file=new)
            )
            assert created is (number == 2)
    await agree(driver, {1: b"new one", 2: b"two"})


async def test_get_and_update(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one")
    async with opened(driver, face) as documents:
        await done(documents.get_and_update(match_fields=["id"], id=1, file=file(b"new")))
    await agree(driver, {1: b"new"})


async def test_what_is_undone_leaves_rows_and_content(
    driver: Driver, storage: StorageBackend, face: Open
) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    async with driver.session() as session:
        documents = face(session)
        await done(documents.update_many([document(1, b"new one")]))
        await done(documents.upsert_many([document(2, b"new two"), document(4, b"four")]))
        await done(documents.delete_many([3]))
        await session.rollback()
    await agree(driver, {1: b"one", 2: b"two", 3: b"three"})


async def test_two_files_for_one_row_are_refused(driver: Driver, storage: StorageBackend, face: Open) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        with pytest.raises(NotSupportedError):
            await done(face(session).update_many([document(1, b"a"), document(1, b"b")]))
        await session.rollback()
    assert await held(driver) == {1: b"one"}
    assert contents() == [b"one"]
