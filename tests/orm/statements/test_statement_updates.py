"""UPDATE statements of a session, and what statements are refused."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Executable, Table, bindparam, delete, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.exc import StaleDataError

from filecolumn import FileObject, NotSupportedError, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.failing_storage import FailingStorage
from tests.scenarios.models import Document, Folder, Item
from tests.scenarios.more_models import Page, create_tables
from tests.scenarios.records import agree, file, held_pages, insert_files, run

TABLE = Document.__table__
assert isinstance(TABLE, Table)
Call = Callable[[Session], object]


# UPDATE

UPDATES: dict[str, Call] = {
    "orm": lambda s: s.execute(update(Document).where(Document.id == 1).values(file=file(b"new"))),
    "core": lambda s: s.execute(TABLE.update().where(TABLE.c.id == 1).values(file=file(b"new"))),
    "query": lambda s: s.query(Document).filter_by(id=1).update({"file": file(b"new")}),
    "query-column": lambda s: s.query(Document).filter_by(id=1).update({Document.file: file(b"new")}),
    "by-key": lambda s: s.execute(update(Document), [{"id": 1, "file": file(b"new")}]),
    "ordered": lambda s: s.execute(
        update(Document)
        .where(Document.id == 1)
        .ordered_values((Document.title, "t"), (Document.file, file(b"new")))
    ),
    "bound": lambda s: s.execute(
        update(Document).where(Document.id == bindparam("one")).values(file=bindparam("new")),
        {"one": 1, "new": file(b"new")},
    ),
    "many": lambda s: s.execute(
        TABLE.update().where(TABLE.c.id == bindparam("one")), [{"one": 1, "file": file(b"new")}]
    ),
    "fetch": lambda s: s.execute(
        update(Document).where(Document.id == 1).values(file=file(b"new")),
        execution_options={"synchronize_session": "fetch"},
    ),
    "staged": lambda s: s.execute(
        update(Document)
        .where(Document.id == 1)
        .values(file=FileObject("a", content=b"new", backend="docs").save())
    ),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_an_update_stores_the_new_and_removes_the_old(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await insert_files(driver, b"old", b"other")
    await run(driver, UPDATES[name])
    await agree(driver, {1: b"new", 2: b"other"})
    async with driver.session() as session:
        new = (await session.one(Document, 1)).file
        assert (new.size, new.checksum) == (3, f"sha256:{sha256(b'new').hexdigest()}")


async def test_an_update_by_a_key_of_another_type(driver: Driver, storage: StorageBackend) -> None:
    if driver.dialect == "postgresql":
        pytest.skip("PostgreSQL does not compare numbers with text")
    await insert_files(driver, b"old")
    rows = [{"id": "1", "file": file(b"new")}]
    statement = update(Document).execution_options(synchronize_session=None)
    await run(driver, lambda s: s.execute(statement, rows))
    await agree(driver, {1: b"new"})


@pytest.mark.parametrize("nothing", [None, null()])
async def test_an_update_to_none_removes_the_files_of_all_its_rows(
    driver: Driver, storage: StorageBackend, nothing: Any
) -> None:
    await insert_files(driver, b"one", b"two", b"three")
    await run(driver, lambda s: s.execute(update(Document).where(Document.id < 3).values(file=nothing)))
    await agree(driver, {1: None, 2: None, 3: b"three"})


async def test_an_update_of_other_columns_leaves_files_alone(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    await run(driver, lambda s: s.execute(update(Document).values(title="t")))
    await agree(driver, {1: b"one", 2: b"two"})


@pytest.mark.parametrize("match", [update(Document), TABLE.update()])
async def test_one_file_for_several_rows_is_refused_before_anything_is_stored(
    driver: Driver, match: Any
) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        puts = storage.puts
        with pytest.raises(NotSupportedError, match="2 rows"):
            await session.execute(match.values(file=file(b"new")))
        assert storage.puts == puts
        await session.commit()
    await agree(driver, {1: b"one", 2: b"two"})


async def test_an_update_of_no_row_stores_nothing(driver: Driver) -> None:
    storage = FailingStorage()
    storages.register_backend(storage)
    new = file(b"new")
    async with driver.session() as session:
        result: Any = await session.execute(
            update(Document).where(Document.id == 1).values(file=new, pages=[new])
        )
        assert result.rowcount == 0
        await session.commit()
    assert storage.puts == 0
    assert new.has_pending_data


async def test_an_update_by_a_key_that_is_not_there_stores_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        with pytest.raises(StaleDataError):
            await session.run(lambda s: s.execute(update(Document), [{"id": 1, "file": file(b"new")}]))
        await session.commit()
    await agree(driver, {})


async def test_rows_that_swap_their_files_keep_them(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    before = set(stored())
    async with driver.session() as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        rows = [{"id": 1, "file": two.file}, {"id": 2, "file": one.file}]
        await session.run(lambda s: s.execute(update(Document), rows))
        await session.commit()
    await agree(driver, {1: b"two", 2: b"one"})
    assert set(stored()) == before


async def test_the_file_of_another_row_is_copied(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        given = (await session.one(Document, 1)).file
        await session.execute(update(Document).where(Document.id == 2).values(file=given))
        await session.commit()
    await agree(driver, {1: b"one", 2: b"one"})
    await run(driver, lambda s: s.execute(delete(Document).where(Document.id == 1)))
    await agree(driver, {2: b"one"})


async def test_a_row_may_be_given_its_own_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    before = stored()
    async with driver.session() as session:
        given = (await session.one(Document, 1)).file
        await session.run(lambda s: s.execute(update(Document), [{"id": 1, "title": "t", "file": given}]))
        await session.commit()
    assert stored() == before


async def test_loaded_instances_have_what_an_update_wrote(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session(expire_on_commit=False) as session:
        one, two = await session.one(Document, 1), await session.one(Document, 2)
        new, pages = file(b"new"), [file(b"p")]
        await session.execute(update(Document).where(Document.id == 1).values(file=new, pages=pages))
        assert one.file is new
        assert [page.size for page in one.pages] == [1]
        await session.commit()
        await session.execute(update(Document).values(pages=[]))
        one.pages.append(file(b"of one"))
        assert two.pages == []
        one.file.update_metadata({"seen": True})
        await session.commit()
    assert await held_pages(driver, 1) == [b"of one"]
    assert await held_pages(driver, 2) == []
    async with driver.session() as session:
        assert (await session.one(Document, 1)).file.metadata == {"seen": True}
    assert contents() == [b"new", b"of one", b"two"]


async def test_an_instance_changes_its_list_after_a_statement_wrote_it(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    async with driver.session(expire_on_commit=False) as session:
        one = await session.one(Document, 1)
        await session.run(
            lambda s: s.execute(update(Document), [{"id": 1, "pages": [file(b"p"), file(b"q")]}])
        )
        del one.pages[0]
        await session.commit()
    assert await held_pages(driver, 1) == [b"q"]
    assert contents() == [b"one", b"q"]


async def test_an_update_undone_leaves_the_old(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old")
    new = file(b"new")
    async with driver.session() as session:
        await session.execute(update(Document).values(file=new))
        assert contents() == [b"new", b"old"]
        await session.rollback()
        assert new.has_pending_data
    await agree(driver, {1: b"old"})


async def test_an_update_of_rows_that_a_join_finds(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(
            Folder(id=1, items=[Item(id=1, file=file(b"1"))]),
            Folder(id=2, items=[Item(id=2, file=file(b"2"))]),
        )
        await session.commit()
    match = (Item.folder_id == Folder.id, Folder.id == 1)
    statement = update(Item).where(*match).values(file=file(b"new"))
    await run(driver, lambda s: s.execute(statement, execution_options={"synchronize_session": False}))
    assert contents() == [b"2", b"new"]


@pytest.mark.parametrize("change", [{"file": None}, {"file": file(b"new")}])
async def test_an_update_that_fails_takes_nothing_though_the_transaction_goes_on(
    driver: Driver, storage: StorageBackend, change: dict[str, Any]
) -> None:
    await insert_files(driver, b"one", b"two")
    statement = update(Document).where(Document.id == 1).values(id=2, **change)
    async with driver.session() as session:
        savepoint = await session.run(lambda s: s.begin_nested() if driver.dialect == "postgresql" else None)
        with pytest.raises(IntegrityError):
            await session.execute(statement)
        if savepoint is not None:
            await session.run(lambda _: savepoint.rollback())
        await session.commit()
    await agree(driver, {1: b"one", 2: b"two"})


# What cannot be exact

REFUSED: dict[str, Executable] = {
    "expression": update(Document).values(file=Document.scan),
    "subquery": insert(Document).values(id=9, file=select(Document.file).limit(1).scalar_subquery()),
    "from-select": insert(Document).from_select(
        ["id", "title", "file"], select(Document.id, Document.title, Document.file)
    ),
    "alias": delete(aliased(Document)),
    "core-alias": delete(TABLE.alias()),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_would_share_content_is_refused(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        with pytest.raises(NotSupportedError):
            await session.execute(REFUSED[name])
        await session.commit()
    await agree(driver, {1: b"one"})


@pytest.mark.parametrize("value", ["text", b"bytes", [file(b"x")]])
async def test_a_value_of_a_wrong_type_is_refused_before_anything_is_stored(
    driver: Driver, storage: StorageBackend, value: Any
) -> None:
    async with driver.session() as session:
        rows = [{"id": 1, "file": file(b"fine")}, {"id": 2, "file": value}]
        with pytest.raises(TypeError, match="write FileObject"):
            await session.run(lambda s: s.execute(insert(Document), rows))
        assert contents() == []


async def test_two_files_for_one_row_are_refused(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    rows = [{"id": 1, "file": file(b"a")}, {"id": 1, "file": file(b"b")}]
    async with driver.session() as session:
        with pytest.raises(NotSupportedError, match="one row"):
            await session.run(lambda s: s.execute(update(Document), rows))
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_from_select_may_fill_other_columns(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    await insert_files(driver, b"one")
    statement = insert(Page).from_select(["id", "slug"], select(Document.id, Document.title))
    await run(driver, lambda s: s.execute(statement))
    async with driver.session() as session:
        assert (await session.one(Page, 1)).file is None
    await agree(driver, {1: b"one"})
