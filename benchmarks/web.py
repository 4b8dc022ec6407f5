"""One large file over HTTP: the plugin against a bare handler over the same storage, in one server.

The server is a process of its own, so that the client takes none of its time.  S3 is moto, where
it is installed: an emulator, so only the ratio counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar, Request, get, put
from litestar.response import Stream

from benchmarks.measure import Figure, Sizes, in_turn, medians
from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, FileObjectResponse, file_from_body

MIB = 1024 * 1024
DOWN, UP = 1 / 0.95, 1 / 0.9
STORAGES = ("local", "s3")
S3 = {
    "access_key_id": "accesskey",
    "secret_access_key": "secretkey",
    "region": "us-east-1",
    "client_options": {"allow_http": True},
}


def measure(sizes: Sizes) -> list[Figure]:
    """Let the handlers answer in turn, downloads first."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        urls = {"local": f"file://{Path(folder).resolve()}/"}
        if find_spec("moto") is not None:
            urls["s3"] = stack.enter_context(_moto())
        for name, url in urls.items():
            with _server(url, sizes.megabytes) as port:
                figures += _measured(name, port, sizes)
    return figures


def _measured(name: str, port: int, sizes: Sizes) -> list[Figure]:
    down = in_turn({way: partial(_download, port, f"/{way}") for way in ("ours", "bare")}, sizes.large_rounds)
    up = in_turn(
        {way: partial(_upload, port, f"/{way}", sizes.megabytes) for way in ("ours", "bare")},
        sizes.large_rounds,
    )
    return [
        _figure(
            f"{sizes.megabytes} MiB down, {name}: FileObjectResponse v Stream", medians(down), DOWN, sizes
        ),
        _figure(f"{sizes.megabytes} MiB up, {name}: file_from_body v obstore", medians(up), UP, sizes),
    ]


def _figure(what: str, cost: dict[str, float], budget: float, sizes: Sizes) -> Figure:
    detail = f"{sizes.megabytes / cost['ours']:.0f} MiB/s v {sizes.megabytes / cost['bare']:.0f} MiB/s"
    return Figure(what=what, value=cost["ours"] / cost["bare"], budget=budget, detail=detail)


def _download(port: int, path: str) -> float:
    buffer = memoryview(bytearray(MIB))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        start = time.perf_counter()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while connection.recv_into(buffer):
            pass
        return time.perf_counter() - start


def _upload(port: int, path: str, megabytes: int) -> float:
    chunk = os.urandom(MIB)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        start = time.perf_counter()
        length = f"Content-Length: {megabytes * MIB}"
        connection.sendall(
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n".encode()
        )
        for _ in range(megabytes):
            connection.sendall(chunk)
        answer = connection.recv(4096)
        taken = time.perf_counter() - start
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    return taken


def application(url: str, megabytes: int) -> Litestar:
    backend = ObstoreBackend("files", url, **({"fsync": False} if url.startswith("file:") else _s3_options()))
    storages.register_backend(backend)
    file = FileObject("large.bin", content=(os.urandom(MIB) for _ in range(megabytes))).save()

    @get("/ours")
    async def ours() -> FileObjectResponse:
        return FileObjectResponse(file)

    @get("/bare")
    async def bare() -> Stream:
        content = await backend.get_async(file.path or "")
        return Stream(content, headers={"Content-Length": str(file.size)})

    @put("/ours", request_max_body_size=None)
    async def ours_up(request: Request[Any, Any, Any]) -> None:
        await (await file_from_body(request, "up.bin", backend="files").save_async()).delete_async()

    @put("/bare", request_max_body_size=None)
    async def bare_up(request: Request[Any, Any, Any]) -> None:
        digest = hashlib.sha256()

        async def hashed() -> AsyncIterator[bytes]:
            async for chunk in request.stream():
                digest.update(chunk)
                yield chunk

        key = f"bare/{time.monotonic_ns()}"
        await backend.store.put_async(key, hashed(), chunk_size=8 * MIB, max_concurrency=4)
        await backend.store.delete_async(key)

    plugin = FileColumnPlugin(FileColumnConfig(backends={"files": backend}, check_on_startup=False))
    return Litestar([ours, bare, ours_up, bare_up], plugins=[plugin])


def _s3_options() -> dict[str, Any]:
    return {**S3, "endpoint": os.environ["BENCHMARK_S3"]}


@contextmanager
def _server(url: str, megabytes: int) -> Iterator[int]:
    port = _free_port()
    with _running([sys.executable, "-m", "benchmarks.web", url, str(megabytes), str(port)], port):
        yield port


@contextmanager
def _moto() -> Iterator[str]:
    port = _free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        os.environ["BENCHMARK_S3"] = f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"PUT /benchmark HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            connection.recv(4096)
        yield "s3://benchmark/"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(port, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _serve(url: str, megabytes: int, port: int) -> None:
    config = uvicorn.Config(application(url, megabytes), host="127.0.0.1", port=port, log_level="warning")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
