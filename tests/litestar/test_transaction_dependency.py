"""Litestar's own recipe for a transaction: a dependency that commits after the handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin
from tests.litestar.application import Base, Document, Form, objects
from tests.litestar.server import LiveServer, serve
from tests.litestar.test_upload_policies import Picture


async def provide_transaction(state: State) -> AsyncGenerator[AsyncSession, None]:
    async with state.sessions() as session, session.begin():
        yield session


@post("/documents")
async def upload(data: MultipartBody[Form], transaction: NamedDependency[AsyncSession]) -> FileObject:
    transaction.add(Document(file=data.file))
    # the response is made before the commit
    await transaction.flush()
    return data.file


@post("/pictures")
async def upload_picture(data: MultipartBody[Form], transaction: NamedDependency[AsyncSession]) -> FileObject:
    transaction.add(Picture(file=data.file))
    return data.file


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")

    async def create() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

    config = FileColumnConfig(backends={"files": f"file://{tmp_path / 'files'}/"})
    app = Litestar(
        [upload, upload_picture],
        dependencies={"transaction": Provide(provide_transaction)},
        state=State({"sessions": async_sessionmaker(engine, expire_on_commit=False)}),
        on_startup=[create],
        on_shutdown=[engine.dispose],
        plugins=[FileColumnPlugin(config)],
        logging_config=None,
    )
    with serve(app) as server:
        yield server


def send(http: httpx.Client, path: str, name: str = "a.txt") -> httpx.Response:
    return http.post(path, files={"file": (name, b"hello", "text/plain")})


def test_a_file_is_stored_and_its_facts_are_true(http: httpx.Client, tmp_path: Path) -> None:
    answer = send(http, "/documents")
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == 5
    assert [path.read_bytes() for path in objects(tmp_path)] == [b"hello"]


def test_what_is_refused_in_the_commit_is_a_response(http: httpx.Client, tmp_path: Path) -> None:
    answer = send(http, "/pictures", "a.png")
    assert answer.status_code == 415, answer.text
    assert answer.json()["extra"][0]["code"] == "type_mismatch"
    assert objects(tmp_path) == []


def test_a_storage_that_is_down_is_a_response(http: httpx.Client, tmp_path: Path) -> None:
    class Down(ObstoreBackend):
        async def put_async(self, *args: object, **options: object):
            raise StorageError("secret")

    with storages.override("files", Down("files", "memory://")):
        answer = send(http, "/documents")
    assert (answer.status_code, "secret" in answer.text) == (503, False)
    assert send(http, "/documents").status_code == 201
