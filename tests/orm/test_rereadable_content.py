"""After a failed flush, content that can be read again is stored again, and other content is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from filecolumn import FileObject, SourceConsumedError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document, Strict
from tests.scenarios.records import agree, file


async def refused_flush(driver: Driver, upload: FileObject) -> None:
    """Flush *upload* together with a row that the database refuses."""
    async with driver.session() as session:
        session.add(Document(id=1, file=upload), Strict(id=1))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()
    assert contents() == []


async def test_content_read_once_is_gone_after_a_failed_flush(
    driver: Driver, storage: StorageBackend
) -> None:
    upload = FileObject("a.txt", content=(part for part in [b"only ", b"once"]))
    await refused_flush(driver, upload)
    assert not upload.has_pending_data
    async with driver.session() as session:
        session.add(document := Document(id=1, file=upload))
        with pytest.raises(SourceConsumedError, match=r"'a\.txt' was read once and is gone; assign it again"):
            await session.flush()
        await session.rollback()
        document.file = file(b"again")
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"again"})


def seekable(folder: Path) -> object:
    stream = io.BytesIO(b"read")
    stream.seek(0, io.SEEK_END)
    return stream


def path_of(folder: Path) -> object:
    path = folder / "content.txt"
    path.write_bytes(b"read")
    return path


@pytest.mark.parametrize("content", [lambda _: b"read", path_of, seekable], ids=["bytes", "path", "seekable"])
async def test_content_that_can_be_read_again_is_stored_again(
    driver: Driver, storage: StorageBackend, tmp_path: Path, content: Callable[[Path], Any]
) -> None:
    upload = FileObject("a.txt", content=content(tmp_path))
    await refused_flush(driver, upload)
    assert upload.has_pending_data
    assert upload.path is None
    async with driver.session() as session:
        session.add(Document(id=1, file=upload))
        await session.commit()
    await agree(driver, {1: b"read"})
