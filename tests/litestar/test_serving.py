"""What a browser gets (ranges, conditions, safe headers), and what it cannot make the server do."""

from __future__ import annotations

import hashlib
import json
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from filecolumn import StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.http import sending
from tests.litestar import raw
from tests.litestar.application import objects
from tests.litestar.server import LiveServer, until

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
URL = "/documents/1/file"


@pytest.fixture
def stored(http: httpx.Client) -> httpx.Client:
    answer = http.post("/documents", files={"file": ("a.png", CONTENT, "image/png")})
    assert answer.status_code == 201
    return http


def test_what_the_query_says_is_ignored(stored: httpx.Client) -> None:
    wanted = {"disposition": "inline", "content_type": "text/html", "filename": "x.html", "backend": "other"}
    plain, asked = stored.get(URL), stored.get(URL, params=wanted)
    for name in ("content-type", "content-disposition", "content-length", "etag"):
        assert asked.headers[name] == plain.headers[name]
    signed = stored.get("/documents/1").json()["file"]["url"]
    assert stored.get(signed, params=wanted).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=-10", 206, SIZE - 10, SIZE),
        (f"bytes=-{SIZE + 5}", 206, 0, SIZE),
        ("bytes=5000-99999999999999999999", 206, 5000, SIZE),
        ("bytes=5-2", 200, 0, SIZE),
        ("items=0-1", 200, 0, SIZE),
        ("bytes= 0 - 1", 200, 0, SIZE),
        ("bytes=0-0,1-1", 200, 0, SIZE),
        ("bytes=" + "0-0," * 5000, 200, 0, SIZE),
    ],
)
def test_ranges(stored: httpx.Client, header: str, status: int, start: int, end: int) -> None:
    answer = stored.get(URL, headers={"Range": header})
    assert (answer.status_code, answer.content) == (status, CONTENT[start:end])
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_behind_the_end_is_416(stored: httpx.Client, header: str) -> None:
    answer = stored.get(URL, headers={"Range": header})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


def test_a_range_that_is_sent_twice_is_more_than_one(live: LiveServer, stored: httpx.Client) -> None:
    lines = [("Range", "bytes=0-1"), ("Range", "bytes=2-3"), ("Connection", "close")]
    assert raw.status_of(raw.exchange(live.port, raw.head("GET", URL, lines), close=False)) == 200


def test_a_range_of_an_empty_file_is_416(http: httpx.Client) -> None:
    http.put("/raw/a.txt", content=b"")
    assert http.get(URL, headers={"Range": "bytes=0-"}).status_code == 416
    assert http.get(URL, headers={"Range": "bytes=-1"}).status_code == 416
    assert (http.get(URL).status_code, http.get(URL).content) == (200, b"")


@pytest.mark.parametrize(("if_range", "status"), [(ETAG, 206), (f"W/{ETAG}", 200), ('"old"', 200)])
def test_if_range(stored: httpx.Client, if_range: str, status: int) -> None:
    answer = stored.get(URL, headers={"Range": "bytes=0-9", "If-Range": if_range})
    assert answer.status_code == status
    assert answer.content == (CONTENT[:10] if status == 206 else CONTENT)


@pytest.mark.parametrize("found", [SIZE - 1, SIZE + 1, 0], ids=["short", "long", "empty"])
def test_a_small_object_of_another_size_is_an_error(stored: httpx.Client, tmp_path: Path, found: int) -> None:
    objects(tmp_path)[0].write_bytes((CONTENT + b"x")[:found])
    assert stored.get(URL).status_code == 503


@pytest.mark.parametrize("found", [2_999_999, 3_000_001, 2_000_000], ids=["short", "long", "shorter"])
def test_a_large_object_of_another_size_is_cut_and_never_complete(
    http: httpx.Client, tmp_path: Path, found: int
) -> None:
    http.put("/raw/a.bin", content=b"x" * 3_000_000)
    objects(tmp_path)[0].write_bytes(b"x" * found)
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(URL)


def test_a_range_of_a_short_object_is_never_complete(stored: httpx.Client, tmp_path: Path) -> None:
    objects(tmp_path)[0].write_bytes(CONTENT[:100])
    assert stored.get(URL, headers={"Range": "bytes=50-149"}).status_code == 503


def test_head_is_get_without_the_body(stored: httpx.Client) -> None:
    head, get = stored.head(URL), stored.get(URL)
    assert (head.status_code, head.content) == (200, b"")
    ignored = {"date"}
    assert {n: v for n, v in head.headers.items() if n not in ignored} == {
        n: v for n, v in get.headers.items() if n not in ignored
    }
    assert stored.head(URL, headers={"Range": "bytes=0-1"}).headers["content-length"] == str(SIZE)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": ", ".join(f'"{n}"' for n in range(1000)) + ", " + ETAG}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": ETAG}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Fri, 01 Jan 2016 00:00:00 GMT"}, 200),
    ],
)
def test_conditions(stored: httpx.Client, method: str, headers: dict[str, str], status: int) -> None:
    answer = stored.request(method, URL, headers=headers)
    assert answer.status_code == status
    if status != 200 or method == "HEAD":
        assert answer.content == b""
    if status != 412:
        assert answer.headers["etag"] == ETAG


def test_every_answer_has_the_safe_headers(stored: httpx.Client, tmp_path: Path) -> None:
    signed = stored.get("/documents/1").json()["file"]["url"]
    answers = [
        stored.get(URL),
        stored.head(URL),
        stored.get(signed),
        stored.get(URL, headers={"Range": "bytes=0-1"}),
        stored.get(URL, headers={"Range": "bytes=-0"}),
        stored.get(URL, headers={"If-None-Match": "*"}),
    ]
    for answer in answers:
        refused = answer.status_code >= 400
        assert answer.headers["cache-control"] == ("no-store" if refused else "private, no-cache")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
        assert str(tmp_path) not in str(answer.headers)


@pytest.mark.parametrize(
    ("name", "kind", "show", "disposition", "served"),
    [
        ("a.png", "image/png", "1", "inline", "image/png"),
        ("a.png", "image/png", "0", "attachment", "image/png"),
        ("a.svg", "image/svg+xml", "1", "attachment", "application/octet-stream"),
        ("a.html", "text/html", "1", "attachment", "application/octet-stream"),
        ("a.pdf", "application/pdf", "1", "attachment", "application/pdf"),
        ("a.js", "text/javascript", "1", "attachment", "application/octet-stream"),
    ],
)
def test_what_may_run_is_never_shown(
    http: httpx.Client, name: str, kind: str, show: str, disposition: str, served: str
) -> None:
    content = (
        b"\x89PNG\r\n\x1a\n"
        if kind == "image/png"
        else b"%PDF-1.4 <script>"
        if "pdf" in kind
        else b"<script>"
    )
    http.post("/documents", files={"file": (name, content, kind)})
    answer = http.get(URL, params={"show": show})
    assert answer.headers["content-disposition"].partition(";")[0] == disposition
    assert answer.headers["content-type"] == served
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "kind", "show", "sandboxed"),
    [
        ("a.webm", "video/webm", "1", False),
        ("a.webm", "video/webm", "0", True),
        ("a.mp3", "AUDIO/mpeg; a=b", "1", False),
        ("a.txt", "text/plain", "1", True),
        ("a.html", "text/html", "1", True),
    ],
)
def test_only_what_is_played_is_shown_without_a_sandbox(
    http: httpx.Client, name: str, kind: str, show: str, sandboxed: bool
) -> None:
    kept = {"a.webm": b"\x1aE\xdf\xa3\x01webm", "a.mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00"}
    http.put(f"/raw/{name}", content=kept.get(name, b"x"), headers={"Content-Type": kind})
    answer = http.get(URL, params={"show": show})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; img-src 'self'; media-src 'self'" in policy
    assert policy.startswith("sandbox") is sandboxed
    # what updates the copy of a browser has the same
    for headers in ({"If-None-Match": "*"}, {"Range": "bytes=0-0"}):
        assert (
            http.get(URL, params={"show": show}, headers=headers).headers["content-security-policy"] == policy
        )


def test_a_row_without_its_object_is_404(stored: httpx.Client, tmp_path: Path) -> None:
    objects(tmp_path)[0].unlink()
    answer = stored.get(URL)
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text
    assert "/" not in answer.json()["detail"]
    assert stored.get(stored.get("/documents/1").json()["file"]["url"]).status_code == 404


class Slow(StorageBackend):
    """A storage that gives content for ever, and knows whether its stream was closed."""

    def __init__(self, real: StorageBackend) -> None:
        super().__init__("files")
        self.real = real
        self.closed = False

    @property
    def location(self) -> str:
        return self.real.location

    def put(self, key, chunks, **options):
        return self.real.put(key, chunks, **options)

    def get(self, key, *, start=0, length=None) -> Iterator[bytes]:
        return self.real.get(key, start=start, length=length)

    def stat(self, key):
        return self.real.stat(key)

    def delete(self, keys) -> None:
        self.real.delete(keys)

    def list(self, prefix="", *, after=None):
        return self.real.list(prefix, after=after)

    async def get_async(self, key, *, start=0, length=None) -> AsyncIterator[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                for _ in range(SIZE):
                    yield b"x" * 1_000_000
            finally:
                self.closed = True

        return chunks()


@pytest.fixture
def endless(stored: httpx.Client, live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow(storages.get("files"))
    real = sending.decide

    def large(method, headers, file, serving):
        return real(method, headers, replace(file, size=SIZE * 1_000_000), serving)

    monkeypatch.setattr(sending, "decide", large)
    with storages.override("files", slow):
        yield slow


def test_a_client_that_leaves_closes_the_stream(live: LiveServer, endless: Slow) -> None:
    before = len(live.tasks())
    with raw.connect(live.port) as connection:
        connection.sendall(raw.head("GET", URL))
        assert connection.recv(100_000)
    assert until(lambda: endless.closed)
    assert until(lambda: len(live.tasks()) <= before)


def test_a_client_that_stops_reading_is_given_up(
    live: LiveServer, endless: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_TIMEOUT", 0.3)
    with raw.connect(live.port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(raw.head("GET", URL))
        began = time.monotonic()
        assert until(lambda: endless.closed, within=10)
        assert time.monotonic() - began < 10


def test_an_error_in_the_middle_cuts_the_connection(live: LiveServer, endless: Slow) -> None:
    async def broken(key, *, start=0, length=None) -> AsyncIterator[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 100_000
            raise StorageError("gone")

        return chunks()

    endless.get_async = broken  # type: ignore[method-assign]
    with live.client() as client, pytest.raises(httpx.RemoteProtocolError):
        client.get(URL)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (1_700_000_000_000, None),
        (1_700_000_000_000_000.5, None),
        (253_402_300_800, None),
        (10**30, None),
        (-1e18, None),
        (-86_400, "Wed, 31 Dec 1969 00:00:00 GMT"),
        ("2023-11-14T22:13:20Z", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ],
)
def test_a_time_that_another_program_wrote_is_sent_if_it_is_a_date(
    stored: httpx.Client, tmp_path: Path, written: object, sent: str | None
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
        [[row]] = database.execute("SELECT file FROM documents").fetchall()
        changed = json.dumps({**json.loads(row), "last_modified": written})
        database.execute("UPDATE documents SET file = ?", [changed])
    answer = stored.get(URL)
    assert (answer.status_code, answer.headers.get("last-modified")) == (200, sent)
    assert stored.get(URL, headers={"If-None-Match": ETAG}).status_code == 304
    assert stored.get(URL, headers={"If-Modified-Since": formatdate(usegmt=True)}).status_code == (
        304 if sent else 200
    )
    assert stored.get("/documents/1").json()["file"]["size"] == SIZE
