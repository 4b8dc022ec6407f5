"""Lists, names, kinds of content, and rows: cases that advanced-alchemy 1.12.0 gets wrong."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError

from filecolumn import FileObject, FileObjectList, InvalidKeyError, StorageRegistry, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.fixtures import STORAGES, make_storage
from tests.scenarios.models import Document, Strict
from tests.scenarios.records import agree, file, held_pages, insert_files, insert_raw, raw_file

# Lists


def extend_in_place(pages: FileObjectList) -> None:
    pages += [file(b"4"), file(b"5")]


def set_item(pages: FileObjectList) -> None:
    pages[1] = file(b"4")


def delete_item(pages: FileObjectList) -> None:
    del pages[0]


def swap(pages: FileObjectList) -> None:
    pages[0], pages[1] = pages[1], pages[0]


def rotate(pages: FileObjectList) -> None:
    pages.append(pages.pop(0))


MUTATIONS: dict[str, tuple[Callable[[FileObjectList], object], str]] = {
    "append": (lambda pages: pages.append(file(b"4")), "1234"),
    "extend": (lambda pages: pages.extend([file(b"4"), file(b"5")]), "12345"),
    "+=": (extend_in_place, "12345"),
    "insert": (lambda pages: pages.insert(0, file(b"4")), "4123"),
    "[i]=": (set_item, "143"),
    "remove": (lambda pages: pages.remove(pages[1]), "13"),
    "pop": (lambda pages: pages.pop(), "12"),
    "del": (delete_item, "23"),
    "clear": (lambda pages: pages.clear(), ""),
    "reverse": (lambda pages: pages.reverse(), "321"),
    "swap": (swap, "213"),
    "rotate": (rotate, "231"),
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_each_change_of_a_loaded_list_is_written(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    change, expected = MUTATIONS[name]
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2"), file(b"3")]))
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        change(document.pages)
        await session.commit()
    assert b"".join(await held_pages(driver)) == expected.encode()
    assert b"".join(contents()) == bytes(sorted(expected.encode()))


@pytest.mark.parametrize("change", [swap, rotate])
async def test_files_that_change_places_stay(
    driver: Driver, storage: StorageBackend, change: Callable[[FileObjectList], None]
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"1"), file(b"2")]))
        await session.commit()
    before = stored()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        change(document.pages)
        await session.commit()
    assert await held_pages(driver) == [b"2", b"1"]
    assert stored() == before


async def test_a_removal_is_not_repeated_by_later_commits(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session(expire_on_commit=False) as session:
        session.add(document := Document(id=1, pages=[file(b"old")]))
        await session.commit()
        document.pages.pop()
        await session.commit()
        document.pages.append(file(b"new"))
        await session.commit()
        document.title = "changed"
        await session.commit()
    assert await held_pages(driver) == [b"new"]
    assert contents() == [b"new"]


async def test_two_files_of_one_name_in_a_list_are_two(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, pages=[file(b"A", "same.txt"), file(b"B", "same.txt")]))
        await session.commit()
    assert await held_pages(driver) == [b"A", b"B"]


async def test_what_is_appended_is_stored_by_the_append_alone(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1))
        await session.commit()
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.pages.append(appended := file(b"appended"))
        assert appended.has_pending_data
        await session.commit()
    assert await held_pages(driver) == [b"appended"]


# Names and keys

HOSTILE = ["../../x", "/abs", "", ".", "..", "a\0b", "a//b", "x" * 300, "..\\..\\x"]


@pytest.fixture
async def outside(tmp_path: Path) -> Path:
    """What lies around a storage's folder."""
    (tmp_path / "secret.txt").write_bytes(b"outside")
    return tmp_path


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["fsspec-local", "obstore-local"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_leads_out_of_the_storage(driver: Driver, outside: Path, kind: str, name: str) -> None:
    storages.register_backend(make_storage(kind, outside))
    before = tree(outside)
    async with driver.session() as session:
        session.add(Document(id=1, file=file(b"named", name)))
        await session.commit()
    await agree(driver, {1: b"named"})
    assert all(path.startswith(("docs/", "test.db")) for path in tree(outside) - before)


@pytest.mark.parametrize("kind", ["fsspec-local", "obstore-local"])
@pytest.mark.parametrize("key", HOSTILE)
async def test_no_key_leads_out_of_the_storage_or_leaves_a_row(
    driver: Driver, outside: Path, kind: str, key: str
) -> None:
    storages.register_backend(make_storage(kind, outside))
    async with driver.session() as session:
        with pytest.raises(InvalidKeyError):
            session.add(Document(id=1, file=FileObject("a.txt", content=b"x", to_filename=key)))
            await session.commit()
    await agree(driver, {})


# Content


class Upload:
    """As Litestar's and Starlette's `UploadFile`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    async def seek(self, offset: int) -> int:
        return self._file.seek(offset)


def path_to(folder: Path) -> Path:
    path = folder / "content.txt"
    path.write_bytes(b"content")
    return path


def opened(folder: Path) -> io.BufferedReader:
    return io.BufferedReader(io.FileIO(path_to(folder)))


def spooled(folder: Path) -> SpooledTemporaryFile[bytes]:
    made = SpooledTemporaryFile(max_size=1)  # noqa: SIM115 - closed by the test
    made.write(b"content")
    made.seek(0)
    return made


def generated(folder: Path) -> Iterator[bytes]:
    yield from (b"con", b"tent")


async def generated_async(folder: Path) -> AsyncIterator[bytes]:
    yield b"con"
    yield b"tent"


KINDS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: b"content",
    "bytearray": lambda _: bytearray(b"content"),
    "memoryview": lambda _: memoryview(b"content"),
    "path": path_to,
    "bytesio": lambda _: io.BytesIO(b"content"),
    "file": opened,
    "list": lambda _: [b"con", b"tent"],
    "generator": generated,
    "spooled": spooled,
    "async generator": generated_async,
    "upload": lambda _: Upload(b"content"),
}
ASYNC_KINDS = ("async generator", "upload")


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("content", KINDS)
async def test_each_kind_of_content_is_stored_or_refused_before_the_row(
    driver: Driver, tmp_path: Path, kind: str, content: str
) -> None:
    storages.register_backend(make_storage(kind, tmp_path))
    made = KINDS[content](tmp_path)
    refused = content in ASYNC_KINDS and not driver.is_async
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=made)))
        if refused:
            with pytest.raises(TypeError, match="async session"):
                await session.commit()
        else:
            await session.commit()
    await agree(driver, {} if refused else {1: b"content"})
    if isinstance(made, io.BufferedReader | SpooledTemporaryFile):
        made.close()


@pytest.mark.parametrize("kind", STORAGES)
async def test_a_source_path_is_stored(driver: Driver, tmp_path: Path, kind: str) -> None:
    storages.register_backend(make_storage(kind, tmp_path))
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", source_path=path_to(tmp_path))))
        await session.commit()
    await agree(driver, {1: b"content"})


async def test_a_missing_source_path_is_found_before_anything_else(
    driver: Driver, storage: StorageBackend, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        FileObject("a.txt", source_path=tmp_path / "missing")
    gone = path_to(tmp_path)
    upload = FileObject("a.txt", source_path=gone)
    gone.unlink()
    async with driver.session() as session:
        session.add(Document(id=1, file=upload))
        with pytest.raises(FileNotFoundError):
            await session.commit()
    await agree(driver, {})


async def test_empty_content_is_pending_content(driver: Driver, storage: StorageBackend) -> None:
    empty = file(b"")
    assert empty.has_pending_data
    async with driver.session() as session:
        session.add(Document(id=1, file=empty))
        await session.commit()
    await agree(driver, {1: b""})


# Rows


async def test_none_is_sql_null(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=None), Document(id=2, file=file(b"there")))
        await session.commit()
        none = select(Document.id).where(Document.file.is_(None))
        assert await session.run(lambda s: s.scalars(none).all()) == [1]
        assert (
            await session.execute(text("SELECT id FROM documents WHERE file IS NULL"))
        ).scalars().all() == [1]
        nothing: Any = None
        session.add(Strict(id=1, file=nothing))
        with pytest.raises(IntegrityError):
            await session.commit()


async def test_an_unknown_key_in_a_row_is_kept_and_ignored(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"known")
    row = await raw_file(driver)
    async with driver.session() as session:
        await session.execute(text("DELETE FROM documents"))
        await session.commit()
    await insert_raw(driver, {**row, "invented_later": {"a": [1]}})
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert document.file is not None
        assert await driver.content(document.file) == b"known"
        document.file.update_metadata({"changed": True})
        await session.commit()
    assert (await raw_file(driver))["invented_later"] == {"a": [1]}


async def test_a_row_of_an_unregistered_storage_can_be_looked_at(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    storages.clear_backends()
    loaded: list[FileObject | None] = []
    for _ in range(2):
        async with driver.session() as session:
            loaded.append((await session.one(Document, 1)).file)
    one, same = loaded
    assert "a.txt" in repr(one)
    assert one is not same
    assert one == same
    assert hash(one) == hash(same)


@pytest.mark.parametrize("wrong", [FSSpecBackend, ObstoreBackend])
def test_a_class_is_no_default_and_breaks_nothing(tmp_path: Path, wrong: Any) -> None:
    registry = StorageRegistry()
    with pytest.raises(TypeError, match="key of a storage"):
        registry.default = wrong
    registry.register_backend(f"file://{tmp_path}/docs/", key="docs")
    assert registry.default == "docs"


@pytest.mark.parametrize("made", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
async def test_a_copy_of_a_loaded_file_carries_no_storage_and_no_secret(
    driver: Driver, storage: StorageBackend, made: Callable[[FileObject], FileObject]
) -> None:
    await insert_files(driver, b"one")
    secret = ObstoreBackend("docs", "s3://bucket/", access_key_id="id", secret_access_key="hush")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        one = document.file
        assert one is not None
        with storages.override("docs", secret):
            assert one.backend is secret
            repr(one)
            assert b"hush" not in pickle.dumps(one)
            assert b"hush" not in pickle.dumps(document)
        assert await driver.content(made(one)) == b"one"


# Drivers that hand over decoded rows


def test_a_driver_that_decodes_json_is_read_as_one_that_does_not(storage: StorageBackend) -> None:
    decoded = json.loads(json.dumps(file(b"x").save().to_dict()))
    dialect = create_engine("sqlite://").dialect
    read = Document.file.type.result_processor(dialect, None)
    read_list = Document.pages.type.result_processor(dialect, None)
    for given in (decoded, json.dumps(decoded)):
        assert read(given).get_content() == b"x"
    for given in ([decoded], json.dumps([decoded])):
        assert [page.get_content() for page in read_list(given)] == [b"x"]
    assert read(None) is read("null") is read_list(None) is None
