"""Server processes: started on a free port, waited for a bounded time, ended by their id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

START_LIMIT = 60.0
"""Seconds that a server may take to listen."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens, and as whom to call it."""

    url: str
    user: str = "accesskey"
    password: str = "secretkey"

    @classmethod
    def named(cls, variable: str) -> Endpoint | None:
        """Read `http://user:password@host:port` from an environment variable."""
        text = os.environ.get(variable)
        if not text:
            return None
        parts = urlsplit(text)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        return cls(url, parts.username or cls.user, parts.password or cls.password)


def unavailable(reason: str) -> NoReturn:
    """Skip what needs the server; where all must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true every server must be there", pytrace=False)
    pytest.skip(reason)


def program(*names: str, hint: str) -> str:
    """Return the path of the first program that is there, or call `unavailable`."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    unavailable(f"{names[-1]} is not installed ({hint})")


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* until the block ends; it must listen on *port* within `START_LIMIT`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    try:
        await_port(port, process, log)
        yield process
    finally:
        end(process)


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until *process* listens; RuntimeError with what it said if it does not."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text(errors='replace')[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, kindly at first."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
