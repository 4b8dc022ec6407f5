"""What only an async session can do wrong: run apart, be cancelled, wait for itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from anyio import to_thread
from sqlalchemy import select

from filecolumn import FileObject, storages
from filecolumn._threads import THREADS
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import AsyncDriver, contents
from tests.scenarios.fixtures import make_storage
from tests.scenarios.models import Document


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[AsyncDriver]:
    made = AsyncDriver(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    await made.create()
    yield made
    await made.dispose()


class Slow(FSSpecBackend):
    """Takes its time for each upload, and counts how many it has at once."""

    seconds = 0.05
    running = most = 0

    async def put_async(self, key: str, chunks: Iterable[bytes], **options) -> Stat:  # type: ignore[no-untyped-def,override]
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
            return await super().put_async(key, chunks, **options)
        finally:
            self.running -= 1


async def held(driver: AsyncDriver) -> list[bytes]:
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document)).all())
        return sorted([await document.file.get_content_async() for document in documents if document.file])


async def test_uploads_of_one_flush_run_beside_each_other_up_to_the_limit(
    driver: AsyncDriver, tmp_path: Path
) -> None:
    storage = storages.register_backend(Slow("docs", "memory", prefix=str(tmp_path), concurrency=5))
    async with driver.session() as session:
        session.add(*(Document(file=FileObject("a", content=b"%d" % number)) for number in range(12)))
        await session.commit()
    assert storage.most == 5
    assert len(contents()) == 12


async def test_nothing_runs_on_after_commit(driver: AsyncDriver, tmp_path: Path) -> None:
    storages.register_backend(Slow("docs", "memory", prefix=str(tmp_path)))
    before = asyncio.all_tasks()
    async with driver.session() as session:
        session.add(*(Document(file=FileObject("a", content=b"x")) for _ in range(3)))
        await session.commit()
        assert asyncio.all_tasks() == before
        assert contents() == [b"x"] * 3


class Refuses(Slow):
    async def put_async(self, key: str, chunks: Iterable[bytes], **options) -> Stat:  # type: ignore[no-untyped-def,override]
        if self.running == 2:
            raise ValueError("the third is refused")
        return await super().put_async(key, chunks, **options)


async def test_one_error_ends_the_others_before_it_is_raised(driver: AsyncDriver, tmp_path: Path) -> None:
    storage = storages.register_backend(Refuses("docs", "memory", prefix=str(tmp_path)))
    before = asyncio.all_tasks()
    async with driver.session() as session:
        session.add(*(Document(file=FileObject("a", content=b"x")) for _ in range(10)))
        with pytest.raises(ValueError, match="third"):
            await session.commit()
        assert asyncio.all_tasks() == before
        assert storage.running == 0
        await session.rollback()
    assert contents() == await held(driver) == []


async def slowly(body: bytes) -> AsyncIterator[bytes]:
    for byte in body:
        await asyncio.sleep(0)
        yield bytes([byte])


MOMENTS = 40


@pytest.mark.parametrize("kind", ["obstore-local", "fsspec-memory"])
async def test_cancelled_at_any_moment_rows_and_objects_agree(
    kind: str,
    driver: AsyncDriver,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what is cut off at the transaction's very end may leave an object without a row, and that is logged."""
    # its records would hold tracebacks, and so the sessions whose end is watched for
    monkeypatch.setattr(logging.getLogger("sqlalchemy"), "level", logging.CRITICAL)
    storages.register_backend(make_storage(kind, tmp_path))
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"old")))
        await session.commit()

    async def work(body: bytes) -> None:
        async with driver.session() as session:
            (await session.one(Document, 1)).file = FileObject("a", content=body)
            session.add(Document(file=FileObject("b", content=slowly(body))))
            await session.commit()

    # what thousands of tests have left is not searched again at each moment
    gc.freeze()
    start = time.monotonic()
    await work(b"first")
    whole = time.monotonic() - start
    cancelled = 0
    for moment in range(MOMENTS):
        task = asyncio.ensure_future(work(b"body %d" % moment))
        await asyncio.wait({task}, timeout=whole * 1.2 * moment / MOMENTS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        cancelled += task.cancelled()
        # its traceback holds the session
        del task
        # SQLAlchemy closes a cancelled session in a task of its own
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=10)
        # the loop has the cancelled task in hand until its next step, and with it the connection's lock
        await asyncio.sleep(0)
        gc.collect()
        await driver.engine.dispose()
        # a removal that was cut off after COMMIT is in the ledger
        await driver.drain()
        rows, objects = await held(driver), contents()
        assert not Counter(rows) - Counter(objects)
        if "its files are kept" not in caplog.text:
            assert rows == objects
    assert cancelled


class Lingering(ObstoreBackend):
    """Says of an upload that it is there, and takes its time to return from it."""

    def __init__(self) -> None:
        super().__init__("docs", "memory://")
        self.loop = asyncio.get_running_loop()
        self.stored = asyncio.Event()

    def put(self, key: str, chunks: Iterable[bytes], **options) -> Stat:  # type: ignore[no-untyped-def,override]
        stat = super().put(key, chunks, **options)
        self.loop.call_soon_threadsafe(self.stored.set)
        time.sleep(0.2)
        return stat

    async def put_async(self, key: str, chunks: Iterable[bytes], **options) -> Stat:  # type: ignore[no-untyped-def,override]
        return await StorageBackend.put_async(self, key, chunks, **options)


async def test_a_cancelled_commit_frees_the_key_that_was_asked_for(driver: AsyncDriver) -> None:
    storages.register_backend(storage := Lingering())

    async def work() -> None:
        async with driver.session() as session:
            session.add(Document(id=1, file=FileObject("a", content=b"given", to_filename="given/a")))
            await session.commit()

    task = asyncio.ensure_future(work())
    await asyncio.wait_for(storage.stored.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert contents() == []
    await work()
    assert await held(driver) == contents() == [b"given"]


class NeedsAThread:
    """An upload as Litestar gives it, whose file is on disk: each read takes a worker thread."""

    def __init__(self, size: int) -> None:
        self.left = size

    async def read(self, size: int = -1) -> bytes:
        await to_thread.run_sync(time.sleep, 0.001)
        taken = self.left if size < 0 else min(size, self.left)
        self.left -= taken
        return b"x" * taken


async def test_more_uploads_than_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    storages.register_backend(make_storage("fsspec-local", tmp_path))
    files = [FileObject("a", backend="docs", content=NeedsAThread(1000)) for _ in range(3 * THREADS)]
    await asyncio.wait_for(asyncio.gather(*(file.save_async() for file in files)), 30)
    assert contents() == [b"x" * 1000] * len(files)


async def test_more_copies_between_storages_than_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    storages.register_backend(make_storage("fsspec-local", tmp_path))
    storages.register_backend(make_storage("fsspec-local", tmp_path, key="other"))
    file = await FileObject("a", backend="docs", content=b"x" * 1000).save_async()
    copies = [file.copy_async(backend="other") for _ in range(3 * THREADS)]
    await asyncio.wait_for(asyncio.gather(*copies), 30)
    assert contents("other") == [b"x" * 1000] * len(copies)


async def test_concurrent_sessions_on_one_loop(driver: AsyncDriver, tmp_path: Path) -> None:
    storages.register_backend(make_storage("obstore-local", tmp_path))

    async def save(number: int) -> None:
        async with driver.session() as session:
            session.add(Document(id=number + 1, file=FileObject("a", content=b"%d" % number)))
            await session.commit()

    await asyncio.gather(*map(save, range(20)))
    assert await held(driver) == contents() == sorted(b"%d" % number for number in range(20))


def test_storages_serve_one_event_loop_after_another(tmp_path: Path) -> None:
    for storage in (
        make_storage("obstore-local", tmp_path),
        make_storage("fsspec-memory", tmp_path, "other"),
    ):
        storages.register_backend(storage)

    async def once(body: bytes) -> None:
        for backend in ("docs", "other"):
            file = await FileObject("a", backend=backend, content=body).save_async()
            assert await file.get_content_async() == body

    for number in range(3):
        asyncio.run(once(b"%d" % number))


async def test_a_hanging_storage_ends_in_an_error(driver: AsyncDriver, tmp_path: Path) -> None:
    class Hangs(ObstoreBackend):
        def put(self, key: str, chunks: Iterable[bytes], **options) -> Stat:  # type: ignore[no-untyped-def,override]
            time.sleep(3)
            return super().put(key, chunks, **options)

        put_async = StorageBackend.put_async

    storages.register_backend(Hangs("docs", "memory://", timeout=0.1, total_timeout=0.2))
    async with driver.session() as session:
        session.add(Document(file=FileObject("a", content=b"x")))
        start = time.monotonic()
        with pytest.raises(OSError, match="no progress"):
            await session.commit()
        assert time.monotonic() - start < 2.5
        await session.rollback()
    assert await held(driver) == []
