"""Rows and objects agree at every end that a transaction can have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, inspect, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from filecolumn import FileObject, PendingContentError, SourceConsumedError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import (
    AsyncDriverSession,
    Driver,
    DriverSession,
    SyncSession,
    contents,
    stored,
    use_real_savepoints,
)
from tests.scenarios.models import Base, Document, Strict


def file(content: bytes, name: str = "a.txt") -> FileObject:
    return FileObject(name, content=content)


async def held(driver: Driver) -> dict[int, bytes | None]:
    """Return what committed rows hold, read by a session of its own."""
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document)).all())
        return {
            document.id: None if document.file is None else await driver.content(document.file)
            for document in documents
        }


async def agree(driver: Driver, expected: dict[int, bytes | None]) -> None:
    """Assert that rows hold *expected* and storages nothing else."""
    assert await held(driver) == expected
    assert contents() == sorted(content for content in expected.values() if content is not None)


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1 with the content "old"."""
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"old")))
        await session.commit()


# Ends without a commit


async def test_exception_in_the_block_removes_what_was_stored(driver: Driver, committed: None) -> None:
    with suppress(ZeroDivisionError):
        async with driver.session() as session:
            (await session.one(Document, 1)).file = file(b"new")
            await session.flush()
            assert contents() == [b"new", b"old"]
            raise ZeroDivisionError
    await agree(driver, {1: b"old"})


async def test_close_without_commit_removes_what_was_stored(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = file(b"new")
        session.add(Document(id=2, file=file(b"second")))
        await session.flush()
        await session.close()
        await agree(driver, {1: b"old"})


async def test_rollback_of_a_delete_keeps_the_content(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        await session.delete(document)
        await session.flush()
        await session.rollback()
        await session.refresh(document)
        assert await driver.content(document.file) == b"old"
    await agree(driver, {1: b"old"})


async def test_content_is_stored_again_after_a_rollback(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"again"))
        session.add(document)
        await session.flush()
        first = document.file.path
        await session.rollback()
        assert contents() == []
        assert document.file.has_pending_data
        session.add(document)
        await session.commit()
        assert document.file.path != first
    await agree(driver, {1: b"again"})


async def test_content_read_once_is_gone_after_a_rollback(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=FileObject("a.txt", content=iter([b"on", b"ce"])))
        session.add(document)
        await session.flush()
        await session.rollback()
        session.add(document)
        with pytest.raises(SourceConsumedError, match="assign it again"):
            await session.commit()
        await session.rollback()
        document.file = file(b"healed")
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"healed"})


async def test_refused_row_leaves_no_content(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(b"new")) for number in (1, 2, 3)))
        with pytest.raises(IntegrityError):
            await session.commit()
        await session.rollback()
        await agree(driver, {1: b"old"})
        session.add(Document(id=2, file=file(b"works again")))
        await session.commit()
    await agree(driver, {1: b"old", 2: b"works again"})


async def test_error_of_the_users_own_listener_leaves_no_content(driver: Driver, committed: None) -> None:
    def fail(session: Session, context: object) -> None:
        raise ZeroDivisionError

    async with driver.session() as session:
        event.listen(session.sync, "after_flush", fail)
        (await session.one(Document, 1)).file = file(b"new")
        with pytest.raises(ZeroDivisionError):
            await session.commit()
        await session.rollback()
        event.remove(session.sync, "after_flush", fail)
        await agree(driver, {1: b"old"})


async def test_session_without_autobegin(driver: Driver, committed: None) -> None:
    async with driver.session(autobegin=False) as session:
        await session.run(lambda s: s.begin())
        document = await session.one(Document, 1)
        document.file = file(b"new")
        await session.commit()
        with pytest.raises(InvalidRequestError):
            document.file = file(b"outside")
    await agree(driver, {1: b"new"})


# Savepoints


async def test_released_savepoint_waits_for_the_outer_end(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        async with session.begin_nested():
            document.file = file(b"new")
        assert contents() == [b"new", b"old"]
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_rolled_back_savepoint_takes_only_its_own(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        session.add(Document(id=2, file=file(b"outer")))
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                session.add(Document(id=3, file=file(b"inner")))
                (await session.one(Document, 1)).file = file(b"replaced")
                await session.flush()
                raise ZeroDivisionError
        assert contents() == [b"old", b"outer"]
        await session.commit()
    await agree(driver, {1: b"old", 2: b"outer"})


@pytest.mark.parametrize("middle_is_kept", [True, False])
@pytest.mark.parametrize("root_is_kept", [True, False])
async def test_savepoints_in_savepoints(
    driver: Driver, committed: None, middle_is_kept: bool, root_is_kept: bool
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                document.file = file(b"middle")
                async with session.begin_nested():
                    document.file = file(b"innermost")
                with suppress(ZeroDivisionError):
                    async with session.begin_nested():
                        await session.delete(document)
                        await session.flush()
                        raise ZeroDivisionError
                if not middle_is_kept:
                    raise ZeroDivisionError
        await (session.commit() if root_is_kept else session.rollback())
    await agree(driver, {1: b"innermost" if middle_is_kept and root_is_kept else b"old"})


async def test_delete_in_a_rolled_back_savepoint_then_replace(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                document.file = None
                await session.flush()
                raise ZeroDivisionError
        await session.refresh(document)
        document.file = file(b"new")
        await session.commit()
    await agree(driver, {1: b"new"})


async def test_a_list_that_is_kept_over_an_undone_savepoint_can_be_changed(
    driver: Driver, committed: None
) -> None:
    async with driver.session() as session:
        (await session.one(Document, 1)).pages = [file(b"first"), file(b"second")]
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        pages = document.pages
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                pages.pop()
                await session.flush()
                pages.append(file(b"undone"))
                async with session.begin_nested():
                    pages.reverse()
                raise ZeroDivisionError
        del pages[:]
        pages.append(file(b"third"))
        await session.commit()
    assert contents() == [b"old", b"third"]


async def test_file_of_an_undone_savepoint_can_be_used_outside(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document, wanted = await session.one(Document, 1), file(b"wanted")
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                document.file = wanted
                await session.flush()
                raise ZeroDivisionError
        await session.refresh(document)
        document.file = wanted
        await session.commit()
    await agree(driver, {1: b"wanted"})


async def test_staged_file_survives_the_savepoint_that_attached_it(driver: Driver, committed: None) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with suppress(ZeroDivisionError):
            async with session.begin_nested():
                document.file = staged
                await session.flush()
                raise ZeroDivisionError
        assert contents() == [b"old", b"staged"]
        await session.refresh(document)
        document.file = staged
        await session.commit()
    await agree(driver, {1: b"staged"})


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_sqlite_without_the_savepoint_recipe_never_dangles(
    end: str, storage: StorageBackend, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/stock.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Document(id=1, file=file(b"old")))
        session.commit()
        with session.begin_nested():
            session.get_one(Document, 1).file = file(b"new")
        with suppress(ZeroDivisionError), session.begin_nested():
            session.add(Document(id=2, file=file(b"second")))
            session.flush()
            raise ZeroDivisionError
        getattr(session, end)()
    with Session(engine) as session:
        for document in session.scalars(select(Document)):
            assert document.file.get_content() in {b"old", b"new"}
    engine.dispose()


# Ends that the session does not decide, or does not learn


@asynccontextmanager
async def joined(driver: Driver) -> AsyncIterator[DriverSession]:
    """Open a session inside a transaction of somebody else, who rolls back."""
    if driver.is_async:
        async with driver.engine.connect() as connection:  # type: ignore[attr-defined]
            outer = await connection.begin()
            async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
                yield AsyncDriverSession(session)
            await outer.rollback()
    else:
        with driver.engine.connect() as connection:  # type: ignore[attr-defined]
            outer = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                yield SyncSession(session)
            outer.rollback()


async def test_session_in_somebody_elses_transaction_removes_nothing(driver: Driver, committed: None) -> None:
    async with joined(driver) as session:
        (await session.one(Document, 1)).file = file(b"new")
        await session.commit()
        assert contents() == [b"new", b"old"]
    assert await held(driver) == {1: b"old"}


async def test_commit_without_an_answer_is_asked_for_and_concluded(
    driver: Driver, committed: None, lost_answer: None
) -> None:
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        with pytest.raises(OperationalError):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: b"new"})


def test_constraint_that_fails_at_commit_leaves_nothing_dangling(
    storage: StorageBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite checks a deferred constraint when it is asked to commit."""
    engine = create_engine(f"sqlite:///{tmp_path}/pins.db")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    use_real_savepoints(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(
            text("CREATE TABLE pins (id INTEGER REFERENCES documents DEFERRABLE INITIALLY DEFERRED)")
        )
        session.add(Document(id=1, file=file(b"old")))
        session.commit()
        session.get_one(Document, 1).file = file(b"new")
        session.execute(text("INSERT INTO pins VALUES (99)"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert session.get_one(Document, 1).file.get_content() == b"old"
    assert contents() == [b"old"]
    assert not caplog.records
    engine.dispose()


# Storages that fail


class Failing(ObstoreBackend):
    """Refuses content that says so, and deletions when told to."""

    refuses_deletions = False

    def put(self, key: str, chunks: Iterable[bytes], **options):  # type: ignore[no-untyped-def]
        return super().put(key, _checked(chunks), **options)

    async def put_async(self, key, chunks, **options):  # type: ignore[no-untyped-def]
        if hasattr(chunks, "__aiter__"):
            return await super().put_async(key, _checked_async(chunks), **options)
        return await super().put_async(key, _checked(chunks), **options)

    def delete(self, keys: Iterable[str]) -> None:
        if self.refuses_deletions:
            raise StorageError("deleting is refused")
        super().delete(keys)

    async def delete_async(self, keys: Iterable[str]) -> None:
        if self.refuses_deletions:
            raise StorageError("deleting is refused")
        await super().delete_async(keys)


def _checked(chunks: Iterable[bytes]):  # type: ignore[no-untyped-def]
    for chunk in chunks:
        if chunk == b"refused":
            raise StorageError("no space left")
        yield chunk


async def _checked_async(chunks):  # type: ignore[no-untyped-def]
    async for chunk in chunks:
        if chunk == b"refused":
            raise StorageError("no space left")
        yield chunk


@pytest.fixture
def failing() -> Failing:
    return storages.register_backend(Failing("docs", "memory://"))


@pytest.mark.parametrize("position", [0, 7, 19])
async def test_one_of_many_uploads_fails(driver: Driver, failing: Failing, position: int) -> None:
    async with driver.session() as session:
        bodies = [b"refused" if index == position else b"fine" for index in range(20)]
        documents = [Document(id=index + 1, file=file(body)) for index, body in enumerate(bodies)]
        session.add(*documents)
        with pytest.raises(StorageError, match="no space left"):
            await session.commit()
        await session.rollback()
        await agree(driver, {})
        assert all(document.file.has_pending_data for document in documents)
        documents[position].file = file(b"fine")
        session.add(*documents)
        await session.commit()
    await agree(driver, {index + 1: b"fine" for index in range(20)})


async def test_failure_inside_a_savepoint_leaves_the_outer_work(driver: Driver, failing: Failing) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"outer")))
        await session.flush()
        with pytest.raises(StorageError):
            async with session.begin_nested():
                session.add(Document(id=2, file=file(b"refused")))
                await session.flush()
        await session.commit()
    await agree(driver, {1: b"outer"})


async def test_refused_deletion_after_a_rollback_does_not_hide_the_error(
    driver: Driver, failing: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    failing.refuses_deletions = True
    with pytest.raises(ZeroDivisionError):
        async with driver.session() as session:
            session.add(Document(id=1, file=file(b"unwanted")))
            await session.flush()
            raise ZeroDivisionError
    assert await held(driver) == {}
    [key] = stored()
    assert key in caplog.text


async def test_nothing_is_stored_for_a_flush_that_cannot_succeed(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(b"fine")) for number in (1, 2, 3)))
        session.add(Strict(id=1, file=FileObject("empty.txt")))
        with pytest.raises(PendingContentError):
            await session.flush()
        assert contents() == []
        assert all(inspect(instance).transient or inspect(instance).pending for instance in session.sync.new)
