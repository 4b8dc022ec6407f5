"""Only flushes and a session's own statements write files into rows, each row its own; all else is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapper, Session

from filecolumn import FileObject, OwnedFileError, PendingContentError, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.orm import column as column_type
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, held_pages, insert_files, raw, raw_file, run

TABLE = Document.__table__
assert isinstance(TABLE, Table)

HISTORY = Table(
    "guarded_history",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("file", StoredObject("docs", ledger=False)),
    Column("facts", JSON),
)

Write = Callable[[Session, FileObject], object]
Audit = Callable[[Connection, Document], object]


@pytest.fixture(autouse=True)
def no_permit_is_left() -> Iterator[None]:
    """The right to write a file ends with the flush or the statement that has it, however it ends."""
    yield
    assert column_type._permits == {}


@pytest.fixture
async def history(driver: Driver, storage: StorageBackend) -> None:
    """An empty table of versions that no model maps, and document 1."""
    await run(driver, lambda s: HISTORY.drop(s.connection(), checkfirst=True))
    await run(driver, lambda s: HISTORY.create(s.connection()))
    await insert_files(driver, b"one")


def row(number: int, given: FileObject) -> dict[str, Any]:
    return {"id": number, "title": "", "pages": [], "file": given}


# What no session settles

WRITES: dict[str, Write] = {
    "insert": lambda s, given: s.connection().execute(insert(Document).values(row(2, given))),
    "insert-many": lambda s, given: s.connection().execute(TABLE.insert(), [row(2, given)]),
    "insert-list": lambda s, given: s.connection().execute(
        TABLE.insert().values(id=2, title="", pages=[given])
    ),
    "own-row": lambda s, given: s.connection().execute(update(Document).values(file=given)),
    "other-column": lambda s, given: s.connection().execute(update(Document).values(scan=given)),
    "insert-mappings": lambda s, given: s.bulk_insert_mappings(
        Document.__mapper__, [{"id": 2, "file": given}]
    ),
    "save-objects": lambda s, given: s.bulk_save_objects([Document(id=2, file=given)]),
    "update-mappings": lambda s, given: s.bulk_update_mappings(
        Document.__mapper__, [{"id": 1, "scan": given}]
    ),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_file_of_a_row_is_refused(driver: Driver, storage: StorageBackend, name: str) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        owned = (await session.one(Document, 1)).file
        assert owned is not None
        with pytest.raises(OwnedFileError, match=r"file\.copy\(\).*file\.to_dict\(\)"):
            await session.run(lambda s: WRITES[name](s, owned))
        await session.rollback()
    await agree(driver, {1: b"one"})


@pytest.mark.parametrize("name", WRITES)
async def test_a_file_that_is_only_saved_is_refused(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await insert_files(driver, b"one")
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        with pytest.raises(PendingContentError, match="no session has attached it"):
            await session.run(lambda s: WRITES[name](s, staged))
        await session.rollback()
    await driver.delete(staged)
    await agree(driver, {1: b"one"})


async def test_a_list_of_a_row_is_refused(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, pages=[file(b"1")]))
        await session.commit()
        await session.refresh(document)
        for pages in (document.pages, list(document.pages)):
            statement = TABLE.insert().values(id=2, title="", pages=pages)
            with pytest.raises(OwnedFileError):
                await session.run(lambda s, statement=statement: s.connection().execute(statement))
        await session.rollback()
    assert await held_pages(driver) == contents() == [b"1"]


async def test_lists_without_files_are_written_by_anybody(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1))
        await session.commit()
        await session.refresh(document)
        for number, pages in enumerate(([], document.pages), 2):
            statement = TABLE.insert().values(id=number, title="", pages=pages)
            await session.run(lambda s, statement=statement: s.connection().execute(statement))
        await session.commit()
    assert [await held_pages(driver, number) for number in (2, 3)] == [[], []]


# What runs inside a flush


def write_file(connection: Connection, document: Document) -> None:
    connection.execute(HISTORY.insert().values(file=document.file))


def write_facts(connection: Connection, document: Document) -> None:
    assert document.file is not None
    connection.execute(HISTORY.insert().values(facts=document.file.to_dict()))


@contextmanager
def audited(name: str, audit: Audit, session: Session, *, first: bool) -> Iterator[None]:
    """Let an event of *session* or of the mapper run *audit*, before the hooks of filecolumn or after them."""

    def on_session_event(session: Session, *_: object) -> None:
        for each in (*session.new, *session.dirty):
            if isinstance(each, Document):
                audit(session.connection(), each)

    def on_mapper_event(mapper: Mapper[Document], connection: Connection, target: Document) -> None:
        audit(connection, target)

    of_session = name.endswith("flush")
    what = (session if of_session else Document, name, on_session_event if of_session else on_mapper_event)
    event.listen(*what, insert=first)
    yield
    event.remove(*what)


FIRST = pytest.mark.parametrize("first", [True, False])
OF_UPDATES = pytest.mark.parametrize("name", ["before_flush", "before_update", "after_update", "after_flush"])
OF_INSERTS = pytest.mark.parametrize("name", ["before_insert", "after_insert", "after_flush"])


@FIRST
@OF_UPDATES
@pytest.mark.parametrize("change", ["title", "metadata", "same"])
async def test_a_listener_that_writes_a_file_elsewhere_is_refused(
    driver: Driver, history: None, name: str, first: bool, change: str
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with audited(name, write_file, session.sync, first=first):
            document.title = "changed"
            if change == "metadata":
                assert document.file is not None
                document.file.update_metadata({"changed": True})
            elif change == "same":
                document.file = document.file
            with pytest.raises(OwnedFileError):
                await session.flush()
        await session.rollback()
    assert (await raw_file(driver)).get("metadata", {}) == {}
    await agree(driver, {1: b"one"})


@FIRST
@OF_UPDATES
async def test_a_listener_that_writes_a_new_file_of_an_update_elsewhere_is_refused(
    driver: Driver, history: None, name: str, first: bool
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with audited(name, write_file, session.sync, first=first):
            document.file = file(b"new")
            with pytest.raises((OwnedFileError, PendingContentError)):
                await session.flush()
        await session.rollback()
    await agree(driver, {1: b"one"})


@FIRST
@OF_INSERTS
async def test_a_listener_that_writes_a_new_file_elsewhere_is_refused(
    driver: Driver, history: None, name: str, first: bool
) -> None:
    async with driver.session() as session:
        with audited(name, write_file, session.sync, first=first):
            session.add(Document(id=2, file=file(b"new")), Document(id=3, file=file(b"newer")))
            with pytest.raises((OwnedFileError, PendingContentError)):
                await session.flush()
        await session.rollback()
    await agree(driver, {1: b"one"})


@pytest.mark.parametrize("name", ["before_update", "after_update", "after_flush"])
async def test_a_listener_may_write_the_facts_of_a_file_elsewhere(
    driver: Driver, history: None, name: str
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with audited(name, write_facts, session.sync, first=False):
            document.file = file(b"new")
            await session.commit()
    async with driver.session() as session:
        facts = (await session.execute(select(HISTORY.c.facts))).scalar_one()
    assert facts == await raw_file(driver)
    await agree(driver, {1: b"new"})


async def test_a_listener_may_change_the_metadata_of_what_is_written(driver: Driver, history: None) -> None:
    def note(_: Connection, document: Document) -> None:
        assert document.file is not None
        document.file.update_metadata({"title": document.title})

    async with driver.session() as session:
        document = await session.one(Document, 1)
        with audited("before_update", note, session.sync, first=False):
            document.title = "changed"
            await session.commit()
    assert (await raw_file(driver))["metadata"] == {"title": "changed"}


async def test_a_flush_opens_nothing_for_other_files(driver: Driver, history: None) -> None:
    await run(driver, lambda s: s.add(Document(id=2, file=file(b"two"))))
    async with driver.session() as session, driver.session() as other:
        document, two = await session.one(Document, 1), await other.one(Document, 2)
        with audited(
            "before_update", lambda connection, _: write_file(connection, two), session.sync, first=False
        ):
            document.file = file(b"new")
            with pytest.raises(OwnedFileError):
                await session.flush()
        await session.rollback()
    await agree(driver, {1: b"one", 2: b"two"})


# After a failure


@pytest.mark.parametrize("savepoint", [True, False])
async def test_a_flush_that_failed_leaves_the_file_refused(
    driver: Driver, storage: StorageBackend, savepoint: bool
) -> None:
    await insert_files(driver, b"one")
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        with pytest.raises(IntegrityError):
            if savepoint:
                async with session.begin_nested():
                    await session.flush()
            else:
                await session.flush()
        await session.rollback()
        with pytest.raises(PendingContentError):
            await session.run(lambda s: WRITES["insert"](s, staged))
        await session.rollback()
    await driver.delete(staged)
    await agree(driver, {1: b"one"})


async def test_a_statement_that_failed_leaves_the_file_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        with pytest.raises(IntegrityError):
            await session.execute(insert(Document).values(row(1, staged)))
        await session.rollback()
        with pytest.raises(PendingContentError):
            await session.run(lambda s: WRITES["insert"](s, staged))
        await session.rollback()


async def test_a_file_is_written_after_a_refusal(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        with pytest.raises(PendingContentError):
            await session.run(lambda s: WRITES["insert"](s, staged))
        await session.rollback()
        session.add(Document(id=1, file=staged))
        await session.commit()
    await agree(driver, {1: b"staged"})


# What compares


async def test_files_are_compared_with_what_rows_hold(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one = (await session.one(Document, 1)).file
        assert one is not None
        assert await raw(driver, "file") == one.to_dict()
        comparisons = {
            Document.file == one: [1],
            Document.file != one: [2],
            Document.file.in_([one]): [1],
            Document.file.not_in([one]): [2],
            Document.file.is_not_distinct_from(one): [1],
        }
        # MySQL and MariaDB compare JSON in ways of their own; here it is only that nothing is refused
        for condition, expected in comparisons.items():
            statement = select(Document.id).where(condition)
            found = (await session.execute(statement)).scalars().all()
            connected = await session.run(lambda s, t=statement: s.connection().execute(t).scalars().all())
            assert found == connected
            assert found == expected or driver.dialect not in {"sqlite", "postgresql"}


async def test_lists_are_compared_with_what_rows_hold(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, pages=[file(b"1")]))
        await session.commit()
        await session.refresh(document)
        for pages in (document.pages, list(document.pages)):
            found = await session.execute(select(Document.id).where(Document.pages == pages))
            assert found.scalars().all() == [1] or driver.dialect not in {"sqlite", "postgresql"}


async def test_statements_choose_rows_by_their_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        one, two = (await session.one(Document, 1)).file, (await session.one(Document, 2)).file
        await session.execute(update(Document).where(Document.file == one).values(title="chosen"))
        await session.execute(update(Document).where(Document.file == one).values(file=file(b"new")))
        await session.execute(delete(Document).where(Document.file == two))
        await session.commit()
    if driver.dialect in {"sqlite", "postgresql"}:
        await agree(driver, {1: b"new"})


async def test_content_that_is_not_stored_is_not_compared(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        with pytest.raises(PendingContentError, match="not stored"):
            await session.execute(select(Document.id).where(Document.file == file(b"never")))


async def test_the_sql_of_a_comparison_is_cached(driver: Driver, storage: StorageBackend) -> None:
    keys = [
        select(Document.id).where(Document.file == await driver.save(file(body)))._generate_cache_key()
        for body in (b"one", b"two")
    ]
    assert keys[0] is not None
    assert keys[0] == keys[1]
