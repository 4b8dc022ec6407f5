"""COMMIT fails behind advanced-alchemy's autocommit, which swallows it: the client is told, and no file is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin, SQLAlchemySyncConfig
from litestar import Litestar, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, MultipartBody
from litestar.testing import TestClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from filecolumn.litestar import FileColumnConfig, FileColumnPlugin
from filecolumn.maintenance import check, drain
from tests.faults.due import sweep_all_now
from tests.faults.proxy import Cut, Proxy, proxied
from tests.litestar.application import (
    Base,
    Document,
    Form,
    alchemy_config,
    application,
    objects,
    remove,
    upload_form,
)
from tests.litestar.server import LiveServer, serve
from tests.servers.databases import Database, empty_database


@post("/committed")
async def add_and_commit(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Document(file=data.file))
    await db_session.commit()


@pytest.fixture
def database() -> Database:
    return empty_database("postgresql", Base.metadata, suffix="_litestar")


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    url = database.url("postgresql+psycopg")
    with proxied(url.host or "127.0.0.1", url.port or 5432) as proxy:
        yield proxy


@pytest.fixture(params=["/documents", "/committed"], ids=["autocommit", "committed"])
def path(request: pytest.FixtureRequest) -> str:
    """Where a file is posted to: advanced-alchemy commits, or the handler."""
    return request.param


@pytest.fixture
def live(database: Database, proxy: Proxy, path: str, tmp_path: Path) -> Iterator[LiveServer]:
    through = database.url("postgresql+asyncpg").set(
        host="127.0.0.1", port=proxy.port, query={"ssl": "disable"}
    )
    alchemy = alchemy_config(
        tmp_path, through.render_as_string(hide_password=False), autocommit=path == "/documents"
    )
    with serve(application(tmp_path, handlers=[add_and_commit], alchemy=alchemy)) as server:
        yield server


@pytest.mark.server
@pytest.mark.parametrize("is_reachable", [True, False], ids=["reachable", "away"])
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNANSWERED])
def test_the_client_of_a_lost_commit_is_told_and_no_file_is_lost(
    http: httpx.Client,
    proxy: Proxy,
    database: Database,
    path: str,
    cut: Cut,
    is_reachable: bool,
    tmp_path: Path,
) -> None:
    # a process looks at its storage, and registers there, before the first upload
    assert http.post(path, files={"file": ("before.txt", b"before", "text/plain")}).is_success
    proxy.next, proxy.before_cut = cut, lambda: setattr(proxy, "refuses", not is_reachable)
    answer = http.post(path, files={"file": ("a.txt", b"hello", "text/plain")})
    assert proxy.cuts == 1
    assert answer.status_code == 503, answer.text
    assert answer.json() == {
        "status_code": 503,
        "detail": "Outcome unknown; check whether it was stored before you retry",
    }
    assert answer.headers["retry-after"] == "5"
    stored = 1 + int(cut is Cut.UNANSWERED)
    assert len(objects(tmp_path)) == (stored if is_reachable else 2), "nothing is removed while it is unknown"
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM documents")).scalar_one() == stored
    # a day later
    sweep_all_now(database.engine, Base, grace=-60)
    drain(database.engine, Base)
    assert len(objects(tmp_path)) == stored
    assert check(database.engine, Base).is_clean


@post("/sync", sync_to_thread=True)
def add_sync(data: MultipartBody[Form], db_session: NamedDependency[Session]) -> None:
    db_session.add(Document(file=data.file))


@delete("/sync/{number:int}", sync_to_thread=True)
def remove_sync(number: FromPath[int], db_session: NamedDependency[Session]) -> None:
    db_session.delete(db_session.get_one(Document, number))


@put("/titles/{title:str}")
async def add_title(title: FromPath[str], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Document(title=title))


@get("/ping", sync_to_thread=False)
def ping() -> str:
    return "pong"


class RefusingEngine:
    """A SQLite whose COMMIT fails as long as it is told to."""

    def __init__(self, folder: Path, *, is_async: bool) -> None:
        self.refuses = False
        kind = SQLAlchemyAsyncConfig if is_async else SQLAlchemySyncConfig
        driver = "+aiosqlite" if is_async else ""
        self.config = kind(
            connection_string=f"sqlite{driver}:///{folder / 'app.db'}",
            before_send_handler="autocommit",
            create_all=True,
            metadata=Base.metadata,
        )
        dialect = self.config.get_engine().dialect
        commit, rollback = dialect.do_commit, dialect.do_rollback

        def do_commit(connection: object) -> None:
            if self.refuses:
                rollback(connection)
                raise sqlite3.OperationalError("a secret of the database")
            commit(connection)

        dialect.do_commit = do_commit


def app_of(folder: Path, refusing: RefusingEngine, *, is_first: bool) -> Litestar:
    files = FileColumnPlugin(FileColumnConfig(backends={"files": f"file://{folder / 'files'}/"}))
    plugins = [files, SQLAlchemyPlugin(config=refusing.config)]
    return Litestar(
        [upload_form, remove, add_sync, remove_sync, add_title, ping],
        plugins=plugins if is_first else plugins[::-1],
        logging_config=None,
    )


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_a_commit_that_fails_is_no_success(tmp_path: Path, is_async: bool, is_first: bool) -> None:
    refusing = RefusingEngine(tmp_path, is_async=is_async)
    path = "/documents" if is_async else "/sync"
    part = {"file": ("a.txt", b"hello", "text/plain")}
    with TestClient(app_of(tmp_path, refusing, is_first=is_first)) as client:
        assert client.post(path, files=part).status_code == 201
        refusing.refuses = True
        for answer in (client.post(path, files=part), client.delete(f"{path}/1")):
            assert answer.status_code == 503
            assert "secret" not in answer.text
            assert answer.json()["status_code"] == 503
            assert int(answer.headers["content-length"]) == len(answer.content)
        assert client.get("/ping").text == "pong"
        refusing.refuses = False
        assert len(objects(tmp_path)) == 1
        assert client.delete(f"{path}/1").status_code == 204
        assert objects(tmp_path) == []


def test_a_commit_without_files_is_the_applications_own(tmp_path: Path) -> None:
    refusing = RefusingEngine(tmp_path, is_async=True)
    with TestClient(app_of(tmp_path, refusing, is_first=True)) as client:
        refusing.refuses = True
        assert client.put("/titles/a").status_code == 200
