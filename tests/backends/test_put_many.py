"""Several objects in one call: a folder on disk makes them durable together, and each is there or not told of."""

from __future__ import annotations

import errno
import os
import resource
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest

from filecolumn import InvalidKeyError, ObjectExistsError, StorageError, storages
from filecolumn.backends.base import Stat, StorageBackend, WholeObject
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import FaultyBackend
from tests.backends.places import Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders, modes and links")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="files without a name")
UNNAMED = getattr(os, "O_TMPFILE", 0)
NOT_UNNAMED = [
    errno.EOPNOTSUPP,
    errno.EISDIR,
    errno.EINVAL,
    errno.EPERM,
    errno.EXDEV,
    errno.ENOENT,
    errno.EMLINK,
    errno.ENOSYS,
]


def is_unnamed(flags: int) -> bool:
    return UNNAMED != 0 and flags & UNNAMED == UNNAMED


def replace_open(monkeypatch: pytest.MonkeyPatch, opening: Callable[..., int]) -> None:
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "supports_dir_fd", {*os.supports_dir_fd, opening})


def refuse_unnamed(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the system make no file without a name."""
    opening = os.open

    def refusing(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if is_unnamed(flags):
            raise OSError(number, os.strerror(number))
        return opening(path, flags, mode, dir_fd=dir_fd)

    replace_open(monkeypatch, refusing)


def refuse_later_names(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the system give no name to a file that has none, as without `/proc`."""
    linking = os.link

    def refusing(src: str, dst: str, **options: Any) -> None:
        if src.startswith("/proc/"):
            raise OSError(number, os.strerror(number))
        linking(src, dst, **options)

    monkeypatch.setattr(os, "link", refusing)


Make = Callable[..., StorageBackend]


@pytest.fixture(params=["obstore", "fsspec"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def made(**options: Any) -> StorageBackend:
        if request.param == "obstore":
            return ObstoreBackend("docs", f"file://{tmp_path}/root/", **options)
        return FSSpecBackend("docs", "file", str(tmp_path / "root"), **options)

    return made


@pytest.fixture(params=["named later", "staged"])
def backend(request: pytest.FixtureRequest, make: Make, monkeypatch: pytest.MonkeyPatch) -> StorageBackend:
    """A folder, in each way to store there."""
    if request.param == "staged":
        refuse_unnamed(monkeypatch, errno.EOPNOTSUPP)
    return storages.register_backend(make())


@pytest.fixture
def later(make: Make) -> StorageBackend:
    """A folder whose files get their names later, where that is possible."""
    return storages.register_backend(make())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def objects(*keys: str) -> list[WholeObject]:
    return [WholeObject(key, key.encode(), mode="overwrite") for key in keys]


def many(count: int, folder: str = "a") -> list[WholeObject]:
    return objects(*(f"{folder}/{number:04}" for number in range(count)))


class Told:
    """What was told of, in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, whole: WholeObject, stat: Stat) -> None:
        assert (stat.key, stat.size) == (whole.key, len(whole.content))
        self.keys.append(whole.key)


def contents(wholes: Iterable[WholeObject]) -> dict[str, bytes]:
    return {whole.key: whole.content for whole in wholes}


# ---- file systems that know less


@pytest.mark.parametrize("refuse", [refuse_unnamed, refuse_later_names])
@pytest.mark.parametrize("number", NOT_UNNAMED, ids=errno.errorcode.get)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_system_without_files_that_are_named_later_stores_all_the_same(
    make: Make,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuse: Callable[[pytest.MonkeyPatch, int], None],
    number: int,
    when: str,
) -> None:
    """It is found out when the storage is made, and a folder below it may be of another file system."""
    if when == "before":
        refuse(monkeypatch, number)
        backend = make()
    else:
        backend = make()
        refuse(monkeypatch, number)
    told, wholes = Told(), many(70)
    backend.put_many(wholes, told)
    assert sorted(told.keys) == sorted(whole.key for whole in wholes)
    assert Folder(root).look() == contents(wholes)
    with pytest.raises(ObjectExistsError):
        backend.put_many([WholeObject("a/0000", b"x")], told)


@LINUX
def test_where_files_cannot_be_named_later_is_asked_only_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    opening = os.open

    def refusing(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if is_unnamed(flags):
            asked.append(flags)
            raise OSError(errno.EOPNOTSUPP, "not here")
        return opening(path, flags, mode, dir_fd=dir_fd)

    replace_open(monkeypatch, refusing)
    make().put_many(many(10), Told())
    assert len(asked) == 1


@LINUX
def test_no_file_has_a_name_that_others_may_read_where_the_system_ignores_the_umask(
    make: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = os.open

    def ignoring(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = opening(path, flags, mode, dir_fd=dir_fd)
        if is_unnamed(flags):
            os.fchmod(descriptor, mode)
        return descriptor

    replace_open(monkeypatch, ignoring)
    before = os.umask(0o077)
    try:
        make().put_many(many(2), Told())
    finally:
        os.umask(before)
    assert {stat.S_IMODE((root / whole.key).stat().st_mode) for whole in many(2)} == {0o600}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_and_folders_have_the_modes_that_a_put_gives_them(
    backend: StorageBackend, root: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        backend.put_many(objects("a/many"), Told())
        backend.put("b/one", [b"x"])
    finally:
        os.umask(before)
    for one, other in (("a/many", "b/one"), ("a", "b")):
        assert (root / one).stat().st_mode == (root / other).stat().st_mode


def test_a_storage_that_is_made_leaves_nothing_in_its_folder(backend: StorageBackend, root: Path) -> None:
    assert [*root.iterdir()] == []
    backend.put_many(many(3), Told())
    assert [*backend.list_unfinished()] == []


# ---- durability


class Synced:
    """What was synced, by inode, in order."""

    def __init__(self) -> None:
        self.inodes: list[int] = []
        self.threads: set[int] = set()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    noted, fsync = Synced(), os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        noted.inodes.append(os.fstat(descriptor).st_ino)
        noted.threads.add(get_ident())

    monkeypatch.setattr(os, "fsync", recording)
    return noted


def test_what_is_told_of_is_durable_with_its_folders(
    backend: StorageBackend, root: Path, synced: Synced
) -> None:
    def check(whole: WholeObject, _: Stat) -> None:
        path = root / whole.key
        assert path.stat().st_ino in synced.inodes
        for folder in path.parents:
            assert folder.stat().st_ino in synced.inodes
            if folder == root:
                break

    backend.put_many([*many(70, "a/b"), *many(70, "a/c"), *many(3, "d")], check)


@LINUX
def test_a_folder_is_synced_once_for_many_files(later: StorageBackend, root: Path, synced: Synced) -> None:
    later.put_many(many(60, "a/b"), Told())
    for folder in (root, root / "a", root / "a/b"):
        assert synced.inodes.count(folder.stat().st_ino) == 1
    synced.inodes.clear()
    later.put_many(many(60, "a/b/c"), Told())
    # a name in it is new, and its own is known
    assert synced.inodes.count((root / "a/b").stat().st_ino) == 1
    assert (root / "a").stat().st_ino not in synced.inodes


def test_a_folder_that_others_remove_is_made_again_and_is_durable_again(
    backend: StorageBackend, root: Path, synced: Synced
) -> None:
    backend.put_many(objects("a/b/c"), Told())
    backend.delete("a/b/c")
    (root / "a/b").rmdir()
    (root / "a").rmdir()
    synced.inodes.clear()
    backend.put_many(objects("a/b/c"), Told())
    for name in (".", "a", "a/b", "a/b/c"):
        assert (root / name).stat().st_ino in synced.inodes


def test_a_folder_that_others_remove_meanwhile_is_made_again(backend: StorageBackend, root: Path) -> None:
    def removing() -> Iterator[WholeObject]:
        yield from objects("a/b/1")
        (root / "a/b/1").unlink()
        (root / "a/b").rmdir()
        yield from objects("a/b/2", "a/b/3")

    told = Told()
    backend.put_many(removing(), told)
    assert {"a/b/2", "a/b/3"} <= set(told.keys)
    assert Folder(root).look() == contents(objects("a/b/2", "a/b/3"))


def test_without_fsync_nothing_is_synced(make: Make, root: Path, synced: Synced) -> None:
    make(fsync=False).put_many(many(70), Told())
    assert synced.inodes == []
    assert len(Folder(root).look()) == 70


@pytest.mark.parametrize("kind", [stat.S_ISDIR, stat.S_ISREG], ids=["folder", "file"])
def test_what_is_not_durable_is_neither_told_of_nor_there(
    backend: StorageBackend, root: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[int], bool]
) -> None:
    backend.put_many(objects("a/first"), Told())
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if kind(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "the disk fails")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    told = Told()
    with pytest.raises(StorageError, match="the disk fails"):
        backend.put_many(many(5), told)
    assert told.keys == []
    assert Folder(root).look() == contents(objects("a/first"))


# ---- errors


def test_an_error_leaves_what_was_told_of_and_nothing_else(backend: StorageBackend, root: Path) -> None:
    backend.put("a/0100", [b"first"])
    told = Told()
    with pytest.raises(ObjectExistsError, match="'a/0100'"):
        backend.put_many((WholeObject(whole.key, whole.content) for whole in many(150)), told)
    there = Folder(root).look()
    assert there.pop("a/0100") == b"first"
    assert sorted(there) == sorted(told.keys)
    assert len(told.keys) >= 64


def test_an_error_of_the_objects_arrives_as_itself(backend: StorageBackend, root: Path) -> None:
    def failing() -> Iterator[WholeObject]:
        yield from many(3)
        raise FileNotFoundError("the caller's")

    told = Told()
    with pytest.raises(FileNotFoundError, match=r"^the caller's$"):
        backend.put_many(failing(), told)
    assert sorted(Folder(root).look()) == told.keys


@pytest.mark.parametrize("mode", ["create", "overwrite"])
def test_what_has_the_key_is_replaced_only_when_asked_to(
    backend: StorageBackend, root: Path, mode: Any
) -> None:
    backend.put("a", [b"first"])
    told = Told()
    if mode == "create":
        with pytest.raises(ObjectExistsError):
            backend.put_many([WholeObject("a", b"second", mode=mode)], told)
    else:
        backend.put_many([WholeObject("a", b"second", mode=mode)], told)
    assert Folder(root).look() == {"a": b"first" if mode == "create" else b"second"}


@pytest.mark.parametrize("mode", ["create", "overwrite"])
def test_links_and_pipes_are_refused_and_stay(
    backend: StorageBackend, root: Path, tmp_path: Path, mode: Any
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "link").symlink_to(outside / "new")
    os.mkfifo(root / "pipe")
    backend.put("file", [b"x"])
    for key in ("folder/a", "folder/a/b", "link", "pipe", "file/below"):
        with pytest.raises(StorageError):
            backend.put_many([WholeObject(key, b"x", mode=mode)], Told())
    for key in ("../a", "/a", ".filecolumn/a", "a//b"):
        with pytest.raises(InvalidKeyError):
            backend.put_many([WholeObject(key, b"x", mode=mode)], Told())
    assert [*outside.iterdir()] == []
    assert (root / "link").is_symlink()
    assert (root / "pipe").is_fifo()


def test_a_full_disk_leaves_nothing(backend: StorageBackend, root: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    told = Told()
    try:
        with pytest.raises(StorageError, match="cannot store"):
            backend.put_many([*objects("a"), WholeObject("b", b"x" * 2000)], told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(Folder(root).look()) == told.keys


# ---- open files


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@LINUX
def test_nothing_stays_open(backend: StorageBackend) -> None:
    before = open_files()
    backend.put_many(many(130), Told())
    backend.put_many((whole for number in range(70) for whole in objects(f"b/{number}/c/d")), Told())
    for wrong in (WholeObject("a/0000", b"x"), WholeObject("..", b"x")):
        with pytest.raises((ObjectExistsError, InvalidKeyError)):
            backend.put_many([*many(3, "e"), wrong], Told())
    assert open_files() == before


@LINUX
def test_a_process_with_few_open_files_left_stores_all(later: StorageBackend, root: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 12, limits[1]))
    told = Told()
    try:
        later.put_many(many(60), told)
        for number in range(60):
            later.put_many(objects(f"b/{number}/one", f"c/{number}/two", f"d/{number}/e/three"), told)
        later.put_many((whole for number in range(60) for whole in objects(f"f/{number}/g/four")), told)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(told.keys) == len(Folder(root).look()) == 60 + 3 * 60 + 60


def test_an_object_that_replaces_one_of_the_same_call_is_told_of_after_it(
    backend: StorageBackend, root: Path
) -> None:
    told = Told()
    both = [WholeObject("a/b", content, mode="overwrite") for content in (b"one", b"two")]
    with pytest.raises(InvalidKeyError):
        backend.put_many([*both, WholeObject("..", b"x")], told)
    assert told.keys == ["a/b", "a/b"]
    assert backend.get_bytes("a/b") == b"two"


# ---- whose `put` is another


class Counting(ObstoreBackend):
    """A backend with a `put` of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__("counting", f"file://{folder}/")
        self.puts = 0

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        self.puts += 1
        return super().put(key, chunks, **options)


def test_a_put_of_a_subclass_is_called_for_each(tmp_path: Path) -> None:
    backend = Counting(tmp_path / "root")
    assert not backend.puts_at_once
    backend.put_many(many(3), Told())
    assert backend.puts == 3


def test_a_put_of_an_instance_is_called_for_each(later: StorageBackend) -> None:
    assert later.puts_at_once
    put, keys = later.put, list[str]()

    def noting(key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        keys.append(key)
        return put(key, chunks, **options)

    later.put = noting  # type: ignore[method-assign]
    assert not later.puts_at_once
    later.put_many(many(3), Told())
    assert keys == [whole.key for whole in many(3)]


def test_a_put_of_a_wrapper_is_called_for_each(later: StorageBackend) -> None:
    wrapped = FaultyBackend(later)
    assert not wrapped.puts_at_once
    wrapped.put_many(many(3), Told())
    assert wrapped.calls["put"] == 3


def test_only_storages_of_this_machine_put_at_once(later: StorageBackend) -> None:
    assert ObstoreBackend("m", "memory://").puts_at_once
    assert FSSpecBackend("n", "memory").puts_at_once
    assert not ObstoreBackend("s", "s3://bucket/", region="us-east-1").puts_at_once
