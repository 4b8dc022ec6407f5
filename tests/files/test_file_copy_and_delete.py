"""Copying and deleting a file, and what the file of a row may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from filecolumn import (
    BackendMismatchError,
    BackendNotRegisteredError,
    ChecksumMismatchError,
    FileObject,
    InvalidKeyError,
    ObjectNotFoundError,
    OwnedFileError,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.files.file import file_from_row
from tests.scenarios.files import DATA, Call, call, keys, memory, owned, storage, stored

__all__ = ("call", "memory", "storage")


# ---- copy


async def test_a_copy_has_its_own_key_and_the_same_facts(storage: StorageBackend, call: Call) -> None:
    file = FileObject("a.pdf", content=DATA, metadata={"k": [1]}).save()
    made = await call(file, "copy")
    assert made != file
    assert made.path != file.path
    assert (made.filename, made.size, made.checksum, made.content_type) == (
        "a.pdf",
        len(DATA),
        file.checksum,
        file.content_type,
    )
    assert made.metadata == {"k": [1]}
    assert made.is_saved
    file.delete()
    await call(made, "verify")
    assert keys(storage) == [made.path]


async def test_a_copy_may_have_another_name(memory: StorageBackend, call: Call) -> None:
    made = await call(stored(name="a.bin"), "copy", filename="../b.txt")
    assert made.filename == "b.txt"
    assert made.path.endswith(".txt")


async def test_a_copy_may_go_to_another_storage(storage: StorageBackend, call: Call, tmp_path: Path) -> None:
    other = storages.register_backend(FSSpecBackend("other", "file", str(tmp_path / "other"), fsync=False))
    made = await call(FileObject("a.bin", backend="docs", content=DATA).save(), "copy", backend="other")
    assert made.backend is other
    assert made.backend_key == "other"
    await call(made, "verify")
    assert len(keys(storage)) == len(keys(other)) == 1


@pytest.mark.parametrize("origin", ["memory", "file"])
@pytest.mark.parametrize("target", ["memory", "file"])
async def test_a_large_copy_may_go_from_obstore_to_obstore(
    call: Call, tmp_path: Path, origin: str, target: str
) -> None:
    for key, scheme in (("origin", origin), ("target", target)):
        storages.register_backend("memory://" if scheme == "memory" else f"file://{tmp_path}/{key}/", key)
    file = FileObject("a.bin", backend="origin", content=bytes(20_000_000)).save()
    made = await call(file, "copy", backend="target")
    await call(made, "verify")


async def test_the_stream_of_a_large_file_is_content_for_another(storage: StorageBackend, call: Call) -> None:
    file = stored(bytes(20_000_000))
    made = FileObject("b.bin", content=file.stream())
    await call(made, "save")
    assert made.checksum == file.checksum


async def test_a_copy_to_another_storage_checks_that_the_bytes_are_those_of_the_row(
    memory: StorageBackend, call: Call
) -> None:
    other = storages.register_backend("memory://", "other")
    file = FileObject("a.bin", backend="docs", content=b"one").save()
    assert file.path is not None
    memory.put(file.path, [b"two!"], mode="overwrite")
    with pytest.raises(ChecksumMismatchError):
        await call(file, "copy", backend="other")
    assert keys(other) == []


async def test_a_file_owned_by_a_row_may_be_copied(memory: StorageBackend, call: Call) -> None:
    file = owned(stored())
    made = await call(file, "copy")
    assert await call(made, "get_content") == DATA


async def test_a_copy_of_a_row_without_a_size_has_one(memory: StorageBackend, call: Call) -> None:
    memory.put("a.txt", [b"abc"])
    made = await call(file_from_row({"filename": "a.txt", "backend": "docs"}), "copy")
    assert made.size == 3
    assert made.path != "a.txt"
    assert made.to_dict()["to_filename"] == made.path


async def test_a_copy_to_an_unknown_storage_is_refused(memory: StorageBackend, call: Call) -> None:
    with pytest.raises(BackendNotRegisteredError):
        await call(stored(), "copy", backend="nope")
    assert len(keys(memory)) == 1


# ---- delete, ownership


async def test_delete_removes_the_content(storage: StorageBackend, call: Call) -> None:
    file = stored()
    await call(file, "delete")
    assert keys(storage) == []
    assert not file.is_saved
    with pytest.raises(ObjectNotFoundError, match="was deleted"):
        await call(file, "get_content")
    with pytest.raises(ObjectNotFoundError):
        await call(file, "delete")


@pytest.mark.parametrize("name", ["delete", "save"])
async def test_a_file_owned_by_a_row_is_neither_deleted_nor_saved(
    memory: StorageBackend, call: Call, name: str
) -> None:
    file = owned(stored())
    with pytest.raises(OwnedFileError, match="assign"):
        await call(file, name, *([b"x"] if name == "save" else []))
    assert file.get_content() == DATA


@pytest.mark.parametrize("name", ["get_content", "exists", "verify", "copy"])
@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", ".filecolumn/stage/x", "x#1", "a//b"])
async def test_a_row_with_a_key_outside_reaches_nothing(
    memory: StorageBackend, call: Call, name: str, key: str
) -> None:
    """A key that a tampered row gives is refused before any storage is asked."""
    row = {"filename": "x", "to_filename": key, "backend": "docs", "checksum": "sha256:0"}
    with pytest.raises(InvalidKeyError):
        await call(file_from_row(row), name)


async def test_a_row_with_a_storage_that_its_column_does_not_use_reaches_nothing(
    memory: StorageBackend, call: Call
) -> None:
    storages.register_backend("memory://", "secret").put("k", [b"x"])
    row = {"filename": "x", "to_filename": "k", "backend": "secret"}
    with pytest.raises(BackendMismatchError, match="reads="):
        await call(file_from_row(row, ("docs",)), "get_content")
    assert await call(file_from_row(row, ("docs", "secret")), "get_content") == b"x"
