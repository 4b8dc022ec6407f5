"""Scoped sessions and the legacy bulk methods of a session."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import scoped_session, sessionmaker

from filecolumn import PendingContentError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file


async def test_scoped_sessions(driver: Driver, storage: StorageBackend) -> None:
    if isinstance(driver, AsyncDriver):
        tasks = async_scoped_session(async_sessionmaker(driver.engine), asyncio.current_task)
        tasks.add(Document(id=1, file=file(b"one")))
        await tasks.commit()
        tasks.add(Document(id=2, file=file(b"never")))
        await tasks.flush()
        await tasks.remove()
    elif isinstance(driver, SyncDriver):
        threads = scoped_session(sessionmaker(driver.engine))
        threads.add(Document(id=1, file=file(b"one")))
        threads.commit()
        threads.add(Document(id=2, file=file(b"never")))
        threads.flush()
        threads.remove()
    await agree(driver, {1: b"one"})


async def test_the_legacy_bulk_save_refuses_what_is_not_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        documents = [Document(id=1), Document(id=2, file=file(b"never"))]
        with pytest.raises((PendingContentError, StatementError)) as caught:
            await session.run(lambda s: s.bulk_save_objects(documents))
        assert isinstance(caught.value, PendingContentError) or isinstance(
            caught.value.__cause__, PendingContentError
        )
    await agree(driver, {})


async def test_the_legacy_bulk_save_refuses_what_is_only_saved(
    driver: Driver, storage: StorageBackend
) -> None:
    saved = await driver.save(file(b"never"))
    async with driver.session() as session:
        with pytest.raises(PendingContentError, match="no session has attached it"):
            await session.run(lambda s: s.bulk_save_objects([Document(id=1, file=saved)]))
        await session.rollback()
    await driver.delete(saved)
    await agree(driver, {})


async def test_a_session_with_the_info_of_another_keeps_its_own_files(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as first:
        first.add(Document(id=1, file=file(b"one")))
        await first.commit()
        info = await first.run(lambda s: dict(s.info))
        async with driver.session() as second:
            await second.run(lambda s: s.info.update(info))
            second.add(Document(id=2, file=file(b"never")))
            await second.flush()
            first.add(Document(id=3, file=file(b"three")))
            await second.rollback()
            await first.commit()
    await agree(driver, {1: b"one", 3: b"three"})
