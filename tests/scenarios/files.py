"""Files outside of any session: storages to save them to, calls in both ways, and small helpers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filecolumn import FileObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.files.file import file_from_row

DATA = bytes(range(256)) * 5000  # 1.28 MB
Call = Callable[..., Awaitable[Any]]
SECRET = "s3cr3t-of-the-storage"
ACCESS = "AKIAFAKEFAKEFAKEFAKE"


async def _sync_call(file: FileObject, name: str, *args: object, **options: object) -> Any:
    result = getattr(file, name)(*args, **options)
    return list(result) if isinstance(result, Iterator) else result


async def _async_call(file: FileObject, name: str, *args: object, **options: object) -> Any:
    result = getattr(file, f"{name}_async")(*args, **options)
    return [item async for item in result] if isinstance(result, AsyncIterator) else await result


@pytest.fixture(params=[_sync_call, _async_call], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a method of a file by its name: the sync one, or its async twin."""
    made: Call = request.param
    return made


def obstore_local(folder: Path) -> StorageBackend:
    return ObstoreBackend("docs", f"file://{folder}/docs/", fsync=False)


def fsspec_local(folder: Path) -> StorageBackend:
    return FSSpecBackend("docs", "file", str(folder / "docs"), fsync=False)


def obstore_memory(folder: Path) -> StorageBackend:
    return ObstoreBackend("docs", "memory://")


@pytest.fixture(params=[obstore_local, fsspec_local, obstore_memory], ids=lambda make: make.__name__)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """Register a storage as `docs`: local folders of both packages, and memory."""
    return storages.register_backend(request.param(tmp_path))


@pytest.fixture
def memory() -> StorageBackend:
    return storages.register_backend("memory://", "docs")


def keys(backend: StorageBackend) -> list[str]:
    return [stat.key for stat in backend.list()]


def stored(data: bytes = DATA, name: str = "a.bin") -> FileObject:
    """Return a file that is saved, and owned by no row."""
    return FileObject(name, content=data).save()


def owned(file: FileObject) -> FileObject:
    """Return the file as a row gives it."""
    return file_from_row(file.to_dict())


def failing(after: int) -> Iterator[bytes]:
    """Yield some megabytes, then fail."""
    for _ in range(after):
        yield b"x" * 1_000_000
    raise ZeroDivisionError("mine")


@pytest.fixture
def s3() -> StorageBackend:
    """Register a storage that can sign; nothing answers at its address."""
    return storages.register_backend(
        ObstoreBackend(
            "s3",
            "s3://bucket/prefix/",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            aws_region="eu-west-1",
        )
    )


def s3_file() -> FileObject:
    """Return the file of a row in `s3`."""
    return file_from_row({"filename": "a.txt", "to_filename": "k/a.txt", "backend": "s3", "size": 1}, None)
