"""Two requests replace the file of one row at once: one is answered 409, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
from advanced_alchemy.extensions.litestar import EngineConfig
from litestar import Request, Response, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, MultipartBody
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.litestar.application import (
    Base,
    Document,
    Form,
    alchemy_config,
    application,
    found,
    objects,
)
from tests.litestar.server import LiveServer, serve
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import empty_database

CLIENTS = 5
BUSY = {"40001": 409, "40P01": 409, "55P03": 503}


def busy(request: Request[object, object, State], error: DBAPIError) -> Response[str]:
    """Answer what PostgreSQL refuses by itself, as the page on receiving files says."""
    return Response("", status_code=BUSY.get(getattr(error.orig, "sqlstate", ""), 500))


@post("/committed")
async def add_and_commit(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    document = Document(file=data.file)
    db_session.add(document)
    await db_session.flush()
    number = document.id
    await db_session.commit()
    return number


@put("/committed/{number:int}")
async def replace_and_commit(
    number: FromPath[int], data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]
) -> None:
    (await found(db_session, number)).file = data.file
    await db_session.commit()


@post("/attached")
async def attach_and_commit(data: JSONBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Document(file=data.file))
    await db_session.commit()


@pytest.fixture(params=["sqlite", *on_servers(["postgresql", "postgresql SERIALIZABLE"])])
def database(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["autocommit", "committed"])
def commit(request: pytest.FixtureRequest) -> str:
    """Who commits: advanced-alchemy, or the handler."""
    return request.param


@pytest.fixture
def live(database: str, commit: str, tmp_path: Path) -> Iterator[LiveServer]:
    kind, _, level = database.partition(" ")
    url = None
    if kind == "postgresql":
        server = empty_database(kind, Base.metadata, suffix="_litestar")
        url = server.url("postgresql+asyncpg").render_as_string(hide_password=False)
    engine = EngineConfig(isolation_level=level) if level else EngineConfig()
    alchemy = alchemy_config(tmp_path, url, autocommit=commit == "autocommit", engine=engine)
    app = application(
        tmp_path,
        handlers=[add_and_commit, replace_and_commit, attach_and_commit],
        alchemy=alchemy,
        exception_handlers={DBAPIError: busy} if level else None,
    )
    with serve(app) as server:
        yield server


@pytest.fixture
def number(http: httpx.Client) -> int:
    """The row of a file."""
    return http.post("/committed", files={"file": ("a.txt", b"old", "text/plain")}).json()


class Meeting(ObstoreBackend):
    """A storage whose first two uploads wait for each other: both requests have read the row by then."""

    def __init__(self, folder: Path) -> None:
        super().__init__("files", f"file://{folder / 'files'}/")
        self.met = 0
        self.both = anyio.Event()

    async def put_async(self, key: str, chunks: object, **options: object):
        self.met += 1
        if self.met == 2:
            self.both.set()
        with anyio.fail_after(10):
            await self.both.wait()
        return await super().put_async(key, chunks, **options)  # type: ignore[arg-type]


def send(live: LiveServer, commit: str, number: int, content: bytes) -> httpx.Response:
    path = f"/{'documents' if commit == 'autocommit' else commit}/{number}"
    with live.client() as client:
        return client.put(path, files={"file": ("a.txt", content, "text/plain")})


def test_one_of_two_requests_is_told_of_the_other(
    live: LiveServer, commit: str, http: httpx.Client, number: int, tmp_path: Path
) -> None:
    contents = [b"first", b"second"]
    with storages.override("files", Meeting(tmp_path)), ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda content: send(live, commit, number, content), contents))
    assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
    (kept,) = [content for content, answer in zip(contents, answers, strict=True) if answer.is_success]
    assert http.get(f"/documents/{number}/file").content == kept
    assert [path.read_bytes() for path in objects(tmp_path)] == [kept]


def test_of_many_requests_each_is_stored_or_told(
    live: LiveServer, database: str, commit: str, http: httpx.Client, number: int, tmp_path: Path
) -> None:
    barrier = threading.Barrier(CLIENTS, timeout=20)

    def replace(client: int) -> httpx.Response:
        barrier.wait()
        return send(live, commit, number, b"%d" % client)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(replace, range(CLIENTS)))
    # SERIALIZABLE may refuse in COMMIT, which only the plugin notices where advanced-alchemy commits
    told = {409, 503} if "SERIALIZABLE" in database else {409}
    assert {answer.status_code for answer in answers} <= {200, *told}, [answer.text for answer in answers]
    stored = {b"%d" % client for client, answer in enumerate(answers) if answer.is_success}
    assert http.get(f"/documents/{number}/file").content in stored
    assert len(objects(tmp_path)) == 1


def test_of_many_requests_with_one_grant_one_has_the_file(
    live: LiveServer, database: str, commit: str, http: httpx.Client, tmp_path: Path
) -> None:
    grant = FileObject("b.txt", backend="files").grant_upload()
    token = http.put(grant.url, content=b"once").json()["grant"]
    barrier = threading.Barrier(CLIENTS, timeout=20)

    def attach(_: int) -> int:
        barrier.wait()
        path = "/attach" if commit == "autocommit" else "/attached"
        with live.client() as client:
            return client.post(path, json={"file": token}).status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = list(pool.map(attach, range(CLIENTS)))
    assert statuses.count(201) == 1, statuses
    refused = {403, 404, 409, 503} if "SERIALIZABLE" in database else {403, 404, 409}
    assert set(statuses) - {201} <= refused, statuses
    assert http.get("/count").json() == 1
    assert [path.read_bytes() for path in objects(tmp_path)] == [b"once"]
