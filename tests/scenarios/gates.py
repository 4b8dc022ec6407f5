"""Sources of every kind, and how a refusal by a column's policy is looked at."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from filecolumn import ContentRejectedError, FileObject
from tests.samples import PNG
from tests.scenarios.drivers import Driver, stored
from tests.scenarios.more_models import Gated

LIMIT = 10_000
MIB = 1024 * 1024


class Upload:
    """As Litestar's `UploadFile`."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    async def seek(self, offset: int) -> None:
        self._file.seek(offset)


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


async def async_pieces(content: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(content):
        yield piece


def on_disk(content: bytes, folder: Path) -> Path:
    path = folder / "source"
    path.write_bytes(content)
    return path


Make = Callable[[bytes, Path], object]
AGAIN: dict[str, Make] = {
    "bytes": lambda content, _: content,
    "path": on_disk,
    "file": lambda content, _: io.BytesIO(content),
    "upload": lambda content, _: Upload(content),
}
ONCE: dict[str, Make] = {
    "pipe": lambda content, _: Unseekable(content),
    "iterator": lambda content, _: pieces(content),
    "async iterator": lambda content, _: async_pieces(content),
}
SOURCES = {**AGAIN, **ONCE}
ASYNC_ONLY = {"upload", "async iterator"}


class Counted:
    """Chunks without an end, counted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.read += self.size
            yield b"\0" * self.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in iter(self):
            yield chunk


async def rows(driver: Driver) -> int:
    async with driver.session() as session:
        return int(str((await session.execute(text("SELECT count(*) FROM gated"))).scalar_one()))


async def refuse(driver: Driver, record: Gated, error: type[ContentRejectedError]) -> ContentRejectedError:
    """Assert that a flush refuses the record, and that the session is usable after a rollback."""
    async with driver.session() as session:
        session.add(record)
        with pytest.raises(error) as caught:
            await session.flush()
        await session.rollback()
        session.add(Gated(id=99, picture=FileObject("good.png", content=PNG)))
        await session.flush()
        await session.rollback()
    assert stored() == {}
    assert await rows(driver) == 0
    return caught.value


async def commit(driver: Driver, *records: Gated) -> None:
    async with driver.session(expire_on_commit=False) as session:
        session.add(*records)
        await session.commit()
