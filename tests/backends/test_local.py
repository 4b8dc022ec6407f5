"""A folder on disk: confinement, durability, modes; and the forms in which storages are named."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from filecolumn import InvalidKeyError, ObjectNotFoundError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs"),
    pytest.mark.timeout(30),
]

LARGE = 17 * 1024 * 1024
Make = Callable[..., StorageBackend]


def obstore(folder: Path, **options: Any) -> StorageBackend:
    return ObstoreBackend("s", f"file://{folder}/", **options)


def fsspec(folder: Path, **options: Any) -> StorageBackend:
    return FSSpecBackend("s", "file", str(folder), **options)


@pytest.fixture(params=[obstore, fsspec], ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def backend(make: Make, root: Path) -> StorageBackend:
    return make(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def keys(backend: StorageBackend) -> list[str]:
    return sorted(stat.key for stat in backend.list())


async def each_read(backend: StorageBackend, key: str) -> list[Callable[[], Awaitable[object]]]:
    async def sync(name: str) -> object:
        return getattr(backend, name)(key)

    return [
        lambda: sync("get"),
        lambda: sync("get_bytes"),
        lambda: sync("stat"),
        lambda: sync("open"),
        lambda: backend.get_async(key),
        lambda: backend.get_async(key, length=0),
        lambda: backend.get_bytes_async(key),
        lambda: backend.stat_async(key),
        lambda: backend.copy_async(key, "copied"),
    ]


# ---- links


async def test_a_link_to_a_file_outside_is_refused(
    backend: StorageBackend, root: Path, outside: Path
) -> None:
    """Row 16 of the security table."""
    (root / "link").symlink_to(outside / "secret")
    for read in await each_read(backend, "link"):
        with pytest.raises(StorageError, match="symbolic link"):
            await read()
    for mode in ("create", "overwrite"):
        for size in (1, LARGE):
            with pytest.raises(StorageError):
                backend.put("link", [bytes(size)], mode=mode)  # type: ignore[arg-type]
            with pytest.raises(StorageError):
                await backend.put_async("link", [bytes(size)], mode=mode)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        backend.delete(["link"])
    with pytest.raises(StorageError):
        await backend.delete_async(["link"])
    assert (root / "link").is_symlink()
    assert (outside / "secret").read_bytes() == b"secret"
    assert keys(backend) == []


async def test_a_link_to_a_folder_outside_is_refused(
    backend: StorageBackend, root: Path, outside: Path
) -> None:
    (root / "link").symlink_to(outside)
    for read in await each_read(backend, "link/secret"):
        with pytest.raises(StorageError, match="symbolic link"):
            await read()
    with pytest.raises(StorageError):
        backend.put("link/new", [b"x"])
    with pytest.raises(StorageError):
        backend.put("link/deep/new", [b"x"])
    with pytest.raises(StorageError):
        backend.delete(["link/secret"])
    assert os.listdir(outside) == ["secret"]
    assert keys(backend) == []


def test_a_folder_that_is_a_link_is_not_listed_by_its_name(
    backend: StorageBackend, root: Path, outside: Path
) -> None:
    (root / "link").symlink_to(outside)
    try:
        listed = [entry.key for entry in backend.list("link")]
    except StorageError:
        return
    assert listed == []


def test_a_dangling_link_is_refused(backend: StorageBackend, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "new")
    with pytest.raises(StorageError):
        backend.put("link", [b"x"], mode="overwrite")
    with pytest.raises(StorageError):
        backend.put("link", [b"x"])
    assert not (outside / "new").exists()


def test_a_link_inside_the_root_is_refused_too(backend: StorageBackend, root: Path) -> None:
    backend.put("a", [b"x"])
    (root / "link").symlink_to(root / "a")
    with pytest.raises(StorageError):
        backend.get("link")
    assert keys(backend) == ["a"]


def test_a_loop_of_links_is_refused(backend: StorageBackend, root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(StorageError):
        backend.get("loop")
    with pytest.raises(StorageError):
        backend.put("loop/x", [b"x"])
    assert keys(backend) == []


def test_the_stage_folder_may_not_be_a_link_either(
    backend: StorageBackend, root: Path, outside: Path
) -> None:
    (root / ".filecolumn").symlink_to(outside)
    with suppress(StorageError):
        backend.put("a", [bytes(LARGE)])
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_root_that_is_a_link_is_followed_once(make: Make, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "current").symlink_to(outside)
    backend = make(tmp_path / "current")
    backend.put("a", [b"x"])
    assert backend.location == f"file://{outside}"
    assert backend.get_bytes("secret") == b"secret"


# ---- what is no regular file


async def test_a_fifo_is_refused_and_never_blocks(backend: StorageBackend, root: Path) -> None:
    """Row 18 of the security table."""
    os.mkfifo(root / "fifo")
    for read in await each_read(backend, "fifo"):
        with pytest.raises(StorageError, match="not a regular file"):
            await read()
    with pytest.raises(OSError):
        backend.put("fifo", [b"x"])
    with pytest.raises(StorageError):
        backend.delete(["fifo"])
    assert keys(backend) == []


def test_a_fifo_is_not_overwritten(backend: StorageBackend, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with pytest.raises(StorageError):
        backend.put("fifo", [b"x"], mode="overwrite")
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


async def test_a_folder_at_the_key_is_no_object(backend: StorageBackend, root: Path) -> None:
    (root / "folder").mkdir()
    for read in await each_read(backend, "folder"):
        with pytest.raises(ObjectNotFoundError):
            await read()
    with pytest.raises(OSError):
        backend.put("folder", [b"x"])
    with pytest.raises(OSError):
        backend.put("folder", [b"x"], mode="overwrite")
    backend.delete(["folder"])
    assert (root / "folder").is_dir()


def test_below_a_file_nothing_can_be_stored(backend: StorageBackend) -> None:
    backend.put("a", [b"x"])
    with pytest.raises(OSError):
        backend.put("a/b", [b"x"])
    assert keys(backend) == ["a"]


# ---- modes


def everything_below(folder: Path) -> list[Path]:
    return [*folder.rglob("*")]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("size", [1, LARGE])
async def test_files_and_folders_are_for_owner_and_group_only(
    make: Make, root: Path, umask: int, size: int
) -> None:
    """Row 19 of the security table."""
    backend = make(root)
    before = os.umask(umask)
    try:
        backend.put("a/b/c", [bytes(size)])
        await backend.put_async("d/e", [bytes(size)])
        backend.copy("a/b/c", "f/g")
    finally:
        os.umask(before)
    for path in everything_below(root):
        allowed = 0o750 if path.is_dir() else 0o640
        assert mode_of(path) & ~allowed == 0, path
        assert mode_of(path) & 0o400


def test_an_overwrite_keeps_the_mode(backend: StorageBackend, root: Path) -> None:
    backend.put("a", [b"x"])
    backend.put("a", [b"y"], mode="overwrite")
    assert mode_of(root / "a") == 0o640


# ---- durability


class Synced:
    """What was synced, by inode, in order."""

    def __init__(self) -> None:
        self.inodes: list[int] = []


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    noted, fsync = Synced(), os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        noted.inodes.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", recording)
    return noted


def chain(root: Path, key: str) -> list[int]:
    """Return the inodes of the file, of its folders up to the root, and of the root."""
    path = root / key
    return [
        path.stat().st_ino,
        *(folder.stat().st_ino for folder in path.parents if folder.is_relative_to(root)),
    ]


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_put_returns_when_file_and_folders_are_on_disk(
    make: Make, root: Path, synced: Synced, size: int
) -> None:
    backend = make(root)
    backend.put("a/b/c", [bytes(size)])
    assert set(chain(root, "a/b/c")) <= set(synced.inodes)
    file, folder, *_ = chain(root, "a/b/c")
    assert folder in synced.inodes[synced.inodes.index(file) :]


async def test_an_asynchronous_put_returns_when_file_and_folders_are_on_disk(
    make: Make, root: Path, synced: Synced
) -> None:
    await make(root).put_async("a/b/c", [b"x"])
    assert set(chain(root, "a/b/c")) <= set(synced.inodes)


def test_a_copy_and_an_overwrite_are_on_disk_too(backend: StorageBackend, root: Path, synced: Synced) -> None:
    backend.put("a", [b"x"])
    backend.copy("a", "b/c")
    assert set(chain(root, "b/c")) <= set(synced.inodes)
    synced.inodes.clear()
    backend.put("b/c", [b"y"], mode="overwrite")
    assert set(chain(root, "b/c")[:2]) <= set(synced.inodes)


def test_without_fsync_nothing_is_synced(make: Make, root: Path, synced: Synced) -> None:
    make(root, fsync=False).put("a/b/c", [b"x"])
    assert synced.inodes == []


def test_a_failed_fsync_is_an_error_of_the_put(
    backend: StorageBackend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        backend.put("a", [b"x"])


def test_a_failed_put_leaves_nothing_visible_when_the_disk_fails_at_the_end(
    make: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or nothing: an object whose put raised is not there."""
    backend, fsync = make(root), os.fsync
    backend.put("warm", [b"x"])

    def broken(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError):
        backend.put("a", [b"x"])
    assert keys(backend) == ["warm"]


# ---- nothing partial


@pytest.mark.parametrize("size", [10, LARGE])
def test_nothing_partial_is_in_sight_while_a_put_goes_on(
    backend: StorageBackend, root: Path, size: int
) -> None:
    def watched() -> Iterator[bytes]:
        for _ in range(10):
            yield bytes(size // 10)
            assert not (root / "a" / "b").exists()
            assert keys(backend) == []

    backend.put("a/b", watched())
    assert keys(backend) == ["a/b"]


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_failed_put_leaves_no_file_at_all(backend: StorageBackend, root: Path, size: int) -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(size)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        backend.put("a", failing())
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_successful_put_leaves_one_file(backend: StorageBackend, root: Path) -> None:
    backend.put("a/b", [bytes(LARGE)])
    assert [path for path in root.rglob("*") if path.is_file()] == [root / "a" / "b"]
    assert (root / "a" / "b").stat().st_nlink == 1


def test_what_an_upload_left_is_removed_by_its_one_key(backend: StorageBackend, root: Path) -> None:
    """A ReservedKey is a string, and a string is one key."""
    backend.put("a", [b"x"])
    stage = root / ".filecolumn" / "stage"
    stage.mkdir(parents=True, exist_ok=True)
    for name in ("0" * 32, "1" * 32):
        (stage / name).write_bytes(b"half")
    first, second = sorted(backend.list_unfinished(), key=lambda stat: stat.key)
    backend.delete_unfinished(first.key)
    assert [stat.key for stat in backend.list_unfinished()] == [second.key]
    backend.delete_unfinished([second.key])
    assert [*backend.list_unfinished()] == []
    assert backend.get_bytes("a") == b"x"


async def test_leftovers_of_unfinished_uploads_are_neither_listed_nor_served(
    backend: StorageBackend, root: Path
) -> None:
    """An upload that ends in its middle leaves nothing to see."""
    backend.put("a/x", [b"x"])
    (root / "a" / "x#1").write_bytes(b"partial")
    stage = root / ".filecolumn" / "stage"
    stage.mkdir(parents=True, exist_ok=True)
    (stage / "0123").write_bytes(b"partial")
    assert keys(backend) == ["a/x"]
    assert [entry.key async for entry in await backend.list_async("a")] == ["a/x"]
    for key in ("a/x#1", ".filecolumn/stage/0123"):
        for read in await each_read(backend, key):
            with pytest.raises(InvalidKeyError):
                await read()


def test_a_leftover_does_not_stand_in_the_way_of_a_put(backend: StorageBackend, root: Path) -> None:
    (root / "x#1").write_bytes(b"partial")
    backend.put("x", [bytes(LARGE)])
    assert backend.stat("x").size == LARGE


def test_our_folder_is_kept_out_only_at_the_root(backend: StorageBackend) -> None:
    backend.put("deep/.filecolumn/x", [b"x"])
    assert keys(backend) == ["deep/.filecolumn/x"]


def test_a_put_into_a_root_that_went_missing_is_an_error_or_works(
    backend: StorageBackend, root: Path
) -> None:
    root.rmdir() if not any(root.iterdir()) else None
    try:
        backend.put("a", [b"x"])
    except StorageError:
        return
    assert backend.get_bytes("a") == b"x"


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_read_only_root_is_an_error_of_the_storage(backend: StorageBackend, root: Path) -> None:
    root.chmod(0o500)
    try:
        with pytest.raises(StorageError):
            backend.put("a/b", [b"x"])
    finally:
        root.chmod(0o750)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_error_of_the_disk_is_ours_with_its_cause(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(StorageError, match="No space left"):
        backend.put("new/a", [b"x"])


# ---- the published forms


def test_the_published_local_forms_name_one_place(tmp_path: Path) -> None:
    one = FSSpecBackend(key="local", fs="file", prefix=str(tmp_path))
    other = ObstoreBackend(key="local", fs=f"file://{tmp_path}/")
    assert one.location == other.location == f"file://{tmp_path}"
    one.put("a", [b"x"])
    assert other.get_bytes("a") == b"x"
    assert one.protocol == other.protocol == "file"


@pytest.mark.parametrize("url", ["{0}", "{0}/", "{0}/with%20space", "{0}/with%20space/"])
def test_a_file_url_is_taken_with_and_without_a_slash(tmp_path: Path, url: str) -> None:
    place = url.format(f"file://{tmp_path}")
    folder = tmp_path / "with space" if "space" in url else tmp_path
    for backend in (ObstoreBackend("s", place), FSSpecBackend("s", place)):
        assert backend.location == f"file://{folder}"


@pytest.mark.parametrize("url", ["file://path", "file://path/below/", "file://", "file:path"])
def test_a_relative_file_url_is_refused_with_what_to_write(url: str) -> None:
    for kind in (ObstoreBackend, FSSpecBackend):
        with pytest.raises(ValueError, match=r"file:///folder/|not known|Protocol"):
            kind("s", url)
    with pytest.raises(ValueError, match="file:///folder/"):
        storages.register_backend(url, key="s")


def test_a_local_filesystem_without_a_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="prefix='/folder'"):
        FSSpecBackend(key="local", fs="file")


def test_the_whole_disk_is_no_storage() -> None:
    with pytest.raises(ValueError):
        FSSpecBackend("s", "file", "/")
    with pytest.raises(ValueError):
        FSSpecBackend("s", "file:///")
    with pytest.raises(ValueError):
        ObstoreBackend("s", "file:///")


def test_the_published_memory_form_works() -> None:
    backend = FSSpecBackend(key="test-storage", fs="memory")
    storages.register_backend(backend)
    assert storages._backends.pop("test-storage", None) is backend


FAKE = {
    "aws_access_key_id": "AWS_ACCESS_KEY",
    "aws_secret_access_key": "AWS_SECRET_KEY",
    "aws_region": "us-west-2",
}


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://my-bucket/documents/", "s3://my-bucket/documents"),
        ("s3://my-bucket/documents", "s3://my-bucket/documents"),
        ("s3://my-bucket/", "s3://my-bucket/"),
        ("s3://my-bucket", "s3://my-bucket/"),
    ],
)
def test_the_published_s3_forms_are_made_without_io(url: str, location: str) -> None:
    backend = ObstoreBackend(key="s3-documents", fs=url, **FAKE)
    assert backend.location == location
    assert backend.protocol == "s3"
    assert backend.capabilities.signs
    assert "AWS_SECRET_KEY" not in repr(backend)


def test_an_s3_storage_without_credentials_is_made_without_io() -> None:
    assert ObstoreBackend(key="s3", fs="s3://my-bucket/", aws_region="us-west-2").protocol == "s3"


def test_the_published_azure_form_is_made_without_io() -> None:
    backend = ObstoreBackend(
        key="azure-blobs",
        fs="az://container/files/",
        azure_storage_account_name="account",
        azure_storage_account_key="a2V5",
    )
    assert backend.location == "az://account/container/files"
    assert "a2V5" not in repr(backend)


def test_the_published_gcs_form_names_a_missing_key_file() -> None:
    with pytest.raises(ValueError, match="gs://"):
        ObstoreBackend(
            key="gcs-files",
            fs="gs://my-bucket/files/",
            google_service_account="/path/to/service-account.json",
        )


@pytest.mark.parametrize("url", ["bucket/folder", "", "s3", "/srv/files"])
def test_what_is_no_url_is_refused_by_obstore_with_what_to_write(url: str) -> None:
    with pytest.raises(ValueError, match="file:///folder/"):
        ObstoreBackend("s", url)


def test_a_setting_that_obstore_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError):
        ObstoreBackend("s", "s3://bucket/", no_such_setting="x")


def test_a_setting_that_makes_obstore_panic_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot use"):
        ObstoreBackend("s", "s3://bucket/", aws_allow_http="true")


@pytest.mark.parametrize(
    ("url", "service", "options"),
    [
        ("s3://bucket/", "AWS", {}),
        ("gs://bucket/", "GOOGLE", {}),
        ("az://container/", "AZURE", {"account_name": "x"}),
    ],
)
@pytest.mark.parametrize("name", ["ALLOW_HTTP", "ALLOW_INVALID_CERTIFICATES", "POOL_IDLE_TIMEOUT"])
def test_settings_of_obstores_client_are_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, service: str, options: dict[str, str], name: str
) -> None:
    """A value that cannot be read is refused, so it was read; what the caller says comes before it."""
    monkeypatch.setenv(f"{service}_{name}", "no such value")
    with pytest.raises(ValueError, match="cannot use"):
        ObstoreBackend("s", url, **options)
    said: Any = {name.lower(): "1s" if "TIMEOUT" in name else True}
    ObstoreBackend("s", url, client_options=said, **options)


def test_a_refused_url_is_not_repeated_with_its_password() -> None:
    with pytest.raises(ValueError) as caught:
        ObstoreBackend("s", "s3://user:hunter2@bucket/?token=hunter2", no_such_setting="x")
    assert "hunter2" not in str(caught.value)


def test_settings_go_with_a_url_only(tmp_path: Path) -> None:
    made = ObstoreBackend("s", f"file://{tmp_path}/")
    assert ObstoreBackend("t", made.store).location == made.location
    with pytest.raises(TypeError, match="settings go with a URL"):
        ObstoreBackend("t", made.store, aws_region="x")
    ready = FSSpecBackend("s", "file", str(tmp_path)).fs
    with pytest.raises(TypeError, match="options go with"):
        FSSpecBackend("t", ready, str(tmp_path), auto_mkdir=True)


def test_a_ready_filesystem_is_taken(tmp_path: Path) -> None:
    ready = FSSpecBackend("s", "file", str(tmp_path)).fs
    backend = FSSpecBackend("t", ready, str(tmp_path))
    backend.put("a", [b"x"])
    assert backend.get_bytes("a") == b"x"


def test_a_local_store_without_a_folder_is_refused() -> None:
    from_obstore = pytest.importorskip("obstore.store")
    with pytest.raises(ValueError, match="whole disk"):
        ObstoreBackend("s", from_obstore.LocalStore())
