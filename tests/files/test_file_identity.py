"""Equality, hash and repr of files, and their copies and pickles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from filecolumn import FileObject, OwnedFileError, SourceConsumedError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.files.file import file_from_row
from tests.scenarios.files import ACCESS, DATA, SECRET, failing, memory, owned, s3, s3_file, stored

__all__ = ("memory", "s3")


def test_saved_files_are_equal_by_storage_and_key(memory: StorageBackend) -> None:
    file = stored()
    assert file == owned(file)
    assert hash(file) == hash(owned(file))
    assert file != stored()
    assert len({file, owned(file)}) == 1


def test_files_are_equal_under_the_old_and_the_new_name_of_a_storage(memory: StorageBackend) -> None:
    file = stored()
    renamed = copy.deepcopy(file)
    before = hash(file)
    storages.unregister_backend("docs")
    storages.register_backend("memory://", "new")
    storages.alias("docs", to="new")
    moved = file_from_row({**renamed.to_dict(), "backend": "new"})
    assert file == moved
    assert hash(file) == hash(moved) == before


def test_a_file_that_was_deleted_stays_what_it_is_in_a_set(memory: StorageBackend) -> None:
    file = stored()
    known = {file}
    file.delete()
    assert file in known


def test_pending_files_are_equal_only_to_themselves() -> None:
    one, other = FileObject("a.txt", content=b"x"), FileObject("a.txt", content=b"x")
    assert one == one  # noqa: PLR0124 - identity is the point
    assert one != other
    assert one != "a.txt"
    with pytest.raises(TypeError, match="hashable once it is saved"):
        hash(one)


COPIES: list[Callable[[FileObject], FileObject]] = [
    lambda file: pickle.loads(pickle.dumps(file)),
    copy.deepcopy,
    copy.copy,
]


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_saved_file_is_equal_and_needs_no_registered_backend(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    file = FileObject("a.txt", content=DATA, metadata={"k": 1}).save()
    _ = file.backend, repr(file)
    storages.clear_backends()
    other = made(file)
    assert other == file
    assert hash(other) == hash(file)
    assert other.to_dict() == file.to_dict()
    assert other.metadata == {"k": 1}
    storages.register_backend(memory)
    assert other.get_content() == DATA


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_staged_file_is_not_ours_to_delete(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    with pytest.raises(OwnedFileError):
        made(stored()).delete()


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_pending_file_is_consumed(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    file = FileObject("a.txt", content=b"content-of-mine")
    other = made(file)
    assert not other.has_pending_data
    with pytest.raises(SourceConsumedError):
        other.save()
    assert file.has_pending_data


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_file_in_each_phase_answers_every_question(
    memory: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    removed = stored()
    removed.delete()
    for file in (removed, owned(stored()), FileObject("a.txt"), stored()):
        other = made(file)
        assert other.filename == file.filename
        assert repr(other)
        assert made(other).to_dict() == file.to_dict()


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_file_with_a_source_that_cannot_be_copied_works(
    made: Callable[[FileObject], FileObject],
) -> None:
    assert made(FileObject("a.txt", content=failing(1))).filename == "a.txt"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_carries_no_content_no_credentials_and_no_backend(s3: StorageBackend, protocol: int) -> None:
    content = b"content-of-mine"
    pending = FileObject("a.txt", backend=s3, content=content)
    loaded = s3_file()
    for file in (pending, loaded):
        _ = file.backend, file.protocol
        text = pickle.dumps(file, protocol=protocol)
        for secret in (SECRET.encode(), ACCESS.encode(), content, b"ObstoreBackend", b"S3Store"):
            assert secret not in text
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_a_repr_shows_what_helps_and_no_secret(s3: StorageBackend) -> None:
    pending = FileObject("a.txt", backend=s3, content=b"content-of-mine")
    assert repr(pending) == "<FileObject 'a.txt' pending None bytes text/plain>"
    assert repr(s3_file()) == "<FileObject 'a.txt' s3:k/a.txt 1 bytes application/octet-stream>"
    assert SECRET not in repr(pending) + repr(s3_file()) + repr(s3)


def test_a_corrupt_file_has_a_repr() -> None:
    assert "corrupt" in repr(file_from_row("{"))


def test_a_corrupt_file_survives_a_pickle() -> None:
    assert "corrupt" in repr(pickle.loads(pickle.dumps(file_from_row("{"))))
