"""Uploads straight to an S3: real signatures, their real end, and what is attached afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from filecolumn import FileObject, storages
from tests.backends.places import BUCKET, S3Folder
from tests.litestar.application import application
from tests.litestar.server import LiveServer, serve
from tests.servers.process import Endpoint

CONTENT = b"hello " * 1000
pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def bucket(radosgw: Endpoint) -> str:
    S3Folder(radosgw)  # makes the bucket
    return BUCKET


@pytest.fixture
def live(radosgw: Endpoint, bucket: str, tmp_path: Path) -> Iterator[LiveServer]:
    backend = storages.register_backend(
        f"s3://{bucket}/{tmp_path.name}/",
        "files",
        endpoint=radosgw.url,
        access_key_id=radosgw.user,
        secret_access_key=radosgw.password,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    with serve(application(tmp_path, backends={"files": backend})) as server:
        yield server


def keys() -> list[str]:
    return [stat.key for stat in storages.get("files").list()]


def test_an_upload_goes_to_the_storage_and_its_grant_becomes_a_row(
    live: LiveServer, http: httpx.Client
) -> None:
    grant = FileObject("b.txt", backend="files").grant_upload(max_size=len(CONTENT))
    assert grant.url.startswith("http://127.0.0.1")
    assert not grant.url.startswith(live.url)
    assert http.post("/attach", json={"file": grant.token}).status_code == 404
    assert httpx.put(grant.url, content=CONTENT, headers=dict(grant.headers), verify=False).status_code == 200
    attached = http.post("/attach", json={"file": grant.token})
    assert attached.status_code == 201, attached.text
    assert attached.json()["file"]["checksum"] == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert http.get("/documents/1/file").content == CONTENT
    assert [key for key in keys() if key.startswith("incoming/")] == [], "the upload is used up"
    assert httpx.put(grant.url, content=b"again", verify=False).status_code == 200, (
        "the cloud lets a URL be used again"
    )
    assert http.post("/attach", json={"file": grant.token}).status_code == 403, "and nobody can attach it"
    assert http.get("/documents/1/file").content == CONTENT


def test_the_checked_copy_is_made_by_the_storage_itself(live: LiveServer) -> None:
    grant = FileObject("b.txt", backend="files").grant_upload(max_size=len(CONTENT))
    assert httpx.put(grant.url, content=CONTENT, verify=False).status_code == 200
    file = asyncio.run(FileObject.from_grant(grant.token).save_async())
    assert httpx.put(grant.url, content=b"replaced", verify=False).status_code == 200
    assert file.get_content() == CONTENT
    assert file.checksum == "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def test_the_cloud_binds_no_size_and_the_grant_does(live: LiveServer, http: httpx.Client) -> None:
    grant = FileObject("b.txt", backend="files").grant_upload(max_size=10)
    assert httpx.put(grant.url, content=CONTENT, verify=False).status_code == 200
    assert http.post("/attach", json={"file": grant.token}).status_code == 413
    with pytest.raises(ValueError, match="10 bytes"):
        asyncio.run(FileObject.from_grant_async(grant.token))
    assert len(keys()) == 1
    assert http.get("/count").json() == 0


def test_another_key_method_or_secret_and_an_end_are_refused_by_the_cloud(live: LiveServer) -> None:
    grant = FileObject("b.txt", backend="files").grant_upload(expires_in=timedelta(seconds=1))
    assert httpx.put(grant.url.replace(".txt?", ".png?"), content=b"x", verify=False).status_code == 403
    assert httpx.get(grant.url, verify=False).status_code == 403
    assert (
        httpx.put(
            grant.url[:-1] + ("0" if grant.url[-1] != "0" else "1"), content=b"x", verify=False
        ).status_code
        == 403
    )
    time.sleep(2.5)
    assert httpx.put(grant.url, content=b"x", verify=False).status_code == 403
    assert keys() == []


def test_a_redirect_leads_to_the_storage_only_and_not_for_long(
    radosgw: Endpoint, bucket: str, tmp_path: Path, live: LiveServer, http: httpx.Client
) -> None:
    http.put("/raw/a.txt", content=CONTENT)
    redirecting = application(tmp_path, backends={"files": storages.get("files")}, redirect=True)
    with serve(redirecting) as server, server.client() as client:
        answer = client.get(client.get("/documents/1").json()["file"]["url"])
    assert answer.status_code == 307
    assert answer.headers["location"].startswith(f"{radosgw.url}/{bucket}/")
    assert "X-Amz-Expires=60" in answer.headers["location"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert httpx.get(answer.headers["location"], verify=False).content == CONTENT


def test_a_file_of_the_cloud_is_served_with_ranges(http: httpx.Client) -> None:
    http.put("/raw/a.bin", content=CONTENT * 3000)
    answer = http.get("/documents/1/file", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, CONTENT[10:20])
    assert http.get("/documents/1/file").content == CONTENT * 3000
