"""Metadata and facts change without their content: only the row is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm.exc import ObjectDereferencedError

from filecolumn import FileObject, OwnedFileError, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, held_pages, insert_files, put_raw, raw, raw_file


def described(body: bytes, **metadata: Any) -> FileObject:
    return FileObject("a.txt", content=body, metadata=metadata)


@pytest.fixture
async def committed(driver: Driver, storage: StorageBackend) -> None:
    """Row 1: a file and two pages, each with metadata."""
    async with driver.session() as session:
        pages = [described(b"1", page=1), described(b"2", page=2)]
        session.add(Document(id=1, file=described(b"file", lang="en"), pages=pages))
        await session.commit()


async def held(driver: Driver) -> Any:
    """Return the committed metadata of row 1's file."""
    return (await raw_file(driver))["metadata"]


async def held_in_list(driver: Driver) -> list[Any]:
    """Return the committed metadata of row 1's pages."""
    return [page["metadata"] for page in await raw(driver, "pages")]


@contextmanager
def writes(driver: Driver) -> Iterator[list[str]]:
    """Collect the statements that write rows; not the UPDATE of no row that takes SQLite's lock."""
    engine, statements = driver.sync_engine, list[str]()

    @event.listens_for(engine, "before_cursor_execute")
    def collect(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")) and "0 = 1" not in statement:
            statements.append(statement)

    yield statements
    event.remove(engine, "before_cursor_execute", collect)


@contextmanager
def unreachable(key: str = "docs") -> Iterator[None]:
    """Take the storage away, so that any call of it fails."""
    storage = storages.get(key)
    storages.unregister_backend(key)
    yield
    storages.register_backend(storage)


async def test_metadata_comes_with_the_row(driver: Driver, committed: None) -> None:
    assert await held(driver) == {"lang": "en"}
    assert await held_in_list(driver) == [{"page": 1}, {"page": 2}]


async def test_metadata_is_assigned_without_touching_the_content(driver: Driver, committed: None) -> None:
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.metadata = {"reviewed": True}
        await session.commit()
    assert await held(driver) == {"reviewed": True}
    assert stored() == before


async def test_metadata_is_added_without_touching_the_content(driver: Driver, committed: None) -> None:
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"reviewed": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "reviewed": True}
    assert stored() == before


async def test_the_rest_of_the_row_stays_as_it_was(driver: Driver, committed: None) -> None:
    before = await raw_file(driver)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.metadata = {}
        await session.commit()
    assert await raw_file(driver) == {**before, "metadata": {}}


async def test_metadata_of_a_page_is_changed(driver: Driver, committed: None) -> None:
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages[1].update_metadata({"seen": True})
        await session.commit()
    assert await held_in_list(driver) == [{"page": 1}, {"page": 2, "seen": True}]
    assert stored() == before


async def test_a_page_is_changed_and_the_list_too(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages[1].update_metadata({"seen": True})
        document.pages.reverse()
        document.pages.append(described(b"3", page=3))
        await session.commit()
    assert await held_in_list(driver) == [{"page": 2, "seen": True}, {"page": 1}, {"page": 3}]
    assert await held_pages(driver) == [b"2", b"1", b"3"]
    assert contents() == [b"1", b"2", b"3", b"file"]


async def test_a_page_taken_out_of_its_list_no_longer_writes_it(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        page = document.pages.pop()
        await session.commit()
        with writes(driver) as statements:
            page.update_metadata({"seen": True})
            await session.commit()
    assert statements == []
    assert await held_in_list(driver) == [{"page": 1}]


async def test_a_page_of_a_list_that_was_replaced_does_not_bring_the_list_back(
    driver: Driver, committed: None
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        page = document.pages[0]
        document.pages = []
        await session.flush()
        session.sync.expire(document)
        page.update_metadata({"seen": True})
        await session.commit()
    assert await held_in_list(driver) == []


async def test_metadata_of_a_new_file_is_changed_before_its_flush(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=described(b"new", lang="en")))
        assert document.file is not None
        document.file.update_metadata({"reviewed": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "reviewed": True}


@pytest.mark.parametrize("saved", [False, True])
async def test_a_new_file_keeps_its_changed_metadata_after_a_rollback(
    driver: Driver, storage: StorageBackend, saved: bool
) -> None:
    file = described(b"file", lang="en")
    if saved:
        await file.save_async()
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        file.update_metadata({"page": 1})
        await session.flush()
        await session.rollback()
    assert file.has_pending_data is not saved
    assert file.metadata == {"lang": "en", "page": 1}
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        await session.commit()
    assert await held(driver) == {"lang": "en", "page": 1}
    assert list(stored()) == [file.path]


async def test_metadata_changes_between_flush_and_commit(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=described(b"new"), pages=[described(b"page")]))
        await session.flush()
        assert document.file is not None
        document.file.update_metadata({"flushed": True})
        document.pages[0].update_metadata({"flushed": True})
        await session.commit()
    assert await held(driver) == {"flushed": True}
    assert await held_in_list(driver) == [{"flushed": True}]
    assert contents() == [b"new", b"page"]


async def test_metadata_changes_after_a_commit(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=(kept := described(b"new")), pages=[described(b"page")]))
        page = document.pages[0]
        for number in range(3):
            await session.commit()
            kept.update_metadata({"number": number})
            page.update_metadata({"number": number})
        await session.commit()
    assert await held(driver) == {"number": 2}
    assert await held_in_list(driver) == [{"number": 2}]
    assert contents() == [b"new", b"page"]


@pytest.mark.parametrize("how", ["expire", "commit"])
async def test_metadata_changes_after_its_instance_has_expired(
    driver: Driver, committed: None, how: str
) -> None:
    async with driver.session(expire_on_commit=True) as session:
        document = await session.one(Document, 1)
        kept, page = document.file, document.pages[0]
        assert kept is not None
        if how == "expire":
            session.sync.expire(document)
        else:
            await session.commit()
        kept.update_metadata({"late": True})
        page.update_metadata({"late": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "late": True}
    assert await held_in_list(driver) == [{"page": 1, "late": True}, {"page": 2}]
    assert contents() == [b"1", b"2", b"file"]


async def test_a_rollback_restores_metadata(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"never": True})
        document.pages[0].update_metadata({"never": True})
        await session.flush()
        await session.rollback()
        await session.refresh(document)
        assert document.file.metadata == {"lang": "en"}
        assert document.pages[0].metadata == {"page": 1}
        document.file.update_metadata({"reviewed": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "reviewed": True}
    assert await held_in_list(driver) == [{"page": 1}, {"page": 2}]


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_rollback_restores_metadata_of_a_file_that_was_kept(
    driver: Driver, committed: None, flushed: bool
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        kept = document.file
        assert kept is not None
        kept.update_metadata({"never": True})
        if flushed:
            await session.flush()
        await session.rollback()
        kept.update_metadata({"reviewed": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "reviewed": True}


async def test_a_savepoint_restores_metadata(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"outer": True})
        await session.flush()
        async with session.begin_nested() as savepoint:
            document.file.update_metadata({"inner": True})
            await session.flush()
            if driver.is_async:
                await savepoint.rollback()  # type: ignore[attr-defined]
            else:
                savepoint.rollback()  # type: ignore[attr-defined]
        await session.refresh(document)
        assert document.file.metadata == {"lang": "en", "outer": True}
        document.file.update_metadata({"after": True})
        await session.commit()
    assert await held(driver) == {"lang": "en", "outer": True, "after": True}


@pytest.mark.parametrize("name", ["file", "pages"])
async def test_one_change_is_one_update_and_no_call_of_the_storage(
    driver: Driver, committed: None, name: str
) -> None:
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with writes(driver) as statements, unreachable():
            changed = document.file if name == "file" else document.pages[0]
            assert changed is not None
            changed.update_metadata({"seen": True})
            await session.commit()
    *asserted, written, token = statements
    # PostgreSQL locks the entries by a SELECT where it can
    assert len(asserted) == 1 or (driver.dialect == "postgresql" and not asserted)
    assert all(each.startswith("UPDATE filecolumn_ledger SET state=") for each in asserted)
    assert re.fullmatch(rf"UPDATE documents SET {name}=\S+ WHERE documents\.id = \S+", written)
    assert " filecolumn_meta " in token
    assert stored() == before


async def test_several_changes_of_a_row_are_one_update(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        with writes(driver) as statements:
            for number in range(3):
                document.file.update_metadata({"number": number})
                document.pages[0].update_metadata({"number": number})
            document.title = "changed"
            await session.commit()
    assert len(statements) == 3, "one of the ledger, one of the row, one for the proof of the commit"
    assert await held(driver) == {"lang": "en", "number": 2}


async def test_what_is_the_same_is_not_written(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        with writes(driver) as statements:
            document.file.update_metadata({"lang": "en"})
            document.file.metadata = {"lang": "en"}
            await session.commit()
    assert statements == []


async def test_a_change_and_its_contrary_leave_the_row_as_it_was(driver: Driver, committed: None) -> None:
    before = await raw_file(driver)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.metadata = {}
        document.file.metadata = {"lang": "en"}
        await session.commit()
    assert await raw_file(driver) == before


async def test_metadata_and_a_new_file_in_one_flush(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"never": True})
        document.file = described(b"new")
        document.file.update_metadata({"seen": True})
        await session.commit()
    assert await held(driver) == {"seen": True}
    assert contents() == [b"1", b"2", b"new"]


async def test_metadata_and_a_delete_in_one_flush(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"never": True})
        document.pages[0].update_metadata({"never": True})
        await session.delete(document)
        await session.commit()
    await agree(driver, {})


async def test_changed_metadata_moves_with_its_file(driver: Driver, committed: None) -> None:
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        moved = document.file
        assert moved is not None
        moved.update_metadata({"moved": True})
        document.pages.append(moved)
        document.file = None
        await session.commit()
    assert await held_in_list(driver) == [{"page": 1}, {"page": 2}, {"lang": "en", "moved": True}]
    assert stored() == before


async def test_metadata_of_a_copy_is_its_own(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(one := Document(id=1, file=described(b"one", lang="en")))
        await session.commit()
        await session.refresh(one)
        session.add(two := Document(id=2, file=one.file))
        await session.commit()
        await session.refresh(two)
        assert two.file is not None
        two.file.update_metadata({"copy": True})
        await session.commit()
    assert await held(driver) == {"lang": "en"}
    assert (await raw_file(driver, 2))["metadata"] == {"lang": "en", "copy": True}


async def test_metadata_that_json_cannot_carry_changes_nothing(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        wrong: Any = {"when": object()}
        with writes(driver) as statements, pytest.raises(TypeError, match="JSON"):
            document.file.update_metadata(wrong)
        await session.commit()
    assert statements == []
    assert await held(driver) == {"lang": "en"}


async def test_refreshed_facts_are_written(driver: Driver, committed: None) -> None:
    true = await raw_file(driver)
    await put_raw(driver, json.dumps({**true, "size": 99}))
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        assert document.file.size == 99
        await (document.file.refresh_async() if driver.is_async else _done(document.file.refresh()))
        assert document.file.size == 4
        await session.commit()
    # the storage has a clock of its own
    assert {**await raw_file(driver), "last_modified": 0} == {**true, "last_modified": 0}
    assert stored() == before


async def test_refreshed_facts_of_a_page_are_written(driver: Driver, committed: None) -> None:
    first, second = await raw(driver, "pages")
    await put_raw(driver, json.dumps([first, {**second, "size": 99}]), column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        page = document.pages[1]
        await (page.refresh_async() if driver.is_async else _done(page.refresh()))
        await session.commit()
    async with driver.session() as session:
        assert [page.size for page in (await session.one(Document, 1)).pages] == [1, 1]


async def _done(result: None) -> None:
    """Await what a call of a sync driver has done already."""


async def test_refresh_of_unchanged_facts_writes_nothing(driver: Driver, committed: None) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        await (document.file.refresh_async() if driver.is_async else _done(document.file.refresh()))
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        with writes(driver) as statements:
            await (document.file.refresh_async() if driver.is_async else _done(document.file.refresh()))
            await session.commit()
    assert statements == []


@pytest.mark.parametrize("name", ["file", "pages"])
async def test_a_change_that_no_instance_would_write_is_refused(
    driver: Driver, committed: None, name: str
) -> None:
    async with driver.session() as session:
        document = await session.one(Document, 1)
        kept = document.file if name == "file" else document.pages[0]
        assert kept is not None
        del document
        with pytest.raises(ObjectDereferencedError, match=f"'{name}'"):
            kept.update_metadata({"lost": True})
        assert "lost" not in kept.metadata
        await session.commit()
    assert await held(driver) == {"lang": "en"}


async def test_a_file_whose_instance_is_gone_may_get_another(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    async with driver.session() as session:
        kept = (await session.one(Document, 1)).file
        two = await session.one(Document, 2)
        two.file = kept
        assert kept is not None
        kept.update_metadata({"copy": True})
        await session.commit()
    await agree(driver, {1: b"one", 2: b"one"})
    assert (await raw_file(driver, 1))["metadata"] == {}
    assert (await raw_file(driver, 2))["metadata"] == {"copy": True}


async def test_metadata_cannot_be_changed_where_nobody_would_notice(driver: Driver, committed: None) -> None:
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        document.file.metadata = {"tags": ["a"], "size": {"x": 1}}
        await session.commit()
        tags: Any = document.file.metadata["tags"]
        size: Any = document.file.metadata["size"]
        for change in (lambda: tags.append("b"), tags.clear, lambda: size.update(y=2), lambda: size.pop("x")):
            with pytest.raises(TypeError, match="update_metadata"):
                change()
        row: Any = document.file.to_dict()
        row["metadata"]["tags"].append("b")
        await session.commit()
        assert document.file.metadata == {"tags": ["a"], "size": {"x": 1}}
        # nobody has changed the row, so nobody is said to have
        document.file = described(b"next", **document.file.metadata)
        await session.commit()
    assert await held(driver) == {"tags": ["a"], "size": {"x": 1}}


async def test_a_change_of_what_was_read_from_a_column_alone_is_refused(
    driver: Driver, committed: None
) -> None:
    async with driver.session() as session:
        only_file: Any = (await session.execute(select(Document.file))).scalar_one()
        only_pages: Any = (await session.execute(select(Document.pages))).scalar_one()
        for change in (
            lambda: only_file.update_metadata({"lost": True}),
            lambda: only_pages[0].update_metadata({"lost": True}),
            lambda: only_pages.append(described(b"lost")),
            only_pages.clear,
        ):
            with pytest.raises(OwnedFileError, match="select the instance"):
                change()
        assert only_file.metadata == {"lang": "en"}
        assert len(only_pages) == 2
        await session.commit()
        session.add(other := Document(id=2, file=only_file, pages=only_pages))
        assert other.file is not None
        other.file.update_metadata({"copy": True})
        await session.commit()
    assert await held(driver) == {"lang": "en"}
    assert (await raw_file(driver, 2))["metadata"] == {"lang": "en", "copy": True}


async def test_a_time_before_1970_is_not_written(driver: Driver, tmp_path: Path) -> None:
    storages.register_backend(f"file://{tmp_path}/docs/", key="docs")
    await insert_files(driver, b"old")
    async with driver.session(expire_on_commit=False) as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        stored_at = document.file.last_modified
        os.utime(tmp_path / "docs" / str(document.file.path), (-10, -10))
        await (document.file.refresh_async() if driver.is_async else _done(document.file.refresh()))
        document.file.update_metadata({"written": True})
        await session.commit()
    assert (await raw_file(driver))["last_modified"] == stored_at
    await agree(driver, {1: b"old"})
