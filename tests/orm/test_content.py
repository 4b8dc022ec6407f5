"""Content of every kind, through a session: what can be read once only, and what several files share."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from filecolumn import FileObject, SourceConsumedError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.models import Document
from tests.scenarios.records import agree

LARGE = bytes(range(256)) * 16 * 1024  # 4 MiB


class Body:
    """As a response of requests: an iterable that is no iterator, and is used up."""

    def __init__(self) -> None:
        self._parts = iter([b"on", b"ce"])

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts


class AsyncBody:
    def __init__(self) -> None:
        self._parts = iter([b"on", b"ce"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def generated() -> Iterator[bytes]:
    yield b"once"


def content_of(driver: Driver, make: Callable[[], Any], make_async: Callable[[], Any]) -> Any:
    return make_async() if driver.is_async else make()


async def test_a_body_that_is_used_up_is_not_stored_again_as_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    body = FileObject("a.txt", content=content_of(driver, Body, AsyncBody))
    async with driver.session() as session:
        session.add(Document(id=1, file=body))
        await session.flush()
        assert body.size == 4
        await session.rollback()
        assert not body.has_pending_data
        session.add(Document(id=1, file=body))
        with pytest.raises(SourceConsumedError, match="assign it again"):
            await session.commit()
    await agree(driver, {})


async def test_an_opened_file_is_stored_again_after_a_rollback(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\ntwo\n")
    async with driver.session() as session, await anyio.open_file(path, "rb") as async_file:
        opened = FileObject(
            "a.txt", content=content_of(driver, lambda: async_file.wrapped, lambda: async_file)
        )
        session.add(Document(id=1, file=opened))
        await session.flush()
        await session.rollback()
        session.add(Document(id=1, file=opened))
        await session.commit()
    await agree(driver, {1: b"one\ntwo\n"})


async def test_one_open_file_is_stored_whole_by_each_of_two_files(
    driver: Driver, storage: StorageBackend
) -> None:
    opened: list[Any] = [io.BytesIO(LARGE)]
    if driver.is_async:
        opened.append(anyio.wrap_file(io.BytesIO(LARGE)))
    async with driver.session() as session:
        for number, content in enumerate(opened, 1):
            document = Document(id=number, file=FileObject("a.bin", content=content))
            document.pages.append(FileObject("b.bin", content=content))
            session.add(document)
        await session.commit()
    assert contents() == [LARGE, LARGE] * len(opened)


@pytest.mark.parametrize("first", [generated, Body], ids=["generator", "body"])
async def test_two_files_of_what_can_be_read_once_are_refused_before_anything_is_stored(
    driver: Driver, first: Callable[[], Any]
) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    shared = first()
    files = [FileObject(f"{number}.txt", content=shared) for number in range(2)]
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file) for number, file in enumerate(files, 1)))
        with pytest.raises(SourceConsumedError, match="another file of the flush"):
            await session.commit()
        await session.rollback()
        assert storage.puts == 0
        assert all(file.has_pending_data for file in files)
        session.add(Document(id=1, file=files[0]))
        await session.commit()
    assert len(contents()) == 1


async def test_a_generator_that_another_file_has_read_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    shared = generated()
    first, second = (FileObject(f"{number}.txt", content=shared) for number in range(2))
    async with driver.session() as session:
        session.add(Document(id=1, file=first))
        await session.commit()
        session.add(Document(id=2, file=second))
        with pytest.raises(SourceConsumedError, match="only once"):
            await session.commit()
    await agree(driver, {1: b"once"})
    with pytest.raises(SourceConsumedError):
        FileObject("3.txt", content=shared)


async def test_what_was_not_read_when_another_upload_failed_is_still_there(driver: Driver) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    storage.fail_puts_after = 0
    # the one that fails has been looked into, to find its type
    storage.concurrency = 1
    files = [FileObject(f"{number}.txt", content=generated()) for number in range(3)]
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file) for number, file in enumerate(files, 1)))
        with pytest.raises(StorageError, match="no space left"):
            await session.commit()
        await session.rollback()
        unread = [file for file in files if file.has_pending_data]
        assert unread
        storage.fail_puts_after = None
        session.add(*(Document(id=number, file=file) for number, file in enumerate(unread, 1)))
        await session.commit()
    await agree(driver, {number: b"once" for number, _ in enumerate(unread, 1)})
