"""What a client claims of a file (type, name, metadata, a token), and what a server says of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn.litestar import file_from_body
from tests.litestar import raw
from tests.litestar.application import Document, DocumentOut, application, out
from tests.litestar.server import LiveServer, serve

URL = "/documents/1/file"
CLAIMS = {
    "size": 1,
    "checksum": "sha256:00",
    "content_type": "text/html",
    "identified": True,
    "scanned": "clean",
    "to_filename": "../../etc/passwd",
    "backend": "other",
}


@put("/described/{name:str}")
async def describe(
    request: Request[Any, Any, Any], name: FromPath[str], db_session: NamedDependency[AsyncSession]
) -> DocumentOut:
    document = Document(file=file_from_body(request, name, metadata=CLAIMS))
    db_session.add(document)
    await db_session.flush()
    assert document.file is not None
    assert document.file.metadata == CLAIMS
    return out(document)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path, handlers=[describe])) as server:
        yield server


@pytest.mark.parametrize(
    ("claimed", "served"),
    [
        ("text/html; charset=utf-8", "application/octet-stream"),
        ("image/png,text/html", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("x" * 10_000, "application/octet-stream"),
        ("image/\u00e9", "application/octet-stream"),
        ("IMAGE/PNG", "image/png"),
        ("text/csv", "text/csv; charset=utf-8"),
    ],
)
def test_a_claimed_type_is_parsed_or_no_type(
    live: LiveServer, http: httpx.Client, claimed: str, served: str
) -> None:
    body = raw.form((f'name="file"; filename="a"\r\nContent-Type: {claimed}', b"=cmd|' /C calc'!A0"))
    answer = raw.status_of(raw.post_form(live.port, "/documents", body))
    if answer == 400 and len(claimed) > 1000:
        return
    assert answer == 201
    got = http.get(URL, params={"show": "1"})
    assert got.headers["content-type"] == served
    assert got.headers["x-content-type-options"] == "nosniff"
    if claimed == "text/csv":
        assert got.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("claimed", ["text/html", "a/b/c", "image/png, text/html", "x" * 10_000])
def test_the_type_of_a_raw_body_is_a_claim_too(http: httpx.Client, claimed: str) -> None:
    answer = http.put("/raw/a", content=b"<script>alert(1)</script>", headers={"Content-Type": claimed})
    assert answer.status_code == 200, answer.text
    assert http.get(URL, params={"show": "1"}).headers["content-type"] == "application/octet-stream"


def test_what_a_client_says_of_a_file_is_kept_apart_from_what_is_known(http: httpx.Client) -> None:
    file = http.put("/described/a.txt", content=b"hello", headers={"Content-Type": "text/plain"}).json()[
        "file"
    ]
    assert (file["size"], file["content_type"]) == (5, "text/plain")
    assert file["checksum"] == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert "metadata" not in file
    assert http.get(URL).content == b"hello"


@pytest.mark.parametrize(
    "name",
    [
        'a\\"; filename=\\"b.exe',
        "x\r\n Set-Cookie: a=b",
        "%0d%0aSet-Cookie: a=b",
        "a;b\\c",
        "\U0001f600.txt",
        "a\tb\x7f",
    ],
    ids=repr,
)
def test_a_name_is_one_header_and_nothing_more(live: LiveServer, http: httpx.Client, name: str) -> None:
    body = raw.form((f'name="file"; filename="{name}"', b"x"))
    if raw.status_of(raw.post_form(live.port, "/documents", body)) != 201:
        assert http.get("/count").json() == 0
        return
    answer = raw.exchange(live.port, raw.head("GET", URL, [("Connection", "close")]), close=False)
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"content-disposition:") == 1
    assert b"\r\nset-cookie:" not in head
    [line] = [line for line in head.split(b"\r\n") if line.startswith(b"content-disposition")]
    assert re.fullmatch(
        rb"content-disposition: attachment; filename=\"[^\"\\]*\"(; filename\*=utf-8''[^;\"]*)?", line
    )


def test_a_token_of_a_megabyte_is_refused_before_it_is_looked_at(live: LiveServer) -> None:
    answer = raw.exchange(live.port, raw.head("GET", "/files/" + "A" * 1_000_000), close=False)
    assert raw.status_of(answer) in {0, 400, 403, 414, 431}
