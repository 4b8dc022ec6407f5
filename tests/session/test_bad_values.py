"""What must not happen: wrong types, files without content, foreign storages, damaged rows, taken keys."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, null
from sqlalchemy.exc import IntegrityError

from filecolumn import (
    BackendMismatchError,
    BackendNotRegisteredError,
    CorruptFileMetadataError,
    FileObject,
    InvalidKeyError,
    ObjectExistsError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
    StaleUploadError,
    StoredObject,
    storages,
)
from filecolumn.backends.base import StorageBackend
from tests.session import more_models
from tests.session.conftest import make_storage
from tests.session.drivers import Driver, DriverSession, contents, stored
from tests.session.models import Document, Strict
from tests.session.more_models import Archived, Keyed, Moved, Templated, create_tables
from tests.session.records import agree, file, held_pages, insert_files, put_raw, raw_file


@pytest.fixture
def storage(driver: Driver, tmp_path: Path) -> StorageBackend:
    """The storage "docs": each kind of session has both kinds of storage, with one database or the other."""
    in_memory = driver.dialect == "sqlite" and not driver.sync_engine.url.database
    kind = "fsspec-memory" if in_memory == driver.is_async else "obstore-local"
    return storages.register_backend(make_storage(kind, tmp_path))


@pytest.fixture
async def tables(driver: Driver) -> None:
    await create_tables(driver)


@pytest.fixture
def old_storage(tmp_path: Path) -> StorageBackend:
    """The storage that rows of `Moved` may still point to."""
    return storages.register_backend(make_storage("obstore-local", tmp_path, "old"))


# Wrong types

WRONG = [
    "text",
    b"bytes",
    {"filename": "a.txt"},
    7,
    Path("a.txt"),
    [FileObject("a.txt", content=b"a")],
    func.now(),
]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
async def test_a_wrong_type_is_refused_where_it_is_assigned(
    driver: Driver, storage: StorageBackend, value: Any
) -> None:
    await insert_files(driver, b"old")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(TypeError, match=r"write FileObject\(name, content="):
            document.file = value
        with pytest.raises(TypeError, match=r"write FileObject\(name, content="):
            Document(file=value)
        await session.commit()
    await agree(driver, {1: b"old"})


WRONG_LISTS = [
    FileObject("a.txt", content=b"a"),
    "text",
    {"filename": "a.txt"},
    [b"bytes"],
    [None],
    func.now(),
]


@pytest.mark.parametrize("value", WRONG_LISTS, ids=lambda value: type(value).__name__)
async def test_a_wrong_list_is_refused_where_it_is_assigned(
    driver: Driver, storage: StorageBackend, value: Any
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"old")]))
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(TypeError, match=r"write \[?FileObject\(name, content="):
            document.pages = value
        await session.commit()
    assert await held_pages(driver) == contents() == [b"old"]


async def test_a_wrong_item_is_refused_where_it_is_added(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"old")]))
        await session.commit()
    wrong: Any = b"bytes"
    async with driver.session() as session:
        pages = (document := await session.one(Document, 1)).pages
        for add in (pages.append, pages.remove, lambda item: pages.insert(0, item)):
            with pytest.raises((TypeError, ValueError)):
                add(wrong)
        for index in (0, slice(0, 1)):
            with pytest.raises(TypeError):
                pages[index] = [wrong] if isinstance(index, slice) else wrong
        with pytest.raises(TypeError):
            pages.extend([file(b"new"), wrong])
        await session.rollback()
        await session.refresh(document)
    assert await held_pages(driver) == contents() == [b"old"]


async def test_sql_null_is_none(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"old", b"other")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = null()  # type: ignore[assignment]
        assert document.file is None
        session.add(Document(id=3, file=null()))
        await session.commit()
    await agree(driver, {1: None, 2: b"other", 3: None})


# No content


async def test_a_file_without_content_stops_the_whole_flush(driver: Driver, storage: StorageBackend) -> None:
    good = Document(id=1, file=file(b"good"))
    async with driver.session() as session:
        session.add(good, Document(id=2, file=FileObject("empty.txt")))
        with pytest.raises(PendingContentError, match=r"'empty\.txt' has no content"):
            await session.flush()
        assert contents() == []
        await session.rollback()
        session.add(good)
        await session.commit()
    await agree(driver, {1: b"good"})


async def test_a_page_without_content_stops_the_whole_flush(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")))
        session.add(Document(id=2, pages=[file(b"page"), FileObject("empty.txt")]))
        with pytest.raises(PendingContentError):
            await session.flush()
        assert contents() == []
    await agree(driver, {})


@pytest.mark.parametrize("argument", ["content", "source_path"])
def test_a_missing_path_is_refused_at_once(tmp_path: Path, argument: str) -> None:
    given: Any = {argument: tmp_path / "missing.txt"}
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        FileObject("a.txt", **given)


async def test_a_path_that_is_gone_at_the_flush_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    path = tmp_path / "short-lived.txt"
    path.write_bytes(b"gone soon")
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=FileObject("b", content=path)))
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"short-lived\.txt"):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})


async def test_content_that_fails_while_it_is_read_leaves_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError("the client went away")

    await insert_files(driver, b"old")
    async with driver.session() as session:
        (await session.one(Document, 1)).file = FileObject("a.txt", content=breaks())
        session.add(Document(id=2, file=file(b"other")))
        with pytest.raises(ConnectionResetError, match="the client went away"):
            await session.commit()
        await session.rollback()
    await agree(driver, {1: b"old"})


async def test_content_of_wrong_chunks_leaves_nothing(driver: Driver, storage: StorageBackend) -> None:
    wrong: Any = [b"some", "text"]
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=wrong)))
        with pytest.raises(TypeError, match="every chunk must be bytes"):
            await session.commit()
        await session.rollback()
    await agree(driver, {})


# Another storage


async def test_a_file_that_names_another_storage_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend
) -> None:
    async with driver.session() as session:
        wrong = FileObject("a.txt", backend="old", content=b"wrong")
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=wrong))
        with pytest.raises(BackendMismatchError, match="'old'"):
            await session.flush()
        assert contents() == contents("old") == []
        await session.rollback()
    await agree(driver, {})


async def test_new_content_does_not_go_where_a_column_only_reads(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Moved(id=1, file=FileObject("a.txt", backend="old", content=b"wrong")))
        with pytest.raises(BackendMismatchError):
            await session.flush()
    assert contents() == contents("old") == []


async def insert_elsewhere(driver: Driver, old_storage: StorageBackend, table: str) -> dict[str, Any]:
    """Commit row 1 of *table*, whose file is in the storage "old", and return its JSON."""
    async with driver.session() as session:
        session.add(Document(id=9, file=file(b"elsewhere")))
        await session.commit()
    row = await raw_file(driver, 9)
    key = row["to_filename"]
    old_storage.put(key, [b"elsewhere"])
    async with driver.session() as session:
        session.add(Document(id=1) if table == "documents" else Moved(id=1))
        await session.delete(await session.one(Document, 9))
        await session.commit()
    await put_raw(driver, json.dumps({**row, "backend": "old"}), table)
    assert contents() == []
    return {key: b"elsewhere"}


async def test_a_row_that_names_a_storage_its_column_does_not_use_is_not_read(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend
) -> None:
    await insert_elsewhere(driver, old_storage, "documents")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        assert document.file.filename == "a.txt"
        with pytest.raises(BackendMismatchError, match="reads="):
            await driver.content(document.file)


@pytest.mark.parametrize("how", ["replace", "none", "delete"])
async def test_a_storage_that_a_column_does_not_use_is_left_alone(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, how: str
) -> None:
    before = await insert_elsewhere(driver, old_storage, "documents")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        if how == "delete":
            await session.delete(document)
        else:
            document.file = file(b"new") if how == "replace" else None
        await session.commit()
    await agree(driver, {"replace": {1: b"new"}, "none": {1: None}, "delete": {}}[how])
    assert stored("old") == before


async def test_a_row_may_name_a_storage_that_its_column_reads(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    before = await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        assert await driver.content(moved.file) == b"elsewhere"
        assert moved.file is not None
        moved.file.update_metadata({"seen": True})
        await session.commit()
    async with driver.session() as session:
        assert await driver.content((await session.one(Moved, 1)).file) == b"elsewhere"
    assert contents() == []
    assert stored("old") == before


@pytest.mark.parametrize("how", ["replace", "delete"])
async def test_the_storage_that_a_column_only_reads_is_emptied(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None, how: str
) -> None:
    await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        if how == "replace":
            moved.file = file(b"new")
        else:
            await session.delete(moved)
        await session.flush()
        assert contents("old") == [b"elsewhere"]
        await session.commit()
    assert contents() == ([b"new"] if how == "replace" else [])
    assert contents("old") == [b"elsewhere"], "a row from before the ledger: others may share its object"
    assert (await driver.drain(more_models.Base)).deleted == 1
    assert contents("old") == []
    async with driver.session() as session:
        again = await session.get(Moved, 1)
        assert (again is None) == (how == "delete")
        if again is not None:
            assert await driver.content(again.file) == b"new"


async def test_a_file_that_leaves_its_old_storage_is_copied(
    driver: Driver, storage: StorageBackend, old_storage: StorageBackend, tables: None
) -> None:
    await insert_elsewhere(driver, old_storage, "moved")
    async with driver.session() as session:
        moved = await session.one(Moved, 1)
        session.add(Document(id=1, file=moved.file))
        await session.delete(moved)
        await session.commit()
    await agree(driver, {1: b"elsewhere"})
    assert (await raw_file(driver))["backend"] == "docs"
    assert (await driver.drain(more_models.Base)).deleted == 1
    assert contents("old") == []


async def test_a_row_of_an_unregistered_storage_loads(
    driver: Driver, storage: StorageBackend, tables: None, tmp_path: Path
) -> None:
    storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))
    async with driver.session() as session:
        session.add(Archived(id=1, file=file(b"one")))
        await session.commit()
    storages.unregister_backend("archive")
    async with driver.session() as session:
        archived = await session.one(Archived, 1)
        assert archived.file is not None
        assert "a.txt" in repr(archived.file)
        assert archived.file.size == 3
        assert archived.file == archived.file
        assert isinstance(hash(archived.file), int)
        with pytest.raises(BackendNotRegisteredError, match="'archive'"):
            await driver.content(archived.file)


async def test_new_content_for_an_unregistered_storage_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, tables: None
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Archived(id=1, file=file(b"nowhere")))
        with pytest.raises(BackendNotRegisteredError, match="'archive'"):
            await session.flush()
        assert contents() == []
        await session.rollback()
    await agree(driver, {})


# Damaged rows

DAMAGED = [
    "this is no JSON",
    "[1]",
    "7",
    '"text"',
    '{"filename": 7}',
    '{"filename": "a.txt", "size": "big"}',
    '{"filename": "a.txt", "metadata": []}',
]


@pytest.mark.parametrize("value", DAMAGED)
async def test_a_damaged_row_loads_and_says_what_is_wrong_when_its_file_is_used(
    driver: Driver, storage: StorageBackend, value: str
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, title="title", file=file(b"lost"), pages=[file(b"page")]))
        await session.commit()
    await put_raw(driver, value)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.title == "title"
        assert await driver.content(document.pages[0]) == b"page"
        assert document.file is not None
        assert "corrupt" in repr(document.file)
        with pytest.raises(CorruptFileMetadataError):
            _ = document.file.size
        with pytest.raises(CorruptFileMetadataError):
            await driver.content(document.file)
        document.title = "other attributes can be changed"
        await session.commit()


@pytest.mark.parametrize("value", ["this is no JSON", "[]", '{"filename": 7}'])
@pytest.mark.parametrize("how", ["replace", "none", "delete"])
async def test_a_damaged_file_is_replaced_or_deleted_and_nothing_else_is(
    driver: Driver, storage: StorageBackend, value: str, how: str
) -> None:
    await insert_files(driver, b"lost", b"other")
    await put_raw(driver, value)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        if how == "delete":
            await session.delete(document)
        else:
            document.file = file(b"new") if how == "replace" else None
        await session.commit()
    assert contents() == sorted([b"lost", b"other", *([b"new"] if how == "replace" else [])])
    async with driver.session() as session:
        again = await session.get(Document, 1)
        assert (again is None) == (how == "delete")
        if again is not None:
            assert (again.file is None) == (how == "none")
            assert again.file is None or await driver.content(again.file) == b"new"


@pytest.mark.parametrize("value", ["this is no JSON", '{"filename": "a.txt"}', '["text"]'])
async def test_a_damaged_list_loads_and_is_replaced(
    driver: Driver, storage: StorageBackend, value: str
) -> None:
    await insert_files(driver, b"other")
    await put_raw(driver, value, column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert await driver.content(document.file) == b"other"
        with pytest.raises(CorruptFileMetadataError):
            _ = [page.size for page in document.pages]
        document.pages = [file(b"new")]  # type: ignore[assignment]
        await session.commit()
    assert await held_pages(driver) == [b"new"]
    assert contents() == [b"new", b"other"]


@pytest.mark.parametrize("key", ["../outside.txt", "/etc/passwd"])
async def test_a_row_cannot_lead_out_of_its_storage(
    driver: Driver, storage: StorageBackend, key: str
) -> None:
    await insert_files(driver, b"lost")
    row = await raw_file(driver)
    await put_raw(driver, json.dumps({**row, "to_filename": key, "filename": ".."}))
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(InvalidKeyError):
            await driver.content(document.file)
        document.file = None
        await session.commit()
    assert contents() == [b"lost"]


async def test_json_null_is_none(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"lost")
    await put_raw(driver, "null")
    await put_raw(driver, "null", column="pages")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is None
        assert list(document.pages) == []
        document.pages.append(file(b"page"))
        document.file = file(b"new")
        await session.commit()
    assert await held_pages(driver) == [b"page"]
    assert contents() == [b"lost", b"new", b"page"]


# Staged files


async def test_a_staged_file_is_attached_where_it_is(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    before = stored()
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.commit()
    await agree(driver, {1: b"staged"})
    assert stored() == before


async def test_a_staged_file_is_its_owners_after_a_rollback(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        await session.flush()
        await session.rollback()
        assert contents() == [b"staged"]
        session.add(Document(id=2, file=staged))
        await session.commit()
    await agree(driver, {2: b"staged"})


async def test_a_file_staged_too_long_ago_stops_the_whole_flush(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = await driver.save(file(b"staged"))
    monkeypatch.setattr("filecolumn.orm.slots.MAX_ATTACH_AGE", -1.0)
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"good")), Document(id=2, file=staged))
        with pytest.raises(StaleUploadError, match="save it again"):
            await session.flush()
        assert contents() == [b"staged"]
        await session.rollback()
    await driver.delete(staged)
    await agree(driver, {})


async def test_a_deleted_staged_file_cannot_be_attached(driver: Driver, storage: StorageBackend) -> None:
    staged = await driver.save(file(b"staged"))
    await driver.delete(staged)
    async with driver.session() as session:
        session.add(Document(id=1, file=staged))
        with pytest.raises(FileNotFoundError, match="was deleted"):
            await session.flush()
    await agree(driver, {})


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_file_in_a_row_is_neither_deleted_nor_saved(
    driver: Driver, storage: StorageBackend, loaded: bool
) -> None:
    owned = file(b"one")
    async with driver.session() as session:
        session.add(document := Document(id=1, file=owned))
        await session.commit()
        if loaded:
            await session.refresh(document)
            assert document.file is not None
            owned = document.file
    with pytest.raises(OwnedFileError, match="assign a new FileObject"):
        await driver.delete(owned)
    with pytest.raises(OwnedFileError):
        await driver.save(owned)
    with pytest.raises(OwnedFileError):
        owned.save(b"new")
    with pytest.raises(OwnedFileError):
        await owned.save_async(b"new")
    await agree(driver, {1: b"one"})


async def test_a_flushed_file_is_the_rows(driver: Driver, storage: StorageBackend) -> None:
    flushed = file(b"one")
    async with driver.session() as session:
        session.add(Document(id=1, file=flushed))
        await session.flush()
        with pytest.raises(OwnedFileError):
            await driver.delete(flushed)
        await session.commit()
    await agree(driver, {1: b"one"})


# Content that can be read once, and content that can be read again


async def refused_flush(driver: Driver, upload: FileObject) -> None:
    """Flush *upload* together with a row that the database refuses."""
    async with driver.session() as session:
        session.add(Document(id=1, file=upload), Strict(id=1))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()
    assert contents() == []


async def test_content_read_once_is_gone_after_a_failed_flush(
    driver: Driver, storage: StorageBackend
) -> None:
    upload = FileObject("a.txt", content=(part for part in [b"only ", b"once"]))
    await refused_flush(driver, upload)
    assert not upload.has_pending_data
    async with driver.session() as session:
        session.add(document := Document(id=1, file=upload))
        with pytest.raises(SourceConsumedError, match=r"'a\.txt' was read once and is gone; assign it again"):
            await session.flush()
        await session.rollback()
        document.file = file(b"again")
        session.add(document)
        await session.commit()
    await agree(driver, {1: b"again"})


def seekable(folder: Path) -> object:
    stream = io.BytesIO(b"skipped and read")
    stream.seek(len(b"skipped and "))
    return stream


def path_of(folder: Path) -> object:
    path = folder / "content.txt"
    path.write_bytes(b"read")
    return path


@pytest.mark.parametrize("content", [lambda _: b"read", path_of, seekable], ids=["bytes", "path", "seekable"])
async def test_content_that_can_be_read_again_is_stored_again(
    driver: Driver, storage: StorageBackend, tmp_path: Path, content: Callable[[Path], Any]
) -> None:
    upload = FileObject("a.txt", content=content(tmp_path))
    await refused_flush(driver, upload)
    assert upload.has_pending_data
    assert upload.path is None
    async with driver.session() as session:
        session.add(Document(id=1, file=upload))
        await session.commit()
    await agree(driver, {1: b"read"})


# Keys


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


def test_reads_is_a_sequence_of_names() -> None:
    with pytest.raises(TypeError, match=r"write reads=\('old',\)"):
        StoredObject(backend="docs", reads="old")
