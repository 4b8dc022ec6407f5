"""A storage that fails in the middle of a write is a StorageError, however the content came to it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import Fault, FaultyBackend
from filecolumn.testing.harness import called
from tests.backends.places import Folder
from tests.scenarios.drivers import Driver
from tests.scenarios.files import Call, call
from tests.scenarios.models import Document
from tests.servers.s3_faults import S3Server

__all__ = ("call",)

CHUNK = b"x" * 1_000_000
FULL = 500_000
"""Bytes that a file can have on the full disk."""


@dataclass
class Place:
    """A storage, and how to make its next write fail in the middle."""

    backend: StorageBackend
    break_down: Callable[[], None]
    content: list[bytes]
    """Enough for that."""
    look: Callable[[], dict[str, bytes]]
    """Return all that lies there, with what is left of failed writes."""


def fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def local_place(kind: str, folder: Path) -> Place:
    root = folder / "docs"
    root.mkdir()
    match kind:
        case "obstore on a disk":
            backend: StorageBackend = ObstoreBackend("docs", f"file://{root}/", fsync=False)
        case "fsspec on a disk":
            backend = FSSpecBackend("docs", "file", str(root), fsync=False)
        case _:
            within = DirFileSystem(str(root), LocalFileSystem(), skip_instance_cache=True)
            backend = FSSpecBackend("docs", within)
    return Place(backend, fill_disk, [CHUNK] * 3, Folder(root).look)


def s3_place(kind: str, server: S3Server) -> Place:
    def break_down() -> None:
        server.fail("part", "error", status=403, times=None)

    if kind == "obstore on S3":
        backend: StorageBackend = ObstoreBackend("docs", "s3://bucket/", **server.obstore_options())
    else:
        backend = FSSpecBackend("docs", "s3", "bucket", **server.s3fs_options())
    return Place(
        backend,
        break_down,
        [CHUNK] * 18,
        lambda: {**server.contents(), **dict.fromkeys(server.uploads, b"")},
    )


DISKS = ("obstore on a disk", "fsspec on a disk", "a staged file")
CLOUDS = ("obstore on S3", pytest.param("s3fs", marks=pytest.mark.extended))


@pytest.fixture(params=(*DISKS, *CLOUDS))
def place(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server) -> Iterator[Place]:
    """Register the storage "docs"."""
    kind = request.param
    made = local_place(kind, tmp_path) if kind in DISKS else s3_place(kind, s3_server)
    storages.register_backend(made.backend)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield made
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def is_of_the_storage(error: StorageError) -> bool:
    return isinstance(error.__cause__, Exception) and str(error).startswith("cannot store")


async def as_chunks(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("way", ["sync", "async", "async content"])
def test_a_write_that_fails_in_the_middle_is_an_error_of_the_storage(place: Place, way: str) -> None:
    place.break_down()
    with called(place.backend, way) as backend, pytest.raises(StorageError) as caught:
        backend.put("a/b", iter(place.content))
    assert is_of_the_storage(caught.value)
    assert place.look() == {}


@pytest.mark.parametrize("kind", ["bytes", "iterator", "async iterator"])
async def test_a_save_that_fails_in_the_middle_is_an_error_of_the_storage(
    place: Place, call: Call, kind: str
) -> None:
    if kind == "async iterator" and call.__name__ == "_sync_call":
        pytest.skip("it needs an event loop")
    make: Callable[[list[bytes]], Any] = {"bytes": b"".join, "iterator": iter, "async iterator": as_chunks}[
        kind
    ]
    file = FileObject("a.bin", content=make(place.content))
    place.break_down()
    with pytest.raises(StorageError) as caught:
        await call(file, "save")
    assert is_of_the_storage(caught.value)
    assert not file.is_saved
    assert place.look() == {}


async def test_a_flush_that_fails_in_the_middle_is_an_error_of_the_storage(
    place: Place, driver: Driver
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.bin", content=place.content)))
        place.break_down()
        with pytest.raises(StorageError) as caught:
            await session.flush()
        await session.rollback()
        assert is_of_the_storage(caught.value)
        assert await session.get(Document, 1) is None


async def test_a_copy_to_a_storage_that_fails_in_the_middle_is_an_error_of_that_storage(
    place: Place, call: Call
) -> None:
    storages.register_backend(ObstoreBackend("origin", "memory://"))
    file = FileObject("a.bin", content=place.content, backend="origin").save()
    place.break_down()
    with pytest.raises(StorageError) as caught:
        await call(file, "copy", backend="docs")
    assert is_of_the_storage(caught.value)
    assert file.get_content() == b"".join(place.content)
    assert place.look() == {}


async def test_a_copy_from_a_storage_that_fails_in_the_middle_leaves_nothing(
    place: Place, call: Call
) -> None:
    origin = storages.register_backend(FaultyBackend(ObstoreBackend("origin", "memory://")))
    file = FileObject("a.bin", content=place.content, backend="origin").save()
    origin.schedule(Fault("get", "fail_inside", chunks=3))
    with pytest.raises(StorageError, match="a scheduled fault"):
        await call(file, "copy", backend="docs")
    assert place.look() == {}


class Stop(BaseException):
    """As KeyboardInterrupt, which would end the loop of the test."""


def ending(error: BaseException, chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise error


@pytest.mark.parametrize("way", ["sync", "async", "async content"])
@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, asyncio.CancelledError])
def test_an_error_of_the_content_that_is_no_exception_arrives_as_itself(
    place: Place, way: str, kind: type[BaseException]
) -> None:
    if way != "sync" and kind is KeyboardInterrupt:
        pytest.skip("it ends the loop")
    for chunks in (place.content[:1], place.content):
        with called(place.backend, way) as backend, pytest.raises(kind):
            backend.put("a/b", ending(kind(), chunks))
        assert place.look() == {}
