"""Another user's file: by its row, its key or its signed URL, nobody gets a byte of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Request, delete, get, post, put, route
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, MultipartBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.litestar import FileObjectResponse
from tests.litestar.application import Base, Form, application, objects
from tests.litestar.server import LiveServer, serve

SECRET = b"a secret of alice's, " * 100
ETAG = f'"{hashlib.sha256(SECRET).hexdigest()}"'
ALICE, BOB, NOBODY = {"X-User": "alice"}, {"X-User": "bob"}, dict[str, str]()

AnyRequest = Request[Any, Any, Any]


class Letter(Base):
    __tablename__ = "letters"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="files"))


class Link(msgspec.Struct):
    number: int
    url: str


def user_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """Stand in for a session or a token, which an application has checked."""
    return connection.headers.get("x-user")


def needs_user(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if user_of(connection) is None:
        raise NotAuthorizedException


async def own_letter(request: AnyRequest, session: AsyncSession, number: int) -> Letter:
    """Ask for the row and its owner at once: a row of somebody else is no row."""
    mine = select(Letter).where(Letter.id == number, Letter.owner == user_of(request))
    letter = await session.scalar(mine)
    if letter is None:
        raise NotFoundException
    return letter


@post("/letters", guards=[needs_user])
async def write(
    request: AnyRequest, data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]
) -> Link:
    letter = Letter(owner=user_of(request), file=data.file)
    db_session.add(letter)
    await db_session.flush()
    return Link(letter.id, await letter.file.sign_async(subject=letter.owner))


@route("/letters/{number:int}", http_method=["GET", "HEAD"], guards=[needs_user])
async def read(
    request: AnyRequest, number: FromPath[int], db_session: NamedDependency[AsyncSession]
) -> FileObjectResponse:
    return FileObjectResponse((await own_letter(request, db_session, number)).file, request)


@put("/letters/{number:int}", guards=[needs_user])
async def rewrite(
    request: AnyRequest,
    number: FromPath[int],
    data: MultipartBody[Form],
    db_session: NamedDependency[AsyncSession],
) -> None:
    (await own_letter(request, db_session, number)).file = data.file


@delete("/letters/{number:int}", guards=[needs_user])
async def burn(request: AnyRequest, number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> None:
    await db_session.delete(await own_letter(request, db_session, number))


@get("/letters", guards=[needs_user])
async def mine(request: AnyRequest, db_session: NamedDependency[AsyncSession]) -> list[FileObject]:
    return list(await db_session.scalars(select(Letter.file).where(Letter.owner == user_of(request))))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(
        application(tmp_path, handlers=[write, read, rewrite, burn, mine], get_subject=user_of)
    ) as server:
        yield server


@pytest.fixture
def letter(http: httpx.Client) -> Link:
    answer = http.post("/letters", files={"file": ("a.txt", SECRET, "text/plain")}, headers=ALICE)
    assert answer.status_code == 201, answer.text
    return msgspec.convert(answer.json(), Link)


CONDITIONS = [
    {},
    {"Range": "bytes=0-0"},
    {"Range": "bytes=-1"},
    {"Range": f"bytes={len(SECRET)}-"},
    {"If-None-Match": ETAG},
    {"If-Match": '"x"'},
    {"If-Range": ETAG, "Range": "bytes=0-9"},
]


@pytest.mark.parametrize("other", [BOB, NOBODY], ids=["bob", "nobody"])
@pytest.mark.parametrize("way", ["row", "signed url"])
def test_another_user_learns_nothing(
    http: httpx.Client, letter: Link, way: str, other: dict[str, str]
) -> None:
    url = f"/letters/{letter.number}" if way == "row" else letter.url
    refused = {401 if other == NOBODY else 404} if way == "row" else {403}
    for method in ("GET", "HEAD"):
        for headers in CONDITIONS:
            answer = http.request(method, url, headers={**headers, **other})
            assert answer.status_code in refused, (method, headers)
            assert b"secret" not in answer.content
            assert not {"etag", "content-range", "content-disposition", "last-modified"} & set(answer.headers)
            assert answer.headers["content-length"] != str(len(SECRET))
    assert http.get(url, headers=ALICE).content == SECRET
    assert http.get(url, headers={**ALICE, "Range": "bytes=2-7"}).content == b"secret"
    assert http.head(url, headers=ALICE).headers["etag"] == ETAG
    assert http.get(url, headers={**ALICE, "If-None-Match": ETAG}).status_code == 304


def test_another_users_row_looks_like_none(http: httpx.Client, letter: Link) -> None:
    there, nowhere = (http.get(f"/letters/{number}", headers=BOB) for number in (letter.number, 99))
    assert (there.status_code, there.content) == (nowhere.status_code, nowhere.content)


def test_another_user_changes_nothing(http: httpx.Client, letter: Link, tmp_path: Path) -> None:
    files = {"file": ("b.txt", b"bob was here", "text/plain")}
    url = f"/letters/{letter.number}"
    assert http.put(url, files=files, headers=BOB).status_code == 404
    assert http.delete(url, headers=BOB).status_code == 404
    assert http.put(letter.url, content=b"bob was here", headers=BOB).status_code == 403
    assert http.get("/letters", headers=BOB).json() == []
    assert [path.read_bytes() for path in objects(tmp_path)] == [SECRET]


def test_a_key_is_no_way_to_a_file(http: httpx.Client, letter: Link, tmp_path: Path) -> None:
    key = objects(tmp_path)[0].relative_to(tmp_path / "files").as_posix()
    assert key not in http.get("/letters", headers=ALICE).text
    for url in (f"/files/{key}", f"/files/{key.rpartition('/')[2]}", f"/{key}", f"/files/..%2F{key}"):
        for headers in (BOB, ALICE):
            answer = http.get(url, headers=headers)
            assert answer.status_code in {403, 404}
            assert b"secret" not in answer.content
