"""Many requests at a time: no error, nothing left of them, and the event loop is free for the others.

The soak makes the 10,000 requests and 2,000 uploads of the promise, CI a part of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.litestar.application import objects
from tests.profiles import PROFILE
from tests.servers.process import free_port, running

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(1_800)]

AT_A_TIME = 300
UPLOADS_AT_A_TIME = 20
HELD = 0.05
"""Seconds of its processor that one callback may take of the event loop."""
MIB = 1024 * 1024
MEMORY = 16 * MIB
"""What a server may have more after as many requests again: allocators do not give back all."""
CONTENT = bytes(range(256)) * 256


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.litestar.load_app:app", "--log-level", "critical"]
    environment = {"FILECOLUMN_TEST_FOLDER": str(tmp_path)}
    with running([*command, "--port", str(port)], port, tmp_path / "log", environment):
        yield f"http://127.0.0.1:{port}"


@dataclass
class Client:
    """Sends requests of HTTP/1.1 on connections of its own, so that 300 of them do not measure the client."""

    url: str

    async def many(
        self, number: int, at_a_time: int, exchange: Callable[[Any, int], Awaitable[int]]
    ) -> Counter[int]:
        found: Counter[int] = Counter()
        numbers = iter(range(number))

        async def work() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(self.url).port)
            try:
                for each in numbers:
                    found[await exchange((reader, writer), each)] += 1
            finally:
                writer.close()
                await writer.wait_closed()

        await asyncio.gather(*(work() for _ in range(at_a_time)))
        return found


async def sent(
    connection: Any, method: str, path: str, content: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    reader, writer = connection
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    length = next(
        (
            int(line.partition(":")[2])
            for line in head.lower().split("\r\n")
            if line.startswith("content-length")
        ),
        0,
    )
    body = b"" if method == "HEAD" or status == 304 else await reader.readexactly(length)
    return status, body


async def small(connection: Any, number: int) -> int:
    """Ask for a file in one of the ways that need little."""
    path = "/documents/1/file"
    match number % 5:
        case 0:
            status, body = await sent(connection, "GET", path)
            return status if body == CONTENT else 0
        case 1:
            return (await sent(connection, "HEAD", path))[0]
        case 2:
            return (await sent(connection, "GET", path, If_None_Match="*"))[0]
        case 3:
            status, body = await sent(connection, "GET", path, Range="bytes=10-19")
            return status if body == CONTENT[10:20] else 0
        case _:
            return (await sent(connection, "GET", "/documents/1"))[0]


async def up_and_down(connection: Any, number: int) -> int:
    """Store a file, in a form or as it is, read it and remove it."""
    content = number.to_bytes(4) * 50_000
    status, body = await sent(connection, "PUT", f"/raw/{number}.bin", content)
    if status != 200:
        return status
    document = json.loads(body)["id"]
    status, body = await sent(connection, "GET", f"/documents/{document}/file")
    if (status, body) != (200, content):
        return status if status != 200 else 0
    form = (
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--xyz--\r\n'
        % content
    )
    status, _ = await sent(
        connection, "PUT", f"/documents/{document}", form, Content_Type="multipart/form-data; boundary=xyz"
    )
    if status != 200:
        return status
    return (await sent(connection, "DELETE", f"/documents/{document}"))[0]


async def test_many_requests_leave_nothing_and_hold_nobody_up(url: str, tmp_path: Path) -> None:
    client = Client(url)

    async def load() -> None:
        found = await client.many(PROFILE.requests, AT_A_TIME, small)
        share = PROFILE.requests // 5
        assert found == {200: 3 * share, 304: share, 206: share}
        assert await client.many(PROFILE.uploads, UPLOADS_AT_A_TIME, up_and_down) == {204: PROFILE.uploads}

    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:

        async def measured() -> dict[str, Any]:
            await asyncio.sleep(1)
            return (await http.get("/measured")).json()

        assert (await http.post("/documents", files={"file": ("a.bin", CONTENT)})).status_code == 201
        assert (await http.get("/documents/1/file")).content == CONTENT
        # what is imported, compiled and connected once is not what a request takes
        await client.many(PROFILE.requests // 10, AT_A_TIME, small)
        await client.many(PROFILE.uploads // 10, UPLOADS_AT_A_TIME, up_and_down)
        await http.post("/measured")
        await load()
        first = await measured()
        await load()
        second = await measured()
        if path := os.environ.get("FILECOLUMN_TEST_FIGURES"):
            figures = json.dumps({"first": first, "second": second}, indent=1)
            Path(path).write_text(figures)  # noqa: ASYNC240
        assert (await http.get("/count")).json() == 1
    assert len(objects(tmp_path)) == 1
    assert second["files"] <= first["files"] + 2
    assert second["tasks"] <= first["tasks"] + 1
    assert second["memory"] - first["memory"] <= MEMORY
    held = [(took, what) for took, what in second["slowest"] if took > HELD]
    assert not held, f"{os.linesep}".join(f"{took * 1000:.0f} ms: {what}" for took, what in held)
