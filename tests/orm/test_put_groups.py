"""Small files of one flush go to a storage on this machine in one call, in one thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from filecolumn import ContentTypeRejectedError, FileObject, StorageError, storages
from filecolumn.backends.base import Stat, StorageBackend, WhenStored, WholeObject
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.naming import RESERVED_FOLDER
from filecolumn.testing import FaultyBackend
from filecolumn.testing.failpoints import failing
from tests.scenarios.drivers import AsyncDriver, Driver, contents
from tests.scenarios.fixtures import open_driver
from tests.scenarios.models import Document
from tests.scenarios.more_models import Gated
from tests.scenarios.records import agree, held
from tests.scenarios.sqlite import driver

__all__ = ("driver",)

LARGE = b"x" * 300_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def folder(root: Path) -> StorageBackend:
    return storages.register_backend(ObstoreBackend("docs", f"file://{root}/"), replace=True)


def documents(count: int) -> list[Document]:
    return [Document(id=n, file=FileObject("a", content=b"%d" % n)) for n in range(1, count + 1)]


BODIES: dict[int, bytes | None] = {n: b"%d" % n for n in range(1, 6)}
"""Of five documents."""


def files_below(folder: Path) -> list[str]:
    """Return the objects, and what is left of uploads."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in found if path.parts[0] != RESERVED_FOLDER or path.parts[1] == "stage"]


@pytest.fixture
def syncing(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Give the threads that make files durable."""
    threads, fsync = set[int](), os.fsync

    def noting(descriptor: int) -> None:
        threads.add(threading.get_ident())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return threads


async def test_one_thread_stores_the_small_files_of_a_flush(
    driver: Driver, folder: StorageBackend, syncing: set[int]
) -> None:
    """That of a sync session, and one that does not hold up the loop of an async one."""
    async with driver.session() as session:
        session.add(*documents(70))
        await session.flush()
        assert len(syncing) == 1
        assert (syncing == {threading.get_ident()}) == (not isinstance(driver, AsyncDriver))
        await session.commit()
    assert await held(driver) == {n: b"%d" % n for n in range(1, 71)}
    assert len(contents()) == 70


async def test_content_of_every_kind_is_stored_by_one_flush(
    driver: Driver, folder: StorageBackend, tmp_path: Path
) -> None:
    def iterated() -> Iterator[bytes]:
        yield b"iterated"

    path = tmp_path / "path"
    path.write_bytes(b"of a path")
    given = (b"small", LARGE, iterated(), path, b"", bytearray(b"bytes"))
    async with driver.session() as session:
        for number, content in enumerate(given):
            session.add(Document(id=number, file=FileObject("a", content=content)))
        session.add(Document(id=99, file=FileObject("a", content=b"chosen", to_filename="k")))
        await session.commit()
    stored = [b"small", LARGE, b"iterated", b"of a path", b"", b"bytes"]
    await agree(driver, {**dict(enumerate(stored)), 99: b"chosen"})


async def test_what_a_policy_refuses_is_refused_before_anything_is_stored(
    driver: Driver, folder: StorageBackend, root: Path
) -> None:
    async with driver.session() as session:
        session.add(*documents(3), Gated(id=1, picture=FileObject("a.png", content=b"no picture")))
        with pytest.raises(ContentTypeRejectedError):
            await session.flush()
        assert files_below(root) == []
        await session.rollback()


@pytest.mark.parametrize(
    "place", ["put.before", "put.after_part", "put.before_complete", "put.after_complete"]
)
async def test_a_flush_that_fails_between_two_files_leaves_none(
    driver: Driver, folder: StorageBackend, root: Path, place: str
) -> None:
    class FlushError(Exception):
        pass

    def fail() -> None:
        raise FlushError

    added = documents(5)
    async with driver.session() as session:
        session.add(*added)
        with failing(place, fail, hit=3), pytest.raises(FlushError):
            await session.flush()
        await session.rollback()
        assert files_below(root) == []
        assert all(document.file is not None and document.file.has_pending_data for document in added)
        session.add(*added)
        await session.commit()
    await agree(driver, BODIES)


async def test_each_file_is_put_by_itself_where_somebody_else_has_a_put(
    driver: Driver, folder: StorageBackend
) -> None:
    wrapped = storages.register_backend(FaultyBackend(folder), replace=True)
    async with driver.session() as session:
        session.add(Document(id=9, file=FileObject("a", content=b"first")))
        await session.commit()
        before = wrapped.calls["put"]
        session.add(*documents(5))
        await session.commit()
    assert wrapped.calls["put"] == before + 5
    await agree(driver, {**BODIES, 9: b"first"})


class Short(ObstoreBackend):
    """A storage that says of the second object that it is shorter."""

    def put_many(self, objects: Iterable[WholeObject], done: WhenStored) -> None:
        told: list[WholeObject] = []

        def tell(whole: WholeObject, stat: Stat) -> None:
            told.append(whole)
            done(whole, replace(stat, size=0) if len(told) == 2 else stat)

        super().put_many(objects, tell)


async def test_an_object_of_another_size_is_an_error_and_is_deleted(driver: Driver, root: Path) -> None:
    storages.register_backend(Short("docs", f"file://{root}/"), replace=True)
    async with driver.session() as session:
        session.add(*documents(3))
        with pytest.raises(StorageError, match="stored 0 of 1 bytes"):
            await session.flush()
        await session.rollback()
    assert files_below(root) == []


class Halt:
    """Lets the second file be made durable only when it is told to."""

    def __init__(self) -> None:
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self._fsync, self._count = os.fsync, 0

    def __call__(self, descriptor: int) -> None:
        self._count += 1
        if self._count == 2:
            self.has_begun.set()
            self.may_go_on.wait(10)
        self._fsync(descriptor)


@pytest.fixture
def halt(folder: StorageBackend) -> Iterator[Halt]:
    halt = Halt()
    yield halt
    halt.may_go_on.set()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


@pytest.mark.timeout(30)
async def test_a_cancelled_save_waits_for_its_thread_and_leaves_nothing(
    halt: Halt, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", halt)
    file = FileObject("a", content=b"x", backend="docs")
    task = asyncio.ensure_future(file.save_async())
    await until(halt.has_begun.is_set)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    halt.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(root) == []
    assert file.has_pending_data
    assert (await file.save_async()).get_content() == b"x"


def register(session: Session) -> None:
    """Let the database adopt the storage, so that nothing but files is stored after it."""
    session.add(Document(id=9, file=FileObject("a", content=b"first")))
    session.commit()
    session.delete(session.get_one(Document, 9))
    session.commit()


@pytest.mark.timeout(30)
async def test_a_cancelled_flush_waits_for_its_thread_and_leaves_nothing(
    halt: Halt, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = documents(5)

    async def flush() -> None:
        async with open_driver("async-file", tmp_path) as driver, driver.session() as session:
            await session.run(register)
            monkeypatch.setattr(os, "fsync", halt)
            session.add(*added)
            await session.commit()

    task = asyncio.ensure_future(flush())
    await until(halt.has_begun.is_set)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    halt.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(root) == []
    assert all(document.file is not None and document.file.has_pending_data for document in added)


@pytest.mark.timeout(30)
async def test_a_disk_that_hangs_is_an_error_and_leaves_nothing_when_it_goes_on(root: Path) -> None:
    storages.register_backend(ObstoreBackend("slow", f"file://{root}/", total_timeout=0.2))
    halt = Halt()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", halt)
        with pytest.raises(StorageError, match=r"no progress for 0\.2 s"):
            await FileObject("a", content=b"x", backend="slow").save_async()
        halt.may_go_on.set()
        await until(lambda: files_below(root) == [])
