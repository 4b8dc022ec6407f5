"""Commits, failing storages and killed processes: cases that advanced-alchemy 1.12.0 gets wrong."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from advanced_alchemy.config import SQLAlchemyAsyncConfig, SQLAlchemySyncConfig
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.fixtures import make_storage
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held, insert_files, raw_file


@pytest.fixture
def faulty() -> FailingStorage:
    """The storage "docs", in which a test sets faults."""
    storage = FailingStorage()
    storages.register_backend(storage)
    return storage


def once(*chunks: bytes) -> Iterator[bytes]:
    """Yield content that can be read one time only."""
    yield from chunks


# Durability


async def test_content_is_stored_when_commit_returns(driver: Driver, faulty: FailingStorage) -> None:
    faulty.delay = 0.2
    async with driver.session() as session:
        document = Document(id=1, file=file(b"slow"))
        session.add(document)
        await session.commit()
        assert contents() == [b"slow"]
        assert await driver.content(document.file) == b"slow"
    await agree(driver, {1: b"slow"})


def test_a_program_may_end_right_after_its_commit(faulty: FailingStorage, tmp_path: Path) -> None:
    faulty.delay = 0.2

    async def program() -> None:
        driver = AsyncDriver(f"sqlite+aiosqlite:///{tmp_path}/program.db")
        await driver.create()
        async with driver.session() as session:
            session.add(Document(id=1, file=file(b"slow")))
            await session.commit()
        await driver.dispose()

    asyncio.run(program())
    assert contents() == [b"slow"]
    reader = SyncDriver(f"sqlite:///{tmp_path}/program.db")
    with Session(reader.engine) as session:
        assert session.get_one(Document, 1).file.get_content() == b"slow"
    reader.engine.dispose()


@pytest.mark.parametrize("body", [b"", b"content", b"x" * 1_500_000], ids=len)
async def test_the_committed_row_has_the_facts_of_the_content(
    driver: Driver, storage: StorageBackend, body: bytes
) -> None:
    await insert_files(driver, body)
    row = await raw_file(driver)
    assert row["size"] == len(body)
    assert row["checksum"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert row["etag"] == storage.stat(row["to_filename"]).etag
    assert row["last_modified"] == pytest.approx(time.time(), abs=30)


async def test_a_replacement_brings_its_own_facts(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"longer")
        await session.commit()
    row = await raw_file(driver)
    assert row["size"] == 6
    assert row["checksum"] == f"sha256:{hashlib.sha256(b'longer').hexdigest()}"


@pytest.mark.parametrize("kind", ["obstore-local", "obstore-memory", "fsspec-local", "fsspec-memory"])
async def test_an_explicit_save_computes_the_checksum_and_invents_nothing(
    driver: Driver, kind: str, tmp_path: Path
) -> None:
    storage = storages.register_backend(make_storage(kind, tmp_path))
    staged = await driver.save(file(b"content"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.commit()
    row, stat = await raw_file(driver), storage.stat(staged.path)
    assert row["checksum"] == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert (row["etag"], row["version_id"]) == (stat.etag, stat.version_id)


# Storages that fail


async def test_a_failed_upload_fails_the_commit(driver: Driver, faulty: FailingStorage) -> None:
    faulty.fail_puts_after = 0
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"lost")))
        with pytest.raises(StorageError, match="no space left"):
            await session.commit()
    await agree(driver, {})


async def test_a_failed_replacement_keeps_the_old(driver: Driver, faulty: FailingStorage) -> None:
    await insert_files(driver, b"old")
    faulty.fail_puts_after = 0
    async with driver.session() as session:
        (await session.one(Document, 1)).file = file(b"new")
        with pytest.raises(StorageError, match="no space left"):
            await session.commit()
    await agree(driver, {1: b"old"})


async def test_a_later_commit_stores_what_failed(driver: Driver, faulty: FailingStorage) -> None:
    faulty.fail_puts_after = 0
    async with driver.session() as session:
        document = Document(id=1, file=file(b"second try"))
        session.add(document)
        with pytest.raises(StorageError):
            await session.commit()
        await session.rollback()
        faulty.fail_puts_after = None
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"second try"})


async def test_the_session_is_usable_after_a_failed_upload(driver: Driver, faulty: FailingStorage) -> None:
    faulty.fail_puts_after = 0
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"lost")))
        with pytest.raises(StorageError):
            await session.commit()
        await session.rollback()
        assert (await session.execute(select(Document.id))).all() == []
        session.add(Document(id=2, title="without a file"))
        await session.commit()
    await agree(driver, {2: None})


@pytest.mark.parametrize("successes", [0, 1, 2])
async def test_of_three_uploads_all_or_none_take_effect(
    driver: Driver, faulty: FailingStorage, successes: int
) -> None:
    faulty.fail_puts_after = successes
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(b"%d" % number)) for number in (1, 2, 3)))
        with pytest.raises(StorageError):
            await session.commit()
    assert faulty.puts > successes
    await agree(driver, {})


async def test_the_switch_of_advanced_alchemy_silences_nothing(
    driver: Driver, faulty: FailingStorage
) -> None:
    """Its configs make the sessions, told to swallow errors; ours are no matter of a listener of theirs."""
    switches = {"file_object_raise_on_error": False, "enable_file_object_listener": False}
    faulty.fail_puts_after = 0
    document = Document(id=1, file=file(b"lost"))
    match driver:
        case SyncDriver():
            with SQLAlchemySyncConfig(engine_instance=driver.engine, **switches).get_session() as session:
                session.add(document)
                with pytest.raises(StorageError, match="no space left"):
                    session.commit()
        case AsyncDriver():
            config = SQLAlchemyAsyncConfig(engine_instance=driver.engine, **switches)
            async with config.get_session() as async_session:
                async_session.add(document)
                with pytest.raises(StorageError, match="no space left"):
                    await async_session.commit()
    await agree(driver, {})


@pytest.mark.parametrize("error", [StorageError, PermissionError, KeyError])
async def test_a_refused_removal_is_logged_and_the_commit_stands(
    driver: Driver, faulty: FailingStorage, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """Whatever the storage raises: somebody's own may raise what is no error of ours."""
    await insert_files(driver, b"deleted", b"replaced")
    keys = {content: key for key, content in stored().items()}
    faulty.refusal = lambda: error("deleting is denied")
    faulty.fail_deletes = True
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        (await session.one(Document, 2)).file = file(b"new")
        await session.commit()
        session.add(Document(id=3, file=file(b"next")))
        await session.commit()
    assert await held(driver) == {2: b"new", 3: b"next"}
    assert contents() == [b"deleted", b"new", b"next", b"replaced"]
    [record] = [record for record in caplog.records if record.name == "filecolumn"]
    assert record.levelno == logging.WARNING
    assert keys[b"deleted"] in record.getMessage()
    assert keys[b"replaced"] in record.getMessage()
    assert "deleting is denied" in record.getMessage()


# Processes that are killed

CHILD = """
import asyncio, os, signal, sys
from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import AsyncDriver, SyncDriver
from tests.scenarios.models import Document

folder, kind, moment = sys.argv[1:]

def reach(here):
    if Deadly.armed and here == moment:
        os.kill(os.getpid(), signal.SIGKILL)

class Deadly(ObstoreBackend):
    armed = False

    def put(self, key, chunks, **options):
        stat = super().put(key, chunks, **options)
        reach("stored")
        return stat

    def delete(self, keys):
        reach("removing")
        super().delete(keys)

async def main():
    storages.register_backend(Deadly("docs", f"file://{folder}/docs/"))
    path = f"/{folder}/test.db"
    driver = SyncDriver(f"sqlite://{path}") if kind == "sync" else AsyncDriver(f"sqlite+aiosqlite://{path}")
    await driver.create()
    async with driver.session() as session:
        replaced = Document(id=1, file=FileObject("a.txt", content=b"old"))
        deleted = Document(id=2, file=FileObject("a.txt", content=b"deleted"))
        session.add(replaced, deleted)
        await session.commit()
        Deadly.armed = True
        replaced.file = FileObject("a.txt", content=b"new")
        session.add(Document(id=3, file=FileObject("a.txt", content=b"added")))
        await session.delete(deleted)
        await session.flush()
        reach("flushed")
        await session.commit()
        reach("committed")

asyncio.run(main())
"""
BEFORE = {1: b"old", 2: b"deleted"}
AFTER = {1: b"new", 3: b"added"}


def rows_after_kill(folder: Path, kind: str, moment: str) -> dict[int, bytes]:
    """Run the child until it kills itself, and return what the rows' files hold."""
    arguments = [sys.executable, "-c", CHILD, str(folder), kind, moment]
    root = Path(__file__).parents[3]
    child = subprocess.run(arguments, cwd=root, capture_output=True, timeout=30, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    storages.register_backend(f"file://{folder}/docs/", "docs")
    driver = SyncDriver(f"sqlite:///{folder}/test.db")
    with Session(driver.engine) as session:
        documents = session.scalars(select(Document)).all()
        for document in documents:
            document.file.verify()
        rows = {document.id: document.file.get_content() for document in documents}
    driver.engine.dispose()
    return rows


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("moment", "expected"),
    [("stored", BEFORE), ("flushed", BEFORE), ("removing", AFTER), ("committed", AFTER)],
)
def test_a_killed_process_leaves_no_row_without_its_file(
    kind: str, moment: str, expected: dict[int, bytes], tmp_path: Path
) -> None:
    assert rows_after_kill(tmp_path, kind, moment) == expected


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_killed_before_the_removal_unused_objects_stay_and_nothing_else_is_wrong(
    kind: str, tmp_path: Path
) -> None:
    # Limit of basic mode: a later version's sweep removes them
    assert rows_after_kill(tmp_path, kind, "removing") == AFTER
    assert contents() == sorted([*AFTER.values(), *BEFORE.values()])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_waits_for_removal_once_commit_has_returned(kind: str, tmp_path: Path) -> None:
    assert rows_after_kill(tmp_path, kind, "committed") == AFTER
    assert contents() == sorted(AFTER.values())


# Several commits of one session


async def test_each_file_is_stored_once_over_many_commits(driver: Driver, faulty: FailingStorage) -> None:
    faulty.delay = 0.05
    async with driver.session() as session:
        for number in (1, 2, 3):
            document = Document(id=number, file=FileObject("a.txt", content=once(b"part ", b"%d" % number)))
            session.add(document)
            await session.commit()
            document.title = "changed"
            await session.commit()
    assert faulty.puts == 3
    await agree(driver, {1: b"part 1", 2: b"part 2", 3: b"part 3"})


async def test_a_file_flushed_after_another_commit_is_stored(driver: Driver, faulty: FailingStorage) -> None:
    faulty.delay = 0.05
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"one")))
        await session.commit()
        session.add(Document(id=2, file=file(b"two")))
        await session.flush()
        await asyncio.sleep(0.1)
        await session.commit()
    await agree(driver, {1: b"one", 2: b"two"})


# Nothing to install


async def test_a_plain_session_stores_replaces_and_removes(driver: Driver, storage: StorageBackend) -> None:
    engine = driver.engine  # type: ignore[attr-defined]
    documents = [Document(id=1, file=file(b"one")), Document(id=2, file=file(b"two"))]
    if driver.is_async:
        async with async_sessionmaker(engine, expire_on_commit=False).begin() as session:
            session.add_all(documents)
        async with async_sessionmaker(engine).begin() as session:
            (await session.get_one(Document, 1)).file = file(b"new")
            await session.delete(await session.get_one(Document, 2))
    else:
        with sessionmaker(engine).begin() as session:
            session.add_all(documents)
        with sessionmaker(engine).begin() as session:
            session.get_one(Document, 1).file = file(b"new")
            session.delete(session.get_one(Document, 2))
    await agree(driver, {1: b"new"})


ALONE = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from filecolumn import FileObject, StoredObject, storages

class Base(DeclarativeBase): ...

class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="docs"))

storage = storages.register_backend("memory://", "docs")
engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with sessionmaker(engine)() as session:
    session.add(Note(id=1, file=FileObject("a.txt", content=b"one")))
    session.commit()
    print([storage.get_bytes(stat.key) for stat in storage.list()])
engine.dispose()
"""


def test_a_program_of_its_own_needs_no_set_up() -> None:
    child = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, timeout=30, check=True)
    assert child.stdout.decode().strip() == "[b'one']"
