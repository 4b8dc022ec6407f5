"""The gallery on S3 and PostgreSQL, told so by its environment alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from examples.gallery.app import create_app
from examples.gallery.models import Item
from tests.backends.places import BUCKET, S3Folder
from tests.gallery.media import picture
from tests.litestar.server import LiveServer, serve
from tests.samples import PDF
from tests.servers.databases import Database, empty_database
from tests.servers.process import Endpoint

pytestmark = [pytest.mark.server, pytest.mark.timeout(120)]


@pytest.fixture
def bucket(moto: Endpoint) -> Iterator[S3Folder]:
    with closing(S3Folder(moto)) as folder:
        yield folder


@pytest.fixture
def database() -> Database:
    return empty_database("postgresql", Item.metadata, suffix="_gallery")


@pytest.fixture
def gallery(
    moto: Endpoint,
    bucket: S3Folder,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LiveServer]:
    url = database.url("postgresql+asyncpg").render_as_string(hide_password=False)
    for name, value in {
        "GALLERY_FOLDER": str(tmp_path / "gallery"),
        "GALLERY_DATABASE": url,
        "GALLERY_STORAGE": f"s3://{BUCKET}/{bucket.folder}/",
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_ACCESS_KEY_ID": moto.user,
        "AWS_SECRET_ACCESS_KEY": moto.password,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with serve(create_app()) as server:
        yield server


def files(bucket: S3Folder) -> list[bytes]:
    """What is in the bucket, but for the owner's mark."""
    return [content for key, content in bucket.look().items() if not key.startswith(".filecolumn/")]


def test_files_come_and_go(http: httpx.Client, bucket: S3Folder, database: Database, tmp_path: Path) -> None:
    drawn = picture(tmp_path / "b.png").read_bytes()
    first = http.post("/api/items", files={"file": ("a.pdf", PDF)}).json()
    second = http.post("/api/items", files={"file": ("b.png", drawn)}).json()
    assert {item["name"] for item in http.get("/api/items").json()} == {"a.pdf", "b.png"}
    assert sorted(files(bucket)) == sorted([PDF, drawn, http.get(second["thumbnail"]).content])
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM items")).scalar_one() == 2

    part = http.get(second["download"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, drawn[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(drawn)}"
    assert http.head(second["content"]).headers["content-length"] == str(len(drawn))

    replaced = http.put(f"/api/items/{second['id']}", files={"file": ("c.pdf", PDF)}).json()
    assert (replaced["name"], replaced["thumbnail"]) == ("c.pdf", None)
    assert http.get(replaced["content"]).content == PDF
    assert files(bucket) == [PDF, PDF], "the picture and its thumbnail are gone"

    refused = http.post("/api/items", files={"file": ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")})
    assert refused.status_code == 415
    assert http.delete(f"/api/items/{first['id']}").status_code == 204
    assert http.get(first["content"]).status_code == 404
    assert files(bucket) == [PDF]


def test_the_status_knows_what_is_lost(http: httpx.Client, bucket: S3Folder) -> None:
    http.post("/api/items", files={"file": ("a.pdf", PDF)})
    status = http.get("/api/status").json()
    probed = http.post("/api/status/probe").json()
    assert [(storage["name"], storage["healthy"]) for storage in probed] == [("gallery", True)]
    assert (status["files"], status["size"], status["check"]["objects"]) == (1, len(PDF), 1)
    assert status["check"]["is_clean"]
    [lost] = [key for key in bucket.look() if not key.startswith(".filecolumn/")]
    bucket.client.delete_object(Bucket=BUCKET, Key=f"{bucket.folder}/{lost}")
    status = http.get("/api/status").json()
    assert status["check"]["counts"]["missing"] == 1
    assert [finding["key"] for finding in status["check"]["findings"]] == [lost]
