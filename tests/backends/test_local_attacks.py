"""A folder in which somebody else can make links, pipes and files."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from filecolumn import FileColumnError, FileObject, InvalidKeyError, NotSupportedError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import Driver, stored
from tests.scenarios.models import Document
from tests.scenarios.records import insert_raw
from tests.scenarios.sqlite import driver

__all__ = ("driver",)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs")


async def reads_and_removal(driver: Driver, key: str) -> list[BaseException]:
    """Read the file of a row that names *key*, delete the row, and return what the reads raised."""
    await insert_raw(driver, {"filename": "a.txt", "to_filename": key, "backend": "docs"})
    errors: list[BaseException] = []
    async with driver.session() as session:
        document = await session.one(Document, 1)
        try:
            await driver.content(document.file)
        except FileColumnError as error:
            errors.append(error)
        assert document.file is not None
        try:
            document.file.refresh()
        except FileColumnError as error:
            errors.append(error)
        await session.run(lambda s: s.expire(document))
        await session.delete(await session.one(Document, 1))
        await session.commit()
    async with driver.session() as session:
        assert await session.get(Document, 1) is None
    return errors


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("key", ["link", "folder/secret", "folder/../folder/secret", "inner/link"])
async def test_a_link_that_leads_out_is_refused(
    driver: Driver, local: StorageBackend, root: Path, outside: Path, key: str
) -> None:
    (root / "inner").mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "inner/link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    assert len(await reads_and_removal(driver, key)) == 2
    for target in (key, "folder/new"):
        with pytest.raises((StorageError, InvalidKeyError)):
            await driver.save(FileObject("a.txt", backend="docs", content=b"x", to_filename=target))
    assert files_in(outside) == {"secret": b"secret"}
    assert list(local.list()) == []


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="two names change places in one step")


@contextmanager
def swapping(real: Path, link: Path) -> Iterator[None]:
    """Let *real* and *link* change places all the time, as an attacker in the folder would."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = threading.Event()
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE

    def swap() -> None:
        while not done.is_set():
            libc.renameat2(here, os.fsencode(real), here, os.fsencode(link), exchange)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        yield
    finally:
        done.set()
        attacker.join()


@LINUX
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_link_swapped_in_after_the_check_is_not_read(
    local: StorageBackend, root: Path, outside: Path, what: str
) -> None:
    local.put("a/secret", [b"ours"])
    (root / "link").symlink_to(outside if what == "folder" else outside / "secret")
    read: set[bytes] = set()
    end = time.monotonic() + 1.0
    with swapping(root / "a" if what == "folder" else root / "a/secret", root / "link"):
        while time.monotonic() < end:
            try:
                read.add(local.get_bytes("a/secret"))
            except OSError:
                continue
    assert read == {b"ours"}


@LINUX
def test_a_link_swapped_in_after_the_check_is_not_deleted_through(
    local: StorageBackend, root: Path, outside: Path
) -> None:
    local.put("a/secret", [b"ours"])
    (root / "link").symlink_to(outside)
    end = time.monotonic() + 1.0
    with swapping(root / "a", root / "link"):
        while time.monotonic() < end and (outside / "secret").exists():
            try:
                local.delete(["a/secret"])
            except StorageError:
                continue
    assert (outside / "secret").read_bytes() == b"secret"


@LINUX
def test_nothing_outside_is_overwritten_by_a_swap(local: StorageBackend, root: Path, outside: Path) -> None:
    """Whether something new appears there is up to obstore, which writes by path."""
    local.put("a/first", [b"ours"])
    (root / "link").symlink_to(outside)
    end = time.monotonic() + 1.0
    with swapping(root / "a", root / "link"):
        while time.monotonic() < end:
            try:
                local.put("a/secret", [b"ours"])
                local.delete(["a/secret"])
            except OSError:
                continue
    assert (outside / "secret").read_bytes() == b"secret"
    if isinstance(local, FSSpecBackend):
        assert [path.name for path in outside.iterdir()] == ["secret"]


async def test_a_pipe_is_refused_and_never_waited_for(
    driver: Driver, local: StorageBackend, root: Path
) -> None:
    os.mkfifo(root / "pipe")
    assert len(await reads_and_removal(driver, "pipe")) == 2
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)


async def test_a_folder_is_no_object(driver: Driver, local: StorageBackend, root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder/inner").write_bytes(b"x")
    assert len(await reads_and_removal(driver, "folder")) == 2
    assert stored() == {"folder/inner": b"x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
async def test_a_device_is_refused(driver: Driver, local: StorageBackend, root: Path) -> None:
    try:
        os.mknod(root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container may not make devices")
    assert len(await reads_and_removal(driver, "device")) == 2
    assert stat.S_ISCHR((root / "device").stat().st_mode)


def test_through_a_hard_link_nothing_outside_changes(
    local: StorageBackend, root: Path, outside: Path
) -> None:
    """It is a regular file with two names: only the one in the folder is ever touched."""
    secret = outside / "secret"
    secret.chmod(0o600)
    os.link(secret, root / "twin")
    with pytest.raises(FileExistsError):
        local.put("twin", [b"x"])
    local.put("twin", [b"new"], mode="overwrite")
    assert secret.read_bytes() == b"secret"
    local.delete(["twin"])
    os.link(secret, root / "twin")
    local.delete(["twin"])
    assert secret.read_bytes() == b"secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def make_local(kind: type[StorageBackend], folder: Path) -> StorageBackend:
    if kind is ObstoreBackend:
        return ObstoreBackend("docs", f"file://{folder}/", fsync=False)
    return FSSpecBackend("docs", "file", prefix=str(folder), fsync=False)


LOCAL = pytest.mark.parametrize("kind", [ObstoreBackend, FSSpecBackend])


@LOCAL
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
async def test_files_and_folders_are_for_owner_and_group(
    driver: Driver, tmp_path: Path, kind: type[StorageBackend], umask: int
) -> None:
    before = os.umask(umask)
    try:
        storages.register_backend(make_local(kind, tmp_path / "new/root"))
        async with driver.session() as session:
            session.add(Document(file=FileObject("run.sh", content=b"#!/bin/sh")))
            await session.commit()
    finally:
        os.umask(before)
    made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(made) > 4
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) & ~(0o750 if path.is_dir() else 0o640) == 0, path


@pytest.mark.parametrize("key", ["x#1", "a/x#12", ".filecolumn/stage/x"])
async def test_an_unfinished_upload_is_not_served(
    driver: Driver, local: StorageBackend, root: Path, key: str
) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"half of it")
    assert [type(error) for error in await reads_and_removal(driver, key)] == [InvalidKeyError] * 2
    assert path.exists()
    assert list(local.list()) == []


@LOCAL
def test_a_missing_folder_is_made_at_registration(tmp_path: Path, kind: type[StorageBackend]) -> None:
    storages.register_backend(make_local(kind, tmp_path / "a/b/c"))
    assert (tmp_path / "a/b/c").is_dir()


@LOCAL
@pytest.mark.parametrize("place", ["file", "file/below", "dangling"])
def test_a_folder_that_cannot_be_is_refused_at_registration(
    tmp_path: Path, kind: type[StorageBackend], place: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone/too")
    with pytest.raises((OSError, ValueError)):
        storages.register_backend(make_local(kind, tmp_path / place))
    assert storages.registered_backends() == []


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that this process may read and not write, whoever runs it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


@LOCAL
def test_a_folder_that_cannot_be_written_is_refused_at_registration(
    unwritable: Path, kind: type[StorageBackend]
) -> None:
    with pytest.raises(StorageError, match="not writable"):
        storages.register_backend(make_local(kind, unwritable))
    with pytest.raises((OSError, ValueError)):
        storages.register_backend(make_local(kind, unwritable / "new"))
    assert storages.registered_backends() == []


@LOCAL
def test_a_system_without_descriptors_of_folders_is_refused_at_registration(
    tmp_path: Path, kind: type[StorageBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(NotSupportedError, match=r"POSIX.*s3://bucket/.*memory://.*WSL"):
        storages.register_backend(make_local(kind, tmp_path / "new"))
    for scheme in ("file", "local"):
        for folder in (f"{tmp_path}/new", "/C:/files"):
            with pytest.raises(NotSupportedError, match="POSIX"):
                storages.register_backend(f"{scheme}://{folder}", key="docs")
    assert not (tmp_path / "new").exists()
    assert storages.registered_backends() == []


def test_the_library_is_imported_where_folders_have_no_descriptors() -> None:
    """Windows has none of these names; storages other than local folders work there."""
    program = """
import asyncio, multiprocessing, os, signal, socket, subprocess, sys, tempfile
for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for name in (
    "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "fork", "register_at_fork", "fchmod", "geteuid", "getuid",
    "link", "mkfifo", "statvfs",
):
    delattr(os, name)
del signal.SIGKILL, signal.SIGHUP
os.supports_dir_fd.clear()
import filecolumn
import filecolumn.backends.fsspec, filecolumn.cli.commands, filecolumn.maintenance, filecolumn.testing
try:
    filecolumn.storages.register_backend("file:///C:/files", key="local")
except filecolumn.NotSupportedError:
    pass
else:
    raise AssertionError
storage = filecolumn.storages.register_backend("memory://", key="docs")
assert filecolumn.FileObject("a", content=b"x").save().get_content() == b"x"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
