"""A look behind the session's back, for quickstart.py: whether rows and objects agree.

Rows are read by SQL on a connection of their own, and objects as the storage lists them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from filecolumn.backends import StorageBackend

LINES = 6
"""Of a table; the rest is counted."""

console = Console(highlight=False, markup=False)


class Held(NamedTuple):
    """A file, as a row tells of it."""

    id: int
    title: str
    filename: str
    size: int
    checksum: str
    key: str


def check(database: Path, storage: StorageBackend) -> tuple[dict[str, Held], list[str]]:
    """Compare all rows with all objects, content included; return the files by key, and what is wrong."""
    rows = list(read_rows(database))
    files = {file.key: file for file in rows}
    objects = {stat.key for stat in storage.list()}
    there = objects & files.keys()
    return files, [
        *(f"{key} is held {n} times" for key, n in Counter(file.key for file in rows).items() if n > 1),
        *(f"row {files[key].id} points to {key}, which is not stored" for key in files.keys() - objects),
        *(f"{key} is stored, and no row has it" for key in objects - files.keys()),
        *(f"{key} is not what its row says" for key in there if differs(files[key], storage)),
    ]


def read_rows(database: Path) -> Iterator[Held]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id, title, file, attachments FROM documents ORDER BY id").fetchall()
    for number, title, file, attachments in rows:
        for fact in (json.loads(file), *json.loads(attachments)):
            yield Held(number, title, fact["filename"], fact["size"], fact["checksum"], fact["to_filename"])


def differs(file: Held, storage: StorageBackend) -> bool:
    digest, size = hashlib.sha256(), 0
    for chunk in storage.get(file.key):
        digest.update(chunk)
        size += len(chunk)
    return (size, f"sha256:{digest.hexdigest()}") != (file.size, file.checksum)


def say(text: str, style: str = "") -> None:
    console.print(f"  {text}", style=style, soft_wrap=True)


class Witness:
    """Watches steps, and prints what each has changed."""

    def __init__(self, database: Path, storage: StorageBackend) -> None:
        self.database = database
        self.storage = storage
        self.before: Mapping[str, Held] = {}
        self.agrees = True

    async def step(self, title: str, work: Awaitable[None]) -> None:
        """Do *work*, then look."""
        console.print(f"\n{title}", style="bold")
        await work
        files, faults = await asyncio.to_thread(check, self.database, self.storage)
        console.print(changes(self.before, files))
        if faults:
            self.agrees = False
            say("rows and objects DISAGREE", "bold red")
            for fault in faults:
                say(fault, "red")
        else:
            say(
                f"{len(files)} files in rows, as many objects: they agree, and all checksums are right",
                "green",
            )
        self.before = files


def changes(before: Mapping[str, Held], files: Mapping[str, Held]) -> Table:
    """Return a table of what is gone, what is new, and some of the rest."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in ("", "id", "title", "file name", "size", "key", "object"):
        is_number = name in {"id", "size"}
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True, max_width=18)
    lines = [("-", "removed", "red", file) for key, file in before.items() if key not in files]
    lines += [("+", "stored", "green", file) for key, file in files.items() if key not in before]
    lines += [("", "stored", "", file) for key, file in files.items() if key in before]
    for mark, state, style, file in lines[:LINES]:
        key = f"…{file.key[-12:]}"
        cells = mark, str(file.id), file.title, file.filename, decimal(file.size), key, state
        table.add_row(*map(Text, cells), style=style)
    if len(lines) > LINES:
        table.add_row("", "", f"… {len(lines) - LINES} more")
    return table
