"""The system calls of a process that change names or make something durable, as strace has seen them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import program

TRACED = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,openat"

_LINE = re.compile(r"(?P<process>\d+) +(?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>\S+)")
_UNNAMED = re.compile(r"(?P<descriptor>\d+)<(?P<path>[^>]*)>")
_NAMED_LATER = re.compile(r'"/proc/self/fd/(?P<descriptor>\d+)"')
_PATH = re.compile(r'(?:AT_FDCWD|\d+)<(?P<opened>[^>]*)>|"(?P<named>[^"]*)"')


@dataclass(frozen=True)
class Call:
    """A call that succeeded."""

    name: str
    arguments: str
    start: int
    """Its place in the order in which calls were made."""
    end: int
    """Where it returned, in the same order."""

    @property
    def paths(self) -> Sequence[str]:
        """What it is about: of an open file its path, of a link or a rename the old one and the new one."""
        folder, found = "", []
        for token in _PATH.finditer(self.arguments):
            if token["named"] is not None:
                found.append(os.path.join(folder, token["named"]))
            else:
                folder = token["opened"]
        return found or [folder]

    @property
    def is_sync(self) -> bool:
        return self.name in {"fsync", "fdatasync"}

    @property
    def is_link(self) -> bool:
        """Whether it gives a file a name."""
        return self.name.startswith(("link", "rename"))

    def comes_before(self, other: Call) -> bool:
        """Return whether it had returned when the other was made."""
        return self.end < other.start


def traced(command: Sequence[str], folder: Path, environment: dict[str, str]) -> list[Call]:
    """Run a command and return its calls; the test is skipped where nothing may be traced."""
    strace = program("strace", hint="Debian: strace")
    output = folder / "calls"
    done = subprocess.run(
        [strace, "-f", "-y", "-qq", "-e", f"trace={TRACED}", "-o", str(output), *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if "Operation not permitted" in done.stderr and "strace" in done.stderr:
        pytest.skip("nothing may be traced here")
    assert done.returncode == 0, done.stderr
    return list(_read(output.read_text().splitlines()))


def _read(lines: Sequence[str]) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    unnamed: dict[str, str] = {}
    for number, line in enumerate(lines):
        matched = _LINE.fullmatch(line)
        assert matched is not None, line
        process, text = matched["process"], matched["text"]
        start = number
        if text.endswith("<unfinished ...>"):
            begun[process] = number, text.removesuffix("<unfinished ...>").rstrip()
            continue
        if (resumed := _RESUMED.fullmatch(text)) is not None:
            start, text = begun.pop(process)
            text += resumed["rest"]
        call = _CALL.match(text)
        if call is None or call["result"].startswith(("-1", "?")):
            continue
        if "O_TMPFILE" in call["arguments"] and (made := _UNNAMED.match(call["result"])) is not None:
            unnamed[made["descriptor"]] = made["path"]
        # the file itself, whatever has its descriptor later
        arguments = _NAMED_LATER.sub(
            lambda named: f'"{unnamed[named["descriptor"]]}"', call["arguments"], count=1
        )
        yield Call(call["name"], arguments, start, number)
