"""Grants over HTTP: the limits of their column or of the route, and one file for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from filecolumn import ContentTypeRejectedError, FileObject, FileObjectList, StoredObject, storages
from filecolumn.files.grants import UploadGrant
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin
from filecolumn.signing import TokenSigner
from tests.litestar import raw
from tests.litestar.application import SIGNING_KEY, Base, Document, application, objects
from tests.litestar.server import LiveServer, serve

LIMIT = 1000
SMALL = 100
TOKENS = TokenSigner(SIGNING_KEY)


class Portrait(Base):
    __tablename__ = "portraits"
    id: Mapped[int] = mapped_column(primary_key=True)
    face: Mapped[FileObject] = mapped_column(
        "picture", StoredObject(backend="files", max_size=SMALL, accept={"image/*", ".txt"})
    )


class Pages(msgspec.Struct):
    pages: FileObjectList


@post("/pages")
async def attach_pages(data: JSONBody[Pages], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Document(pages=data.pages))
    await db_session.flush()


HANDLERS: list[HTTPRouteHandler] = [attach_pages]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path, handlers=HANDLERS, max_upload_size=LIMIT)) as server:
        yield server


def grant_of(name: str = "b.txt", **options: object) -> UploadGrant:
    return FileObject(name, backend="files").grant_upload(**options)  # type: ignore[arg-type]


def limit_of(grant: UploadGrant) -> int:
    return TOKENS.verify(grant.token, "grant", now=time.time()).max_size


def test_the_smaller_limit_of_a_grant_and_its_column_holds_while_it_is_uploaded(
    http: httpx.Client, tmp_path: Path
) -> None:
    grants = [
        grant_of(column=Portrait.face),
        grant_of(column="Portrait.face"),
        grant_of(column="portraits.picture"),
        grant_of(column=aliased(Portrait).face),
        grant_of(column=Portrait.__table__.c.picture),
        grant_of(column=Portrait.face, max_size=LIMIT),
        grant_of(column=Document.file, max_size=SMALL),
        grant_of(max_size=SMALL),
    ]
    assert [limit_of(grant) for grant in grants] == [SMALL] * len(grants)
    for grant in grants:
        assert http.put(grant.url, content=bytes(SMALL + 1)).status_code == 413
        assert http.put(grant.url, content=iter([bytes(SMALL), b"x"])).status_code == 413
        assert objects(tmp_path) == []
    assert http.put(grants[0].url, content=bytes(SMALL)).status_code == 201


def test_the_route_has_a_limit_where_nothing_else_says_one(
    live: LiveServer, http: httpx.Client, tmp_path: Path
) -> None:
    for column in (None, "Unknown.file", Document.file):
        grant = grant_of(column=column)
        with raw.connect(live.port) as connection:
            connection.sendall(raw.head("PUT", grant.url, [("Content-Length", str(LIMIT + 1))]))
            assert raw.status_of(connection.recv(65536)) == 413, "before the body is sent"
        assert http.put(grant.url, content=iter([bytes(LIMIT), b"x"])).status_code == 413
        assert objects(tmp_path) == []
    more = grant_of(max_size=2 * LIMIT)
    assert http.put(more.url, content=bytes(LIMIT + 1)).status_code == 201


def test_the_limit_of_the_route_can_be_taken_away(tmp_path: Path) -> None:
    with (
        serve(application(tmp_path, max_upload_size=None)) as server,
        server.client() as client,
    ):
        assert client.put(grant_of().url, content=bytes(LIMIT + 1)).status_code == 201
    assert FileColumnConfig().max_upload_size == 100 * 1024 * 1024
    with pytest.raises(ValueError, match="max_size"):
        FileColumnPlugin(FileColumnConfig(max_upload_size=-1))


def test_a_type_that_the_column_never_takes_is_refused_when_it_is_granted(live: LiveServer) -> None:
    for accepted in ("image/png", "IMAGE/WEBP", None):
        assert grant_of("a", column=Portrait.face, content_type=accepted)
    assert grant_of("a.txt", column=Portrait.face, content_type="text/plain")
    for refused in ("text/html", "image/svg+xml", "application/pdf"):
        with pytest.raises(ContentTypeRejectedError):
            grant_of("a", column=Portrait.face, content_type=refused)
    with pytest.raises(ContentTypeRejectedError):
        FileObject("a", backend="files", content_type="application/pdf").grant_upload(column="Portrait.face")


def test_a_grant_is_for_a_column_of_files_and_a_size(live: LiveServer) -> None:
    for column in (5, Document.title, Document, Document.__table__.c.title):
        with pytest.raises(TypeError, match=r"Document\.file"):
            grant_of(column=column)
    with pytest.raises(ValueError, match="max_size"):
        grant_of(max_size=-1)


def test_an_upload_for_a_column_goes_to_its_storage(live: LiveServer) -> None:
    grant = FileObject("a.txt").grant_upload(column=Portrait.face)
    assert TOKENS.verify(grant.token, "grant", now=time.time()).backend == "files"


def test_one_upload_has_one_file_by_whichever_token(
    http: httpx.Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grant = grant_of()
    receipt = http.put(grant.url, content=b"once").json()["grant"]
    uploaded = objects(tmp_path)
    claims = TOKENS.verify(receipt, "grant", now=time.time())
    for pair in ([receipt, receipt], [receipt, grant.token], [grant.token, grant.token]):
        answer = http.post("/pages", json={"pages": pair})
        assert answer.status_code == 403, answer.text
        assert objects(tmp_path) == uploaded, "nothing is copied, and the upload stays"
        for secret in (receipt, grant.token, claims.key, "incoming"):
            assert secret not in answer.text
    assert http.post("/pages", json={"pages": [receipt]}).status_code == 201
    with caplog.at_level(logging.WARNING, "filecolumn"):
        for token in (receipt, grant.token):
            assert http.post("/attach", json={"file": token}).status_code == 403
    assert claims.key not in caplog.text
    assert [path.read_bytes() for path in objects(tmp_path)] == [b"once"]
    assert http.get("/count").json() == 1


def test_an_upload_that_is_missing_is_404_and_its_key_stays_with_us(
    http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    grant = grant_of()
    receipt = http.put(grant.url, content=b"once").json()["grant"]
    key = TOKENS.verify(receipt, "grant", now=time.time()).key
    storages.get("files").delete([key])
    with caplog.at_level(logging.WARNING, "filecolumn"):
        for token in (receipt, grant.token):
            answer = http.post("/attach", json={"file": token})
            assert answer.status_code == 404
            assert "incoming" not in answer.text
    assert key not in caplog.text
    assert http.get("/count").json() == 0
