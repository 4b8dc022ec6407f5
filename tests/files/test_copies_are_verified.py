"""A copy is what the row says of its content, whoever copied it, or there is none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from filecolumn import ChecksumMismatchError, FileObject, ObjectNotFoundError, StorageError, storages
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import file_from_row
from filecolumn.files.steps import run, run_async
from filecolumn.files.transfer import Copy, copy
from filecolumn.testing import Fault, FaultyBackend, WrappedBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.files import DATA, Call, call, keys, storage, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files
from tests.servers.s3_faults import S3Server

__all__ = ("call", "storage")

OTHER = bytes(reversed(DATA))
"""Other content of the same size."""


def _memory(folder: Path, **options: bool) -> StorageBackend:
    return ObstoreBackend("docs", "memory://", **options)  # type: ignore[arg-type]


def _folder(folder: Path, **options: bool) -> StorageBackend:
    return ObstoreBackend("docs", f"file://{folder}/docs/", fsync=False, **options)  # type: ignore[arg-type]


def _wrapped(folder: Path, **options: bool) -> StorageBackend:
    return WrappedBackend(_folder(folder))


KINDS = {"memory": _memory, "folder": _folder, "wrapped": _wrapped}


@pytest.fixture
def broken(storage: StorageBackend) -> FileObject:
    """A saved file, the content of which was changed."""
    made = stored()
    assert made.path is not None
    storage.put(made.path, [OTHER], mode="overwrite")
    return made


async def test_a_copy_of_other_content_of_the_same_size_is_refused(
    storage: StorageBackend, broken: FileObject, call: Call
) -> None:
    with pytest.raises(ChecksumMismatchError, match="is not copied"):
        await call(broken, "copy")
    assert keys(storage) == [broken.path]


async def test_a_copy_of_a_shorter_file_is_refused(storage: StorageBackend, call: Call) -> None:
    made = stored()
    assert made.path is not None
    storage.put(made.path, [DATA[:-1]], mode="overwrite")
    with pytest.raises(ChecksumMismatchError, match="is not copied"):
        await call(made, "copy")
    assert keys(storage) == [made.path]


async def test_a_copy_between_storages_is_refused_too(
    storage: StorageBackend, broken: FileObject, call: Call, tmp_path: Path
) -> None:
    other = storages.register_backend(FSSpecBackend("other", "file", str(tmp_path / "other"), fsync=False))
    with pytest.raises(ChecksumMismatchError):
        await call(broken, "copy", backend="other")
    assert keys(other) == []
    assert keys(storage) == [broken.path]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_by_a_wrapper_is_refused_too(kind: str, tmp_path: Path, call: Call) -> None:
    storage = storages.register_backend(KINDS[kind](tmp_path))
    made = stored()
    assert made.path is not None
    storage.put(made.path, [OTHER], mode="overwrite")
    with pytest.raises(ChecksumMismatchError):
        await call(made, "copy")
    assert keys(storage) == [made.path]


async def test_a_copy_of_a_row_without_a_checksum_has_one(storage: StorageBackend, call: Call) -> None:
    storage.put("a.txt", [DATA])
    made = await call(file_from_row({"filename": "a.txt", "backend": "docs"}), "copy")
    assert made.size == len(DATA)
    await call(made, "verify")


async def test_the_size_of_a_row_without_a_checksum_counts(storage: StorageBackend, call: Call) -> None:
    storage.put("a.txt", [DATA])
    row = {"filename": "a.txt", "backend": "docs", "size": 3}
    with pytest.raises(ChecksumMismatchError):
        await call(file_from_row(row), "copy")
    assert keys(storage) == ["a.txt"]


async def test_a_checksum_of_another_kind_gives_way_to_ours(storage: StorageBackend, call: Call) -> None:
    storage.put("a.txt", [DATA])
    row = {"filename": "a.txt", "backend": "docs", "checksum": "d41d8cd98f00b204e9800998ecf8427e"}
    made = await call(file_from_row(row), "copy")
    await call(made, "verify")


async def test_an_empty_file_is_copied(storage: StorageBackend, call: Call) -> None:
    made = await call(stored(b""), "copy")
    assert made.size == 0
    await call(made, "verify")


async def test_a_copy_keeps_the_content_type_of_the_row(storage: StorageBackend, call: Call) -> None:
    storage.put("a", [b"\x89PNG\r\n\x1a\n" + bytes(100)])
    row = {"filename": "a", "backend": "docs", "content_type": "text/plain"}
    assert (await call(file_from_row(row), "copy")).content_type == "text/plain"


# ---- storages that copy by themselves


async def test_what_a_storage_copied_wrong_is_deleted(tmp_path: Path, call: Call) -> None:
    faulty = FaultyBackend(_memory(tmp_path))
    storages.register_backend(faulty)
    made = stored()
    faulty.schedule(Fault("get", "corrupt"))
    with pytest.raises(ChecksumMismatchError):
        await call(made, "copy")
    assert keys(faulty) == [made.path]


@pytest.mark.parametrize("operation", ["get", "copy"])
async def test_a_copy_that_cannot_be_read_is_deleted(tmp_path: Path, call: Call, operation: str) -> None:
    faulty = FaultyBackend(_memory(tmp_path))
    storages.register_backend(faulty)
    made = stored()
    faulty.schedule(Fault(operation, "fail_before"))  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        await call(made, "copy")
    assert keys(faulty) == [made.path]


async def test_a_copy_that_cannot_be_deleted_raises_what_was_wrong(tmp_path: Path, call: Call) -> None:
    faulty = FaultyBackend(_memory(tmp_path))
    storages.register_backend(faulty)
    made = stored()
    faulty.schedule(Fault("get", "corrupt"), Fault("delete", "fail_before"))
    with pytest.raises(ChecksumMismatchError):
        await call(made, "copy")


async def test_a_storage_may_be_trusted_with_its_copies(tmp_path: Path, call: Call) -> None:
    class Counted(WrappedBackend):
        def __init__(self) -> None:
            super().__init__(_memory(tmp_path))
            self.verify_copies = False

    counted = Counted()
    storages.register_backend(counted)
    made = stored()
    await call(made, "copy")
    assert counted.calls["get"] == 0
    assert made.path is not None
    counted.put(made.path, [b"short"], mode="overwrite")
    with pytest.raises(StorageError, match="stored 5 of"):
        await call(made, "copy")
    assert counted.calls["get"] == 0
    assert len(keys(counted)) == 2


async def test_a_copy_that_is_trusted_is_hashed_if_its_origin_never_was(tmp_path: Path, call: Call) -> None:
    storage = storages.register_backend(_memory(tmp_path, verify_copies=False))
    storage.put("old.txt", [DATA])
    row = {"filename": "old.txt", "backend": "docs", "size": None, "checksum": None}
    copied: FileObject = await call(file_from_row(row), "copy")  # type: ignore[assignment]
    assert copied.checksum == stored().checksum
    await call(copied, "verify")


@pytest.mark.parametrize("kind", ["obstore", pytest.param("s3fs", marks=pytest.mark.extended)])
async def test_a_copy_whose_answer_is_lost_is_kept(kind: str, call: Call) -> None:
    with S3Server() as server:
        if kind == "obstore":
            options = {"max_retries": 0, **server.obstore_options()}
            storages.register_backend(ObstoreBackend("docs", "s3://bucket/", **options))
        else:
            storages.register_backend(FSSpecBackend("docs", "s3", "bucket", **server.s3fs_options()))
        made = stored()
        server.fail("copy", "reset_after", times=None)
        copied: FileObject = await call(made, "copy")  # type: ignore[assignment]
        assert await call(copied, "get_content") == DATA
        server.clear()
        server.fail("copy", "error", times=None, status=403)
        with pytest.raises(StorageError):
            await call(made, "copy")
        assert len(server.contents()) == 2


@pytest.mark.parametrize(("kind", "by_itself"), [("memory", True), ("folder", False)])
async def test_only_copies_of_the_storage_itself_are_taken_on_trust(
    kind: str, by_itself: bool, tmp_path: Path, call: Call
) -> None:
    storage = storages.register_backend(KINDS[kind](tmp_path, verify_copies=False))
    assert storage.copies_by_itself is by_itself
    made = stored()
    assert made.path is not None
    storage.put(made.path, [OTHER], mode="overwrite")
    if by_itself:
        await call(made, "copy")
    else:
        with pytest.raises(ChecksumMismatchError):
            await call(made, "copy")


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_verify_copies_is_an_option_of_a_url(scheme: str, tmp_path: Path) -> None:
    path = f"{tmp_path}/" if scheme == "file" else ""
    made = storages.register_backend(f"{scheme}://{path}", "docs", verify_copies=False)
    assert not made.verify_copies
    assert not FSSpecBackend("other", "memory", verify_copies=False).verify_copies
    assert FSSpecBackend("other", "memory").verify_copies


async def test_the_caller_may_read_the_copy_itself(tmp_path: Path) -> None:
    counted = WrappedBackend(_memory(tmp_path))
    counted.put("a", [DATA])
    op = Copy(counted, "a", counted, "b", FileFacts(filename="a"), verify=False)
    assert run(copy(op)).checksum is None
    assert (await run_async(copy(replace(op, key="c")))).size == len(DATA)
    assert counted.calls["get"] == 0


# ---- large content


class _Endless(StorageBackend):
    """A folder with one very large object, of which no byte is stored anywhere."""

    size = 64 * CHUNK_SIZE

    @property
    def location(self) -> str:
        return "endless://"

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        size = self.size if length is None else min(length, self.size)
        for at in range(0, size, CHUNK_SIZE):
            yield bytes(min(CHUNK_SIZE, size - at))

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        return Stat(key=key, size=sum(map(len, chunks)))

    def stat(self, key: str) -> Stat:
        return Stat(key=key, size=self.size)

    def delete(self, keys: Iterable[str]) -> None: ...

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        return iter(())


async def test_a_large_copy_is_never_held_as_a_whole(call: Call) -> None:
    storages.register_backend(_Endless("docs"))
    made = file_from_row({"filename": "a", "to_filename": "a", "backend": "docs"})
    tracemalloc.start()
    try:
        copied = await call(made, "copy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert copied.size == _Endless.size
    assert peak < 8 * CHUNK_SIZE


# ---- rows


async def test_a_row_never_gets_a_copy_with_another_checksum(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"content 1")
    [key] = keys(storage)
    storage.put(key, [b"content X"], mode="overwrite")
    async with driver.session() as session:
        session.add(Document(id=2, file=(await session.one(Document, 1)).file))
        with pytest.raises(ChecksumMismatchError):
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"content X"})
    assert contents() == [b"content X"]


async def test_a_file_of_a_row_that_is_gone_says_how_to_share_content(
    driver: Driver, storage: StorageBackend
) -> None:
    default = file(b"default")
    async with driver.session() as session:
        session.add(Document(id=1, file=default), Document(id=2, file=default))
        await session.commit()
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    async with driver.session() as session:
        session.add(Document(id=3, file=default))
        with pytest.raises(ObjectNotFoundError, match="give each row its own"):
            await session.flush()
        await session.rollback()
    await agree(driver, {2: b"default"})


async def test_a_file_that_left_with_its_row_says_how_to_share_content(
    driver: Driver, storage: StorageBackend
) -> None:
    default = file(b"default")
    async with driver.session(expire_on_commit=False) as session:
        session.add(document := Document(id=1, file=default))
        await session.commit()
        await session.delete(document)
        await session.commit()
        session.add(Document(id=3, file=default))
        with pytest.raises(ObjectNotFoundError, match="give each row a FileObject of its own"):
            await session.flush()
        await session.rollback()
    await agree(driver, {})
