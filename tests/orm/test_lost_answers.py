"""Content is stored and the storage's answer is lost: an error, a reset or nothing came instead of it.

What lies under the key then says whether the content is there: it is read back and compared.
"""

from __future__ import annotations

from typing import Any

import pytest

from filecolumn import FileObject, NotSupportedError, ObjectExistsError, StorageError, storages
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import Driver
from tests.scenarios.models import Document
from tests.scenarios.records import held
from tests.scenarios.sqlite import driver
from tests.servers.s3_faults import FaultKind, S3Server

__all__ = ("driver",)

SMALL = b"small"
LARGE = bytes(range(256)) * 40_000
"""More than a part."""

LOST: list[FaultKind] = [
    "error_after",
    "reset_after",
    "hang_after",
]
QUICK: dict[str, Any] = {"timeout": 0.5, "total_timeout": 3.0, "max_retries": 1}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["obstore", pytest.param("s3fs", marks=pytest.mark.extended)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def s3(s3_server: S3Server, kind: str) -> S3Server:
    """The server, behind the storage "docs" of the models."""
    if kind == "obstore":
        storages.register_backend(
            ObstoreBackend("docs", "s3://bucket/", **QUICK, **s3_server.obstore_options())
        )
    else:
        options = s3_server.s3fs_options()
        options["config_kwargs"] |= {"read_timeout": 0.5, "connect_timeout": 0.5}
        storages.register_backend(FSSpecBackend("docs", "s3", "bucket", **QUICK, **options))
    return s3_server


def files_in(server: S3Server) -> dict[str, bytes]:
    return {key: body for key, body in server.contents().items() if not key.startswith(".filecolumn/")}


async def insert(driver: Driver, content: bytes, key: str | None = None) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.bin", content=content, to_filename=key)))
        await session.commit()


async def insert_another(driver: Driver) -> None:
    """Let the process register as a writer of the place, so that faults hit nothing but the put."""
    async with driver.session() as session:
        session.add(Document(id=9, file=FileObject("first.bin", content=b"first")))
        await session.commit()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["put", "complete"])
@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize(
    ("driver", "times"), [("sync-file", 1), ("async-file", None)], indirect=["driver"], ids=["once", "always"]
)
@pytest.mark.parametrize("kind", ["obstore"], indirect=True)
async def test_stored_content_whose_answer_is_lost_is_kept(
    driver: Driver, s3: S3Server, content: bytes, fault: FaultKind, times: int | None
) -> None:
    await insert_another(driver)
    operation = "put" if content is SMALL else "complete"
    s3.fail(operation, fault, times=times)
    await insert(driver, content)
    s3.clear()
    assert await held(driver) == {1: content, 9: b"first"}
    assert sorted(files_in(s3).values()) == sorted([content, b"first"])


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["put", "complete"])
@pytest.mark.parametrize("fault", ["error_after", "reset_after"])
@pytest.mark.parametrize("kind", [pytest.param("s3fs", marks=pytest.mark.extended)], indirect=True)
async def test_stored_content_is_kept_behind_fsspec_too(
    driver: Driver, s3: S3Server, content: bytes, fault: FaultKind
) -> None:
    await insert_another(driver)
    s3.fail("put" if content is SMALL else "complete", fault, times=None)
    await insert(driver, content)
    s3.clear()
    assert await held(driver) == {1: content, 9: b"first"}
    assert not s3.uploads


async def test_content_that_did_not_arrive_is_an_error_that_leaves_nothing(
    driver: Driver, s3: S3Server
) -> None:
    await insert_another(driver)
    s3.fail("put", "error", times=None, status=403)
    with pytest.raises(StorageError) as caught:
        await insert(driver, SMALL)
    assert caught.value.__cause__ is not None
    assert list(files_in(s3).values()) == [b"first"]


async def test_other_content_under_a_key_of_ours_is_an_error_and_removed(
    driver: Driver, s3: S3Server
) -> None:
    await insert_another(driver)
    s3.fail("put", "error_after", times=None)
    s3.fail("get", "corrupt", times=None)
    with pytest.raises(StorageError):
        await insert(driver, SMALL)
    with pytest.raises(StorageError):
        await driver.save(FileObject("a.bin", backend="docs", content=SMALL))
    assert list(files_in(s3).values()) == [b"first"]


@pytest.mark.parametrize("kind", ["obstore"], indirect=True)
async def test_a_storage_that_stays_silent_is_an_error(driver: Driver, s3: S3Server) -> None:
    await insert_another(driver)
    s3.fail("put", "hang_after", times=None)
    s3.fail("head", "hang", times=None)
    s3.fail("get", "hang", times=None)
    with pytest.raises(StorageError):
        await insert(driver, SMALL)
    s3.clear()
    assert await held(driver) == {9: b"first"}


# Keys that the application chose


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["put", "complete"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
async def test_stored_content_under_a_chosen_key_is_kept_if_it_is_ours(
    driver: Driver, s3: S3Server, content: bytes, times: int | None
) -> None:
    await insert(driver, b"first", "chosen/first.bin")
    operation = "put" if content is SMALL else "complete"
    s3.fail(operation, "error_after", status=503, times=times)
    async with driver.session() as session:
        session.add(Document(id=2, file=FileObject("a.bin", content=content, to_filename="chosen/a.bin")))
        await session.commit()
    s3.clear()
    assert files_in(s3) == {"chosen/first.bin": b"first", "chosen/a.bin": content}


async def test_what_lies_under_a_chosen_key_and_is_not_ours_stays(driver: Driver, s3: S3Server) -> None:
    await insert(driver, b"first", "chosen/first.bin")
    s3.fail("put", "error_after", times=None)
    s3.fail("get", "corrupt", times=None)
    async with driver.session() as session:
        session.add(Document(id=2, file=FileObject("a.bin", content=SMALL, to_filename="chosen/a.bin")))
        with pytest.raises((StorageError, ObjectExistsError)):
            await session.commit()
        await session.rollback()
    assert files_in(s3) == {"chosen/first.bin": b"first", "chosen/a.bin": SMALL}


async def test_the_same_content_of_somebody_else_is_not_taken_for_ours(driver: Driver, s3: S3Server) -> None:
    await insert(driver, b"first", "chosen/first.bin")
    s3.place("chosen/a.bin", SMALL)
    async with driver.session() as session:
        session.add(Document(id=2, file=FileObject("a.bin", content=SMALL, to_filename="chosen/a.bin")))
        with pytest.raises(ObjectExistsError, match=r"chosen/a\.bin"):
            await session.commit()
        await session.rollback()
    assert files_in(s3) == {"chosen/first.bin": b"first", "chosen/a.bin": SMALL}


# Endpoints without the condition


@pytest.mark.parametrize("condition", ["ignore", "refuse"])
async def test_an_endpoint_without_the_condition_takes_keys_of_ours_only(
    driver: Driver, s3: S3Server, condition: Any
) -> None:
    s3.condition = condition
    await insert(driver, SMALL)
    async with driver.session() as session:
        (await session.one(Document, 1)).file = FileObject("b.bin", content=LARGE)
        await session.commit()
    assert await held(driver) == {1: LARGE}
    s3.place("logo.png", b"of somebody else")
    async with driver.session() as session:
        session.add(Document(id=2, file=FileObject("a.bin", content=b"2", to_filename="logo.png")))
        with pytest.raises(NotSupportedError, match=r"logo\.png"):
            await session.commit()
    with pytest.raises(NotSupportedError, match=r"mine\.png"):
        await driver.save(FileObject("a.bin", backend="docs", content=b"2", to_filename="mine.png"))
    assert sorted(files_in(s3).values()) == sorted([LARGE, b"of somebody else"])


async def test_a_client_that_is_told_to_send_no_condition_takes_keys_of_ours_only(
    driver: Driver, s3_server: S3Server
) -> None:
    options = s3_server.obstore_options()
    storages.register_backend(
        ObstoreBackend("docs", "s3://bucket/", conditional_put="disabled", **QUICK, **options)
    )
    await insert(driver, SMALL)
    with pytest.raises(NotSupportedError, match=r"logo\.png"):
        await driver.save(FileObject("a.bin", backend="docs", content=b"2", to_filename="logo.png"))
    assert list(files_in(s3_server).values()) == [SMALL]


@pytest.mark.parametrize("kind", ["obstore"], indirect=True)
async def test_an_endpoint_is_asked_once_for_the_condition(driver: Driver, s3: S3Server) -> None:
    await insert(driver, b"first", "chosen/1.bin")
    asked = [request.key for request in s3.requests if request.key == ".filecolumn/create"]
    for number in (2, 3):
        await driver.save(
            FileObject("a.bin", backend="docs", content=b"2", to_filename=f"chosen/{number}.bin")
        )
    assert len(asked) == 2
    assert len([request for request in s3.requests if request.key == ".filecolumn/create"]) == 2
