"""A storage that refuses to answer is not taken for one that has nothing: a listing, a question for a key."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from filecolumn import FileObject, ObjectExistsError, ObjectNotFoundError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import FindingKind, check, sweep
from filecolumn.testing.harness import called
from tests.scenarios.drivers import Driver
from tests.scenarios.models import Base, Document
from tests.servers.s3_faults import S3Server

Refuse = Callable[..., None]
REFUSALS = [
    PermissionError(errno.EACCES, "refused"),
    OSError(errno.EIO, "refused"),
    TimeoutError("refused"),
    ConnectionResetError("refused"),
    RuntimeError("refused"),
]


class Refusing(LocalFileSystem):  # type: ignore[misc]
    """A local filesystem that raises when it is asked for some paths, as one of another machine may."""

    cachable = False
    protocol = "refusing"

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[tuple[str, str], Exception] = {}

    def _check(self, call: str, path: str) -> None:
        if error := self.refused.get((call, Path(self._strip_protocol(path)).name)):
            raise error

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        self._check("ls", path)
        return super().ls(path, detail=detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        self._check("info", path)
        return super().info(path, **options)


class Walking(Refusing):
    """As old filesystems: its `walk` knows no `on_error`."""

    def walk(self, path: str, maxdepth: int | None = None, detail: bool = False) -> Any:
        return super().walk(path, maxdepth=maxdepth, detail=detail)


class OtherNames(AbstractFileSystem):  # type: ignore[misc]
    """A filesystem of its own kind over a local one, so that it is no local folder."""

    cachable = False
    protocol = "other"

    def __init__(self, inner: Refusing) -> None:
        super().__init__()
        for name in ("ls", "info", "open", "mv", "rm_file", "makedirs"):
            setattr(self, name, getattr(inner, name))


WRAPPINGS: dict[str, Callable[[str, Refusing], AbstractFileSystem]] = {
    "sync": lambda _, fs: OtherNames(fs),
    "dir": lambda root, fs: DirFileSystem(root, fs, skip_instance_cache=True),
}


@pytest.fixture(params=[Refusing, Walking], ids=["fsspec", "walk without on_error"])
def fs(request: pytest.FixtureRequest) -> Refusing:
    made: Refusing = request.param()
    return made


@pytest.fixture(params=WRAPPINGS)
def backend(request: pytest.FixtureRequest, fs: Refusing, tmp_path: Path) -> StorageBackend:
    """The storage "docs", a filesystem that is asked through others."""
    wrapped = WRAPPINGS[request.param](str(tmp_path), fs)
    return storages.register_backend(
        FSSpecBackend("docs", wrapped, str(tmp_path / "docs") if request.param == "sync" else "docs")
    )


@pytest.fixture(params=["sync", "async"])
def storage(request: pytest.FixtureRequest, backend: StorageBackend) -> Iterator[StorageBackend]:
    with called(backend, request.param) as made:
        yield made


def keys(storage: StorageBackend, prefix: str = "") -> list[str]:
    return sorted(stat.key for stat in storage.list(prefix))


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_folder_that_may_not_be_listed_is_not_empty(
    storage: StorageBackend, fs: Refusing, error: Exception
) -> None:
    for key in ("a/1", "a/below/2", "b/3"):
        storage.put(key, [b"x"])
    for folder in ("docs", "a", "below"):
        fs.refused = {("ls", folder): error}
        with pytest.raises(StorageError, match="cannot list") as caught:
            keys(storage)
        assert caught.value.__cause__ is error
    assert keys(storage, "b") == ["b/3"]
    fs.refused.clear()
    assert keys(storage) == ["a/1", "a/below/2", "b/3"]


def test_a_folder_that_is_not_there_lists_nothing(storage: StorageBackend) -> None:
    assert keys(storage) == keys(storage, "a") == keys(storage, "a/b") == []
    storage.put("a", [b"x"])
    assert keys(storage, "a") == keys(storage, "a/b") == []
    assert [*storage.list_unfinished()] == []


def test_unfinished_uploads_that_may_not_be_listed_are_not_none(
    backend: StorageBackend, fs: Refusing
) -> None:
    backend.put("a", [b"x"])
    fs.refused = {("ls", "stage"): PermissionError(errno.EACCES, "refused")}
    with pytest.raises(StorageError, match="cannot list unfinished uploads"):
        [*backend.list_unfinished()]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_key_that_may_not_be_asked_for_is_not_free(
    storage: StorageBackend, fs: Refusing, error: Exception
) -> None:
    storage.put("a", [b"first"])
    fs.refused = {("info", "a"): error}
    for ask in (storage.exists, storage.stat, lambda key: storage.put(key, [b"second"])):
        with pytest.raises(StorageError) as caught:
            ask("a")
        assert caught.value.__cause__ is error
    fs.refused.clear()
    assert storage.get_bytes("a") == b"first"
    with pytest.raises(ObjectExistsError):
        storage.put("a", [b"second"])
    with pytest.raises(ObjectNotFoundError):
        storage.stat("a/b")
    assert not storage.exists("b")


# S3, which lists in pages


def obstore_on_s3(server: S3Server) -> StorageBackend:
    return ObstoreBackend("docs", "s3://bucket/docs/", max_retries=0, **server.obstore_options())


def s3fs(server: S3Server) -> StorageBackend:
    return FSSpecBackend("docs", "s3", "bucket/docs", **server.s3fs_options())


def s3fs_in_a_folder(server: S3Server) -> StorageBackend:
    inner = fsspec.filesystem("s3", **server.s3fs_options())
    return FSSpecBackend("docs", DirFileSystem("bucket", inner, skip_instance_cache=True), "docs")


S3FS = pytest.param(s3fs, marks=pytest.mark.extended)
ON_S3 = [obstore_on_s3, S3FS, pytest.param(s3fs_in_a_folder, marks=pytest.mark.extended)]


@pytest.fixture
def pages(s3_server: S3Server) -> S3Server:
    """An S3 whose listings have one key on each page."""
    s3_server.page = 1
    for key in ("a/1", "a/2", "b/3"):
        s3_server.place(f"docs/{key}", b"x")
    return s3_server


@pytest.mark.parametrize("make", ON_S3)
@pytest.mark.parametrize(
    ("kind", "status", "way"),
    [("error", 403, "sync"), ("error", 403, "async"), ("error", 500, "sync"), ("reset_after", 0, "async")],
)
def test_a_page_that_is_refused_is_not_the_last(
    pages: S3Server, make: Callable[[S3Server], StorageBackend], kind: Any, status: int, way: str
) -> None:
    with called(make(pages), way) as storage:
        for passed in (0, 2):
            pages.clear()
            pages.fail("list", kind, skip=passed, times=None, status=status)
            with pytest.raises(StorageError, match="cannot list"):
                keys(storage)
        pages.clear()
        assert keys(storage) == ["a/1", "a/2", "b/3"]
        assert keys(storage, "a") == ["a/1", "a/2"]
        assert keys(storage, "missing") == []


@pytest.mark.parametrize("make", [obstore_on_s3, S3FS])
@pytest.mark.parametrize("status", [403, 500])
def test_a_key_that_s3_does_not_tell_of_is_not_free(
    s3_server: S3Server, make: Callable[[S3Server], StorageBackend], status: int
) -> None:
    storage = make(s3_server)
    storage.put("a", [b"first"])
    s3_server.fail("head", "error", times=None, status=status)
    with pytest.raises(StorageError):
        storage.exists("a")
    with pytest.raises(StorageError):
        storage.put("a", [b"x" * 9_000_000])
    s3_server.clear()
    assert storage.get_bytes("a") == b"first"


@pytest.mark.parametrize("driver", ["sync-file"], indirect=True)
@pytest.mark.parametrize("make", [obstore_on_s3, S3FS])
async def test_a_sweep_and_a_check_do_not_take_a_refusal_for_peace(
    s3_server: S3Server, make: Callable[[S3Server], StorageBackend], driver: Driver
) -> None:
    storages.register_backend(make(s3_server))
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.bin", content=b"abc")))
        await session.commit()
    s3_server.fail("list", "error", times=None, status=403)
    swept = sweep(driver.sync_engine, Base, grace=0)
    assert list(swept.unreachable) == ["docs"]
    assert (swept.found, swept.pending) == (0, 0)
    checked = check(driver.sync_engine, Base, grace=0)
    # s3fs creates nothing conditionally, which is a doubt of its own
    kinds = {found.kind for found in checked.findings} - {FindingKind.WITHHELD}
    assert kinds == {FindingKind.UNREACHABLE}
