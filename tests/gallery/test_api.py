"""The gallery's API keeps to its own OpenAPI, whatever is sent; and it is for this machine only."""

from __future__ import annotations

import io
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from schemathesis import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema

from filecolumn import FileObject
from tests.gallery.media import picture
from tests.litestar.server import LiveServer
from tests.samples import PDF

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def api(gallery: LiveServer, http: httpx.Client) -> OpenApiSchema:
    """The gallery's schema; item 1 is there to be read."""
    assert send(http, "a.pdf", PDF).status_code == 201
    return schemathesis.openapi.from_url(f"{gallery.url}/schema/openapi.json")


CHECKS = (
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
)


def test_the_api_keeps_to_its_description(api: OpenApiSchema) -> None:
    seen = 0
    for operation in (result.ok() for result in api.get_all_operations()):

        @given(operation.as_strategy())
        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def keeps_to_it(case: Case) -> None:
            case.validate_response(case.call(timeout=20), checks=CHECKS)

        keeps_to_it()
        seen += 1
    assert seen >= 9


def send(http: httpx.Client, name: str, content: bytes, **options: object) -> httpx.Response:
    return http.post("/api/items", files={"file": (name, content)}, **options)  # type: ignore[arg-type]


FOREIGN = (
    {"Origin": "https://other.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Origin": "{own}", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Host": "other.example"},
    {"Host": "other.example:80", "Origin": "http://other.example:80", "Sec-Fetch-Site": "same-origin"},
    {"Host": "127.0.0.1.other.example"},
)
"""What a browser says of the page of another site, and of a name that such a site makes lead here."""


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
def test_a_page_of_another_site_changes_nothing(
    http: httpx.Client, gallery: LiveServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    headers = {name: value.format(own=gallery.url) for name, value in headers.items()}
    assert send(http, "a.pdf", PDF).status_code == 201
    upload = FileObject("b.pdf", backend="gallery").sign(for_upload=True, max_size=1000)
    before = everything(tmp_path)
    for method, path in (
        ("POST", "/api/items"),
        ("PUT", "/api/items/1"),
        ("DELETE", "/api/items/1"),
        ("POST", "/api/status/probe"),
        ("PUT", upload),
    ):
        form = {} if path == upload else {"files": {"file": ("c.pdf", PDF)}}
        answer = http.request(method, path, headers=headers, **form)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (403, None), path
    assert everything(tmp_path) == before


def test_our_own_page_and_programs_may_change_things(http: httpx.Client, gallery: LiveServer) -> None:
    own = {"Origin": gallery.url, "Sec-Fetch-Site": "same-origin"}
    assert send(http, "a.pdf", PDF).status_code == 201
    assert send(http, "b.pdf", PDF, headers=own).status_code == 201
    upload = FileObject("c.pdf", backend="gallery").sign(for_upload=True, max_size=1000)
    assert http.put(upload, content=PDF, headers=own).status_code == 201
    assert http.delete("/api/items/1", headers=own).status_code == 204


def everything(folder: Path) -> tuple[list[str], dict[str, int]]:
    """What the database and the storage have."""
    with closing(sqlite3.connect(folder / "gallery/gallery.db")) as database:
        rows = list(database.iterdump())
    files = (path for path in (folder / "gallery/files").rglob("*") if path.is_file())
    return rows, {str(path): path.stat().st_mtime_ns for path in files}


READ = (
    "/",
    "/status.html",
    "/gallery.js",
    "/api/status",
    "/api/items",
    "/api/items/policy",
    "/api/items/1/content",
    "/api/items/1/download",
    "/api/items/1/thumbnail",
    "/schema",
    "/schema/openapi.json",
)


def test_reading_changes_nothing_and_nothing_of_it_can_be_embedded_elsewhere(
    http: httpx.Client, tmp_path: Path
) -> None:
    send(http, "b.png", picture(tmp_path / "b.png").read_bytes())
    before = everything(tmp_path)
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in READ:
        for headers, status in (({}, 200), (followed, 200), (embedded, 403), (framed, 403)):
            assert http.get(path, headers=headers).status_code == status, path
    assert http.get("/api/status/probe").status_code == 405
    assert everything(tmp_path) == before


def test_pages_load_and_run_what_comes_from_here_only(http: httpx.Client, tmp_path: Path) -> None:
    send(http, "b.png", picture(tmp_path / "b.png").read_bytes())
    answers = [http.get(path) for path in READ]
    strange = (
        "/nowhere",
        "/%00",
        f"/{'a' * 300}",
        "/gallery.js/x",
        "/schema/swagger",
        "/api/items/9/content",
    )
    absent = [http.get(path) for path in strange]
    assert {answer.status_code for answer in absent} == {404}
    answers += absent
    answers += [
        http.get("/", headers={"Host": "other.example"}),
        send(http, "a.svg", b"<svg/>"),
        http.put("/"),
    ]
    for answer in answers:
        headers = answer.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], answer.url
        assert headers["X-Content-Type-Options"] == "nosniff", answer.url
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", answer.url
        assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}, answer.url
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], answer.url
            assert "https://" not in answer.text, answer.url


def test_a_picture_that_cannot_be_decoded_is_kept_without_a_thumbnail(
    http: httpx.Client, tmp_path: Path
) -> None:
    whole = picture(tmp_path / "a.png").read_bytes()
    item = send(http, "cut.png", whole[: len(whole) // 2]).json()
    assert (item["thumbnail"], item["width"]) == (None, None)
    assert http.get(item["content"]).content == whole[: len(whole) // 2]
    assert http.get("/api/items/1/thumbnail").status_code == 404


def test_a_picture_as_large_as_a_wall_is_not_decoded(http: httpx.Client) -> None:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (50_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0\x5e\x1b\x0e\x5c"
    assert send(http, "wall.png", header + os.urandom(100)).json()["thumbnail"] is None


def bomb() -> bytes:
    """A PNG with 50 MB of text, in 50 KB."""
    text = PngInfo()
    text.add_text("Comment", "x" * 50_000_000, zip=True)
    target = io.BytesIO()
    Image.new("RGB", (10, 10)).save(target, "PNG", pnginfo=text)
    return target.getvalue()


def drawn(kind: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (10, 10)).save(target, kind)
    return target.getvalue()


def test_only_what_a_browser_shows_is_decoded(http: httpx.Client) -> None:
    """EPS would start a program, and the others are decoders that nobody needs."""
    for name, content in {
        "a.eps": drawn("EPS"),
        "a.tiff": drawn("TIFF"),
        "a.ico": drawn("ICO"),
        "a.psd": b"8BPS\0\1" + bytes(6) + b"\0\3" + (10).to_bytes(4) * 2 + b"\0\x08\0\3" + bytes(100),
        "bomb.png": bomb(),
    }.items():
        answer = send(http, name, content)
        assert answer.status_code in {201, 415}, answer.text
        if answer.status_code == 201:
            assert answer.json()["thumbnail"] is None, name


def test_of_many_frames_one_is_decoded(http: httpx.Client) -> None:
    frames = [Image.new("P", (64, 64), number % 256) for number in range(3000)]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], optimize=False)
    item = send(http, "film.gif", target.getvalue()).json()
    with Image.open(io.BytesIO(http.get(item["thumbnail"]).content)) as thumbnail:
        assert getattr(thumbnail, "n_frames", 1) == 1


def test_a_thumbnail_tells_nothing_of_the_camera(http: httpx.Client, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A maker of cameras", 6
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (800, 600), "teal").save(path, exif=exif)
    item = send(http, "turned.jpg", path.read_bytes()).json()
    assert (item["width"], item["height"]) == (600, 800)
    thumbnail = http.get(item["thumbnail"])
    assert thumbnail.headers["Content-Type"] == "image/webp"
    assert b"A maker of cameras" not in thumbnail.content
    assert b"A maker of cameras" in http.get(item["content"]).content


def test_the_status_says_whether_rows_and_storages_agree(
    http: httpx.Client, gallery: LiveServer, tmp_path: Path
) -> None:
    send(http, "a.pdf", PDF)
    send(http, "b.png", picture(tmp_path / "b.png").read_bytes())
    status = http.get("/api/status").json()
    assert (status["files"], status["check"]["files"], status["check"]["objects"]) == (2, 3, 3)
    assert status["check"]["is_clean"]
    assert set(status["check"]["counts"].values()) == {0}
    assert status["backlog"] == {"waiting": 0, "due": 0, "oldest_seconds": 0.0, "stuck": 0}
    # what nobody did through the gallery
    lost = next(path for path in (tmp_path / "gallery/files").rglob("*.pdf"))
    lost.unlink()
    with closing(sqlite3.connect(tmp_path / "gallery/gallery.db")) as database, database:
        database.execute("DELETE FROM items WHERE id = 2")
        doomed = "UPDATE filecolumn_ledger SET state = 2, due_at = 0, attempts = 20 WHERE key LIKE '%.webp'"
        assert database.execute(doomed).rowcount == 1
    status = http.get("/api/status").json()
    counts = {kind: count for kind, count in status["check"]["counts"].items() if count}
    assert not status["check"]["is_clean"]
    assert counts == {"missing": 1, "ledger": 1}
    [missing] = [finding for finding in status["check"]["findings"] if finding["kind"] == "missing"]
    assert missing["row"] == "items.file, row 1"
    assert missing["key"].endswith(lost.name)
    assert status["backlog"]["oldest_seconds"] > 0
    assert {name: status["backlog"][name] for name in ("waiting", "due", "stuck")} == {
        "waiting": 1,
        "due": 1,
        "stuck": 1,
    }


def test_the_status_is_shown_while_a_storage_does_not_answer(
    http: httpx.Client, gallery: LiveServer, tmp_path: Path
) -> None:
    send(http, "a.pdf", PDF)
    folder = tmp_path / "gallery/files"
    folder.rename(tmp_path / "elsewhere")
    folder.write_bytes(b"no folder")
    status = http.get("/api/status").json()
    assert status["files"] == 1
    assert [finding["kind"] for finding in status["check"]["findings"]] == ["unreachable"]
    assert [storage["healthy"] for storage in http.post("/api/status/probe").json()] == [False]
