"""What is stored already is judged where it comes into a column: staged files, copies, moves."""

from __future__ import annotations

import pytest
from sqlalchemy import column, table

from filecolumn import ContentTypeRejectedError, FileObject, FileTooLargeError
from filecolumn.backends.base import StorageBackend
from tests.samples import HTML, PNG, SVG
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.gates import LIMIT, commit
from tests.scenarios.more_models import Gated
from tests.scenarios.records import column_of_json
from tests.scenarios.tables import tables

__all__ = ("tables",)
pytestmark = pytest.mark.usefixtures("tables")


async def insert_gated(driver: Driver, **rows: object) -> None:
    """Commit record 1 with the JSON of its columns, past the library."""
    gated = table("gated", column("id"), *map(column_of_json, rows))
    async with driver.session() as session:
        await session.execute(gated.insert().values(id=1, **rows))
        await session.commit()


async def test_a_staged_file_is_judged_where_it_is_attached(driver: Driver, storage: StorageBackend) -> None:
    file = await driver.save(FileObject("a.png", content=b"no picture"))
    for record in (Gated(id=1, picture=file), Gated(id=1, pictures=[file])):
        async with driver.session() as session:
            session.add(record)
            with pytest.raises(ContentTypeRejectedError):
                await session.commit()
    assert file.is_saved
    await commit(driver, Gated(id=1, anything=file))
    assert contents() == [b"no picture"]


async def test_a_staged_file_gets_the_type_that_its_column_takes(
    driver: Driver, storage: StorageBackend
) -> None:
    record = Gated(id=1, picture=await driver.save(FileObject("photo", content=PNG)))
    await commit(driver, record)
    async with driver.session() as session:
        picture = (await session.one(Gated, 1)).picture
        assert picture is not None
        assert picture.content_type == "image/png"


async def test_a_staged_file_may_be_too_large(driver: Driver, storage: StorageBackend) -> None:
    file = await driver.save(FileObject("a.bin", content=b"\0" * (LIMIT + 1)))
    async with driver.session() as session:
        session.add(Gated(id=1, anything=FileObject("other", content=b"other"), small=file))
        with pytest.raises(FileTooLargeError):
            await session.commit()
    assert len(contents()) == 1


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize(("content", "name"), [(b"no picture", "a.png"), (HTML, "a.html"), (SVG, "a.svg")])
async def test_a_file_of_another_column_is_judged_by_its_bytes(
    driver: Driver, storage: StorageBackend, content: bytes, name: str, move: bool
) -> None:
    await commit(driver, Gated(id=1, anything=FileObject(name, content=content)))
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        record.picture = record.anything
        if move:
            record.anything = None
        with pytest.raises(ContentTypeRejectedError):
            await session.commit()
    assert contents() == [content]


@pytest.mark.parametrize("move", [False, True])
async def test_a_file_of_another_column_is_taken_if_its_bytes_are_right(
    driver: Driver, storage: StorageBackend, move: bool
) -> None:
    await commit(driver, Gated(id=1, anything=FileObject("a.png", content=PNG)))
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        record.pictures = [record.anything]
        if move:
            record.anything = None
        await session.commit()
    assert contents() == [PNG] * (1 if move else 2)


async def test_a_copy_may_be_too_large(driver: Driver, storage: StorageBackend) -> None:
    await commit(driver, Gated(id=1, anything=FileObject("a.bin", content=b"\0" * (LIMIT + 1))))
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        session.add(Gated(id=2, small=record.anything))
        with pytest.raises(FileTooLargeError):
            await session.commit()
    assert len(contents()) == 1


async def test_what_a_row_holds_is_not_judged_again(driver: Driver, storage: StorageBackend) -> None:
    """A policy that came later does not lock the rows that were there."""
    files = [await driver.save(FileObject(f"{name}.png", content=name.encode())) for name in "ab"]
    await insert_gated(driver, pictures=[file.to_dict() for file in files])
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        record.pictures.reverse()
        record.pictures[0].update_metadata({"seen": True})
        await session.commit()
        record.pictures.append(FileObject("c.png", content=PNG))
        await session.commit()
    assert len(contents()) == 3


async def test_a_merged_file_is_not_judged_again(driver: Driver, storage: StorageBackend) -> None:
    file = await driver.save(FileObject("a.png", content=b"old"))
    await insert_gated(driver, picture=file.to_dict(), pictures=[])
    async with driver.session() as session:
        detached = await session.one(Gated, 1)
        assert detached.picture is not None
        detached.picture.update_metadata({"seen": True})
    async with driver.session() as session:
        await session.merge(detached)
        await session.commit()
    assert contents() == [b"old"]
