"""What an application offers, and a client that calls it as a server does."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import uvicorn

from benchmarks.contenders.base import CONTENT, Place

PIECE = 64 * 1024
"""Bytes that a server reads of a request at once."""
MIB = 1024 * 1024
BOUNDARY = "0123456789abcdef"
FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
FORM_BODY = FORM + CONTENT + f"\r\n--{BOUNDARY}--\r\n".encode()
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    length: int


class Application:
    """An ASGI application, with `can` of `download range conditional upload large_download large_upload`.

    GET /small and /large answer with a file, POST /form takes one as the field `file` of a form, and
    PUT /large as the body.
    """

    name: ClassVar[str]
    can: ClassVar[frozenset[str]]
    app: Any

    def __init__(self, place: Place) -> None:
        self.folder = Path(place.folder)
        self.folder.mkdir(parents=True)
        self.small = self.folder / "small.bin"
        self.small.write_bytes(CONTENT)
        self.running = AsyncExitStack()
        self.ready = False
        self.megabytes = 0
        """Size of the large file; 0 if there is none."""
        self.port: int | None = None

    def make_large(self, megabytes: int) -> None:
        """Have a file that GET /large answers with."""
        with (self.folder / "large.bin").open("wb") as file:
            file.writelines(random_pieces(megabytes))

    async def start(self) -> None:
        """Start the application, once."""
        if not self.ready:
            await self.enter()
            self.ready = True

    async def enter(self) -> None:
        """Enter its lifespan, if it has one."""

    async def serve(self) -> int:
        """Put a server before it, once, and return its port."""
        await self.start()
        if self.port is None:
            listening = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(self.app, log_level="warning", lifespan="off")
            self.serving = asyncio.create_task(uvicorn.Server(config).serve([listening]))
            self.port = listening.getsockname()[1]
        return self.port

    async def call(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] = (b"",),
    ) -> Answer:
        """Send a request, and read the whole answer."""
        pieces = iter(body)
        following = next(pieces, b"")
        start: dict[str, Any] = {}
        length = 0
        complete = asyncio.Event()

        async def receive() -> dict[str, Any]:
            nonlocal following
            piece, following = following, next(pieces, None)
            if piece is None:
                # a client stays until it has everything
                await complete.wait()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": following is not None}

        async def send(message: dict[str, Any]) -> None:
            nonlocal length
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                length += len(message.get("body", b""))
                if not message.get("more_body"):
                    complete.set()

        await self.app(_scope(method, path, headers), receive, send)
        answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], answered, length)


def _scope(method: str, path: str, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x"), *((name.encode(), value.encode()) for name, value in headers)],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }


def random_pieces(megabytes: int) -> Iterable[bytes]:
    """Return a large body, piece by piece."""
    piece = os.urandom(PIECE)
    return (piece for _ in range(megabytes * MIB // PIECE))
