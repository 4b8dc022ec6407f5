"""What a client sends is never taken for a stored file, the name of a storage, or a path to read."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path

import msgspec
import pydantic
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError

from filecolumn import (
    BackendMismatchError,
    BackendNotRegisteredError,
    FileObject,
    FileObjectList,
    PendingContentError,
)
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.sqlite import driver

__all__ = ("driver",)

STOLEN = {"filename": "a.txt", "to_filename": "secret", "backend": "docs", "size": 6, "content_type": "a/b"}


class Upload(msgspec.Struct):
    file: FileObject


async def test_a_clients_dict_is_never_a_stored_file(driver: Driver, local: StorageBackend) -> None:
    local.put("secret", [b"secret"])
    for wrong in (STOLEN, json.dumps(STOLEN), [STOLEN]):
        with pytest.raises(TypeError):
            Document(file=wrong)
    for pages in ([STOLEN], (STOLEN,), STOLEN, [json.dumps(STOLEN)]):
        with pytest.raises(TypeError):
            Document(pages=pages)
    with pytest.raises(TypeError):
        FileObjectList([STOLEN])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        FileObject(**STOLEN)  # type: ignore[arg-type]
    with pytest.raises(pydantic.ValidationError):
        pydantic.TypeAdapter(FileObject).validate_python(STOLEN)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"file": STOLEN}, Upload)
    async with driver.session() as session:
        with pytest.raises((TypeError, StatementError)):
            await session.execute(insert(Document).values(title="", file=STOLEN))
    assert stored() == {"secret": b"secret"}


async def test_a_file_with_a_chosen_key_and_no_content_is_nothing(
    driver: Driver, local: StorageBackend
) -> None:
    """The arguments that a file does take never make it a file that is there."""
    local.put("secret", [b"secret"])
    chosen = {name: STOLEN[name] for name in ("filename", "to_filename", "backend", "content_type")}
    file = FileObject(**chosen)  # type: ignore[arg-type]
    assert (file.is_saved, file.exists()) == (False, False)
    for call in (
        FileObject.get_content,
        FileObject.save,
        FileObject.delete,
        FileObject.copy,
        FileObject.sign,
    ):
        with pytest.raises(PendingContentError):
            call(file)
    async with driver.session() as session:
        session.add(Document(file=file))
        with pytest.raises(PendingContentError):
            await session.commit()
    assert not copy.copy(file).is_saved
    assert stored() == {"secret": b"secret"}


async def test_a_storage_that_a_request_names_is_refused_before_anything_is_stored(
    driver: Driver, local: StorageBackend, other: StorageBackend
) -> None:
    for name in ("other", "unknown", "s3://other/", "file:///etc/"):
        async with driver.session() as session:
            session.add(Document(file=FileObject("a.txt", content=b"x", backend=name)))
            with pytest.raises(BackendMismatchError):
                await session.commit()
    for name in ("s3://other/", "file:///etc/"):
        with pytest.raises(BackendNotRegisteredError):
            FileObject("a.txt", content=b"x", backend=name).save()
    assert (contents("docs"), contents("other")) == ([], [b"secret"])


@pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and devices")
async def test_a_path_is_read_only_if_code_says_so(
    driver: Driver, local: StorageBackend, tmp_path: Path
) -> None:
    for text in ("/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/"):
        with pytest.raises(TypeError, match="Path"):
            FileObject("a", content=text)  # type: ignore[arg-type]
    for url in ("file:///etc/passwd", "http://169.254.169.254/"):
        with pytest.raises(FileNotFoundError):
            FileObject("a", source_path=url)
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(OSError):
            FileObject("a", source_path=path)
    plain = tmp_path / "plain"
    plain.write_bytes(b"plain")
    file = FileObject("a", source_path=plain)
    plain.unlink()
    plain.symlink_to("/etc/passwd")
    async with driver.session() as session:
        session.add(Document(file=file))
        with pytest.raises(OSError, match="symbolic link"):
            await session.commit()
    assert contents() == []
