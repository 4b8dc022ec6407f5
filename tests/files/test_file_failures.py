"""Storages that store less, refuse or panic: a file never says more than what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from filecolumn import FileObject, SourceConsumedError, StorageError, storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.content.sources import source_of
from filecolumn.errors import SourceReadError
from filecolumn.files.facts import FileFacts
from filecolumn.files.transfer import Put, PutGroup
from tests.scenarios.files import Call, call, keys, s3, stored

__all__ = ("call", "s3")


class Short(ObstoreBackend):
    """Answers with another size than it was given."""

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:  # type: ignore[override]
        return super().put(key, list(chunks)[:-1], **options)


async def test_a_storage_that_stored_less_is_not_believed(call: Call) -> None:
    storages.register_backend(Short("docs", "memory://"))
    file = FileObject("a.txt", content=[b"a", b"b"])
    with pytest.raises(StorageError, match="of 2"):
        await call(file, "save")
    assert not file.is_saved


async def test_what_a_storage_stored_short_is_removed_again(call: Call) -> None:
    backend = storages.register_backend(Short("docs", "memory://"))
    with pytest.raises(StorageError):
        await call(FileObject("a.txt", content=[b"a", b"b"]), "save")
    assert keys(backend) == []


class NoDelete(ObstoreBackend):
    def delete(self, keys: Iterable[str]) -> None:
        raise StorageError("no")


async def test_a_replacement_that_cannot_remove_the_old_object_is_still_a_save(call: Call) -> None:
    """The new content is stored and named: the file must say so even if the old object could not be removed."""
    storages.register_backend(NoDelete("docs", "memory://"))
    file = stored(b"one")
    with suppress(StorageError):
        await call(file, "save", b"two")
    assert file.is_saved
    assert file.get_content() == b"two"


def test_a_panic_of_obstore_is_an_error_of_the_storage(s3: StorageBackend) -> None:
    """A header's name that HTTP does not allow, which no call of a file gives it: no request is made."""
    with pytest.raises(StorageError, match="cannot store 'k'") as caught:
        s3.put("k", [b"x"], metadata={"no name": "x"})
    assert type(caught.value.__cause__).__name__ == "PanicException"
    assert not isinstance(caught.value.__cause__, Exception)


async def test_a_panic_in_an_awaited_call_of_obstore_is_an_error_of_the_storage(s3: StorageBackend) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(StorageError, match="cannot store 'k'") as caught:
        await s3.put_async("k", content(), metadata={"no name": "x"})
    assert type(caught.value.__cause__).__name__ == "RustPanic"


@pytest.mark.parametrize("change", ["closed", "grown"])
def test_a_file_that_is_changed_while_it_waits_for_a_thread_is_not_stored_empty(
    change: str, tmp_path: Path
) -> None:
    backend = ObstoreBackend("files", f"file://{tmp_path / 'files'}/", fsync=False)
    content = BytesIO(b"abc")
    put = Put(backend, "a", source_of(content), FileFacts(filename="a.txt"))
    group = PutGroup((put,))
    if change == "closed":
        content.close()
    else:
        content.write(b"x" * 2_000_000)
    with pytest.raises(
        SourceConsumedError if change == "closed" else SourceReadError, match=r"closed|changed"
    ):
        group.run()
    assert not list(backend.list())
