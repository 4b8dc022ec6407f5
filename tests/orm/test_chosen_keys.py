"""Keys that an application chooses: invalid and taken ones are refused and never overwritten."""

from __future__ import annotations

from typing import Any

import pytest

from filecolumn import FileObject, InvalidKeyError, ObjectExistsError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.more_models import Keyed, Templated
from tests.scenarios.records import agree, file
from tests.scenarios.tables import tables

__all__ = ("tables",)


# Keys of single files


async def test_a_taken_key_is_refused_and_stays(driver: Driver, storage: StorageBackend) -> None:
    storage.put("taken.txt", [b"somebody else's"])
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"never", to_filename="taken.txt")))
        with pytest.raises(ObjectExistsError, match=r"taken\.txt"):
            await session.flush()
        assert stored() == {"taken.txt": b"somebody else's"}
        await session.rollback()
    assert stored() == {"taken.txt": b"somebody else's"}


async def test_the_key_of_a_committed_row_is_refused_and_stays(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=FileObject("a", content=b"one", to_filename="one.txt")))
        await session.commit()
        document.file = FileObject("a", content=b"never", to_filename="one.txt")
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    await agree(driver, {1: b"one"})
    assert stored() == {"one.txt": b"one"}


async def test_one_key_twice_in_a_flush_leaves_nothing(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="same.txt")))
        session.add(Document(id=2, file=FileObject("b", content=b"two", to_filename="same.txt")))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    await agree(driver, {})


async def test_one_key_in_two_flushes_leaves_nothing(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="same.txt")))
        await session.flush()
        session.add(Document(id=2, file=FileObject("b", content=b"two", to_filename="same.txt")))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    await agree(driver, {})


async def test_a_key_taken_outside_a_savepoint_survives_it(driver: Driver, storage: StorageBackend) -> None:
    async def take_it_inside(session: DriverSession) -> None:
        async with session.begin_nested():
            session.add(Document(id=2, file=FileObject("b", content=b"two", to_filename="same.txt")))
            await session.flush()

    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="same.txt")))
        await session.flush()
        with pytest.raises(ObjectExistsError):
            await take_it_inside(session)
        await session.commit()
    await agree(driver, {1: b"one"})


# Keys that a callable makes


@pytest.mark.parametrize("key", ["../outside", "/absolute", ""])
async def test_a_callable_that_makes_an_invalid_key_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tables: None, key: str
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Keyed(id=1, key=key, file=file(b"never")))
        with pytest.raises(InvalidKeyError):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})


async def test_a_callable_chooses_the_key(driver: Driver, storage: StorageBackend, tables: None) -> None:
    async with driver.session() as session:
        session.add(Keyed(id=1, key="chosen/one.txt", file=file(b"one")))
        await session.commit()
    assert stored() == {"chosen/one.txt": b"one"}


@pytest.mark.parametrize("commit", [False, True], ids=["one flush", "two commits"])
async def test_a_callable_that_makes_a_taken_key_is_refused(
    driver: Driver, storage: StorageBackend, tables: None, commit: bool
) -> None:
    async with driver.session() as session:
        session.add(Keyed(id=1, key="same.txt", file=file(b"one")))
        if commit:
            await session.commit()
        session.add(Keyed(id=2, key="same.txt", file=file(b"two")))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    assert stored() == ({"same.txt": b"one"} if commit else {})


async def test_a_copy_to_a_taken_key_leaves_what_is_there(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Keyed(id=1, key="same.txt", file=file(b"one")))
        await session.commit()
    async with driver.session() as session:
        session.add(Keyed(id=2, key="same.txt", file=(await session.one(Keyed, 1)).file))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        assert stored() == {"same.txt": b"one"}
        await session.rollback()
    assert stored() == {"same.txt": b"one"}


async def test_a_copy_of_another_file_to_a_taken_key_leaves_what_is_there(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Keyed(id=1, key="same.txt", file=file(b"one")), Document(id=1, file=file(b"origin")))
        await session.commit()
    async with driver.session() as session:
        session.add(Keyed(id=2, key="same.txt", file=(await session.one(Document, 1)).file))
        with pytest.raises(ObjectExistsError):
            await session.commit()
        await session.rollback()
    assert contents() == [b"one", b"origin"]
    assert stored()["same.txt"] == b"one"


# Keys of a template


async def test_a_template_takes_parts_of_the_row(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Templated(id=5, tenant="Acme & Co", file=file(b"one")))
        await session.commit()
    (key,) = stored()
    assert key.startswith("Acme-Co/5/")
    assert key.endswith(".txt")


@pytest.mark.parametrize("values", [{"id": 5}, {"tenant": "Acme"}], ids=["tenant", "id"])
async def test_a_template_without_its_part_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tables: None, values: dict[str, Any]
) -> None:
    missing = "tenant" if "id" in values else "id"
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Templated(**values, file=file(b"never")))
        with pytest.raises(InvalidKeyError, match=rf"Templated\.{missing} is None"):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})
