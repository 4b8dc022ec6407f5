"""Hostile uploads against a live server: false lengths, cut forms, bad headers, clients that stall or leave."""

from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path
from tempfile import SpooledTemporaryFile

import httpx
import pytest
from litestar.datastructures import upload_file

from tests.litestar import raw
from tests.litestar.application import application, objects
from tests.litestar.server import LiveServer, serve, until


@pytest.fixture
def live(tmp_path: Path):
    app = application(tmp_path, body_idle_timeout=0.5, body_timeout=2.0)
    app.state["max_size"] = 1_000_000
    with serve(app) as server:
        yield server


def nothing_is_left(http: httpx.Client, folder: Path) -> bool:
    return http.get("/count").json() == 0 and objects(folder) == []


def test_an_honest_length_over_the_limit_is_refused_before_the_body(live, http, tmp_path: Path) -> None:
    request = raw.head("PUT", "/raw/a.bin", [("Content-Length", "1000001")])
    with raw.connect(live.port) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
    assert raw.status_of(answer) == 413
    assert nothing_is_left(http, tmp_path)


def test_a_chunked_body_is_stopped_at_the_limit(live, http, tmp_path: Path) -> None:
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    sent, answer = 0, b""
    with raw.connect(live.port) as connection:
        connection.sendall(raw.head("PUT", "/raw/a.bin", [("Transfer-Encoding", "chunked")]))
        connection.setblocking(False)
        while b"max_size" not in answer and sent < 500:
            readable, writable, _ = select.select([connection], [connection], [], 10)
            if readable:
                answer += connection.recv(65536)
            elif writable:
                connection.setblocking(True)
                connection.sendall(chunk)
                sent += 1
    assert raw.status_of(answer) == 413
    assert b'"max_size":1000000' in answer
    assert sent < 250, "what is behind the limit is in the buffers of two sockets at most"
    assert until(lambda: nothing_is_left(http, tmp_path))


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "-1")],
        [("Content-Length", "1e9")],
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "+5")],
        [("Content-Length", "0x5")],
    ],
    ids=str,
)
def test_a_length_that_is_none_is_refused_by_the_server(live, http, tmp_path: Path, headers) -> None:
    answer = raw.exchange(live.port, raw.head("PUT", "/raw/a.bin", headers) + b"hello")
    assert raw.status_of(answer) in {0, 400}
    assert nothing_is_left(http, tmp_path)


def test_a_body_shorter_than_its_length_is_never_committed(live, http, tmp_path: Path) -> None:
    answer = raw.exchange(
        live.port, raw.head("PUT", "/raw/a.bin", [("Content-Length", "10000")]) + b"x" * 5000
    )
    assert raw.status_of(answer) not in range(200, 300)
    assert until(lambda: nothing_is_left(http, tmp_path))


@pytest.mark.parametrize("length", ["5", "1000000000", "1e9"])
def test_a_length_beside_chunks_is_refused_or_means_nothing(live, http, tmp_path: Path, length: str) -> None:
    """Whoever believed the length would take the rest of the body for another request."""
    headers = [("Content-Length", length), ("Transfer-Encoding", "chunked")]
    hidden = raw.head("DELETE", "/documents/1")
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    answer = raw.exchange(live.port, raw.head("PUT", "/raw/a.bin", headers) + body)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert raw.status_of(answer) in {0, 200, 400, 413}
    assert [path.read_bytes() for path in objects(tmp_path)] == ([hidden] if b" 200 OK" in answer else [])


def test_what_comes_behind_the_length_is_no_part_of_the_file(live, http, tmp_path: Path) -> None:
    request = raw.head("PUT", "/raw/a.bin", [("Content-Length", "5")]) + b"hello, world\r\n\r\n"
    answer = raw.exchange(live.port, request, close=False)
    assert raw.status_of(answer) == 200
    assert [path.read_bytes() for path in objects(tmp_path)] == [b"hello"]


@pytest.mark.parametrize("cut", [1, 10, 60, 200])
def test_a_form_without_its_end_is_refused(live, http, tmp_path: Path, cut: int) -> None:
    body = raw.form(('name="file"; filename="a.png"', b"x" * 500))
    answer = raw.post_form(live.port, "/documents", body[: -len("--xyz--\r\n") - cut])
    assert raw.status_of(answer) == 400
    assert nothing_is_left(http, tmp_path)


@pytest.mark.parametrize(
    "disposition",
    [
        'name="file"; filename="' + "a\\" * 30_000,
        'name="file"; ' + "a=b; " * 15_000,
        'name="file"; ' + 'filename="' * 6_000,
    ],
    ids=["quotes", "parameters", "names"],
)
def test_a_header_made_for_regular_expressions_takes_linear_time(live, http, disposition: str) -> None:
    began = time.monotonic()
    raw.post_form(live.port, "/documents", raw.form((disposition, b"x")))
    assert time.monotonic() - began < 3
    assert http.get("/count").status_code == 200


@pytest.mark.parametrize("path", ["/documents", "/raw/a.bin"])
def test_a_client_that_pauses_is_not_waited_for(live, http, tmp_path: Path, path: str) -> None:
    method, kind = (
        ("POST", "multipart/form-data; boundary=xyz") if path == "/documents" else ("PUT", "text/plain")
    )
    with raw.connect(live.port) as connection:
        connection.sendall(
            raw.head(method, path, [("Content-Type", kind), ("Content-Length", "1000")]) + b"--x"
        )
        assert raw.status_of(connection.recv(65536)) == 408
    assert until(lambda: nothing_is_left(http, tmp_path))


def test_a_client_that_trickles_is_cut_at_the_total(live, http, tmp_path: Path) -> None:
    with raw.connect(live.port) as connection:
        connection.sendall(raw.head("PUT", "/raw/a.bin", [("Content-Length", "1000")]))
        connection.settimeout(0.2)
        answer, began = b"", time.monotonic()
        while not answer and time.monotonic() - began < 10:
            try:
                connection.sendall(b"x")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
    assert raw.status_of(answer) == 408
    assert time.monotonic() - began < 4
    assert until(lambda: nothing_is_left(http, tmp_path))


@pytest.mark.parametrize(
    "disposition",
    [
        'name="file"; filename="a.png"; filename="b.png"',
        'name="file"; filename="a.png"; filename*=UTF-8\'\'b.png',
        'name="file"; filename="a.png"; filename*=UTF-8\'\'%ff%fe',
        'name="file"; filename="a.png"; filename*=nonsense\'\'b',
        'name="file"; filename="a\0.png"',
        'name="file"; filename="../../etc/passwd"',
        'name="file"; filename="' + "é" * 5000 + '"',
    ],
    ids=repr,
)
def test_two_names_or_bad_ones_raise_no_500(live, http, tmp_path: Path, disposition: str) -> None:
    answer = raw.post_form(live.port, "/documents", raw.form((disposition, b"x")))
    assert raw.status_of(answer) in {201, 400}
    if raw.status_of(answer) == 201:
        (stored,) = objects(tmp_path)
        assert stored.read_bytes() == b"x"
        name = http.get("/documents/1").json()["file"]["filename"]
        assert "/" not in name
        assert len(name.encode()) <= 255


def test_a_field_twice_where_one_file_is_expected_is_refused(live, http, tmp_path: Path) -> None:
    part = 'name="file"; filename="{}.png"'
    body = raw.form((part.format("a"), b"a"), (part.format("b"), b"b"))
    answer = raw.post_form(live.port, "/documents", body)
    assert raw.status_of(answer) == 400
    assert nothing_is_left(http, tmp_path)


def test_a_file_of_no_bytes_is_a_file(http, tmp_path: Path) -> None:
    answer = http.post("/documents", files={"file": ("a.txt", b"", "text/plain")})
    assert answer.json()["file"]["size"] == 0
    assert http.put("/raw/b.txt", content=b"").json()["file"]["size"] == 0
    assert [path.stat().st_size for path in objects(tmp_path)] == [0, 0]
    assert http.get("/documents/1/file").content == b""


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "x"])
def test_a_compressed_body_is_refused(http, tmp_path: Path, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    assert http.put("/raw/a.bin", content=b"x", headers=headers).status_code == 415
    files = {"file": ("a.txt", b"x", "text/plain")}
    assert http.post("/documents", files=files, headers=headers).status_code == 415
    assert nothing_is_left(http, tmp_path)


def open_files() -> set[str]:
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue
        if "/tmp" in target and ".db" not in target:
            found.add(target)
    return found


@pytest.mark.parametrize("kind", ["form", "raw", "stream", "silent"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    live: LiveServer, http, tmp_path: Path, kind: str
) -> None:
    http.get("/count")
    tasks, files = live.tasks(), open_files()
    with raw.connect(live.port) as connection:
        if kind == "form":
            start = raw.form(('name="file"; filename="a.bin"', b"x" * 3_000_000))[:2_500_000]
            headers = [("Content-Type", "multipart/form-data; boundary=xyz"), ("Content-Length", "3000100")]
            connection.sendall(raw.head("POST", "/documents", headers) + start)
        elif kind == "silent":
            headers = [("Content-Length", "3000000"), ("Expect", "100-continue")]
            connection.sendall(raw.head("PUT", "/raw/a.bin", headers))
        else:
            headers = [("Transfer-Encoding", "chunked")]
            chunk = b"c350\r\n" + b"x" * 50_000 + b"\r\n"
            connection.sendall(raw.head("PUT", f"/{kind}/a.bin", headers) + chunk * 15)
        time.sleep(0.2)
    assert until(lambda: nothing_is_left(http, tmp_path))
    assert until(lambda: len(live.tasks()) <= len(tasks)), live.tasks() - tasks
    assert until(lambda: open_files() <= files), open_files() - files


def test_a_large_part_is_read_off_the_event_loop(live, http, tmp_path: Path, monkeypatch) -> None:
    """The parser moves a part of more than 1 MiB to the disk; what reads it then must not hold up the others."""
    read_in = set[int]()

    class Watched(SpooledTemporaryFile):  # type: ignore[type-arg]
        def read(self, *args: int) -> bytes:
            read_in.add(threading.get_ident())
            return super().read(*args)

    monkeypatch.setattr(upload_file, "SpooledTemporaryFile", Watched)
    answer = http.post("/documents", files={"file": ("a.bin", b"x" * 8_000_000, "application/octet-stream")})
    assert answer.status_code == 201
    assert [path.stat().st_size for path in objects(tmp_path)] == [8_000_000]
    assert read_in
    assert live.thread not in read_in
