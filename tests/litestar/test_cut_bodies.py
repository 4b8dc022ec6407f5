"""A body that is cut, or falls silent, stores nothing: also a form that looks complete, and whatever says it is."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar, Request, post, put
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath, JSONBody, MultipartBody, URLEncodedBody
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn import FileObject, storages
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, FileObjectResponse
from tests.litestar import raw
from tests.litestar.application import Document, Form, application, objects
from tests.litestar.server import LiveServer, serve, until

MIB = 1024 * 1024
BODY_IDLE = 0.5


class Title(msgspec.Struct):
    title: str = ""


@post("/form", request_max_body_size=None)
async def of_form(
    data: MultipartBody[Form], request: Request[Any, Any, Any], db_session: NamedDependency[AsyncSession]
) -> None:
    request.app.state["ran"].append("form")
    db_session.add(Document(file=data.file))


@post("/fields", request_max_body_size=None)
async def of_fields(request: Request[Any, Any, Any], db_session: NamedDependency[AsyncSession]) -> None:
    form = await request.form()
    request.app.state["ran"].append("fields")
    db_session.add(Document(file=FileObject(content=form["file"])))


@post("/titles")
async def of_titles(
    data: URLEncodedBody[Title],
    request: Request[Any, Any, Any],
    db_session: NamedDependency[AsyncSession],
) -> None:
    request.app.state["ran"].append("title")
    db_session.add(Document(title=data.title))


@post("/json")
async def of_json(
    data: JSONBody[Title], request: Request[Any, Any, Any], db_session: NamedDependency[AsyncSession]
) -> None:
    request.app.state["ran"].append("json")
    db_session.add(Document(title=data.title))


@put("/persistent/{name:str}", request_max_body_size=None)
async def persistent(request: Request[Any, Any, Any], name: FromPath[str]) -> None:
    """Go on after an error, as if what came were all."""
    parts: list[bytes] = []
    for _ in range(2):
        try:
            while message := await request.receive():
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    request.app.state["ran"].append(name)
                    return
        except HTTPException:
            continue


FORM = raw.form(
    ('name="file"; filename="a.bin"', b"x" * (2 * MIB)), ('name="file2"; filename="b.bin"', b"y" * (2 * MIB))
)
MULTIPART = "multipart/form-data; boundary=xyz"
WAYS: dict[str, tuple[str, str, str, bytes]] = {
    "form": ("POST", "/form", MULTIPART, FORM),
    "form that the handler reads": ("POST", "/fields", MULTIPART, FORM),
    "form that is not read as one": ("PUT", "/raw/a.bin", MULTIPART, FORM),
    "urlencoded": ("POST", "/titles", "application/x-www-form-urlencoded", b"title=complete"),
    "JSON": ("POST", "/json", "application/json", b'{"title": "complete"}'),
    "raw": ("PUT", "/raw/a.bin", "application/octet-stream", b"x" * (3 * MIB)),
    "stream": ("PUT", "/stream/a.bin", "application/octet-stream", b"x" * (3 * MIB)),
    "signed": ("PUT", "", "application/octet-stream", b"x" * (3 * MIB)),
    "persistent": ("PUT", "/persistent/a", "application/octet-stream", b"x"),
}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    handlers = [of_form, of_fields, of_titles, of_json, persistent]
    app = application(tmp_path, handlers=handlers, body_idle_timeout=BODY_IDLE)
    app.state["ran"] = []
    with serve(app) as server:
        yield server


def head(live: LiveServer, way: str, length: int | None) -> bytes:
    method, path, kind, _ = WAYS[way]
    path = path or FileObject("a.bin", backend="files").sign(for_upload=True)
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    return raw.head(method, path, [("Content-Type", kind), framing])


def temporary_files() -> int:
    """How many files are open that have no name."""
    names: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return sum(name.startswith("/") and name.endswith("(deleted)") for name in names)


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """Files are closed by who has opened them."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_body_stores_nothing(live: LiveServer, tmp_path: Path, way: str) -> None:
    refused = 200 if way == "persistent" else 408
    with live.client() as http:
        assert http.get("/count").json() == 0
        tasks, files = len(live.tasks()), temporary_files()
        for framing, ending in product(("length", "chunked"), ("leaves", "ends", "silent")):
            answered = cut(live, way, is_chunked=framing == "chunked", ending=ending)
            assert answered == (refused if ending == "silent" else 0)
            assert until(lambda: len(live.tasks()) <= tasks)
            assert until(lambda: temporary_files() == files)
            assert http.get("/count").json() == 0
            assert until(lambda: objects(tmp_path) == [])
            assert live.app.state["ran"] == []


def cut(live: LiveServer, way: str, *, is_chunked: bool, ending: str) -> int:
    """Send a body that looks complete and is not; return the status, if one is waited for."""
    content = WAYS[way][3]
    with raw.connect(live.port) as connection:
        connection.sendall(head(live, way, None if is_chunked else len(content) + 10))
        connection.sendall(b"%x\r\n%b\r\n" % (len(content), content) if is_chunked else content)
        if ending == "ends":
            connection.shutdown(socket.SHUT_WR)
        return raw.status_of(connection.recv(65536)) if ending == "silent" else 0


@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_the_server_says_is_complete_has_its_announced_length(tmp_path: Path, way: str) -> None:
    app = application(tmp_path, handlers=[of_form, of_fields, of_titles, of_json, persistent])
    app.state["ran"] = []
    content = WAYS[way][3]

    async def lying(scope, receive, send):
        async def cut():
            message = await receive()
            if scope.get("method") == "GET" or message["type"] != "http.request":
                return message
            while message["type"] == "http.request" and message["more_body"]:
                message = await receive()
            return {"type": "http.request", "body": content, "more_body": False}

        if scope["type"] == "http":
            await app(scope, cut, send)
        else:
            await app(scope, receive, send)

    with serve(lying) as live, live.client() as http:  # type: ignore[arg-type]
        for missing, status in ((1, 400), (0, 200)):
            with raw.connect(live.port) as connection:
                connection.sendall(head(live, way, len(content) + missing) + content + b"x" * missing)
                answered = raw.status_of(connection.recv(65536))
            assert answered == status or (status == 200 and answered == 201) or way == "persistent"
            assert bool(app.state["ran"] or objects(tmp_path)) is (missing == 0)
        assert http.get("/count").status_code == 200


async def test_who_is_cancelled_more_than_once_closes_all_files_of_a_form(tmp_path: Path) -> None:
    began = asyncio.Event()
    form = raw.form(*((f'name="{name}"; filename="a.bin"', b"x" * (2 * MIB)) for name in "abcd"))

    @post("/wait", request_max_body_size=None)
    async def wait(data: MultipartBody[dict[str, FileObject]]) -> None:
        began.set()
        await asyncio.sleep(60)

    async def receive() -> Any:
        return {"type": "http.request", "body": form, "more_body": False}

    async def send(message: Any) -> None: ...

    app = application(tmp_path, handlers=[wait])
    headers = [(b"content-type", MULTIPART.encode()), (b"content-length", str(len(form)).encode())]
    scope: Any = {"type": "http", "method": "POST", "path": "/wait", "headers": headers, "query_string": b""}
    async with app.lifespan():
        files = temporary_files()
        handling = asyncio.ensure_future(app({**scope, "state": {}}, receive, send))
        await began.wait()
        assert temporary_files() == files + 4
        while not handling.done():
            handling.cancel()
            await asyncio.sleep(0)
        assert until(lambda: temporary_files() == files)


def test_a_download_goes_on_for_a_client_whose_request_has_not_ended(live: LiveServer) -> None:
    """Who answers without reading the body waits for the client to leave, not for the body."""
    storages.register_backend("memory://", "m")
    file = FileObject("a.bin", content=b"x" * (20 * MIB), backend="m").save()

    @post("/answer")
    async def answer(request: Request[Any, Any, Any]) -> FileObjectResponse:
        return FileObjectResponse(file, request)

    config = FileColumnConfig(backends={"m": storages.get("m")}, body_idle_timeout=BODY_IDLE)
    with (
        serve(Litestar([answer], plugins=[FileColumnPlugin(config)])) as server,
        raw.connect(server.port) as connection,
    ):
        connection.sendall(raw.head("POST", "/answer", [("Content-Length", "10"), ("Connection", "close")]))
        received = len(connection.recv(1000))
        assert not until(lambda: False, within=2 * BODY_IDLE)
        while chunk := connection.recv(MIB):
            received += len(chunk)
    assert received > 20 * MIB
