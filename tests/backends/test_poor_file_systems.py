"""Local folders on file systems that know less, as FUSE, SMB and exFAT mounts do, and folders that others tidy."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, NotSupportedError, ObjectExistsError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.models import Base, Document

LARGE = b"x" * 9_000_000


@pytest.fixture(params=["obstore", "fsspec"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    folder = tmp_path / "root"
    if request.param == "obstore":
        return storages.register_backend(ObstoreBackend("docs", f"file://{folder}/"))
    return storages.register_backend(FSSpecBackend("docs", "file", str(folder)))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
async def test_without_hard_links_new_keys_are_stored(
    backend: StorageBackend, no_hard_links: None, content: bytes, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        document = Document(id=1, file=FileObject("a", content=b"first"))
        session.add(document)
        session.commit()
        document.file = await FileObject("a", backend="docs", content=content).save_async()
        session.commit()
        assert document.file.get_content() == content
    assert [backend.get_bytes(each.key) for each in backend.list()] == [content]
    engine.dispose()


async def test_without_hard_links_a_chosen_key_is_refused(
    backend: StorageBackend, no_hard_links: None, tmp_path: Path
) -> None:
    file = FileObject("a", backend="docs", content=b"x", to_filename="logo.png")
    with pytest.raises(NotSupportedError, match="hard links"):
        file.save()
    with pytest.raises(NotSupportedError, match="hard links"):
        await file.save_async()
    with pytest.raises(NotSupportedError, match="hard links"):
        backend.put("k", [b"x"])
    assert files_below(tmp_path / "root") == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_synced_is_no_error_but_a_disk_that_fails_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    backend = ObstoreBackend("docs", f"file://{tmp_path}/root/")
    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(StorageError):
            backend.put("a/b", [b"x"])
    else:
        assert ObstoreBackend("other", f"file://{tmp_path}/other/").put("a/b", [b"x"]).size == 1
        assert backend.put("a/b", [b"x"]).size == 1


@pytest.mark.parametrize("kind", [stat.S_ISDIR, stat.S_ISREG], ids=["folder", "file"])
def test_content_that_is_not_durable_is_not_taken_for_stored(
    backend: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[int], bool]
) -> None:
    """It can be read back, and would be gone after a power failure."""
    FileObject("a", backend="docs", content=b"first").save()
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if kind(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "the disk fails")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError):
        FileObject("b", backend="docs", content=b"second").save()
    monkeypatch.undo()
    assert [backend.get_bytes(each.key) for each in backend.list()] == [b"first"]


def test_an_upload_whose_stage_was_swept_says_so(backend: StorageBackend, tmp_path: Path) -> None:
    def slow() -> Iterator[bytes]:
        yield b"x"
        for left in (tmp_path / "root" / ".filecolumn" / "stage").iterdir():
            left.unlink()

    with pytest.raises(StorageError, match="removed, as a sweep does"):
        backend.put("a/b", slow())
    with pytest.raises(StorageError, match="removed, as a sweep does"):
        backend.put("a/b", slow(), mode="overwrite")


def test_a_file_that_cannot_be_synced_is_an_error(
    backend: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not durable")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError):
        backend.put("a/b", [b"x"])
    assert files_below(tmp_path / "root") == []


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Remove empty folders all the time, as a nightly job does once."""
    done = Event()

    def tidy() -> None:
        while not done.wait(0.0005):
            for below, _, _ in os.walk(folder, topdown=False):
                if below != str(folder):
                    with suppress(OSError):
                        os.rmdir(below)

    thread = Thread(target=tidy)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


@pytest.mark.parametrize("mode", ["create", "overwrite"])
def test_a_put_makes_the_folder_again_that_others_remove(
    backend: StorageBackend, tmp_path: Path, mode: str
) -> None:
    with tidied(tmp_path / "root"):
        for number in range(100):
            backend.put(f"{number}/below/a", [b"x"], mode="create" if mode == "create" else "overwrite")
            backend.delete([f"{number - 1}/below/a"])
    assert [found.key for found in backend.list()] == ["99/below/a"]


async def test_of_two_saves_of_one_content_under_one_key_one_is_refused(backend: StorageBackend) -> None:
    """The same content is no proof that it is one's own, where nothing is put twice."""
    files = [FileObject("a", backend="docs", content=LARGE, to_filename="logo.png") for _ in range(4)]
    ended = await asyncio.gather(*(file.save_async() for file in files), return_exceptions=True)
    assert sum(isinstance(each, FileObject) for each in ended) == 1
    assert sum(isinstance(each, ObjectExistsError) for each in ended) == 3
