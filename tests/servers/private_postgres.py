"""A PostgreSQL server of a test's own, for settings that the common one need not have."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import free_port, needed, unavailable

START_LIMIT = 30.0
"""Seconds that the server has to start."""


@contextmanager
def private_postgres(*settings: str) -> Iterator[str]:
    """Start a server with *settings*, such as "max_connections=20", and yield its URL."""
    programs = _programs()
    # not in pytest's folder: the server's own user could not reach it
    folder = Path(tempfile.mkdtemp(prefix="filecolumn-postgres-"))
    try:
        _give_to_postgres(folder)
        data = folder / "data"
        options = ["--pgdata", str(data), "--username=postgres", "--auth=trust", "--no-sync"]
        subprocess.run(
            [*_as_postgres(), programs / "initdb", *options], check=True, capture_output=True, timeout=60
        )
        port = free_port()
        chosen = ("fsync=off", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *settings)
        arguments = [
            "-D",
            str(data),
            "-p",
            str(port),
            *(part for setting in chosen for part in ("-c", setting)),
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*_as_postgres(), programs / "postgres", *arguments], stderr=log, stdout=log
            )
        try:
            _wait_for(port, server, folder / "log")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                # what is still connected keeps it waiting
                server.send_signal(signal.SIGQUIT)
                server.wait(20)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    needed("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        unavailable("no PostgreSQL is installed here")
    return Path(on_path or found[-1]).parent


def _as_postgres() -> list[str]:
    """Return what runs a command as the server's user: it refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


def _give_to_postgres(folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("127.0.0.1", port)) == 0 and b"ready to accept" in log.read_bytes():
                return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
