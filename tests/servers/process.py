"""Server processes: started on a free port, waited for a bounded time, ended by their id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit

import pytest

START_LIMIT = 60.0
"""Seconds that a server may take to listen."""
RESTARTS = 3
"""How often a server that crashes is started again."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens, and as whom to call it."""

    url: str
    user: str = "accesskey"
    password: str = "secretkey"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `http://user:password@host:port/path`."""
        parts = urlsplit(text)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        return cls(url, unquote(parts.username or "accesskey"), unquote(parts.password or "secretkey"))

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()


Serving = Callable[[Path], AbstractContextManager[Endpoint]]
"""Starts a server with a folder of its own, and ends it with the block."""


@contextmanager
def named_or_started(variable: str, serving: Serving, folder: Path) -> Iterator[Endpoint]:
    """Yield the server that an environment variable names, or start one."""
    needed(variable)
    if text := os.environ.get(variable):
        yield Endpoint.parse(text)
        return
    with serving(folder) as endpoint:
        yield endpoint


def needed(what: str) -> None:
    """Fail a test that needs *what* in a run that is to need no server, as `make test` is."""
    if os.environ.get("FILECOLUMN_TEST_SERVERS") == "none":
        pytest.fail(
            f"{what} is needed: mark the parameter or the test with pytest.mark.server", pytrace=False
        )


def unavailable(reason: str) -> NoReturn:
    """Skip what needs the server; where all must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true every server must be there", pytrace=False)
    pytest.skip(reason)


def program(*names: str, hint: str) -> str:
    """Return the path of the first program that is there, or call `unavailable`."""
    needed(names[-1])
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
    process = _start(command, log, environment)
    try:
        await_port(port, process, log)
        yield process
    finally:
        end(process)


@contextmanager
def kept_running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """As `running`; a server that crashes is started again up to `RESTARTS` times, and said.

    For a server that keeps nothing itself: its clients try again, and lose one connection.
    """
    processes = [_start(command, log)]
    changing = threading.Lock()
    ending = False

    def restart() -> None:
        for _ in range(RESTARTS):
            code = processes[-1].wait()
            with changing:
                if ending:
                    return
                sys.stderr.write(f"{command[0]} ended by itself ({code}):\n{_tail(log)}\n")
                processes.append(_start(command, log))

    watch = threading.Thread(target=restart, name=f"watch {command[0]}", daemon=True)
    watch.start()
    try:
        await_port(port, processes[0], log)
        yield
    finally:
        with changing:
            ending = True
        end(processes[-1])
        watch.join(START_LIMIT)


def _start(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until *process* listens; RuntimeError with what it said if it does not."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen:\n{_tail(log)}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, kindly at first."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
