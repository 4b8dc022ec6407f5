"""A column's policy over HTTP: sizes and types that are refused, and the autocommit of advanced-alchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyPlugin
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, Request, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, MultipartBody
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, file_from_body
from tests.litestar import raw
from tests.litestar.application import SIGNING_KEY, Base, Form, alchemy_config, objects
from tests.litestar.server import LiveServer, serve

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)
LIMIT = 100_000


class Picture(Base):
    __tablename__ = "pictures"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(
        StoredObject(backend="files", max_size=LIMIT, accept={"image/*", ".txt"})
    )


class Pictures(SQLAlchemyAsyncRepository[Picture]):
    model_type = Picture


@post("/add")
async def add(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Picture(file=data.file))


@post("/repository")
async def by_repository(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    return (await Pictures(session=db_session).add(Picture(file=data.file))).id


@put("/body/{name:str}", request_max_body_size=None)
async def body(
    request: Request[Any, Any, Any], name: FromPath[str], db_session: NamedDependency[AsyncSession]
) -> None:
    db_session.add(Picture(file=file_from_body(request, name)))


@post("/grant")
async def grant(data: JSONBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Picture(file=data.file))


@get("/count")
async def count(db_session: NamedDependency[AsyncSession]) -> int:
    return await db_session.scalar(select(func.count()).select_from(Picture)) or 0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    alchemy = alchemy_config(tmp_path)

    async def dispose() -> None:
        await alchemy.get_engine().dispose()

    config = FileColumnConfig(backends={"files": f"file://{tmp_path / 'files'}/"}, signing_key=SIGNING_KEY)
    app = Litestar(
        [add, by_repository, body, grant, count],
        plugins=[FileColumnPlugin(config), SQLAlchemyPlugin(config=alchemy)],
        on_shutdown=[dispose],
        logging_config=None,
    )
    with serve(app) as server:
        yield server


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    (extra,) = answer.json()["extra"]
    return (answer.status_code, extra["field"], extra["code"]) == (status, "file", code)


def nothing_is_left(http: httpx.Client, folder: Path) -> bool:
    return http.get("/count").json() == 0 and objects(folder) == []


@pytest.mark.parametrize("path", ["/add", "/repository"])
@pytest.mark.parametrize(
    ("name", "content", "kind", "status", "code"),
    [
        ("a.png", PNG + bytes(LIMIT), "image/png", 413, "too_large"),
        ("a.png", b"<!doctype html><script>alert(1)</script>", "image/png", 415, "type_mismatch"),
        ("a.pdf", b"%PDF-1.7\n", "application/pdf", 415, "type_not_accepted"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 415, None),
        ("a.php", b"<?php echo 1;", "image/png", 415, None),
    ],
)
def test_a_refused_part_is_413_or_415_and_leaves_no_row_and_no_object(
    http: httpx.Client,
    tmp_path: Path,
    path: str,
    name: str,
    content: bytes,
    kind: str,
    status: int,
    code: str | None,
) -> None:
    answer = http.post(path, files={"file": (name, content, kind)})
    assert refused(answer, status, code or answer.json()["extra"][0]["code"]), answer.text
    assert nothing_is_left(http, tmp_path)
    assert http.post(path, files={"file": ("a.png", PNG, "image/png")}).status_code == 201
    assert http.get("/count").json() == 1


@pytest.mark.parametrize(
    "content", [bytes(LIMIT + 1), iter([bytes(50_000)] * 50)], ids=["announced", "chunked"]
)
def test_a_raw_body_over_the_columns_limit_is_413(http: httpx.Client, tmp_path: Path, content: Any) -> None:
    assert refused(http.put("/body/a.txt", content=content), 413, "too_large")
    assert nothing_is_left(http, tmp_path)


def test_an_announced_length_is_enough(live: LiveServer, http: httpx.Client, tmp_path: Path) -> None:
    with raw.connect(live.port) as connection:
        connection.sendall(raw.head("PUT", "/body/a.txt", [("Content-Length", str(LIMIT + 1))]))
        assert raw.status_of(connection.recv(65536)) == 413
    assert nothing_is_left(http, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [("a.png", b"<html><script>", 415), ("a.png", PNG + bytes(LIMIT), 413), ("a.png", PNG, 201)],
)
def test_the_columns_policy_holds_for_what_came_by_a_grant(
    http: httpx.Client, tmp_path: Path, name: str, content: bytes, status: int
) -> None:
    upload = FileObject(name, backend="files").grant_upload()
    received = http.put(upload.url, content=content)
    assert received.status_code == 201, received.text
    for token in (received.json()["grant"], upload.token):
        answer = http.post("/grant", json={"file": token})
        if http.get("/count").json() == 1 and answer.status_code != 201:
            break
        assert answer.status_code == status, answer.text
    assert http.get("/count").json() == (1 if status == 201 else 0)
