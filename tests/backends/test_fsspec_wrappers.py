"""Filesystems of fsspec that wrap others: what they sign, and those that nothing can be stored through."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.implementations.reference import ReferenceFileSystem
from fsspec.implementations.tar import TarFileSystem
from fsspec.implementations.zip import ZipFileSystem
from sqlalchemy import create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import BackendAlreadyRegisteredError, FileObject, NotSupportedError, StoredObject, storages
from filecolumn.backends.base import SignMethod, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.signing import TokenSigner, UrlSigner

SIGNER = UrlSigner(TokenSigner("a secret of more than thirty-two bytes"), "/files")


class Signing(MemoryFileSystem):  # type: ignore[misc]
    """A filesystem that signs, as those of the clouds do."""

    protocol = "signing"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def sign(self, path: str, expiration: int = 100, **_: object) -> str:
        return f"https://storage/{path.lstrip('/')}?seconds={expiration}"


def in_folder(fs: AbstractFileSystem) -> AbstractFileSystem:
    return DirFileSystem(f"/{uuid4().hex}", fs)


def cached(protocol: str) -> Callable[[AbstractFileSystem], AbstractFileSystem]:
    return lambda fs: fsspec.filesystem(protocol, fs=fs)


WRAPPERS: dict[str, Callable[[AbstractFileSystem], AbstractFileSystem]] = {
    "dir": in_folder,
    "dir in dir": lambda fs: in_folder(in_folder(fs)),
    "simplecache": cached("simplecache"),
    "filecache": cached("filecache"),
    "dir in simplecache": lambda fs: cached("simplecache")(in_folder(fs)),
    "simplecache in dir": lambda fs: in_folder(cached("simplecache")(fs)),
    "asyncwrapper": AsyncFileSystemWrapper,
    "asyncwrapper for a loop": lambda fs: AsyncFileSystemWrapper(fs, asynchronous=True),
    "asyncwrapper in dir": lambda fs: in_folder(AsyncFileSystemWrapper(fs)),
    "asyncwrapper for a loop in dir": lambda fs: DirFileSystem(
        f"/{uuid4().hex}", AsyncFileSystemWrapper(fs, asynchronous=True), asynchronous=True
    ),
}
"""What wraps a filesystem, by name."""


@pytest.fixture(params=WRAPPERS)
def wrap(request: pytest.FixtureRequest) -> Callable[[AbstractFileSystem], AbstractFileSystem]:
    return WRAPPERS[request.param]


@pytest.fixture(params=["sync", "async"])
def sign(request: pytest.FixtureRequest) -> Callable[[FileObject], str]:
    return FileObject.sign if request.param == "sync" else lambda file: asyncio.run(file.sign_async())


def saved(backend: StorageBackend) -> FileObject:
    storages.register_backend(backend)
    return FileObject("a.txt", content=b"text", backend=backend.key).save()


def test_a_wrapper_signs_if_what_it_wraps_does(
    wrap: Callable[[AbstractFileSystem], AbstractFileSystem], sign: Callable[[FileObject], str]
) -> None:
    backend = FSSpecBackend("wrapped", wrap(Signing()))
    file = saved(backend)
    assert file.get_content() == b"text"
    assert backend.capabilities.signs
    assert sign(file).startswith("https://storage/")
    assert f"{file.path}?seconds=3600" in sign(file)


def test_a_wrapper_of_what_does_not_sign_leaves_it_to_the_route(
    wrap: Callable[[AbstractFileSystem], AbstractFileSystem], sign: Callable[[FileObject], str]
) -> None:
    backend = FSSpecBackend("wrapped", wrap(fsspec.filesystem("memory")))
    file = saved(backend)
    assert not backend.capabilities.signs
    with pytest.raises(NotSupportedError):
        sign(file)
    storages.signer = SIGNER
    assert sign(file).startswith("/files/")


@pytest.mark.parametrize("url", ["dir::memory://{}", "simplecache::memory://{}", "filecache::memory://{}"])
def test_a_chained_url_of_what_does_not_sign_leaves_it_to_the_route(url: str) -> None:
    backend = storages.register_backend(url.format(uuid4().hex), key="chained")
    file = FileObject("a.txt", content=b"text", backend="chained").save()
    assert not backend.capabilities.signs
    storages.signer = SIGNER
    assert file.sign().startswith("/files/")


class Boaster(ObstoreBackend):
    """A backend that says it signs, and finds out that it does not."""

    def __init__(self) -> None:
        super().__init__("boaster", "memory://")
        self.capabilities = replace(self.capabilities, signs=True, signs_uploads=True)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        raise NotSupportedError(f"storage {self.key!r} cannot sign {key!r} for {method}")

    async def sign_async(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        return self.sign(key, expires_in=expires_in, method=method)


def test_the_route_stands_in_for_a_storage_that_turns_out_not_to_sign(
    sign: Callable[[FileObject], str],
) -> None:
    file = saved(Boaster())
    with pytest.raises(NotSupportedError, match="boaster"):
        sign(file)
    storages.signer = SIGNER
    assert sign(file).startswith("/files/")


@pytest.mark.parametrize("is_async", [False, True])
def test_an_upload_is_granted_by_the_route_where_the_storage_turns_out_not_to_sign(is_async: bool) -> None:
    storages.register_backend(Boaster())
    storages.signer = SIGNER
    file = FileObject("a.txt", backend="boaster")
    grant = asyncio.run(file.grant_upload_async()) if is_async else file.grant_upload()
    assert grant.url.startswith("/files/")


# Where they are


def of_host(host: str) -> MemoryFileSystem:
    fs = MemoryFileSystem(skip_instance_cache=True)
    fs.storage_options = {"host": host, "password": "S3CR3T"}
    return fs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda folder: zipped(folder / "1"), lambda folder: zipped(folder / "2")),
        (lambda folder: ZipFileSystem(fo=folder / "1" / "a.zip"), lambda folder: zipped(folder / "2")),
        (
            lambda folder: f"zip://old::file://{folder}/1/a.zip",
            lambda folder: f"zip://old::file://{folder}/2/a.zip",
        ),
        (
            lambda folder: ZipFileSystem((folder / "1" / "a.zip").open("rb")),
            lambda folder: ZipFileSystem((folder / "2" / "a.zip").open("rb")),
        ),
        (lambda folder: tarred(folder / "1"), lambda folder: tarred(folder / "2")),
        (
            lambda folder: DirFileSystem("old", zipped(folder / "1")),
            lambda folder: DirFileSystem("old", zipped(folder / "2")),
        ),
        (lambda _: "dir://a::memory://", lambda _: DirFileSystem("/b", MemoryFileSystem())),
        (lambda _: DirFileSystem("/a", of_host("one")), lambda _: DirFileSystem("/a", of_host("two"))),
        (lambda _: cached("simplecache")(of_host("one")), lambda _: cached("simplecache")(of_host("two"))),
    ],
)
def test_a_wrapper_is_another_place_than_one_of_something_else(
    one: Callable[[Path], AbstractFileSystem | str],
    other: Callable[[Path], AbstractFileSystem | str],
    tmp_path: Path,
) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        zipped(tmp_path / name)
    first = FSSpecBackend("wrapped", one(tmp_path))
    storages.register_backend(first)
    again = FSSpecBackend("wrapped", one(tmp_path))
    assert storages.register_backend(again).location == first.location
    with pytest.raises(BackendAlreadyRegisteredError):
        storages.register_backend(FSSpecBackend("wrapped", other(tmp_path)))
    assert not first.location.startswith("file:")
    assert "S3CR3T" not in first.location


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_cache_of_a_filesystem_with_folders_takes_content(cache: str, inside: bool, tmp_path: Path) -> None:
    url = f"{cache}::file://{tmp_path}/new"
    backend = FSSpecBackend("cached", url)
    if inside:
        backend = FSSpecBackend("cached", DirFileSystem(f"{tmp_path}/new", backend.fs))
    backend.put("a/b/c.txt", [b"tex", b"t"])
    assert (tmp_path / "new/a/b/c.txt").read_bytes() == b"text"
    assert backend.get_bytes("a/b/c.txt") == b"text"
    asyncio.run(backend.put_async("d.txt", [b"text"]))
    assert {stat.key for stat in backend.list()} == {"a/b/c.txt", "d.txt"}
    assert [*backend.list_unfinished()] == []


# Filesystems for reading


class WithoutWriting(MemoryFileSystem):  # type: ignore[misc]
    """One of which it shows only when a file is opened that nothing can be written."""

    protocol = "unwritten"
    error: type[Exception] = NotImplementedError

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise self.error("read-only")
        return super()._open(path, mode, **options)


class WithoutOperation(WithoutWriting):
    protocol = "unsupported"
    error = io.UnsupportedOperation


def zipped(folder: Path, name: str = "old/a.txt") -> AbstractFileSystem:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr(name, b"old")
    return ZipFileSystem(str(folder / "a.zip"))


def tarred(folder: Path) -> AbstractFileSystem:
    with tarfile.open(folder / "a.tar", "w") as file:
        member = tarfile.TarInfo("old/a.txt")
        member.size = 3
        file.addfile(member, io.BytesIO(b"old"))
    return TarFileSystem(str(folder / "a.tar"))


def in_memory(kind: type[MemoryFileSystem]) -> DirFileSystem:
    folder = f"/{uuid4().hex}"
    fsspec.filesystem("memory").pipe_file(f"{folder}/old/a.txt", b"old")
    # a filesystem that is one in memory is written in a way of its own
    return DirFileSystem(folder, kind())


READ_ONLY: dict[str, Callable[[Path], AbstractFileSystem]] = {
    "zip": zipped,
    "tar": tarred,
    "folder in zip": lambda folder: DirFileSystem("in", zipped(folder, "in/old/a.txt")),
    "simplecache of zip": lambda folder: fsspec.filesystem("simplecache", fs=zipped(folder)),
    "asyncwrapper of zip": lambda folder: AsyncFileSystemWrapper(zipped(folder)),
    "reference": lambda _: ReferenceFileSystem({"old/a.txt": "old"}, target_protocol="memory"),
    "not implemented": lambda _: in_memory(WithoutWriting),
    "no such operation": lambda _: in_memory(WithoutOperation),
}
"""Filesystems with an object under `old/a.txt` that take no other, by name."""


@pytest.fixture(params=READ_ONLY)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> FSSpecBackend:
    backend = FSSpecBackend("archive", READ_ONLY[request.param](tmp_path))
    storages.register_backend(backend)
    return backend


def untouched() -> Any:
    pytest.fail("content was read for a storage that cannot take it")
    yield b""


def test_a_storage_for_reading_says_so_before_it_takes_any_content(reader: FSSpecBackend) -> None:
    for mode in ("create", "overwrite"):
        with pytest.raises(NotSupportedError, match=r"'archive' .* can only be read.*reads=\('archive',\)"):
            reader.put("new.txt", untouched(), mode=mode)
    with pytest.raises(NotSupportedError, match="can only be read"):
        asyncio.run(reader.put_async("new.txt", untouched()))
    with pytest.raises(NotSupportedError, match="can only be read"):
        FileObject("new.txt", content=b"new", backend="archive").save()
    assert [stat.key for stat in reader.list()] == ["old/a.txt"]


def test_a_storage_for_reading_is_read(reader: FSSpecBackend) -> None:
    assert reader.get_bytes("old/a.txt") == b"old"
    assert reader.stat("old/a.txt").size == 3
    assert b"".join(reader.get("old/a.txt", start=1)) == b"ld"


@pytest.mark.parametrize("fs", [pytest.param("http", marks=pytest.mark.extended), "data", "a new zip"])
def test_what_never_removes_a_file_is_refused_before_it_is_asked(fs: str, tmp_path: Path) -> None:
    made = ZipFileSystem(str(tmp_path / "new.zip"), mode="w") if fs == "a new zip" else fs
    backend = FSSpecBackend("web", made, "http://127.0.0.1:9/files")
    with pytest.raises(NotSupportedError, match=r"'web' .* can only be read"):
        backend.put("a.txt", untouched())
    with pytest.raises(NotSupportedError, match=r"'web' .* can only be read"):
        backend.delete("a.txt")


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("new", reads=("archive",)))


class Archived(Base):
    __tablename__ = "archived"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("archive"))


def test_rows_may_point_into_an_archive_and_new_content_goes_elsewhere(tmp_path: Path) -> None:
    storages.register_backend(FSSpecBackend("archive", zipped(tmp_path)))
    storages.register_backend("memory://", key="new")
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    row = '{"filename": "a.txt", "to_filename": "old/a.txt", "backend": "archive", "size": 3, "v": 1}'
    with Session(engine) as session:
        session.execute(text("INSERT INTO documents VALUES (1, :row)"), {"row": row})
        document = session.get_one(Document, 1)
        assert document.file is not None
        assert document.file.get_content() == b"old"
        session.add(Document(id=2, file=document.file))
        session.commit()
        copied = session.get_one(Document, 2).file
        assert copied is not None
        assert (copied.backend_key, copied.get_content()) == ("new", b"old")

        session.add(Archived(id=1, file=FileObject("b.txt", content=b"new")))
        with pytest.raises(NotSupportedError, match=r"'archive' .* can only be read"):
            session.commit()
        session.rollback()
        assert session.get(Archived, 1) is None
    engine.dispose()
