"""Columns without a ledger: what still holds, and what is known to the process only."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import (
    ConcurrentFileChangeError,
    FileObject,
    FileObjectList,
    NotSupportedError,
    StoredObject,
    storages,
)
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import WrappedBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.records import file


class Base(DeclarativeBase):
    """Base of models whose columns all do without a ledger."""


class Note(Base):
    """A file and a list of files."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))
    pages: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="docs", multiple=True, ledger=False), default=list
    )


async def insert_note(driver: Driver) -> None:
    async with driver.session() as session:
        await session.run(lambda s: Base.metadata.drop_all(s.connection()))
        await session.run(lambda s: Base.metadata.create_all(s.connection()))
        session.add(Note(id=1, file=file(b"old")))
        await session.commit()


@pytest.fixture
async def note(driver: Driver, storage: StorageBackend) -> None:
    """Note 1 with the content "old"."""
    await insert_note(driver)


async def held(driver: Driver) -> bytes | None:
    async with driver.session() as session:
        found = await session.get(Note, 1)
        return None if found is None or found.file is None else await driver.content(found.file)


async def test_replaced_and_deleted_content_goes_with_the_commit(
    driver: Driver, storage: StorageBackend, note: None
) -> None:
    async with driver.session() as session:
        found = await session.one(Note, 1)
        found.file, found.pages = file(b"new"), [file(b"page")]  # type: ignore[assignment]
        await session.commit()
        assert contents() == [b"new", b"page"]
        await session.delete(found)
        await session.commit()
    assert contents() == []


async def test_a_savepoint_undoes_its_own_only(driver: Driver, storage: StorageBackend, note: None) -> None:
    async with driver.session() as session:
        session.add(Note(id=2, file=file(b"outer")))
        await session.flush()
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                (await session.one(Note, 1)).file = file(b"inner")
                await session.flush()
                raise ZeroDivisionError
        await session.commit()
    assert await held(driver) == b"old"
    assert contents() == [b"old", b"outer"]


def chosen_key(record: Keyed, file: FileObject) -> str:
    return "chosen.txt"


class Keyed(Base):
    """A file under a key that the application chooses."""

    __tablename__ = "keyed_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs", ledger=False, key_template=chosen_key)
    )


class Careless(WrappedBackend):
    """A storage that cannot create: two of its callers have found nothing there, and both put."""

    def __init__(self) -> None:
        super().__init__(ObstoreBackend("docs", "memory://"))
        self.capabilities = replace(self.capabilities, creates_atomically=False)

    def put(self, key: str, chunks: Iterable[bytes], *, mode: PutMode = "create", **options: Any) -> Stat:
        return super().put(key, chunks, mode="overwrite", **options)

    async def put_async(
        self, key: str, chunks: AsyncIterable[bytes], *, mode: PutMode = "create", **options: Any
    ) -> Stat:
        return await super().put_async(key, chunks, mode="overwrite", **options)


async def test_a_chosen_key_is_refused_where_another_transaction_could_overwrite_it(driver: Driver) -> None:
    storages.register_backend(Careless())
    await insert_note(driver)
    async with driver.session() as session:
        session.add(Keyed(id=1, file=file(b"kept")))
        with pytest.raises(NotSupportedError, match=r"chosen\.txt"):
            await session.flush()
        await session.rollback()
    assert contents() == [b"old"]


async def test_a_refused_removal_is_only_logged(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    faulty = storages.register_backend(FailingStorage())
    await insert_note(driver)
    faulty.fail_deletes = True
    async with driver.session() as session:
        (await session.one(Note, 1)).file = file(b"new")
        await session.commit()
    assert await held(driver) == b"new"
    assert contents() == [b"new", b"old"]
    assert "until the next sweep" in caplog.text


@pytest.mark.parametrize("driver", ["sync-file", "async-file"], indirect=True)
async def test_a_commit_without_an_answer_deletes_nothing(
    driver: Driver,
    storage: StorageBackend,
    note: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = driver.engine  # type: ignore[attr-defined]
    dialect = engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: object) -> None:
        commit(connection)
        monkeypatch.undo()
        raise sqlite3.OperationalError("the connection was lost")

    async with driver.session() as session:
        (await session.one(Note, 1)).file = file(b"new")
        monkeypatch.setattr(dialect, "do_commit", do_commit)
        with pytest.raises(OperationalError):
            await session.commit()
        await session.rollback()
    assert await held(driver) == b"new"
    assert contents() == [b"new", b"old"]
    assert "COMMIT was sent and not answered" in caplog.text


async def test_of_two_sessions_one_wins(driver: Driver, storage: StorageBackend, note: None) -> None:
    async with driver.session() as session:
        stale = await session.one(Note, 1)
    async with driver.session() as session:
        (await session.one(Note, 1)).file = file(b"first")
        await session.commit()
    async with driver.session() as session:
        session.add(stale)
        stale.file = file(b"second")
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
    assert await held(driver) == b"first"
    assert contents() == [b"first"]
