"""What clients and storages send reaches no log as it is: no line of its own, and no token."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.litestar.application import application, objects
from tests.litestar.server import LiveServer, serve

FORGED = "x\n\r\x85\u2028\u2029\x1b[31m\u202e2026-11-28 CRITICAL admin logged in"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files/" + quote(FORGED)),
        ("HEAD", "/files/" + quote(FORGED)),
        ("PUT", "/files/" + quote(FORGED)),
        ("PUT", "/raw/" + quote(FORGED)),
    ],
)
def test_a_path_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    app = application(tmp_path)
    app.state["max_size"] = 1
    with serve(app) as live, live.client() as http:
        assert http.request(method, path, content=b"xx").is_client_error
    lines = [record.getMessage() for record in caplog.records if record.name == "filecolumn"]
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert lines[0].startswith(f"{method} /files/…: " if "/files/" in path else f"{method} /raw/x\\n\\r\\x85")


def test_a_valid_token_is_not_logged_when_its_storage_fails(
    live: LiveServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with live.client() as http:
        http.post("/documents", files={"file": ("a.txt", b"hello")})
        url = http.get("/documents/1").json()["file"]["url"]
        objects(tmp_path)[0].unlink()
        assert http.get(url).status_code == 404
        assert http.get(f"{url}?a=%0a").status_code == 404
    lines = [record.getMessage() for record in caplog.records if record.name == "filecolumn"]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("GET /files/…: ObjectNotFoundError: ")
        assert url.rpartition("/")[2][:40] not in line


def test_what_a_storage_answers_is_one_line_without_its_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = ObstoreBackend("files", "memory://")
    with serve(application(tmp_path, backends={"files": backend})) as live, live.client() as http:
        http.put("/raw/a.txt", content=b"hello")
        answered = "<Error>\x1b[2J\u202e</Error> https://user:word@host/a?X-Amz-Signature=5ec1e7\nforged"

        def refuse(key, **options):
            with backend._translated(f"read {key!r}"):
                raise OSError(answered)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storages.get("files"), "get_async", refuse)
            assert http.get("/documents/1/file").status_code == 503
    [line] = [record.getMessage() for record in caplog.records if record.name == "filecolumn"]
    assert line.isprintable()
    assert "cannot read" in line
    for secret in ("word", "5ec1e7"):
        assert secret not in line
