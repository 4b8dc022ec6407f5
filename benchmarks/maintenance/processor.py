"""What a database server of this machine has taken of the processors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from os import sysconf
from pathlib import Path

from sqlalchemy import Engine

PROC = Path("/proc")
PARENT, OWN, ALL = 1, slice(11, 13), slice(11, 15)
"""Fields of `/proc/*/stat` behind the name: the parent's number, the times of a process, those of its dead children."""


class Server:
    """The processes of the server that an engine connects to."""

    def __init__(self, engine: Engine) -> None:
        self._main = 0
        """Number of its first process; 0 if it cannot be told."""
        if engine.url.host not in {"127.0.0.1", "localhost"}:
            return
        with suppress(OSError, ValueError), engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                ours = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                self._main = int(_fields(PROC / str(ours))[PARENT])
            else:
                path = connection.exec_driver_sql("SELECT @@pid_file").scalar()
                self._main = int(Path(str(path)).read_text(encoding="ascii"))

    def seconds(self) -> float | None:
        """Return the processor time of all its processes; None if it cannot be told."""
        if not self._main:
            return None
        ticks = sum(int(ticks) for fields in self._processes() for ticks in fields)
        return ticks / sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[list[str]]:
        yield _fields(PROC / str(self._main))[ALL]
        for folder in PROC.glob("[0-9]*"):
            # a process may end between two looks
            with suppress(OSError):
                fields = _fields(folder)
                if fields[PARENT] == str(self._main):
                    yield fields[OWN]


def _fields(folder: Path) -> list[str]:
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
