"""A column's policy holds on every way into it, and what it refuses leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filecolumn import (
    ContentTypeRejectedError,
    FileObject,
    FileTooLargeError,
    SourceConsumedError,
    storages,
)
from filecolumn.backends.base import StorageBackend
from tests.samples import GIF, HTML, JPEG, PNG, SVG
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.gates import (
    AGAIN,
    ASYNC_ONLY,
    LIMIT,
    MIB,
    SOURCES,
    Counted,
    commit,
    pieces,
    refuse,
    rows,
)
from tests.scenarios.more_models import FILM_LIMIT, Gated
from tests.scenarios.tables import tables

__all__ = ("tables",)
pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def counting() -> FailingStorage:
    """A storage that counts what is sent to it."""
    storage = FailingStorage()
    storages.register_backend(storage)
    return storage


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, driver: Driver) -> str:
    if request.param in ASYNC_ONLY and not driver.is_async:
        pytest.skip("a sync session reads no asynchronous source")
    return str(request.param)


async def test_what_is_accepted_is_stored(
    driver: Driver, storage: StorageBackend, source: str, tmp_path: Path
) -> None:
    content = PNG + b"\0" * 9000
    made = SOURCES[source](content, tmp_path)
    record = Gated(
        id=1, picture=FileObject("photo", content=made), pictures=[FileObject("a.gif", content=GIF)]
    )
    await commit(driver, record)
    assert record.picture is not None
    assert record.picture.content_type == "image/png"
    assert record.picture.size == len(content)
    assert contents() == sorted([content, GIF])


async def test_a_false_picture_is_refused_before_anything_is_sent(
    driver: Driver, counting: FailingStorage, source: str, tmp_path: Path
) -> None:
    file = FileObject("photo.png", content=SOURCES[source](HTML * 500, tmp_path), content_type="image/png")
    async with driver.session() as session:
        session.add(Gated(id=1, picture=file))
        with pytest.raises(ContentTypeRejectedError) as caught:
            await session.commit()
        await session.rollback()
    assert (caught.value.field, caught.value.code) == ("picture", "type_mismatch")
    assert counting.puts == 0
    assert await rows(driver) == 0


async def test_what_is_refused_leaves_nothing(
    driver: Driver, storage: StorageBackend, source: str, tmp_path: Path
) -> None:
    file = FileObject("photo.png", content=SOURCES[source](HTML, tmp_path))
    await refuse(driver, Gated(id=1, picture=file), ContentTypeRejectedError)
    assert file.has_pending_data == (source in AGAIN)
    record = Gated(id=2, anything=file)
    if source in AGAIN:
        await commit(driver, record)
        assert contents() == [HTML]
        assert file.content_type == "application/octet-stream"
        return
    with pytest.raises(SourceConsumedError):
        await commit(driver, record)


async def test_what_is_too_large_leaves_nothing(
    driver: Driver, storage: StorageBackend, source: str, tmp_path: Path
) -> None:
    file = FileObject("a.bin", content=SOURCES[source](b"\0" * (LIMIT + 1), tmp_path))
    error = await refuse(driver, Gated(id=1, small=file), FileTooLargeError)
    assert (error.field, error.code, error.params) == ("small", "too_large", {"max_size": LIMIT})
    assert file.has_pending_data == (source in AGAIN)


async def test_the_limit_itself_is_accepted(
    driver: Driver, storage: StorageBackend, source: str, tmp_path: Path
) -> None:
    await commit(
        driver, Gated(id=1, small=FileObject("a.bin", content=SOURCES[source](b"\0" * LIMIT, tmp_path)))
    )
    assert contents() == [b"\0" * LIMIT]


@pytest.mark.parametrize("kind", ["bytes", "path"])
async def test_an_honest_size_is_refused_before_any_file_of_the_flush_is_stored(
    driver: Driver, counting: FailingStorage, kind: str, tmp_path: Path
) -> None:
    large = FileObject("a.bin", content=SOURCES[kind](b"\0" * (LIMIT + 1), tmp_path))
    async with driver.session() as session:
        session.add(
            Gated(id=1, anything=FileObject("a", content=b"a"), small=FileObject("b", content=pieces(b"b"))),
            Gated(id=2, small=large),
        )
        with pytest.raises(FileTooLargeError):
            await session.commit()
    assert counting.puts == 0


@pytest.mark.parametrize("size", [1, 1000, 3 * MIB])
async def test_at_most_the_limit_and_one_chunk_is_read(
    driver: Driver, storage: StorageBackend, size: int
) -> None:
    counted = Counted(size)
    content = aiter(counted) if driver.is_async else iter(counted)
    async with driver.session() as session:
        session.add(Gated(id=1, small=FileObject("a.bin", content=content)))
        with pytest.raises(FileTooLargeError):
            await session.commit()
    assert counted.read <= LIMIT + size
    assert stored() == {}


async def test_a_limit_of_many_parts_leaves_no_part(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    counted = Counted(MIB)
    content = aiter(counted) if driver.is_async else iter(counted)
    async with driver.session() as session:
        session.add(Gated(id=1, film=FileObject("a.mp4", content=content)))
        with pytest.raises(FileTooLargeError):
            await session.commit()
    assert counted.read <= FILM_LIMIT + MIB
    assert stored() == {}
    marks = {"place", "owner", "seen"}
    files = {name for _, _, names in os.walk(tmp_path) for name in names} - marks
    assert [name for name in files if not name.startswith("test.db")] == []


async def test_the_first_bytes_may_come_one_by_one(driver: Driver, storage: StorageBackend) -> None:
    content = (bytes([byte]) for byte in JPEG * 50)
    await commit(driver, Gated(id=1, picture=FileObject("a.jpg", content=content)))
    assert contents() == [JPEG * 50]


async def test_one_false_picture_of_a_list_refuses_all(driver: Driver, storage: StorageBackend) -> None:
    files = [FileObject(f"{number}.png", content=PNG + bytes([number])) for number in range(5)]
    files.insert(3, FileObject("bad.png", content=HTML))
    error = await refuse(driver, Gated(id=1, pictures=files), ContentTypeRejectedError)
    assert error.field == "pictures"
    assert all(file.has_pending_data for file in files)
    del files[3]
    await commit(driver, Gated(id=1, pictures=files))
    assert len(contents()) == 5


async def test_a_refused_append_leaves_the_list_as_it_was(driver: Driver, storage: StorageBackend) -> None:
    await commit(driver, Gated(id=1, pictures=[FileObject("a.png", content=PNG)]))
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        record.pictures.append(FileObject("b.svg", content=SVG))
        with pytest.raises(ContentTypeRejectedError):
            await session.commit()
        await session.rollback()
        await session.refresh(record)
        assert [file.filename for file in record.pictures] == ["a.png"]
    assert contents() == [PNG]


async def test_a_refused_replacement_leaves_the_old_file(driver: Driver, storage: StorageBackend) -> None:
    await commit(driver, Gated(id=1, picture=FileObject("a.png", content=PNG)))
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        record.picture = FileObject("b.png", content=iter([HTML]))
        with pytest.raises(ContentTypeRejectedError):
            await session.commit()
    assert contents() == [PNG]


async def test_a_refusal_in_a_savepoint_is_the_savepoints(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Gated(id=1, picture=FileObject("a.png", content=PNG)))
        await session.flush()
        with pytest.raises(ContentTypeRejectedError):
            async with session.begin_nested():
                session.add(
                    Gated(id=2, anything=FileObject("b", content=b"b"), picture=FileObject("c", content=b"c"))
                )
                await session.flush()
        await session.commit()
    assert await rows(driver) == 1
    assert contents() == [PNG]


async def test_one_pending_file_for_two_columns_is_judged_for_both(
    driver: Driver, storage: StorageBackend
) -> None:
    file = FileObject("a.bin", content=b"\0" * (LIMIT + 1))
    await refuse(driver, Gated(id=1, anything=file, small=file), FileTooLargeError)
    text_file = FileObject("a", content=iter([b"no picture"]))
    await refuse(driver, Gated(id=1, anything=text_file, picture=text_file), ContentTypeRejectedError)


async def test_without_accept_a_false_claim_is_not_repeated(driver: Driver, storage: StorageBackend) -> None:
    page = FileObject("a.png", content=HTML)
    photo = FileObject("b.png", content=JPEG)
    await commit(driver, Gated(id=1, anything=page), Gated(id=2, anything=photo))
    assert (page.content_type, photo.content_type) == ("application/octet-stream", "image/jpeg")


async def test_after_a_rollback_the_claim_is_the_callers_again(
    driver: Driver, storage: StorageBackend
) -> None:
    file = FileObject("a.png", content=JPEG)
    async with driver.session() as session:
        session.add(Gated(id=1, anything=file))
        await session.flush()
        await session.rollback()
    assert file.has_pending_data
    assert file.content_type == "image/png"
