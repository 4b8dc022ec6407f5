"""Forms made to be expensive, against a server process whose memory and processor time are measured."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.litestar import raw
from tests.litestar.application import objects
from tests.servers.process import free_port, running

MIB = 1024 * 1024
MEMORY = 32 * MIB
SECONDS = 1.0
"""Of the processor; the slowest takes a tenth of it."""

PART = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
FILLING = b"p" * 65536

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(120)]


@dataclass
class ServerProcess:
    """The server, and what it has taken."""

    port: int
    process: psutil.Process

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        [kib] = [line.split()[1] for line in status if line.startswith("VmHWM")]
        return int(kib) * 1024

    def seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.litestar.process_app:app", "--log-level", "critical"]
    environment = {"FILECOLUMN_TEST_FOLDER": str(folder)}
    with running([*command, "--port", str(port)], port, folder / "log", environment) as process:
        made = ServerProcess(port, psutil.Process(process.pid))
        # what is imported and opened once is not a form's fault
        assert raw.status_of(raw.post_form(port, "/documents", FILE + b"--xyz--\r\n")) == 201
        yield made


def chunked(port: int, path: str, body: Iterable[bytes], boundary: str) -> int:
    """Send a body of unknown length until the server answers or closes; return the status, 0 if it only closed."""
    headers = [
        ("Content-Type", f"multipart/form-data; boundary={boundary}"),
        ("Transfer-Encoding", "chunked"),
    ]
    with raw.connect(port) as connection:
        try:
            connection.sendall(raw.head("POST", path, headers))
            for piece in body:
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
        except ConnectionError:
            pass
        try:
            return raw.status_of(connection.recv(65536))
        except ConnectionError:
            return 0


def forms() -> dict[str, tuple[Iterable[bytes], str]]:
    return {
        "1,000,001 parts": (itertools.repeat(PART * 1000, 1001), "xyz"),
        "a header of 10 MB": (
            itertools.chain([b"--xyz\r\nX-A: "], [FILLING] * 160, [b"\r\n\r\n\r\n--xyz--"]),
            "xyz",
        ),
        "100 MB before": (itertools.chain([FILLING] * 1600, [b"\r\n", FILE, b"--xyz--\r\n"]), "xyz"),
        "100 MB behind": (itertools.chain([FILE, b"--xyz--\r\n"], [FILLING] * 1600), "xyz"),
        "100 MB without a line": (itertools.chain([b"--xyz\r\n"], [FILLING] * 1600), "xyz"),
        "a boundary of 8 KB": (
            [raw.form(('name="file"; filename="a"', b"x"), boundary="b" * 8000)],
            "b" * 8000,
        ),
        "100 MB of text": (itertools.chain([PART[:-2]], [FILLING] * 1600, [b"\r\n--xyz--\r\n"]), "xyz"),
    }


# a field of text is what Litestar keeps in memory, as much as a handler says that it may: a page says so
CASES = [(path, name) for name in forms() for path in ("/documents", "/unbounded")]
CASES.remove(("/unbounded", "100 MB of text"))


@pytest.mark.parametrize(("path", "name"), CASES)
def test_a_form_made_to_be_expensive_is_cheap(
    server: ServerProcess, folder: Path, path: str, name: str
) -> None:
    body, boundary = forms()[name]
    server.reset_peak()
    memory, seconds = server.peak(), server.seconds()
    status = chunked(server.port, path, body, boundary)
    # who sets no limit gets what is around the parts, and throws it away
    is_harmless = path == "/unbounded" and name in {"100 MB before", "100 MB behind"}
    assert status in ({201} if is_harmless else {0, 400, 413})
    assert server.peak() - memory < MEMORY
    assert server.seconds() - seconds < SECONDS
    count = httpx.get(f"http://127.0.0.1:{server.port}/count", verify=False).json()
    assert count == len(objects(folder))
