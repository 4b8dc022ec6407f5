"""300 MB go up and down over HTTP within 64 MiB of memory, client and server together."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from litestar import put
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession

from tests.litestar.application import Document, DocumentOut, Form, application, out
from tests.litestar.server import serve

MIB = 1024 * 1024
NUMBER = 300
ALLOWED = 64 * MIB

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(180)]


@put("/form", request_max_body_size=None)
async def form(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> DocumentOut:
    document = Document(file=data.file)
    db_session.add(document)
    await db_session.flush()
    return out(document)


@pytest.fixture
def live(tmp_path: Path):
    with serve(application(tmp_path, handlers=[form])) as server:
        yield server


@contextmanager
def watched() -> Iterator[list[int]]:
    """Note the growth of this process's memory while the block runs."""
    process, done, growth = psutil.Process(), threading.Event(), [0]
    gc.collect()
    start = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.01):
            growth[0] = max(growth[0], process.memory_info().rss - start)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield growth
    finally:
        done.set()
        thread.join()


class Content:
    """Fresh bytes, since the same ones would hide what is kept of them."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(NUMBER):
            chunk = os.urandom(MIB)
            self.digest.update(chunk)
            yield chunk


def form_of(content: Content) -> Iterator[bytes]:
    yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    yield from content
    yield b"\r\n--xyz--\r\n"


@pytest.mark.parametrize("path", ["/raw/a.bin", "/stream/a.bin", "/form"])
def test_300_mb_up_and_down(http: httpx.Client, path: str) -> None:
    for _ in range(2):
        http.put("/raw/warm.bin", content=iter([os.urandom(MIB)] * 20))
        assert len(http.get("/documents/1/file").content) == 20 * MIB
    content = Content()
    with watched() as growth:
        if path == "/form":
            headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
            answer = http.put(path, content=form_of(content), headers=headers)
        else:
            answer = http.put(path, content=iter(content))
        assert answer.status_code == 200, answer.text
        assert answer.json()["file"]["checksum"] == f"sha256:{content.digest.hexdigest()}"
        digest = hashlib.sha256()
        with http.stream("GET", f"/documents/{answer.json()['id']}/file") as download:
            for chunk in download.iter_bytes(MIB):
                digest.update(chunk)
        assert digest.digest() == content.digest.digest()
    assert growth[0] <= ALLOWED, f"{growth[0] / MIB:.0f} MiB"
