"""With advanced-alchemy's autocommit an error in a flush is an error response, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anyio
import httpx
import pytest

from filecolumn import (
    ConcurrentFileChangeError,
    ContentRejectedError,
    ContentTypeRejectedError,
    FileTooLargeError,
    ObjectNotFoundError,
    StorageError,
    storages,
)
from filecolumn.backends.obstore import ObstoreBackend
from tests.litestar.application import objects
from tests.litestar.server import LiveServer

SECRET = "s3://secret-bucket/secret/key"


class Refusing(ObstoreBackend):
    """A storage over the same folder that refuses what it is given."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__("files", f"file://{folder / 'files'}/")
        self.error = error

    def put(self, key: str, chunks: Iterable[bytes], **options: object):
        raise self.error

    async def put_async(self, key: str, chunks: object, **options: object):
        raise self.error

    async def get_async(self, key: str, **options: object):
        raise self.error


def post(http: httpx.Client) -> httpx.Response:
    return http.post("/documents", data={"title": "T"}, files={"file": ("a.txt", b"hello", "text/plain")})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FileTooLargeError("too large", code="too_large", field="file", params={"max_size": 3}), 413),
        (ContentTypeRejectedError("wrong", code="type_not_accepted", field="file"), 415),
        (ContentRejectedError("wrong", code="wrong", field="file"), 422),
        (ConcurrentFileChangeError("somebody"), 409),
        (StorageError(f"{SECRET} is down"), 503),
        (ObjectNotFoundError(f"{SECRET} is not there"), 404),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_flush_is_a_response_and_leaves_no_row(
    live: LiveServer, http: httpx.Client, tmp_path: Path, error: Exception, status: int
) -> None:
    with storages.override("files", Refusing(tmp_path, error)):
        answer = post(http)
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert http.get("/count").json() == 0
    assert objects(tmp_path) == []
    if isinstance(error, ContentRejectedError):
        extra = {"field": "file", "code": error.code, "params": dict(error.params)}
        assert answer.json()["extra"] == [extra]
    assert post(http).status_code == 201


def test_a_storage_that_is_lost_while_reading_is_503(http: httpx.Client, tmp_path: Path) -> None:
    post(http)
    with storages.override("files", Refusing(tmp_path, StorageError(f"{SECRET} says no"))):
        answer = http.get("/documents/1/file")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "secret" not in answer.text


def test_the_response_of_a_handler_that_only_adds_has_the_true_facts(http: httpx.Client) -> None:
    file = post(http).json()["file"]
    assert file["size"] == 5
    assert file["url"].startswith("/files/")


def test_a_file_that_was_changed_by_another_request_is_409(http: httpx.Client, tmp_path: Path) -> None:
    """The real conflict: the row's file is replaced between this request's read and its flush."""
    post(http)
    real = storages.get("files")

    class Overtaken(ObstoreBackend):
        def __init__(self) -> None:
            super().__init__("files", f"file://{tmp_path / 'files'}/")
            self.done = False

        async def put_async(self, key: str, chunks: object, **options: object):
            if not self.done:
                self.done = True
                files = {"file": ("b.txt", b"first", "text/plain")}
                with httpx.Client(base_url=http.base_url, timeout=20, verify=False) as other:
                    answer = await anyio.to_thread.run_sync(lambda: other.put("/documents/1", files=files))
                assert answer.status_code == 200, answer.text
            return await real.put_async(key, chunks, **options)  # type: ignore[arg-type]

    with storages.override("files", Overtaken()):
        answer = http.put("/documents/1", files={"file": ("c.txt", b"second", "text/plain")})
    assert answer.status_code == 409, answer.text
    assert http.get("/documents/1/file").content == b"first"
    assert len(objects(tmp_path)) == 1
