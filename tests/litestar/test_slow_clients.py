"""A hundred clients that send a byte now and then hold up nobody, and hold no connection to the database."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from advanced_alchemy.extensions.litestar import EngineConfig
from litestar import Request, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn.http import sending
from filecolumn.litestar import file_from_body
from tests.litestar import raw
from tests.litestar.application import alchemy_config, application, found, objects
from tests.litestar.server import LiveServer, serve, until

CLIENTS = 100
TOTAL = 2.0


@put("/replaced/{name:str}", request_max_body_size=None)
async def replace_by_body(
    request: Request[Any, Any, Any], name: FromPath[str], db_session: NamedDependency[AsyncSession]
) -> None:
    """Replace a file as the page on receiving advises: the row is read when the body is there."""
    file = await file_from_body(request, name, backend="files").save_async()
    (await found(db_session, 1)).file = file


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    """Whoever wants a second connection to the database gets an error after half a second."""
    engine = EngineConfig(pool_size=1, max_overflow=0, pool_timeout=0.5)
    alchemy = alchemy_config(tmp_path, engine=engine)
    app = application(
        tmp_path, handlers=[replace_by_body], alchemy=alchemy, body_idle_timeout=1.0, body_timeout=TOTAL
    )
    with serve(app) as server:
        yield server


def request(path: str) -> bytes:
    if path == "/documents":
        kind = "multipart/form-data; boundary=xyz"
        start = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        return raw.head("POST", path, [("Content-Type", kind), ("Content-Length", "100000")]) + start
    return raw.head("PUT", path, [("Content-Length", "100000")])


@pytest.mark.parametrize("path", ["/documents", "/raw/a.bin", "/stream/a.bin", "/replaced/a.bin"])
def test_a_hundred_slow_clients_hold_up_nobody(
    live: LiveServer, http: httpx.Client, tmp_path: Path, path: str
) -> None:
    http.get("/count")
    tasks = len(live.tasks())
    with ExitStack() as stack:
        clients = {stack.enter_context(raw.connect(live.port)) for _ in range(CLIENTS)}
        for client in clients:
            client.sendall(request(path))
        statuses = list[int]()
        slowest, waiting, end = 0.0, set(clients), time.monotonic() + 5 * TOTAL
        while waiting and time.monotonic() < end:
            began = time.monotonic()
            assert http.get("/count").json() == 0
            slowest = max(slowest, time.monotonic() - began)
            for client in select.select(list(waiting), [], [], 0.2)[0]:
                statuses.append(raw.status_of(client.recv(65536)))
                waiting.discard(client)
            trickle(waiting)
    assert statuses == [408] * CLIENTS
    assert slowest < TOTAL, "somebody waited for the slow ones to end"
    assert until(lambda: objects(tmp_path) == [])
    assert until(lambda: len(live.tasks()) <= tasks + 1)


def test_clients_that_do_not_read_hold_no_connection_and_are_given_up(
    live: LiveServer, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_TIMEOUT", 1.0)
    http.put("/raw/a.bin", content=iter([bytes(1_000_000)] * 20))
    tasks = len(live.tasks())
    with ExitStack() as stack:
        for _ in range(CLIENTS // 4):
            client = stack.enter_context(raw.connect(live.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(raw.head("GET", "/documents/1/file"))
            assert client.recv(1), "its answer has begun"
        assert http.get("/count").json() == 1
        assert len(live.tasks()) > tasks
        assert until(lambda: len(live.tasks()) <= tasks, within=10)


def trickle(clients: set[socket.socket]) -> None:
    for client in clients:
        try:
            client.sendall(b"x")
        except ConnectionError:
            # it was answered just now
            continue
