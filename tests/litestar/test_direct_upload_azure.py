"""Uploads straight to Azure, by a client that knows nothing but the grant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import post

from filecolumn import FileObject, storages
from filecolumn.files.facts import Json
from tests.backends.places import BUCKET, AzureFolder
from tests.litestar.application import application
from tests.litestar.server import LiveServer, serve
from tests.servers.process import Endpoint

CONTENT = b"hello " * 10
pytestmark = [pytest.mark.server, pytest.mark.timeout(120)]


@post("/uploads")
async def start() -> dict[str, Json]:
    file = FileObject("b.txt", backend="files")
    grant = await file.grant_upload_async(max_size=len(CONTENT), content_type="text/plain")
    return grant.to_dict()


@pytest.fixture
def folder(azurite: Endpoint) -> Iterator[AzureFolder]:
    with closing(AzureFolder(azurite)) as folder:
        yield folder


@pytest.fixture
def live(azurite: Endpoint, folder: AzureFolder, tmp_path: Path) -> Iterator[LiveServer]:
    backend = storages.register_backend(
        f"az://{BUCKET}/{folder.folder}/",
        "files",
        account_name=azurite.user,
        account_key=azurite.password,
        endpoint=azurite.url,
        client_options={"allow_http": True},
    )
    with serve(application(tmp_path, handlers=[start], backends={"files": backend})) as server:
        yield server


def contents(folder: AzureFolder) -> list[bytes]:
    """What is in the container, but for the owner's mark."""
    return [content for key, content in folder.look().items() if not key.startswith(".filecolumn/")]


def upload(grant: dict[str, Any], content: bytes = CONTENT) -> httpx.Response:
    """Do what any client would with the JSON that it was given."""
    return httpx.request(
        grant["method"], grant["url"], headers=grant["headers"], content=content, verify=False
    )


def test_a_client_uploads_by_the_grant_alone_and_its_grant_becomes_a_row(
    live: LiveServer, http: httpx.Client, azurite: Endpoint, folder: AzureFolder
) -> None:
    grant = http.post("/uploads").json()
    assert grant["url"].startswith(azurite.url)
    assert http.post("/attach", json={"file": grant["grant"]}).status_code == 404, "nothing is uploaded yet"
    assert upload(grant).status_code == 201
    attached = http.post("/attach", json={"file": grant["grant"]})
    assert attached.status_code == 201, attached.text
    assert attached.json()["file"]["checksum"] == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert contents(folder) == [CONTENT], "the upload is used up"
    upload(grant, b"replaced")
    assert http.post("/attach", json={"file": grant["grant"]}).status_code == 403
    assert http.get("/documents/1/file").content == CONTENT
    assert http.get("/documents/1/file", headers={"Range": "bytes=6-10"}).content == b"hello"


def test_the_header_of_the_grant_is_needed(http: httpx.Client, folder: AzureFolder) -> None:
    grant = http.post("/uploads").json()
    assert grant["headers"]["x-ms-blob-type"] == "BlockBlob"
    assert upload({**grant, "headers": {}}).status_code == 400
    assert contents(folder) == []


def test_what_is_uploaded_is_held_to_the_grant(http: httpx.Client, folder: AzureFolder) -> None:
    grant = http.post("/uploads").json()
    assert upload(grant, CONTENT + b"x").status_code == 201, "the cloud binds no size"
    assert http.post("/attach", json={"file": grant["grant"]}).status_code == 413
    assert http.get("/count").json() == 0
    other = http.post("/uploads").json()
    assert upload({**other, "method": "DELETE"}).status_code == 403
    assert upload({**other, "url": other["url"].replace(".txt?", ".exe?")}).status_code == 403
    assert len(contents(folder)) == 1
