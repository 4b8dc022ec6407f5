"""An application's own `before_flush` and mapper listeners may assign, delete and expunge."""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.orm import Session

from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.more_models import Printed
from tests.scenarios.records import agree, file, insert_files
from tests.scenarios.tables import tables
from tests.scenarios.values import held_files

__all__ = ("tables",)


async def test_a_before_flush_listener_registered_later_may_assign(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)

        @event.listens_for(session.sync, "before_flush")
        def assign(flushed: Session, context: object, instances: object) -> None:
            document.file = file(b"by the listener")
            flushed.add(Document(id=2, file=file(b"added by it")))

        document.title = "changed"
        await session.commit()
    await agree(driver, {1: b"by the listener", 2: b"added by it"})


async def test_a_before_flush_listener_may_delete(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            flushed.delete(two)

        one.title = "changed"
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_a_before_flush_listener_may_delete_what_was_just_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        one = await session.one(Document, 1)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            flushed.delete(one)

        one.file = file(b"never")
        await session.commit()
    await agree(driver, {})


async def test_a_before_flush_listener_may_expunge_what_was_just_stored(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=file(b"never"))
        session.add(document)

        @event.listens_for(session.sync, "before_flush")
        def remove(flushed: Session, context: object, instances: object) -> None:
            if document in flushed:
                flushed.expunge(document)

        await session.commit()
    await agree(driver, {})


async def test_mapper_listeners_may_assign(driver: Driver, storage: StorageBackend, tables: None) -> None:
    async with driver.session() as session:
        printed = Printed(id=1, text="first")
        session.add(printed)
        await session.commit()
    assert await held_files(driver, Printed.file) == {1: b"first"}
    async with driver.session() as session:
        (await session.one(Printed, 1)).text = "second"
        await session.commit()
    assert await held_files(driver, Printed.file) == {1: b"second"}
    assert contents() == [b"second"]


async def test_what_mapper_listeners_assigned_is_rolled_back(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Printed(id=1, text="first"))
        await session.commit()
    async with driver.session() as session:
        (await session.one(Printed, 1)).text = "second"
        session.add(Printed(id=2, text="other"))
        await session.flush()
        assert contents() == [b"first", b"other", b"second"]
        await session.rollback()
    assert await held_files(driver, Printed.file) == {1: b"first"}
    assert contents() == [b"first"]
