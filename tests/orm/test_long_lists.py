"""Long lists, and many rows at once: what is done costs the same for each file, and no kept file is taken on trust."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, select, update
from sqlalchemy.orm import Session

import filecolumn
from filecolumn import ConcurrentFileChangeError, FileObject, ObjectExistsError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.deletion import record_deleted
from filecolumn.ledger.table import State
from tests.ledger.test_table import TABLE, states
from tests.scenarios.drivers import AsyncDriver, Driver, DriverSession, SyncDriver, contents
from tests.scenarios.models import Document
from tests.scenarios.records import file, held_pages, put_raw, raw, run

PACKAGE = os.path.dirname(filecolumn.__file__)
SHORT, LONG, LONGER = 10, 30, 50

pytestmark = pytest.mark.usefixtures("recorded_at_once")

Work = Callable[[DriverSession, Document], Awaitable[object]]


def files(number: int) -> list[FileObject]:
    return [file(b"new", f"{each}.txt") for each in range(number)]


@contextmanager
def steps_counted() -> Generator[list[int]]:
    """Count the lines of filecolumn that run, and the calls that they make."""
    counted = [0]

    def on_line(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        counted[0] += 1
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return on_line(frame, event, argument) if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    # what a collection calls belongs to nobody
    gc.disable()
    sys.settrace(on_call)
    try:
        yield counted
    finally:
        sys.settrace(before)
        gc.enable()


@contextmanager
def statements_counted(engine: Engine) -> Generator[list[int]]:
    """Count the statements that run."""
    counted = [0]

    def on_execute(*_: object) -> None:
        counted[0] += 1

    event.listen(engine, "before_cursor_execute", on_execute)
    try:
        yield counted
    finally:
        event.remove(engine, "before_cursor_execute", on_execute)


@pytest.fixture(params=["sync", "async"])
async def in_memory(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    """A database and a storage in memory."""
    storages.register_backend("memory://", key="docs")
    made = SyncDriver("sqlite://") if request.param == "sync" else AsyncDriver("sqlite+aiosqlite://")
    await made.create()
    yield made
    await made.dispose()


# What is done with a list


def assign_nothing(document: Document) -> None:
    document.pages = []  # type: ignore[assignment]


def remove_one_by_one(document: Document) -> None:
    while document.pages:
        del document.pages[0]


def append_one(document: Document) -> None:
    document.pages.append(file(b"new"))


def append_as_many(document: Document) -> None:
    for new in files(len(document.pages)):
        document.pages.append(new)


def replace_each(document: Document) -> None:
    for index, new in enumerate(files(len(document.pages))):
        document.pages[index] = new


def describe_each(document: Document) -> None:
    for page in document.pages:
        page.metadata = {"described": True}


def repeat(document: Document) -> None:
    document.pages *= 2


CHANGES: dict[str, Callable[[Document], object]] = {
    "assign []": assign_nothing,
    "clear": lambda document: document.pages.clear(),
    "del [0]": lambda document: document.pages.pop(0),
    "del each": remove_one_by_one,
    "remove": lambda document: document.pages.remove(document.pages[-1]),
    "append": append_one,
    "append each": append_as_many,
    "extend": lambda document: document.pages.extend(files(len(document.pages))),
    "reverse": lambda document: document.pages.reverse(),
    "replace one": lambda document: document.pages.__setitem__(0, file(b"new")),
    "replace each": replace_each,
    "describe one": lambda document: document.pages[0].update_metadata({"described": True}),
    "describe each": describe_each,
    "repeat": repeat,
}


async def committed(session: DriverSession, document: Document, change: Callable[[Document], object]) -> None:
    change(document)
    await session.commit()


async def delete_row(session: DriverSession, document: Document) -> None:
    await session.delete(document)
    await session.commit()


async def roll_back(session: DriverSession, document: Document) -> None:
    replace_each(document)
    await session.flush()
    await session.rollback()


async def roll_back_a_savepoint(session: DriverSession, document: Document) -> None:
    savepoint = await session.run(lambda s: s.begin_nested())
    replace_each(document)
    await session.flush()
    await session.run(lambda _: savepoint.rollback())
    await session.commit()


async def release_a_savepoint(session: DriverSession, document: Document) -> None:
    async with session.begin_nested():
        replace_each(document)
    await session.commit()


async def copy_row(session: DriverSession, document: Document) -> None:
    session.add(Document(pages=list(document.pages)))
    await session.commit()


async def move_to_another_row(session: DriverSession, document: Document) -> None:
    session.add(Document(pages=list(document.pages)))
    document.pages = []  # type: ignore[assignment]
    await session.commit()


async def read_anew(session: DriverSession, document: Document) -> None:
    await session.refresh(document)
    assert {page.size for page in document.pages} == {3}


async def update_statement(session: DriverSession, document: Document) -> None:
    new = files(len(document.pages))
    await session.execute(update(Document).where(Document.id == document.id).values(pages=new))
    await session.commit()


async def delete_statement(session: DriverSession, document: Document) -> None:
    await session.execute(delete(Document).where(Document.id == document.id))
    await session.commit()


WORK: dict[str, Work] = {
    **{
        name: (lambda session, document, change=change: committed(session, document, change))  # type: ignore[misc]
        for name, change in CHANGES.items()
    },
    "delete the row": delete_row,
    "rollback": roll_back,
    "rollback of a savepoint": roll_back_a_savepoint,
    "release of a savepoint": release_a_savepoint,
    "copy to another row": copy_row,
    "move to another row": move_to_another_row,
    "refresh": read_anew,
    "UPDATE": update_statement,
    "DELETE": delete_statement,
}


async def measured(
    driver: Driver, session: DriverSession, work: Callable[[], Awaitable[object]]
) -> tuple[int, int]:
    """Return the steps and the statements that *work* takes."""

    def record(_: Session) -> None:
        record_deleted(driver.sync_engine)

    # else a commit does so for many that came before it
    await session.run(record)
    with statements_counted(driver.sync_engine) as statements, steps_counted() as steps:
        await work()
        await session.run(record)
    return steps[0], statements[0]


async def assert_linear(cost: Callable[[int], Awaitable[tuple[int, int]]]) -> Sequence[int]:
    """Assert that each item takes as many steps among many as among few; return the statements for each number."""
    # the first one compiles
    _, few, some, many = [await cost(number) for number in (SHORT, SHORT, LONG, LONGER)]
    for_each = [(more[0] - less[0]) / (LONG - SHORT) for less, more in ((few, some), (some, many))]
    assert LONGER - LONG == LONG - SHORT
    assert for_each[1] <= 1.03 * for_each[0]
    return few[1], some[1], many[1]


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_each_file_of_a_list_costs_the_same(in_memory: Driver, work: Work) -> None:
    async def cost(number: int) -> tuple[int, int]:
        async with in_memory.session() as session:
            session.add(made := Document(pages=files(number)))
            await session.commit()
            key = made.id
        async with in_memory.session() as session:
            document = await session.one(Document, key)
            return await measured(in_memory, session, lambda: work(session, document))

    statements = await assert_linear(cost)
    assert len(set(statements)) == 1


# What is done with many rows

TAKEN = "taken.txt"
FOLDERS = count()


async def replace_in_each(session: DriverSession, documents: Sequence[Document]) -> None:
    for document in documents:
        document.pages = files(1)  # type: ignore[assignment]
    await session.commit()


async def savepoint_for_each(session: DriverSession, documents: Sequence[Document]) -> None:
    for document in documents:
        async with session.begin_nested():
            document.pages[0].update_metadata({"described": True})
            document.pages.reverse()
    await session.commit()


async def delete_each_beside_new_ones(session: DriverSession, documents: Sequence[Document]) -> None:
    for document in documents:
        session.add(Document(pages=files(1)))
        await session.delete(document)
    await session.commit()


async def try_chosen_keys_again(session: DriverSession, documents: Sequence[Document]) -> None:
    folder = next(FOLDERS)
    for document in documents:
        document.pages.append(FileObject("a.txt", content=b"new", to_filename=f"{folder}/{document.id}.txt"))
    session.add(refused := Document(file=FileObject("a.txt", content=b"new", to_filename=TAKEN)))
    with pytest.raises(ObjectExistsError):
        await session.flush()
    session.sync.expunge(refused)
    await session.commit()


async def update_all(session: DriverSession, documents: Sequence[Document]) -> None:
    await session.execute(update(Document).values(pages=[]))
    await session.commit()


async def update_each(session: DriverSession, documents: Sequence[Document]) -> None:
    values = [{"id": document.id, "pages": files(1)} for document in documents]
    await session.run(lambda s: s.execute(update(Document), values))
    await session.commit()


async def delete_all(session: DriverSession, documents: Sequence[Document]) -> None:
    await session.execute(delete(Document))
    await session.commit()


MANY: dict[str, Callable[[DriverSession, Sequence[Document]], Awaitable[None]]] = {
    "replace": replace_in_each,
    "savepoints": savepoint_for_each,
    "delete and insert": delete_each_beside_new_ones,
    "chosen keys, again": try_chosen_keys_again,
    "UPDATE of all": update_all,
    "UPDATE of each": update_each,
    "DELETE": delete_all,
}


@pytest.mark.parametrize("work", MANY.values(), ids=MANY)
async def test_each_row_with_a_list_costs_the_same(
    in_memory: Driver, work: Callable[[DriverSession, Sequence[Document]], Awaitable[None]]
) -> None:
    await run(in_memory, lambda s: s.add(Document(file=FileObject("a", content=b"1", to_filename=TAKEN))))

    async def cost(number: int) -> tuple[int, int]:
        await run(in_memory, lambda s: s.execute(delete(Document)))
        async with in_memory.session() as session:
            session.add(*(Document(pages=files(2)) for _ in range(number)))
            await session.commit()
        async with in_memory.session() as session:
            documents = await session.run(lambda s: s.scalars(select(Document)).all())
            return await measured(in_memory, session, lambda: work(session, documents))

    await assert_linear(cost)


# What a list keeps


@pytest.fixture
async def three_pages(driver: Driver, storage: StorageBackend) -> None:
    """Document 1 with the pages "1", "2" and "3"."""
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(body) for body in (b"1", b"2", b"3")]))
        await session.commit()


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "unread"])
async def test_a_kept_file_that_another_transaction_has_doomed_is_refused(
    driver: Driver, three_pages: None, is_read: bool
) -> None:
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        if is_read:
            assert [page.size for page in document.pages] == [1, 1, 1]
        await session.commit()
        key = (await raw(driver, "pages"))[1]["to_filename"]
        is_it = TABLE.c.key == key
        await run(driver, lambda s: s.execute(update(TABLE).where(is_it).values(state=State.DOOMED.value)))
        document.pages.append(file(b"4"))
        with pytest.raises(ConcurrentFileChangeError, match="another transaction removed"):
            await session.commit()
        await session.rollback()
    assert await held_pages(driver) == contents() == [b"1", b"2", b"3"]


@pytest.mark.parametrize("looked_at", [[], [0], [1, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("removed", [0, 2])
async def test_a_list_from_which_another_transaction_took_a_file_is_not_written(
    driver: Driver, three_pages: None, looked_at: list[int], removed: int
) -> None:
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        assert [document.pages[index].size for index in looked_at] == [1] * len(looked_at)
        await session.commit()
        async with driver.session() as other:
            changed = await other.one(Document, 1)
            del changed.pages[removed]
            await other.commit()
        document.pages.append(file(b"4"))
        with pytest.raises(ConcurrentFileChangeError, match="changed its files"):
            await session.commit()
        await session.rollback()
    kept = [body for index, body in enumerate((b"1", b"2", b"3")) if index != removed]
    assert await held_pages(driver) == contents() == kept


async def test_a_kept_file_that_the_ledger_does_not_have_is_recorded(
    driver: Driver, three_pages: None
) -> None:
    keys = [page["to_filename"] for page in await raw(driver, "pages")]
    await run(driver, lambda s: s.execute(delete(TABLE).where(TABLE.c.key == keys[1])))
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages.append(file(b"4"))
        await session.commit()
    known = await states(driver)
    assert {known[key] for key in keys} == {State.LIVE}
    assert await held_pages(driver) == [b"1", b"2", b"3", b"4"]


OTHERS: dict[str, dict[str, object]] = {
    "as it is written": {},
    "with metadata": {"metadata": {"a": [1, {"b": None}]}},
    "with a name that is escaped": {"filename": "\u00fc.txt"},
    "with what nobody knows": {"later": {"a": 1}},
    "with a storage's quotation marks": {"etag": '"0-1"'},
    "without facts": {"size": None, "checksum": None, "etag": None, "last_modified": None},
}


@pytest.mark.parametrize("looked_at", [[], [1], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_the_rows_of_kept_files_stay_as_they_are(
    driver: Driver, three_pages: None, other: dict[str, object], looked_at: list[int]
) -> None:
    pages = await raw(driver, "pages")
    pages[1] |= other
    await put_raw(driver, json.dumps(pages), column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert [document.pages[index].backend_key for index in looked_at] == ["docs"] * len(looked_at)
        document.pages.insert(0, file(b"4"))
        await session.commit()
    assert (await raw(driver, "pages"))[1:] == pages
    assert await held_pages(driver) == [b"4", b"1", b"2", b"3"]


async def test_what_a_row_is_not_seen_to_have_is_not_kept_but_copied(
    driver: Driver, three_pages: None
) -> None:
    before = {page["to_filename"] for page in await raw(driver, "pages")}
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        await session.commit()
        await put_raw(driver, '{"not": "a list"}', column="pages")
        document.pages.append(file(b"4"))
        await session.commit()
    assert not before & {page["to_filename"] for page in await raw(driver, "pages")}
    assert await held_pages(driver) == [b"1", b"2", b"3", b"4"]


async def test_what_a_listener_changes_in_a_kept_file_is_given_back_by_a_rollback(
    driver: Driver, three_pages: None
) -> None:
    def describe(mapper: object, connection: object, document: Document) -> None:
        document.pages[0].update_metadata({"described": True})

    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages.append(file(b"4"))
        event.listen(Document, "before_update", describe)
        try:
            await session.flush()
        finally:
            event.remove(Document, "before_update", describe)
        assert document.pages[0].metadata == {"described": True}
        page = document.pages[0]
        await session.rollback()
        assert page.metadata == {}


async def test_what_is_kept_and_stands_in_the_row_twice_is_not_removed(
    driver: Driver, three_pages: None
) -> None:
    pages = await raw(driver, "pages")
    await put_raw(driver, json.dumps([*pages, pages[0]]), column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        del document.pages[-1]
        await session.commit()
    assert await held_pages(driver) == contents() == [b"1", b"2", b"3"]
