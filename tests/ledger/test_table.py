"""What the ledger says of each key, and what it forbids."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, delete, event, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import (
    ConcurrentFileChangeError,
    FileObject,
    MissingLedgerError,
    ObjectExistsError,
    StaleUploadError,
    StorageError,
    StoredObject,
    storages,
)
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.ledger.table import State, ledger_of, now_ms
from filecolumn.testing import WrappedBackend
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.fixtures import ON_SQLITE
from tests.scenarios.models import Base, Document
from tests.scenarios.records import agree, file, held, insert_files, insert_raw, put_raw, raw_file

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table


async def states(driver: Driver) -> dict[str, State]:
    """Return what the ledger says, by key."""
    async with driver.session() as session:
        rows = await session.execute(select(TABLE.c.key, TABLE.c.state))
        return {str(key): State(state) for key, state in rows}


async def claim(driver: Driver, key: str) -> None:
    """Doom a key as a sweep does that found its object without a row."""
    async with driver.session() as session:
        row = {"backend": "docs", "key": key, "state": State.DOOMED.value, "checked": False, "attempts": 0}
        await session.execute(insert(TABLE).values(created_at=now_ms(), due_at=now_ms(), **row))
        await session.commit()


def engine_of(driver: Driver) -> Engine:
    engine = driver.engine  # type: ignore[attr-defined]
    return engine.sync_engine if driver.is_async else engine


@contextmanager
def statements(driver: Driver) -> Iterator[list[str]]:
    """Note the statements that write."""
    noted: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            noted.append(statement)

    event.listen(engine_of(driver), "before_cursor_execute", note)
    yield noted
    event.remove(engine_of(driver), "before_cursor_execute", note)


# States


@pytest.mark.usefixtures("recorded_at_once")
async def test_a_key_is_live_then_gone_with_its_row(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    one, two = (
        next(key for key, content in stored().items() if content == body) for body in (b"one", b"two")
    )
    assert await states(driver) == {one: State.LIVE, two: State.LIVE}
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        (await session.one(Document, 2)).file = file(b"new")
        await session.commit()
    [new] = stored()
    assert await states(driver) == {one: State.GONE, two: State.GONE, new: State.LIVE}


async def test_a_savepoint_takes_its_entries_back(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    [one] = stored()
    async with driver.session() as session:
        session.add(Document(id=2, file=file(b"two")))
        await session.flush()
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                await session.delete(await session.one(Document, 1))
                session.add(Document(id=3, file=file(b"three")))
                await session.flush()
                raise ZeroDivisionError
        await session.commit()
    await agree(driver, {1: b"one", 2: b"two"})
    assert set(await states(driver)) == set(stored())
    assert (await states(driver))[one] is State.LIVE


async def test_a_rollback_leaves_no_entry(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"never")))
        await session.flush()
        await session.rollback()
    assert await states(driver) == {}


async def test_what_a_later_listener_replaced_is_not_recorded(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:

        def replace(*_: object) -> None:
            document.file = file(b"second")

        document = Document(id=1, file=file(b"first"))
        event.listen(session.sync, "before_flush", replace)
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"second"})
    assert await states(driver) == dict.fromkeys(stored(), State.LIVE)


# Removal that does not succeed at once


async def test_a_refused_delete_is_recorded_and_done_later(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = storages.register_backend(FailingStorage())
    await insert_files(driver, b"old")
    [old] = stored()
    faulty.fail_deletes = True
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        await session.commit()
        entry = (await session.execute(select(TABLE).where(TABLE.c.key == old))).one()
    assert (entry.state, entry.attempts) == (State.DOOMED, 1)
    assert "deleting is refused" in str(entry.last_error)
    assert entry.due_at > entry.created_at
    assert old in caplog.text
    assert (await driver.drain()).deleted == 0, "it is not due yet"
    faulty.fail_deletes = False
    await make_due(driver)
    assert (await driver.drain()).deleted == 1
    await agree(driver, {1: b"new"})
    assert (await states(driver))[old] is State.GONE


async def make_due(driver: Driver) -> None:
    async with driver.session() as session:
        await session.execute(update(TABLE).values(due_at=0))
        await session.commit()


async def test_a_drain_tries_again_at_growing_intervals(driver: Driver) -> None:
    faulty = storages.register_backend(FailingStorage())
    await insert_files(driver, b"old")
    faulty.fail_deletes = True
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    for attempts in (2, 3, 4):
        await make_due(driver)
        assert (await driver.drain()).refused == 1
        async with driver.session() as session:
            entry = (await session.execute(select(TABLE, now_ms().label("now")))).one()
        assert entry.attempts == attempts
        assert 2.5 * 2 ** (attempts - 1) - 1 <= (entry.due_at - entry.now) / 1000 <= 5 * 2 ** (attempts - 1)


async def test_retention_leaves_removal_to_a_drain(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "retention", 3600.0)
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        await session.commit()
    assert (await driver.drain()).deleted == 0
    assert contents() == [b"new", b"old"]
    await make_due(driver)
    assert (await driver.drain()).deleted == 1
    await agree(driver, {1: b"new"})


# The fence


async def test_a_file_that_a_sweep_has_claimed_cannot_be_attached(
    driver: Driver, storage: StorageBackend
) -> None:
    staged = await driver.save(file(b"staged"))
    assert staged.path is not None
    await claim(driver, staged.path)
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        with pytest.raises(StaleUploadError, match="sweep"):
            await session.commit()
        await session.rollback()
    await agree_after_drain(driver, {})


class OtherBase(DeclarativeBase):
    """Base of a model whose ledger was never created."""


class Legacy(OtherBase):
    __tablename__ = "legacy"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
async def test_rows_without_files_need_no_ledger(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    async with driver.session() as session:
        await session.execute(text("DROP TABLE filecolumn_ledger"))
        await session.execute(text("DROP TABLE filecolumn_meta"))
        await session.run(lambda sync: OtherBase.metadata.tables["legacy"].create(sync.connection()))
        session.add(Legacy(id=1), Legacy(id=2))
        await session.commit()
        (await session.one(Legacy, 1)).title = "new"
        await session.delete(await session.one(Legacy, 2))
        await session.commit()
        await session.execute(delete(Legacy))
        await session.commit()
        session.add(Legacy(id=3, file=file(b"x")))
        with pytest.raises(MissingLedgerError):
            await session.commit()


class Swept(WrappedBackend):
    """A storage whose uploads take so long that a sweep finds them first."""

    def __init__(self, database: str) -> None:
        super().__init__(ObstoreBackend("docs", "memory://"))
        self.engine = create_engine(f"sqlite:///{database}")
        self.is_slow = False

    def _sweep(self, key: str) -> None:
        if self.is_slow:
            row = {
                "backend": "docs",
                "key": key,
                "state": State.DOOMED.value,
                "checked": False,
                "attempts": 0,
            }
            with self.engine.begin() as connection:
                connection.execute(insert(TABLE).values(created_at=now_ms(), due_at=now_ms(), **row))

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        stat = super().put(key, chunks, **options)
        self._sweep(key)
        return stat

    async def put_async(self, key: str, chunks: AsyncIterable[bytes], **options: Any) -> Stat:
        stat = await super().put_async(key, chunks, **options)
        self._sweep(key)
        return stat


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
async def test_an_upload_that_a_sweep_has_claimed_says_so_and_what_to_do(driver: Driver) -> None:
    swept = storages.register_backend(Swept(str(driver.sync_engine.url.database)))
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"first")))
        await session.commit()
    swept.is_slow = True
    async with driver.session() as session:
        session.add(Document(id=2, file=file(b"slow")))
        with pytest.raises(StaleUploadError, match=r"sweep.*store the file again.*grace"):
            await session.commit()
        await session.rollback()
    swept.engine.dispose()
    await agree_after_drain(driver, {1: b"first"})


async def test_a_key_is_used_once(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=FileObject("a", content=b"one", to_filename="chosen.txt"))
        session.add(document)
        await session.commit()
        document.file = None
        await session.commit()
        assert contents() == []
        document.file = FileObject("a", content=b"two", to_filename="chosen.txt")
        with pytest.raises(ObjectExistsError, match=r"chosen\.txt"):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: None})


@pytest.mark.parametrize("state", [State.DOOMED, State.GONE])
async def test_what_is_doomed_cannot_be_kept(driver: Driver, storage: StorageBackend, state: State) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        await session.execute(update(TABLE).values(state=state.value))
        await session.commit()
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"a": 1})
        with pytest.raises(ConcurrentFileChangeError, match="retry"):
            await session.commit()
        await session.rollback()
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert await held(driver) == {}


async def agree_after_drain(driver: Driver, expected: dict[int, bytes | None]) -> None:
    await driver.drain()
    await agree(driver, expected)


# Rows from before the ledger


ROW = {"filename": "shared.txt", "backend": "docs", "content_type": "text/plain", "size": 6}


async def insert_shared(driver: Driver, storage: StorageBackend) -> None:
    """Two rows of advanced-alchemy's, with one object."""
    storage.put("shared.txt", [b"shared"])
    await insert_raw(driver, ROW)
    async with driver.session() as session:
        await session.execute(text("INSERT INTO documents SELECT 2, title, file, pages, scan FROM documents"))
        await session.commit()


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "in one flush"])
async def test_a_shared_object_goes_with_its_last_row(
    driver: Driver, storage: StorageBackend, together: bool
) -> None:
    await insert_shared(driver, storage)
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        if not together:
            await session.commit()
            assert (await driver.drain()).restored == 1
            assert contents() == [b"shared"]
        await session.delete(await session.one(Document, 2))
        await session.commit()
    assert contents() == [b"shared"], "looked up by a drain, not by the commit"
    await agree_after_drain(driver, {})


async def test_a_shared_object_that_one_row_keeps_is_not_deleted_for_another(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_shared(driver, storage)
    async with driver.session() as session:
        kept, other = await session.one(Document, 1), await session.one(Document, 2)
        assert kept.file is not None
        kept.file.update_metadata({"kept": True})
        await session.commit()
        await session.delete(other)
        await session.commit()
    await driver.drain()
    await agree(driver, {1: b"shared"})


async def test_a_shared_object_is_found_in_lists(driver: Driver, storage: StorageBackend) -> None:
    await insert_shared(driver, storage)
    await put_raw(driver, json.dumps([await raw_file(driver, 2)]), column="pages", number=2)
    async with driver.session() as session:
        await session.execute(text("UPDATE documents SET file = NULL WHERE id = 2"))
        await session.commit()
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert (await driver.drain()).restored == 1
    assert contents() == [b"shared"]


async def test_a_drain_reads_past_rows_that_nobody_can_read(driver: Driver, storage: StorageBackend) -> None:
    await insert_shared(driver, storage)
    # only SQLite takes what is no JSON at all
    await put_raw(driver, "no JSON" if driver.dialect == "sqlite" else '"no object"', number=2)
    await put_raw(driver, '{"no": "list"}', column="pages", number=2)
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    assert (await driver.drain()).deleted == 1
    assert contents() == []


@pytest.mark.usefixtures("recorded_at_once")
async def test_an_alias_finds_the_entries_of_its_old_name(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    storages.unregister_backend("docs")
    storages.register_backend(storage)
    async with driver.session() as session:
        # as if written when the storage had another name
        await session.execute(update(TABLE).values(backend="old"))
        await session.commit()
    for number in (1, 2):
        await put_raw(driver, json.dumps({**await raw_file(driver, number), "backend": "old"}), number=number)
    storages.alias("old", to="docs")
    async with driver.session() as session:
        first, second = await session.one(Document, 1), await session.one(Document, 2)
        assert first.file is not None
        first.file.update_metadata({"kept": True})
        second.file = None
        await session.commit()
    await agree(driver, {1: b"one", 2: None})
    assert sorted((await states(driver)).values()) == [State.LIVE, State.GONE]


# Economy


async def test_fifty_files_cost_one_statement(driver: Driver, storage: StorageBackend) -> None:
    # the first file of a process registers its column and its storage
    await insert_files(driver, b"first")
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(b"%d" % number)) for number in range(2, 52)))
        with statements(driver) as noted:
            await session.commit()
    assert [statement.split()[2] for statement in noted] == ["filecolumn_ledger", "documents"]


@pytest.mark.usefixtures("recorded_at_once")
async def test_removal_costs_one_request_and_two_statements(driver: Driver) -> None:
    storage = storages.register_backend(FailingStorage())
    await insert_files(driver, *(b"%d" % number for number in range(50)))
    calls: list[int] = []
    delete = storage.delete
    storage.delete = lambda keys: calls.append(len(list(keys))) or delete(keys)  # type: ignore[method-assign,func-returns-value]
    async with driver.session() as session:
        for number in range(1, 51):
            await session.delete(await session.one(Document, number))
        with statements(driver) as noted:
            await session.commit()
    doomed, *gone = (statement for statement in noted if "filecolumn_ledger" in statement)
    assert len(gone) == 1
    # of a list of keys PostgreSQL would read more than these, and MariaDB lock more
    assert (" IN (" in gone[0]) is (driver.dialect == "sqlite")
    assert noted.index(doomed) < noted.index(gone[0])
    if not driver.is_async:
        assert calls == [50]


# What goes without


def test_a_missing_table_is_named_with_its_remedy(storage: StorageBackend, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/bare.db")
    Base.metadata.create_all(engine, tables=[Base.metadata.tables["documents"]])
    with Session(engine) as session:
        session.add(Document(id=1, file=file(b"never")))
        with pytest.raises(MissingLedgerError, match=r"create_all.*Alembic.*ledger=False"):
            session.commit()
        session.rollback()
    assert contents() == []
    engine.dispose()


def test_the_ledger_follows_the_schema_and_comes_once() -> None:
    class Own(DeclarativeBase):
        metadata = MetaData(schema="files")

    class One(Own):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
        other: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))

    assert sorted(Own.metadata.tables) == ["files.filecolumn_ledger", "files.filecolumn_meta", "files.one"]
    assert ledger_of(Own.metadata) is not None


def test_a_mixin_brings_the_ledger_to_its_users() -> None:
    class WithFile:
        file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))

    class Own(DeclarativeBase): ...

    class One(WithFile, Own):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert ledger_of(Own.metadata) is not None


def test_columns_can_do_without() -> None:
    class Own(DeclarativeBase): ...

    class One(Own):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))

    assert list(Own.metadata.tables) == ["one"]


async def test_a_file_of_another_database_is_copied(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    """Two ledgers cannot share a key: each would delete what the other's rows refer to."""
    await insert_files(driver, b"one")
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    Base.metadata.create_all(other)
    async with driver.session() as session:
        origin = await session.one(Document, 1)
        with Session(other) as second:
            second.add(Document(id=1, file=origin.file))
            second.commit()
    assert contents() == [b"one", b"one"]
    other.dispose()


async def test_a_failing_storage_leaves_no_entry(driver: Driver) -> None:
    faulty = storages.register_backend(FailingStorage())
    faulty.fail_puts_after = 1

    async def commit_two(session: DriverSession) -> None:
        session.add(Document(id=1, file=file(b"one")), Document(id=2, file=file(b"two")))
        await session.commit()

    async with driver.session() as session:
        with pytest.raises(StorageError):
            await commit_two(session)
        await session.rollback()
        faulty.fail_puts_after = None
        await commit_two(session)
    await agree(driver, {1: b"one", 2: b"two"})
    assert set(await states(driver)) == set(stored())
