"""Uploads of web frameworks are stored whole by a flush and by `save`, in sync and async code alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from filecolumn import ContentRejectedError, FileObject, SourceConsumedError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.files import Call, call, memory
from tests.scenarios.models import Document
from tests.scenarios.records import agree

__all__ = ("call", "memory")

DATA = bytes(range(256)) * 5000  # 1.28 MB: more than the frameworks keep in memory
NAME, KIND = "a.bin", "application/octet-stream"


def of_litestar(data: bytes, name: str = NAME) -> Any:
    return import_module("litestar.datastructures").UploadFile(KIND, name, data)


def of_starlette(data: bytes, name: str = NAME) -> Any:
    structures = import_module("starlette.datastructures")
    headers = structures.Headers({"content-type": KIND})
    return structures.UploadFile(io.BytesIO(data), size=len(data), filename=name, headers=headers)


def of_fastapi(data: bytes, name: str = NAME) -> Any:
    return import_module("fastapi").UploadFile(io.BytesIO(data), size=len(data), filename=name)


def of_werkzeug(data: bytes, name: str = NAME) -> Any:
    return import_module("werkzeug.datastructures").FileStorage(io.BytesIO(data), name, "field", KIND)


@dataclass(frozen=True)
class Field:
    """As aiohttp's and Bottle's: it has a file, and is none."""

    name: str
    filename: str
    file: io.BytesIO
    content_type: str


def of_fields(data: bytes, name: str = NAME) -> Any:
    return Field("field", name, io.BytesIO(data), KIND)


class DjangoFile:
    """As Django's `UploadedFile`: its name is `name`, and it hands on what its file can."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.name = NAME
        self.content_type = KIND
        self.size = len(data)

    read = property(lambda self: self.file.read)
    seek = property(lambda self: self.file.seek)
    closed = property(lambda self: self.file.closed)

    def seekable(self) -> bool:
        return self.file.seekable()

    def __iter__(self) -> Any:
        raise NotImplementedError


EXTENDED = pytest.mark.extended
OF_FORMS = [
    of_litestar,
    pytest.param(of_starlette, marks=EXTENDED),
    pytest.param(of_fastapi, marks=EXTENDED),
    pytest.param(of_werkzeug, marks=EXTENDED),
    of_fields,
]
UPLOADS = [*OF_FORMS, DjangoFile]
Make = Callable[[bytes], Any]


@pytest.fixture(params=UPLOADS, ids=lambda kind: kind.__name__)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make uploads of one kind, which are closed at the end."""
    made: list[Any] = []

    def one(data: bytes) -> Any:
        made.append(request.param(data))
        return made[-1]

    yield one
    for upload in made:
        behind(upload).close()


def behind(upload: Any) -> Any:
    return upload.file if hasattr(upload, "file") else upload


async def look_into(upload: Any) -> None:
    """Read from an upload, as a handler does that looks what it is."""
    read = upload.read if hasattr(upload, "read") else upload.file.read
    if hasattr(found := read(), "__await__"):
        found = await found
    assert found == DATA


def ways(upload: Any) -> list[FileObject]:
    return [FileObject.from_upload(upload), FileObject("b.bin", content=upload), FileObject(content=upload)]


async def test_a_flush_stores_uploads_whole_and_again_after_a_rollback(
    driver: Driver, storage: StorageBackend, make: Make
) -> None:
    files = []
    async with driver.session() as session:
        for upload in (make(DATA), make(DATA), make(DATA)):
            await look_into(upload)
            files.append(ways(upload)[len(files)])
        session.add(*(Document(id=number, file=file) for number, file in enumerate(files, 1)))
        await session.flush()
        await session.rollback()
        session.add(*(Document(id=number, file=file) for number, file in enumerate(files, 1)))
        await session.commit()
    assert [file.filename for file in files] == [NAME, "b.bin", NAME]
    await agree(driver, {1: DATA, 2: DATA, 3: DATA})


async def test_two_files_of_one_upload_are_both_whole(
    driver: Driver, storage: StorageBackend, make: Make
) -> None:
    upload = make(DATA)
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file) for number, file in enumerate(ways(upload), 1)))
        session.add(Document(id=9, file=FileObject("c.bin", content=behind(upload))))
        await session.commit()
    assert contents() == [DATA] * 4


async def test_a_save_stores_uploads_whole(storage: StorageBackend, call: Call, make: Make) -> None:
    for number in range(3):
        upload = make(DATA)
        await look_into(upload)
        assert (await call(ways(upload)[number], "save")).get_content() == DATA


async def test_an_upload_whose_form_was_closed_says_so(
    driver: Driver, storage: StorageBackend, make: Make
) -> None:
    upload = make(DATA)
    file = FileObject.from_upload(upload)
    behind(upload).close()
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        with pytest.raises(SourceConsumedError, match="is closed"):
            await session.commit()
        await session.rollback()
    with pytest.raises(SourceConsumedError, match="is closed"):
        FileObject.from_upload(upload)
    await agree(driver, {})


@pytest.mark.parametrize("make_upload", OF_FORMS)
async def test_an_input_that_was_left_empty_makes_no_file(
    memory: StorageBackend, call: Call, make_upload: Callable[..., Any]
) -> None:
    upload = make_upload(b"", "")
    for attempt in (lambda: ways(upload), lambda: FileObject(upload.filename, content=upload)):
        with pytest.raises(ContentRejectedError, match="no file was chosen") as caught:
            attempt()
        assert caught.value.code == "no_file"
    with pytest.raises(ContentRejectedError, match="no file was chosen"):
        await call(FileObject("old.txt", content=b"old"), "save", upload)
    behind(upload).close()
    assert list(memory.list()) == []


@pytest.mark.parametrize("make_upload", OF_FORMS)
async def test_an_upload_without_content_or_without_a_name_is_a_file(
    memory: StorageBackend, call: Call, make_upload: Callable[..., Any]
) -> None:
    empty, nameless = make_upload(b"", "empty.txt"), make_upload(b"data", "")
    files = [
        await call(FileObject.from_upload(upload, backend="docs"), "save") for upload in (empty, nameless)
    ]
    assert [(file.filename, file.get_content()) for file in files] == [("empty.txt", b""), ("file", b"data")]
    for upload in (empty, nameless):
        behind(upload).close()
