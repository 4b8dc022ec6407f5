"""An S3 that fails or lies: uploads are ended, what was stored is known, a wrong body is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import check, check_async
from filecolumn.testing.harness import called
from tests.scenarios.drivers import Driver
from tests.scenarios.models import Base, Document
from tests.servers.s3_faults import S3Server

pytestmark = pytest.mark.extended

CHUNK = b"x" * 1_000_000
LARGE = [CHUNK] * 18
"""Enough for several parts."""


def obstore(server: S3Server, **options: Any) -> StorageBackend:
    return ObstoreBackend("docs", "s3://bucket/", **{**server.obstore_options(), **options})


def s3fs(server: S3Server, **options: Any) -> StorageBackend:
    return FSSpecBackend("docs", "s3", "bucket", **{**server.s3fs_options(), **options})


Make = Callable[..., StorageBackend]


@pytest.fixture(params=[obstore, s3fs], ids=lambda make: make.__name__)
def backend(request: pytest.FixtureRequest, s3_server: S3Server) -> StorageBackend:
    return storages.register_backend(request.param(s3_server))


@pytest.fixture(params=["sync", "async", "async content"])
def storage(request: pytest.FixtureRequest, backend: StorageBackend) -> Iterator[StorageBackend]:
    """Give the backend, called in each of the ways to give it content."""
    with called(backend, request.param) as made:
        yield made


# Uploads that fail


def test_an_upload_whose_completion_fails_is_ended(storage: StorageBackend, s3_server: S3Server) -> None:
    for status in (403, 200):
        # S3 tells of some failures in the body of an answer with 200
        s3_server.fail("complete", "error", status=status, code="AccessDenied", times=None)
        with pytest.raises(StorageError, match="cannot store 'a'"):
            storage.put("a", iter(LARGE))
        assert s3_server.uploads == {}
        assert s3_server.contents() == {}
        s3_server.clear()
    assert storage.put("a", iter(LARGE)).size == len(CHUNK) * len(LARGE)


@pytest.mark.parametrize("operation", ["part", "complete"])
@pytest.mark.parametrize("backend", [s3fs], indirect=True, ids=["s3fs"])
def test_an_upload_that_cannot_be_ended_says_what_failed_first(
    storage: StorageBackend, s3_server: S3Server, operation: Any
) -> None:
    """With obstore it is the storage's error too, and which of them obstore says is its own matter."""
    s3_server.fail(operation, "error", status=403, code="AccessDenied", times=None)
    s3_server.fail("abort", "error", status=404, code="NoSuchUpload", times=None)
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        storage.put("a", iter(LARGE))
    assert "NoSuchUpload" not in str(caught.value)
    assert s3_server.asked("abort")
    assert s3_server.contents() == {}


@pytest.mark.parametrize("size", [1, len(LARGE)])
def test_a_bucket_or_an_upload_that_is_missing_is_an_error_of_the_storage(
    storage: StorageBackend, s3_server: S3Server, size: int
) -> None:
    """Not ObjectNotFoundError, which a client would be told as 404."""
    for operation, code in (
        ("put", "NoSuchBucket"),
        ("create", "NoSuchBucket"),
        ("complete", "NoSuchUpload"),
    ):
        s3_server.fail(operation, "error", status=404, code=code, times=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="cannot store 'a'"):
        storage.put("a", iter(LARGE[:size]))


# What is known of what was stored


@pytest.mark.parametrize("chunks", [[], [b"abc"], LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("mode", ["create", "overwrite"])
def test_a_put_tells_etag_and_version_without_another_request(
    storage: StorageBackend, s3_server: S3Server, chunks: list[bytes], mode: Any
) -> None:
    s3_server.versioned = True
    made = storage.put("a", iter(chunks), mode=mode)
    asked = s3_server.asked()
    assert asked[-1] in {"put", "complete"}
    assert asked.count("head") <= (1 if chunks is LARGE else 0)
    stat = storage.stat("a")
    assert made.etag == stat.etag == s3_server.objects["a"].etag
    assert made.version_id == stat.version_id == s3_server.objects["a"].version


async def test_the_row_has_etag_and_version_of_what_was_stored(
    backend: StorageBackend, s3_server: S3Server, driver: Driver
) -> None:
    s3_server.versioned = True
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.bin", content=b"abc")))
        await session.commit()
    async with driver.session() as session:
        file = (await session.one(Document, 1)).file
        assert file is not None
        stored = s3_server.objects[str(file.path)]
        assert (file.etag, file.version_id) == (stored.etag, stored.version)


# A storage that lies


CHECKED: dict[str, Callable[[S3Server], StorageBackend]] = {
    "obstore": lambda server: obstore(server, aws_checksum_algorithm="SHA256"),
    "obstore, short name": lambda server: obstore(server, checksum_algorithm="SHA256"),
    "s3fs": lambda server: s3fs(server, s3_additional_kwargs={"ChecksumAlgorithm": "SHA256"}),
}


@pytest.fixture(params=CHECKED)
def checked(request: pytest.FixtureRequest, s3_server: S3Server) -> StorageBackend:
    """A storage that sends a checksum with all content."""
    return CHECKED[request.param](s3_server)


@pytest.mark.parametrize("way", ["sync", "async", "async content"])
@pytest.mark.parametrize(
    ("operation", "chunks"), [("put", [b"abc"]), ("part", LARGE)], ids=["small", "large"]
)
def test_content_that_was_changed_on_its_way_is_refused_by_its_checksum(
    checked: StorageBackend, s3_server: S3Server, way: str, operation: Any, chunks: list[bytes]
) -> None:
    with called(checked, way) as storage:
        storage.put("whole", iter(chunks))
        s3_server.fail(operation, "corrupt", times=None)
        with pytest.raises(StorageError, match="cannot store 'a'"):
            storage.put("a", iter(chunks))
    sent = [request for request in s3_server.requests if request.operation == operation]
    assert all("x-amz-checksum-sha256" in request.headers for request in sent)
    assert s3_server.contents() == {"whole": b"".join(chunks)}
    assert s3_server.uploads == {}


def test_a_registered_url_takes_the_checksum(s3_server: S3Server) -> None:
    storages.register_backend(
        "s3://bucket/", "docs", aws_checksum_algorithm="SHA256", **s3_server.obstore_options()
    )
    FileObject("a.bin", content=b"abc", backend="docs").save()
    [request] = s3_server.requests
    assert "x-amz-checksum-sha256" in request.headers


async def test_without_a_checksum_a_storage_that_lies_is_found_by_reading_all(
    s3_server: S3Server, driver: Driver
) -> None:
    storages.register_backend(obstore(s3_server))
    s3_server.fail("put", "corrupt", times=None)
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.bin", content=b"abc")))
        await session.commit()
    for reads_all in (False, True):
        report = (
            await check_async(driver.engine, Base, grace=0, verify=reads_all)
            if isinstance(driver.engine, AsyncEngine)
            else check(driver.engine, Base, grace=0, verify=reads_all)
        )
        assert report.is_clean is not reads_all
