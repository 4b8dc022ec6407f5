"""What the plugin does to an application, and an application without it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from litestar import Litestar, Request, get, post
from litestar.cli.main import litestar_group
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from litestar.testing import AsyncTestClient, TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StorageError, StoredObject, storages
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.backends.registry import StorageRegistry
from filecolumn.litestar import (
    FileColumnConfig,
    FileColumnPlugin,
    FileObjectResponse,
    Serving,
    check_storages,
    exception_handlers,
    type_decoders,
    type_encoders,
)
from filecolumn.litestar.background import BACKGROUND_STATE_KEY
from tests.litestar.application import SIGNING_KEY, Base, Form, application, is_mark, objects
from tests.litestar.server import serve, until


def app_of(*handlers: Any, **config: Any) -> Litestar:
    plugin = FileColumnPlugin(FileColumnConfig(**config))
    return Litestar(route_handlers=handlers, plugins=[plugin], logging_config=None)


@get("/")
async def names(storages: NamedDependency[StorageRegistry]) -> list[str]:
    return storages.registered_backends()


def test_storages_are_registered_at_the_start_and_gone_at_the_end(tmp_path: Path) -> None:
    app = app_of(names, backends={"a": f"file://{tmp_path / 'a'}/", "b": "memory://"})
    assert storages.registered_backends() == []
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").json() == ["a", "b"]
        assert storages.registered_backends() == []


def test_two_applications_share_a_storage_until_both_have_ended(tmp_path: Path) -> None:
    backend = ObstoreBackend("a", f"file://{tmp_path / 'a'}/")
    one, other = (app_of(names, backends={"a": backend}) for _ in range(2))
    with TestClient(one) as client:
        with TestClient(other):
            pass
        assert client.get("/").json() == ["a"]
    assert storages.registered_backends() == []


async def test_a_storage_that_cannot_be_written_to_stops_the_start(tmp_path: Path) -> None:
    class Refusing(ObstoreBackend):
        def put(self, *args: object, **options: object):
            raise StorageError("read-only")

    backend = Refusing("a", f"file://{tmp_path / 'a'}/")
    with pytest.RaisesGroup(StorageError, allow_unwrapped=False, flatten_subgroups=True):
        async with app_of(names, backends={"a": backend}).lifespan():
            pass
    assert storages.registered_backends() == []
    async with app_of(names, backends={"a": backend}, check_on_startup=False).lifespan():
        assert storages.registered_backends() == ["a"]


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    with TestClient(app_of(names, backends={"a": f"file://{tmp_path / 'a'}/"})):
        pass
    files = (path for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [path for path in files if not is_mark(path)] == []


def test_a_storage_has_one_name() -> None:
    with pytest.raises(ValueError, match="the same name"):
        app_of(names, backends={"a": ObstoreBackend("b", "memory://")})


async def test_health_names_what_is_wrong_and_where_nothing_lies(tmp_path: Path) -> None:
    class Refusing(ObstoreBackend):
        async def put_async(self, *args: object, **options: object):
            raise StorageError("secret")

    storages.register_backend("memory://", key="good")
    storages.register_backend(Refusing("bad", "memory://"))
    health = await check_storages()
    assert (health["good"].is_healthy, health["good"].error) == (True, None)
    assert (health["bad"].is_healthy, health["bad"].error) == (False, "StorageError")
    assert "secret" not in repr(health)


def test_a_column_that_takes_more_than_litestar_does_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Base(DeclarativeBase): ...

    class Film(Base):
        __tablename__ = "films"
        id: Mapped[int] = mapped_column(primary_key=True)
        film: Mapped[FileObject | None] = mapped_column(StoredObject(backend="films", max_size=50_000_000))

    @post("/small")
    async def small(data: MultipartBody[Form]) -> None: ...

    @post("/large", request_max_body_size=60_000_000)
    async def large(data: MultipartBody[Form]) -> None: ...

    with TestClient(app_of(small, large, backends={"films": "memory://"})):
        assert "films.film" not in caplog.text
    with TestClient(app_of(small, backends={"films": "memory://"}, signing_key=SIGNING_KEY)):
        assert "films.film accepts files of 50000000 bytes" in caplog.text
        assert "more than 10000000" in caplog.text
    assert Film


@pytest.mark.parametrize("key", ["short", "", []])
def test_a_short_signing_key_is_refused(key: object) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        FileColumnPlugin(FileColumnConfig(signing_key=key))  # type: ignore[arg-type]


def test_what_an_application_says_itself_stays() -> None:
    def mine(file: FileObject) -> str:
        return "mine"

    app = Litestar([], type_encoders={FileObject: mine}, plugins=[FileColumnPlugin()])
    assert app.type_encoders is not None
    assert app.type_encoders[FileObject] is mine


def test_a_hook_of_the_application_still_runs(tmp_path: Path) -> None:
    def hook(response: Any) -> Any:
        response.headers["x-hook"] = "1"
        return response

    @get("/hooked", after_request=hook, sync_to_thread=False)
    def hooked() -> str:
        return "x"

    @get("/plain", sync_to_thread=False)
    def plain() -> str:
        return "x"

    plugin = FileColumnPlugin()
    app = Litestar([hooked, plain], plugins=[plugin], after_request=hook)
    with TestClient(app) as client:
        assert client.get("/hooked").headers["x-hook"] == "1"
        assert client.get("/plain").headers["x-hook"] == "1"


def test_the_published_lifespan_without_the_plugin(tmp_path: Path) -> None:
    @asynccontextmanager
    async def configure_storage(app: Litestar) -> AsyncIterator[None]:
        storages.register_backend(FSSpecBackend(key="documents", fs="file", prefix=str(tmp_path)))
        storages.register_backend(ObstoreBackend(key="images", fs="memory://"))
        yield

    @post("/", sync_to_thread=False)
    def upload(data: MultipartBody[Form]) -> FileObject:
        return FileObject.save(data.file)

    @get("/{backend:str}", sync_to_thread=False)
    def read(request: Request[Any, Any, Any]) -> FileObjectResponse:
        file = FileObject("a.txt", backend=str(request.path_params["backend"]), content=b"hello")
        return FileObjectResponse(file.save(), request)

    app = Litestar(
        route_handlers=[read, upload],
        lifespan=[configure_storage],
        type_encoders=type_encoders,
        type_decoders=type_decoders,
        exception_handlers=exception_handlers,
    )
    with TestClient(app) as client:
        assert client.get("/documents").text == "hello"
        assert client.get("/images").text == "hello"
        storages.default = "images"
        answer = client.post("/", files={"file": ("a.txt", b"hello", "text/plain")})
        assert answer.json()["size"] == 5
        assert answer.json()["url"] is None
        assert client.get("/other").status_code == 500


async def test_it_works_without_advanced_alchemy_and_in_an_async_client(tmp_path: Path) -> None:
    class Base(DeclarativeBase): ...

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject(backend="a"))

    engine = create_engine(f"sqlite:///{tmp_path / 'notes.db'}")
    Base.metadata.create_all(engine)

    @post("/", sync_to_thread=True)
    def write(data: MultipartBody[Form]) -> int:
        with Session(engine) as session:
            note = Note(file=data.file)
            session.add(note)
            session.commit()
            return note.id

    async with AsyncTestClient(app_of(write, backends={"a": "memory://"})) as client:
        answer = await client.post("/", files={"file": ("a.txt", b"hello", "text/plain")})
        assert answer.json() == 1
        with Session(engine) as session:
            assert session.get_one(Note, 1).file.get_content() == b"hello"
    engine.dispose()


def test_serving_is_set_for_the_application_and_for_one_response(tmp_path: Path) -> None:
    def stored(kind: str) -> FileObject:
        return FileObject("a", backend="a", content=b"%PDF-1.4", content_type=kind).save()

    @get("/app", sync_to_thread=False)
    def of_app() -> FileObjectResponse:
        return FileObjectResponse(stored("application/pdf"), disposition="inline")

    @get("/one", sync_to_thread=False)
    def of_one() -> FileObjectResponse:
        return FileObjectResponse(
            stored("text/html"),
            disposition="inline",
            filename="é.txt",
            content_type="text/plain",
            cache_control="public, max-age=60",
            headers={"X-Mine": "1"},
            cookies={"a": "b"},
        )

    serving = Serving(inline_types={"application/pdf"}, cross_origin_resource_policy="cross-origin")
    with TestClient(app_of(of_app, of_one, backends={"a": "memory://"}, response_defaults=serving)) as client:
        pdf, text = client.get("/app"), client.get("/one")
    assert pdf.headers["content-disposition"] == 'inline; filename="a"'
    assert pdf.headers["cross-origin-resource-policy"] == "cross-origin"
    assert (
        text.headers["content-disposition"] == "attachment; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"
    )
    assert text.headers["cache-control"] == "public, max-age=60"
    assert text.headers["x-mine"] == "1"
    assert "set-cookie" not in text.headers


def test_x_accel_hands_a_local_file_to_nginx(tmp_path: Path) -> None:
    @get("/{backend:str}", sync_to_thread=False)
    def read(request: Request[Any, Any, Any]) -> FileObjectResponse:
        file = FileObject("a b.png", backend=str(request.path_params["backend"]), content=b"x").save()
        return FileObjectResponse(file, request, x_accel="/protected/")

    backends = {"a": f"file://{tmp_path}/", "b": "memory://"}
    with TestClient(app_of(read, backends=backends), raise_server_exceptions=False) as client:
        answer = client.get("/a", headers={"Range": "bytes=0-0"})
        assert (answer.status_code, answer.content) == (200, b"")
        path = answer.headers["x-accel-redirect"]
        assert path.startswith("/protected/2")
        assert (tmp_path / path.removeprefix("/protected/")).read_bytes() == b"x"
        assert "content-range" not in answer.headers
        assert client.get("/b").status_code == 500


class Keeping(ObstoreBackend):
    """A storage that deletes nothing."""

    async def delete_async(self, keys: Any) -> None:
        raise StorageError("not now")


def test_the_background_removes_what_a_request_could_not(tmp_path: Path) -> None:
    alchemy: list[Any] = []
    app = application(tmp_path, engine=lambda: alchemy[0], models=[Base], drain_interval=0.1)
    with serve(app) as live, live.client() as client:
        alchemy.append(
            app.state["db_engine"]
            if "db_engine" in app.state
            else next(value for key, value in app.state.items() if key.startswith("db_engine"))
        )
        client.post("/documents", files={"file": ("a.txt", b"x", "text/plain")})
        with storages.override("files", Keeping("files", f"file://{tmp_path / 'files'}/")):
            assert client.delete("/documents/1").status_code == 204
            assert len(objects(tmp_path)) == 1
        with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
            database.execute("UPDATE filecolumn_ledger SET due_at = 0")
        assert until(lambda: objects(tmp_path) == [])
        assert app.state[BACKGROUND_STATE_KEY].lag < 5
    assert not [task for task in threading.enumerate() if "drain" in task.name]


def test_the_background_needs_engine_and_models() -> None:
    with pytest.raises(ValueError, match=r"engine=.*models="):
        app_of(models=[Base])
    app_of(models=[Base], drain_in_background=False)


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LITESTAR_APP", "tests.litestar.cli_app:app")
    return CliRunner().invoke(litestar_group, ["files", *arguments])


def test_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = run("storages", monkeypatch=monkeypatch)
    assert listed.exit_code == 0, listed.output
    assert "documents\tmemory:" in listed.output
    probed = run("probe", monkeypatch=monkeypatch)
    assert probed.exit_code == 0, probed.output
    assert "documents\tok" in probed.output
    made = run("new-signing-key", monkeypatch=monkeypatch)
    FileColumnPlugin(FileColumnConfig(signing_key=made.output.strip().splitlines()[-1]))


def test_a_configuration_prints_no_secret() -> None:
    config = FileColumnConfig(signing_key=SIGNING_KEY, backends={"files": "sftp://user:S3CR3T@host/folder"})
    assert SIGNING_KEY not in repr(config)
    assert "S3CR3T" not in repr(config)
