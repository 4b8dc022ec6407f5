"""Tables in a private temporary file: what a run has to remember, in memory that does not grow with it.

The file is SQLite's own temporary database, beside the process, and vanishes with it.  The
application's database needs no right to create tables for it, and may be a replica or behind a pooler
that forgets temporary tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Self, TypeVar

from filecolumn.files import execution
from filecolumn.orm.references import last_segment

__all__ = ("PAGE", "TemporaryRow", "TemporaryTables", "head_of", "storable")

PAGE = 1000
LIMIT = 3600.0
CACHE_KIB = 8192

TemporaryRow = tuple[Any, ...]  # a row of SQLite: its tables say what is in it

T = TypeVar("T")


class TemporaryTables:
    """Tables in a temporary file, in a thread where an event loop waits."""

    def __init__(self, tables: str) -> None:
        # worker threads take turns with it in an event loop, never two at a time
        self._file = sqlite3.connect("", check_same_thread=False)
        self._file.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._file.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {tables}")
        self._widths: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def pages(self, query: str, parameters: Sequence[object] = ()) -> Iterator[list[TemporaryRow]]:
        """Yield the rows of a query, in pages of `PAGE`; the tables stay as they are meanwhile."""
        with closing(self._file.cursor()) as cursor:
            self._run(partial(cursor.execute, query, parameters))
            while page := self._run(partial(cursor.fetchmany, PAGE)):
                yield page

    def _add(self, statement: str, rows: Iterable[TemporaryRow]) -> None:
        self._run(partial(self._file.executemany, statement, rows))

    def _fetch(self, query: str, parameters: Sequence[object] = ()) -> list[TemporaryRow]:
        return self._run(lambda: self._file.execute(query, parameters).fetchall())

    def _count(self, query: str) -> int:
        [[number]] = self._fetch(query)
        assert isinstance(number, int)  # noqa: S101 - count() is one
        return number

    def _script(self, statements: str) -> None:
        self._run(partial(self._file.executescript, statements))

    def _keys_named_in(self, text: str, table: str) -> list[str]:
        """Return the keys of a table, not held yet, whose last segment occurs in a text; it has their `head_of`."""
        query = f"SELECT key FROM {table} WHERE head = ? AND NOT held"  # noqa: S608 - ours
        heads = {
            text[start : start + width]
            for width in self._head_widths(table)
            for start in range(len(text) - width + 1)
        }

        def look() -> list[str]:
            found = (key for head in heads for (key,) in self._file.execute(query, (head,)))
            return [key for key in found if last_segment(key) in text]

        return self._run(look)

    def _head_widths(self, table: str) -> list[int]:
        """Return how long the heads of a table are, which is indexed by them from now on."""
        if table not in self._widths:
            self._script(f"CREATE INDEX {table}_head ON {table} (head) WHERE NOT held")
            widths = self._fetch(f"SELECT DISTINCT length(head) FROM {table}")  # noqa: S608 - ours
            self._widths[table] = [width for (width,) in widths]
        return self._widths[table]

    def _run(self, call: Callable[[], T]) -> T:
        return execution.blocking(call, limit=LIMIT, doing="use a temporary file")


def head_of(key: str) -> str:
    """Return the beginning of a key's last segment, as many characters as the largest power of two in its length.

    So there are few lengths to look for in a text, and few keys that only begin alike.
    """
    last = last_segment(key)
    return last[: 1 << (len(last).bit_length() - 1)] if last else ""


def storable(text: str) -> str:
    """Return *text* without halves of characters, which no key has."""
    return text.encode(errors="replace").decode()
