"""The registry keeps what it has, and credentials, client text and deleted content leak nowhere."""

from __future__ import annotations

import ast
import copy
import gc
import json
import logging
import pickle
import re
import traceback
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.ext.asyncio import AsyncEngine

import filecolumn
from filecolumn import (
    BackendAlreadyRegisteredError,
    BackendNotRegisteredError,
    FileColumnError,
    FileObject,
    InvalidKeyError,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.files.file import file_from_row
from filecolumn.naming import RESERVED_FOLDER
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver, contents, stored
from tests.scenarios.fixtures import STORAGES, make_storage
from tests.scenarios.models import Document
from tests.scenarios.records import file, insert_files, insert_raw
from tests.scenarios.sqlite import driver

__all__ = ("driver",)


async def test_a_key_stays_where_it_is_and_rows_keep_resolving(
    driver: Driver, local: StorageBackend, root: Path, tmp_path: Path
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"ours")))
        await session.commit()
    again = storages.register_backend(ObstoreBackend("docs", f"file://{root}/"))
    assert storages.get("docs") is again
    with pytest.raises(BackendAlreadyRegisteredError):
        storages.register_backend(make_storage("obstore-local", tmp_path / "elsewhere"))
    with pytest.raises(BackendAlreadyRegisteredError):
        storages.register_backend("memory://", key="docs")
    async with driver.session() as session:
        document = await session.one(Document, 1)
        assert await driver.content(document.file) == b"ours"
        storages.unregister_backend("docs")
        assert document.file is not None
        assert document.file.path in repr(document.file)
        with pytest.raises(BackendNotRegisteredError):
            await driver.content(document.file)
        storages.register_backend(again)
        assert await driver.content(document.file) == b"ours"
        storages.register_backend("memory://", key="docs", replace=True)
        storages.register_backend(again, replace=True)
        assert await driver.content(document.file) == b"ours"


SECRET, USER = "S3CR3T", "AKIAUSER"


def with_secrets() -> list[StorageBackend]:
    """Make a storage for each way of handing over credentials."""
    pytest.importorskip("s3fs", reason="fsspec's clients for S3 and HTTP are not installed")
    keys = {"aws_access_key_id": USER, "aws_secret_access_key": SECRET, "aws_region": "eu-west-1"}
    return [
        ObstoreBackend("s", "s3://bucket/p/", aws_session_token=SECRET, **keys),
        ObstoreBackend("s", "s3://bucket/p/", aws_endpoint=f"https://{USER}:{SECRET}@127.0.0.1:1", **keys),
        ObstoreBackend("s", f"https://{USER}:{SECRET}@127.0.0.1:1/x/"),
        ObstoreBackend("s", "az://box/", azure_storage_account_name="a", azure_storage_account_key="UzNDUjNU"),
        FSSpecBackend("s", f"https://{USER}:{SECRET}@127.0.0.1:1/x"),
        FSSpecBackend(
            "s", "s3", prefix="bucket", username=USER, password=SECRET,
            endpoint_url=f"https://{USER}:{SECRET}@127.0.0.1:1",
        ),
    ]  # fmt: skip


@pytest.mark.extended  # the quick tests have no clients of clouds
@pytest.mark.parametrize("number", range(6))
def test_nothing_that_is_printed_or_pickled_has_a_credential(number: int) -> None:
    backend = with_secrets()[number]
    storages.register_backend(backend)
    file = FileObject("a.txt", content=b"CONTENT", backend="s")
    saved = file_from_row({"filename": "a.txt", "to_filename": "k", "backend": "s"}, ("s",))
    printed = [repr(backend), str(backend), backend.location, repr(storages), repr(file), repr(saved)]
    with pytest.raises(BackendAlreadyRegisteredError) as taken:
        storages.register_backend("memory://", key="s")
    printed.append(str(taken.value))
    printed += [repr(pickle.dumps(file)), repr(pickle.dumps(saved)), repr(copy.deepcopy(saved))]
    for word in (SECRET, USER, "UzNDUjNU", "CONTENT"):
        assert word not in "\n".join(printed)
    for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="register"):
            refuse(backend)


@pytest.mark.extended
def test_an_error_of_a_storage_has_no_credential() -> None:
    pytest.importorskip("aiohttp", reason="fsspec's client for HTTP is not installed")
    quick = {"timeout": 0.2, "total_timeout": 0.5, "max_retries": 0}
    keys = {"aws_access_key_id": USER, "aws_secret_access_key": SECRET, "aws_region": "eu-west-1"}
    backends = [
        ObstoreBackend("s", "s3://b/", aws_endpoint="https://127.0.0.1:1", **keys, **quick),
        ObstoreBackend(
            "s", f"http://{USER}:{SECRET}@127.0.0.1:1/x/", client_options={"allow_http": True}, **quick
        ),
        FSSpecBackend("s", f"http://{USER}:{SECRET}@127.0.0.1:1/x", **quick),
    ]
    for backend in backends:
        with pytest.raises(FileColumnError) as caught:
            backend.get("k")
        assert SECRET not in str(caught.value)
        assert USER not in str(caught.value)


CHAINED = [
    "simplecache::s3://bucket/x", "zip://x::http://127.0.0.1/a.zip", "github://org:repo@main/x", "file:///etc/passwd",
    "filecache::file:///etc/passwd", "memory://x", "http://127.0.0.1/x", "reference::x", "data:text/plain,x",
    "local:/etc/passwd", "blockcache::memory://secret",
]  # fmt: skip


@pytest.mark.parametrize("kind", STORAGES)
async def test_a_chained_url_is_a_name_and_no_place(driver: Driver, kind: str, tmp_path: Path) -> None:
    storage = storages.register_backend(make_storage(kind, tmp_path))
    for number, url in enumerate(CHAINED, 1):
        for call in (
            storage.get,
            storage.stat,
            storage.open,
            lambda key: storage.delete([key]),
            storage.exists,
        ):
            with pytest.raises(InvalidKeyError):
                call(url)
        with pytest.raises(InvalidKeyError):
            storage.put(url, [b"x"])
        with pytest.raises(InvalidKeyError):
            list(storage.list(url))
        async with driver.session() as session:
            session.add(Document(id=number, file=FileObject(url, content=b"x")))
            await session.commit()
            await session.delete(await session.one(Document, number))
            await session.commit()
        assert stored() == {}
    await insert_raw(driver, {"filename": CHAINED[0], "backend": "docs"})
    async with driver.session() as session:
        document = await session.one(Document, 1)
        with pytest.raises(InvalidKeyError):
            await driver.content(document.file)
        await session.delete(document)
        await session.commit()


def engine_of(driver: Driver) -> Engine:
    assert isinstance(driver, SyncDriver | AsyncDriver)
    return driver.engine.sync_engine if isinstance(driver.engine, AsyncEngine) else driver.engine


SQL = [
    "x'); DROP TABLE documents;--",
    "' OR 1=1 --",
    '"; SELECT 1',
    "$.a[*]",
    "a'b\"c",
    "%s :x ? {x}",
    "{0.__class__}",
]


async def test_names_and_metadata_are_bound_never_written_into_sql(
    driver: Driver, local: StorageBackend
) -> None:
    statements: list[str] = []
    event.listen(
        engine_of(driver), "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    async with driver.session() as session:
        for number, hostile in enumerate(SQL, 1):
            file = FileObject(hostile, content=b"x", metadata={hostile: hostile})
            session.add(Document(id=number, title=hostile, file=file))
        await session.commit()
    for number, hostile in enumerate(SQL, 1):
        async with driver.session() as session:
            named = select(Document.id).where(Document.file["filename"].as_string() == hostile)
            assert (await session.execute(named)).scalars().all() == [number]
            document = await session.one(Document, number)
            assert document.file is not None
            assert (document.file.filename, dict(document.file.metadata)) == (hostile, {hostile: hostile})
            assert re.fullmatch(r"[0-9a-f/]+", document.file.path or "")
            await session.delete(document)
            await session.commit()
    assert [one for one in statements if "DROP" in one or "OR 1=1" in one or "SELECT 1" in one] == []
    async with driver.session() as session:
        assert (await session.execute(select(Document.id))).all() == []
    assert contents() == []


FORGED = "a\r\nERROR root: forged\x1b[31m\u2028x\u202e"


async def test_no_message_has_a_line_that_a_client_wrote(
    driver: Driver, local: StorageBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "filecolumn")
    row = {
        "filename": FORGED, "to_filename": FORGED, "backend": FORGED, "content_type": FORGED, "etag": FORGED,
        "checksum": FORGED, "version_id": FORGED, "metadata": {FORGED: FORGED}, FORGED: FORGED,
    }  # fmt: skip
    rows = [row, {**row, "backend": "docs"}, {**row, "size": FORGED}, {"filename": FORGED, "backend": "docs"}]
    messages: list[str] = []
    for one in rows:
        await insert_raw(driver, one)
        async with driver.session() as session:
            document = await session.one(Document, 1)
            assert document.file is not None
            messages += [repr(document.file), repr([document.file]), str(document.file)]
            for call in (FileObject.get_content, FileObject.verify, FileObject.copy, FileObject.delete):
                with pytest.raises(FileColumnError) as caught:
                    call(document.file)
                messages.append(str(caught.value))
            await session.delete(document)
            await session.commit()
    for name in (FORGED, "a\ud800"):
        for make in (
            lambda name: FileObject("a", to_filename=name),
            local.get,
            FileObject,
        ):
            try:
                messages.append(repr(make(name)))
            except FileColumnError as error:
                messages.append("".join(traceback.format_exception_only(error)).strip())
    messages += [record.getMessage() for record in caplog.records]
    assert [message for message in messages if not message.isprintable()] == []


async def test_what_a_tampered_row_would_show_is_cleaned(driver: Driver, local: StorageBackend) -> None:
    """Applications put these two into headers and pages, and write to `folder / file.filename`."""
    await insert_raw(
        driver,
        {"filename": "b/..\\..\\x\r\n\u202eevil", "to_filename": "k", "content_type": "text/html\r\nX: y"},
    )
    async with driver.session() as session:
        file = (await session.one(Document, 1)).file
        assert file is not None
        assert (file.filename, file.content_type) == ("xevil", "application/octet-stream")


@pytest.mark.parametrize("name", ["..", ".", "a/..", "a/.", "...", " ", "C:", "\\"])
def test_a_row_never_shows_a_name_that_is_a_folder(name: str) -> None:
    for row in ({"filename": name, "to_filename": "k"}, {"filename": name, "backend": "docs"}):
        assert file_from_row(json.dumps(row), ("docs",)).filename == "file"


def test_there_are_no_metrics_to_have_labels() -> None:
    """Whoever brings them replaces this by a test that no label comes from a client."""
    folder = Path(filecolumn.__file__).parent
    names = {
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} & {
        "opentelemetry",
        "prometheus_client",
        "statsd",
    } == set()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


LARGE = 9 * 1024 * 1024
"""More than one part, so that the storages stage it."""


@pytest.mark.parametrize("size", [10, LARGE])
async def test_what_is_deleted_is_nowhere_in_the_folder(
    driver: Driver, local: StorageBackend, root: Path, size: int
) -> None:
    def broken():
        yield b"PERSONAL" + bytes(size)
        raise RuntimeError("the client went away")

    content = b"PERSONAL" + bytes(size)
    async with driver.session() as session:
        session.add(
            Document(id=1, file=FileObject("a", content=content), pages=[FileObject("b", content=content)])
        )
        await session.commit()
        document = await session.one(Document, 1)
        document.file = FileObject("c", content=content)
        await session.commit()
        session.add(Document(id=2, file=FileObject("d", content=broken())))
        with pytest.raises(RuntimeError):
            await session.commit()
        await session.rollback()
    assert len(contents()) == 2
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.commit()
    staged = await driver.save(FileObject("e", content=content, backend="docs"))
    await driver.delete(staged)
    # marks say which place the folder is, and which databases store in it
    left = [path for path in files_below(root) if RESERVED_FOLDER not in path.parts or "stage" in path.parts]
    assert left == []


@pytest.mark.parametrize("driver", ["sync-file", "async-file"], indirect=True)
@pytest.mark.parametrize("what", ["save", "replace", "delete", "rollback", "savepoint"])
async def test_what_a_transaction_knew_waits_for_no_garbage_collector(
    driver: Driver, storage: StorageBackend, what: str
) -> None:
    """It has the content of files."""

    async def once(number: int) -> None:
        async with driver.session() as session:
            match what:
                case "save":
                    session.add(Document(file=file(b"new")))
                case "replace":
                    (await session.one(Document, number)).file = file(b"new")
                case "delete":
                    await session.delete(await session.one(Document, number))
                case "savepoint":
                    async with session.begin_nested():
                        session.add(Document(file=file(b"new")))
                        await session.flush()
                case _:
                    session.add(Document(file=file(b"new")))
                    await session.flush()
                    await session.rollback()
            await session.commit()

    await insert_files(driver, *(b"%d" % number for number in range(6)))
    for number in (1, 2, 3):
        await once(number)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in (4, 5, 6):
            await once(number)
        gc.collect()
        left = {type(each) for each in gc.garbage if type(each).__module__.startswith("filecolumn")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == set()
