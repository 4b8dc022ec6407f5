"""Keys that an application chooses: invalid and taken ones are refused and never overwritten."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from filecolumn import (
    FileObject,
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    storages,
)
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.ledger.table import State
from filecolumn.testing import WrappedBackend
from tests.ledger.test_table import TABLE, statements, states
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.models import Document
from tests.scenarios.more_models import Keyed, Templated
from tests.scenarios.records import agree, file, held, insert_files
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


# Taken in the ledger first


@pytest.fixture
def lax() -> StorageBackend:
    """A storage that cannot create conditionally."""

    class Lax(WrappedBackend):
        def put(
            self,
            key: str,
            chunks: Iterable[bytes],
            *,
            content_type: str | None = None,
            metadata: Mapping[str, str] | None = None,
            mode: PutMode = "create",
        ) -> Stat:
            return super().put(key, chunks, content_type=content_type, metadata=metadata, mode="overwrite")

        async def put_async(
            self,
            key: str,
            chunks: Iterable[bytes] | AsyncIterable[bytes],
            *,
            content_type: str | None = None,
            metadata: Mapping[str, str] | None = None,
            mode: PutMode = "create",
        ) -> Stat:
            return await super().put_async(
                key, chunks, content_type=content_type, metadata=metadata, mode="overwrite"
            )

    return storages.register_backend(Lax(ObstoreBackend("docs", "memory://")))


async def test_a_chosen_key_is_refused_where_the_storage_would_overwrite(
    driver: Driver, lax: StorageBackend
) -> None:
    """The endpoint takes the condition and ignores it: only a second put shows that."""
    lax.put("logo.png", [b"of somebody else"])
    async with driver.session() as session:
        session.add(
            Document(id=1, file=FileObject("a", content=b"first", to_filename="logo.png")),
            Document(id=2, file=file(b"another")),
        )
        with pytest.raises(NotSupportedError, match=r"logo\.png.*could overwrite"):
            await session.commit()
        await session.rollback()
        session.add(Document(id=3, file=file(b"made by us")))
        await session.commit()
    with pytest.raises(NotSupportedError, match=r"logo\.png"):
        await driver.save(FileObject("a", content=b"first", to_filename="logo.png"))
    assert (await held(driver)) == {3: b"made by us"}
    assert sorted(stored().values()) == [b"made by us", b"of somebody else"]


async def test_a_taken_key_is_found_before_anything_is_stored(driver: Driver) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"first", to_filename="logo.png")))
        await session.commit()
    puts = storage.puts
    async with driver.session() as session:
        session.add(
            Document(id=2, file=FileObject("a", content=b"second", to_filename="logo.png")),
            Document(id=3, file=file(b"another")),
        )
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    assert storage.puts == puts


async def test_the_entry_of_a_chosen_key_has_its_size_and_hash(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="one.txt")))
        session.add(Document(id=2, file=file(b"two")))
        await session.commit()
        held = await session.run(
            lambda s: s.execute(select(TABLE.c.size, TABLE.c.sha256, TABLE.c.state)).all()
        )
    hashes = {sha256(content).hexdigest() for content in (b"one", b"two")}
    assert {tuple(row) for row in held} == {(3, each, State.LIVE) for each in hashes}


async def test_a_chosen_key_costs_two_statements_and_others_none(
    driver: Driver, storage: StorageBackend
) -> None:
    async def written(number: int, new: FileObject) -> list[str]:
        async with driver.session() as session:
            with statements(driver) as noted:
                session.add(Document(id=number, file=new))
                await session.commit()
        return [each.partition(" ")[0] for each in noted if "filecolumn_ledger" in each]

    await written(1, file(b"warm"))
    assert await written(2, file(b"made")) == ["INSERT"]
    assert await written(3, FileObject("a", content=b"x", to_filename="x.txt")) == ["INSERT", "UPDATE"]


@pytest.mark.parametrize("way", ["flush", "insert", "update"])
async def test_a_failed_upload_withdraws_the_entry_in_a_transaction_that_goes_on(
    driver: Driver, way: str
) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    await insert_files(driver, b"one")
    [one] = stored()

    async def store(session: DriverSession) -> None:
        new = FileObject("a", content=b"new", to_filename="new.txt")
        if way == "flush":
            (await session.one(Document, 1)).file = new
            await session.flush()
        elif way == "insert":
            await session.run(lambda s: s.execute(insert(Document), [{"id": 2, "file": new}]))
        else:
            await session.execute(update(Document).where(Document.id == 1).values(file=new))

    async with driver.session() as session:
        storage.fail_puts_after = 0
        with pytest.raises(StorageError):
            await store(session)
        await session.run(lambda s: s.expire_all())
        storage.fail_puts_after = None
        assert await session.run(lambda s: s.scalars(select(TABLE.c.key)).all()) == [one]
        await store(session)
        await session.commit()
    assert stored()["new.txt"] == b"new"
    assert (await states(driver))["new.txt"] is State.LIVE


async def test_an_error_after_the_upload_withdraws_the_entry(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    known = await states(driver)
    storage.delete(key for key, content in stored().items() if content == b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        one.file = FileObject("a", content=b"new", to_filename="new.txt")
        # the copy is made when all new content is stored
        session.add(document := Document(id=3, file=two.file))
        with pytest.raises(ObjectNotFoundError):
            await session.flush()
        await session.run(lambda s: s.expunge(document))
        await session.run(lambda s: s.expire_all())
        await session.commit()
    assert await states(driver) == known
    assert stored().keys() < known.keys()


async def test_one_taken_key_of_many_leaves_no_entry(driver: Driver, storage: StorageBackend) -> None:
    if driver.dialect == "postgresql":
        pytest.skip("PostgreSQL ends the transaction of a statement that fails")
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="m.txt")))
        await session.commit()
        new = [FileObject("a", content=b"x", to_filename=f"{name}.txt") for name in "abmz"]
        session.add(document := Document(id=2, pages=new))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.run(lambda s: s.expunge(document))
        await session.commit()
    assert await states(driver) == {"m.txt": State.LIVE}
    assert stored() == {"m.txt": b"one"}


async def test_many_chosen_keys_are_taken_at_once(driver: Driver, storage: StorageBackend) -> None:
    names = [f"{number:03}.txt" for number in range(250)]
    async with driver.session() as session:
        with statements(driver) as noted:
            files = [FileObject("a", content=b"x", to_filename=name) for name in names]
            session.add(Document(id=1, pages=files))
            await session.commit()
    assert set(await states(driver)) == set(stored()) == set(names)
    assert sum(each.startswith("INSERT INTO filecolumn_ledger") for each in noted) == 3


async def test_a_rollback_frees_a_chosen_key(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a", content=b"never", to_filename="one.txt")))
        await session.flush()
        await session.rollback()
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="one.txt")))
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_savepoint_frees_a_chosen_key(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                session.add(Document(id=1, file=FileObject("a", content=b"never", to_filename="one.txt")))
                await session.flush()
                raise ZeroDivisionError
        session.add(Document(id=1, file=FileObject("a", content=b"one", to_filename="one.txt")))
        await session.commit()
    await agree(driver, {1: b"one"})
    assert await states(driver) == {"one.txt": State.LIVE}


async def test_statements_take_chosen_keys_too(driver: Driver, storage: StorageBackend) -> None:
    rows = [{"id": n, "file": FileObject("a", content=b"x", to_filename=f"{n}.txt")} for n in (1, 2)]
    async with driver.session() as session:
        await session.run(lambda s: s.execute(insert(Document), rows))
        new = FileObject("a", content=b"new", to_filename="new.txt")
        await session.execute(update(Document).where(Document.id == 1).values(file=new))
        never = FileObject("a", content=b"never", to_filename="never.txt")
        await session.execute(update(Document).where(Document.id == 99).values(file=never))
        await session.commit()
    live = {key for key, state in (await states(driver)).items() if state is State.LIVE}
    assert live == set(stored()) == {"2.txt", "new.txt"}


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
