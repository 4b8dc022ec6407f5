"""`filecolumn.http` serves and receives files without a framework."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import filecolumn.http
from filecolumn import FileObject, storages
from filecolumn.http import (
    FileSender,
    HttpError,
    RequestBody,
    Serving,
    announced_length,
    disposition_of,
    file_of,
    http_error,
    receive_upload,
    request_headers,
    verified_claims,
)
from filecolumn.signing import Purpose, TokenSigner, UrlSigner

SIGNER = UrlSigner(TokenSigner("0123456789abcdef0123456789abcdef"), "http://test")
FRAMEWORKS = {"litestar", "starlette", "sqlalchemy"}


@pytest.fixture(autouse=True)
def _storage() -> Iterator[None]:
    storages.register_backend("memory://", key="files")
    storages.signer = SIGNER
    yield
    storages.signer = None
    storages.unregister_backend("files")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve what signed URLs name: the whole of an application."""
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    try:
        if scope["method"] == "PUT":
            await respond_json(await upload(headers, token_of(scope), receive, send), send)
        else:
            await download(scope, receive, send)
    except Exception as error:
        known = http_error(error)
        await respond_json(known.detail, send, known.status)


async def upload(headers: dict[str, str], token: str, receive: Any, send: Any) -> Any:
    body = RequestBody[dict[str, Any], Any](
        receive, send, announced_length(headers), idle_timeout=0.2, timeout=1.0
    )
    return await receive_upload(
        SIGNER, claims_of(token, "upload"), headers, chunks_of(body), announced=None, max_size=None
    )


async def chunks_of(body: RequestBody[dict[str, Any], Any]) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await body.receive()
        more = message["more_body"]
        yield message["body"]


async def download(scope: Any, receive: Any, send: Any) -> None:
    claims = claims_of(token_of(scope), "download")
    sender = FileSender(
        file=file_of(claims),
        method=scope["method"],
        request_headers=request_headers(scope["headers"]),
        serving=Serving(disposition=disposition_of(claims)),
    )
    assert await sender.respond(scope, receive, send, headers={"X-Own": "1"})


def token_of(scope: Any) -> str:
    return scope["path"].strip("/")


def claims_of(token: str, purpose: Purpose) -> Any:
    return verified_claims(SIGNER, token, purpose, subject=None)


async def respond_json(content: Any, send: Any, status: int = 200) -> None:
    body = httpx.Request("POST", "http://test", json=content).content
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://test")


def test_a_file_is_served_by_its_signed_url() -> None:
    url = FileObject("a.txt", backend="files", content=b"hello").save().sign(expires_in=60)

    async def main() -> None:
        async with client() as http:
            answer = await http.get(url)
            assert (answer.status_code, answer.content, answer.headers["x-own"]) == (200, b"hello", "1")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.headers["content-disposition"] == 'inline; filename="a.txt"'
            part = await http.get(url, headers={"Range": "bytes=1-2"})
            assert (part.status_code, part.content) == (206, b"el")
            fresh = await http.get(url, headers={"If-None-Match": answer.headers["etag"]})
            assert (fresh.status_code, fresh.content) == (304, b"")
            assert (await http.head(url)).headers["content-length"] == "5"
            assert (await http.get("/not-a-token")).status_code == 403

    anyio.run(main)


def test_an_upload_is_received_by_its_signed_url() -> None:
    grant = FileObject("a.txt", backend="files").grant_upload(max_size=5)

    async def main() -> None:
        async with client() as http:
            assert (await http.put(grant.url, content=b"too much")).json() == "File too large"
            stored = await http.put(grant.url, content=b"hello")
            assert stored.json()["size"] == 5
            assert FileObject.from_grant(stored.json()["grant"]).size == 5
            again = await http.put(grant.url, content=b"again")
            assert (again.status_code, again.json()) == (409, "File already exists")

    anyio.run(main)


def test_a_body_that_stops_is_refused() -> None:
    messages = [{"type": "http.request", "body": b"he", "more_body": True}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        return await anyio.sleep(10)

    async def main() -> None:
        body = RequestBody[dict[str, Any], Any](receive, receive, 5, idle_timeout=0.05, timeout=1.0)
        assert (await body.receive())["body"] == b"he"
        for _ in range(2):
            with pytest.raises(HttpError, match="timed out") as raised:
                await body.receive()
            assert raised.value.status == 408

    anyio.run(main)


def test_no_framework_is_imported() -> None:
    folder = Path(filecolumn.http.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in FRAMEWORKS, path
            elif isinstance(node, ast.Import):
                assert not FRAMEWORKS & {each.name.partition(".")[0] for each in node.names}, path
    code = "import sys, filecolumn.http; print(sorted({'litestar', 'multipart'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("size", "messages"), [(1, 1), (4096, 1), (64 * 1024, 1), (64 * 1024 + 1, 2), (200_000, 2)]
)
def test_a_small_file_goes_to_the_server_in_one_message(size: int, messages: int) -> None:
    file = FileObject("a.bin", backend="files", content=b"x" * size).save()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        sender = FileSender(file=file, method="GET", request_headers={}, serving=Serving())
        assert await sender.respond({}, receive, send, headers={})

    anyio.run(main)
    start, *body = sent
    assert start["status"] == 200
    assert len(body) == messages
    assert b"".join(message["body"] for message in body) == b"x" * size
    assert [message["more_body"] for message in body] == [True] * (messages - 1) + [False]
