"""A live uvicorn on loopback, in a thread of the test process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from litestar import Litestar


@dataclass
class LiveServer:
    """An application that listens."""

    app: Litestar
    port: int
    loop: asyncio.AbstractEventLoop
    thread: int
    """In which it runs."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        # reading the certificates takes longer than most tests, and nothing here is encrypted
        return httpx.Client(base_url=self.url, timeout=30, verify=False, **options)

    def tasks(self) -> set[str]:
        """The names of the coroutines that run in the server's loop."""

        async def running() -> set[str]:
            await asyncio.sleep(0)
            mine = asyncio.current_task()
            return {str(task.get_coro()) for task in asyncio.all_tasks() if task is not mine}

        return asyncio.run_coroutine_threadsafe(running(), self.loop).result(10)


class Server(uvicorn.Server):
    """uvicorn, which notices sooner that it is to stop."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            await asyncio.sleep(0.01)


@contextmanager
def serve(app: Litestar, **options: Any) -> Iterator[LiveServer]:
    """Serve *app* until the block ends."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="on", **options)
    server = Server(config)
    started = threading.Event()
    live: list[LiveServer] = []

    async def run() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if server.started:
            port = server.servers[0].sockets[0].getsockname()[1]
            live.append(LiveServer(app, port, asyncio.get_running_loop(), threading.get_ident()))
        started.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(20), "uvicorn did not start"
    assert live, "the application did not start"
    try:
        yield live[0]
    finally:
        server.should_exit = True
        thread.join(10)
        if thread.is_alive():
            server.force_exit = True
            thread.join(10)
        assert not thread.is_alive(), "uvicorn did not stop"


def until(condition: Any, *, within: float = 5.0) -> bool:
    """Wait until *condition* holds; return whether it does."""
    end = time.monotonic() + within
    while not (held := bool(condition())) and time.monotonic() < end:
        time.sleep(0.02)
    return held
