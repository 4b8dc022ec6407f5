"""nginx sends what the application allows, with the location that a page of the documentation shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn import FileObject, storages
from filecolumn.litestar import FileObjectResponse
from tests.litestar.application import application, found, objects
from tests.litestar.server import LiveServer, serve
from tests.servers.nginx import behind_nginx

PAGE = Path(__file__).parents[2] / "docs/howto/serving.md"
CONTENT = bytes(range(256)) * 4000
URL = "/accelerated/1"
NO_KEEP_ALIVE = httpx.Limits(max_keepalive_connections=0)

pytestmark = pytest.mark.server


@route("/accelerated/{number:int}", http_method=["GET", "HEAD"])
async def accelerated(
    request: Request[Any, Any, Any], number: FromPath[int], db_session: NamedDependency[AsyncSession]
) -> FileObjectResponse:
    document = await found(db_session, number)
    if document.file is None or request.headers.get("x-user") == "bob":
        raise NotFoundException
    return FileObjectResponse(document.file, request, disposition="inline", x_accel="/protected/")


def documented_location(files: Path) -> str:
    """The block of the page, for a folder of this test."""
    [block] = re.findall(r"^location /protected/ \{\n.*?^\}\n", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert "/var/app/uploads/" in block
    return block.replace("/var/app/uploads/", f"{files}/")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path, handlers=[accelerated], x_accel="/protected/")) as server:
        yield server


@pytest.fixture
def nginx(live: LiveServer, http: httpx.Client, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client that knows nginx only; row 1 has a picture."""
    http.post("/documents", files={"file": ("é.png", CONTENT, "image/png")})
    with (
        behind_nginx(live.port, documented_location(tmp_path / "files"), tmp_path / "nginx") as url,
        # nginx may close a connection that waits for a next request just when that is sent
        httpx.Client(base_url=url, verify=False, timeout=20, limits=NO_KEEP_ALIVE) as client,
    ):
        yield client


def test_the_bytes_and_the_safe_headers_arrive(nginx: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        answer = nginx.request(method, URL)
        assert answer.status_code == 200
        assert answer.content == (CONTENT if method == "GET" else b"")
        headers = answer.headers
        assert headers["server"].startswith("nginx")
        assert headers["content-length"] == str(len(CONTENT))
        assert headers["content-type"] == "image/png"
        assert headers["content-disposition"] == "inline; filename=\"e.png\"; filename*=UTF-8''%C3%A9.png"
        assert headers["cache-control"] == "private, no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert "x-accel-redirect" not in headers


def test_ranges_and_conditions_hold(nginx: httpx.Client) -> None:
    part = nginx.get(URL, headers={"Range": "bytes=1000-1009"})
    assert (part.status_code, part.content) == (206, CONTENT[1000:1010])
    assert part.headers["content-range"] == f"bytes 1000-1009/{len(CONTENT)}"
    assert part.headers["x-content-type-options"] == "nosniff"
    tag, date = part.headers["etag"], part.headers["last-modified"]
    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-Modified-Since": date}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Range": tag, "Range": "bytes=0-9"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-9"}, 200),
        ({"Range": f"bytes={len(CONTENT)}-"}, 416),
    ):
        assert nginx.get(URL, headers=headers).status_code == status, headers


def test_nobody_gets_a_file_past_the_application(nginx: httpx.Client, tmp_path: Path) -> None:
    key = objects(tmp_path)[0].relative_to(tmp_path / "files").as_posix()
    for path in (
        f"/protected/{key}",
        f"/protected/./{key}",
        f"//protected/{key}",
        "/protected/",
        "/protected",
    ):
        assert nginx.get(path).status_code == 404
    answer = nginx.get(URL, headers={"X-User": "bob", "X-Accel-Redirect": f"/protected/{key}"})
    assert (answer.status_code, CONTENT[:100] in answer.content) == (404, False)


def test_signed_urls_lead_to_it_too(nginx: httpx.Client) -> None:
    signed = nginx.get(nginx.get("/documents/1").json()["file"]["url"])
    assert signed.content == CONTENT
    assert signed.headers["server"].startswith("nginx")
    assert nginx.get("/files/x").status_code == 403


@pytest.mark.parametrize("key", ["a b/ü%41?c#d.png", "x/+&=;.png"])
def test_a_key_of_any_characters_is_found(nginx: httpx.Client, key: str) -> None:
    file = FileObject("a.png", backend="files", content=b"content", to_filename=key).save()
    assert storages.get("files").exists(key)
    answer = nginx.get(file.sign(expires_in=60))
    assert (answer.status_code, answer.content) == (200, b"content")


def test_a_link_in_the_folder_leads_nowhere(nginx: httpx.Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    [stored] = objects(tmp_path)
    stored.unlink()
    assert nginx.get(URL).status_code == 404
    stored.symlink_to(secret)
    answer = nginx.get(URL)
    assert answer.status_code in {403, 404}
    assert answer.content != b"secret"
