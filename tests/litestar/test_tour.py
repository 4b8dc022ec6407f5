"""One file through the whole application."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx

from tests.litestar.application import objects

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def test_a_file_goes_in_by_a_form_and_comes_out_again(http: httpx.Client, tmp_path: Path) -> None:
    answer = http.post("/documents", data={"title": "T"}, files={"file": ("a.png", PNG, "image/png")})
    assert answer.status_code == 201, answer.text
    file = answer.json()["file"]
    assert file["size"] == len(PNG)
    assert file["checksum"] == "sha256:" + hashlib.sha256(PNG).hexdigest()
    assert set(file) == {"filename", "content_type", "size", "checksum", "last_modified", "url"}
    assert len(objects(tmp_path)) == 1
    got = http.get("/documents/1/file")
    assert (got.status_code, got.content) == (200, PNG)
    assert got.headers["content-disposition"] == 'attachment; filename="a.png"'
    signed = http.get(http.get("/documents/1").json()["file"]["url"])
    assert (signed.status_code, signed.content) == (200, PNG)
    assert signed.headers["content-disposition"] == 'inline; filename="a.png"'
    assert http.put("/documents/1", files={"file": ("b.txt", b"new", "text/plain")}).status_code == 200
    assert http.get("/documents/1/file").content == b"new"
    assert len(objects(tmp_path)) == 1
    assert http.delete("/documents/1").status_code == 204
    assert objects(tmp_path) == []
    assert http.get("/documents/1").status_code == 404


def test_a_raw_body_goes_straight_to_the_storage(http: httpx.Client, tmp_path: Path) -> None:
    for path in ("/raw/a.bin", "/stream/a.bin"):
        answer = http.put(path, content=iter([b"x" * 100_000] * 30))
        assert answer.status_code == 200, answer.text
        assert answer.json()["file"]["size"] == 3_000_000
    assert len(objects(tmp_path)) == 2
