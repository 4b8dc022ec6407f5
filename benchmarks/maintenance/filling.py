"""Tables that are filled by one INSERT ... SELECT each, and of which the database has no statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from benchmarks.maintenance.storage import FOLDER, SIZE

STORAGE = "made-up"

NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :count - 1) SELECT i FROM n)",
    "postgresql": "(SELECT i FROM generate_series(0, :count - 1) AS n(i))",
    "mariadb": "(SELECT seq AS i FROM seq_0_to_{last})",
}
HEXADECIMAL = {
    "sqlite": "printf('%032x', {number})",
    "postgresql": "lpad(to_hex({number}), 32, '0')",
    "mariadb": "lpad(lower(hex({number})), 32, '0')",
}
CONCATENATED = {"mariadb": "concat('{folder}/', {name}, '.bin')"}
JSON = {"postgresql": "CAST({text} AS jsonb)"}
UNANALYSED = {
    "postgresql": "ALTER TABLE {table} SET (autovacuum_enabled = false)",
    "mariadb": "ALTER TABLE {table} STATS_AUTO_RECALC = 0",
}
"""What keeps a server from looking at what a table has become."""

ROW = {
    "filename": "report.pdf",
    "to_filename": "{key}",
    "backend": STORAGE,
    "content_type": "application/pdf",
    "size": SIZE,
    "checksum": f"sha256:{'0' * 64}",
    "etag": "1a2b-3c4d-5e6f",
    "version_id": None,
    "last_modified": 1767225600.0,
    "metadata": {},
    "v": 1,
}

Others = Literal["none", "rowless", "checked", "unchecked"]
"""The keys beside those of rows: live without a row, or doomed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What the tables have."""

    rows: int
    """Rows with a file; the ledger has their keys as live."""
    others: Others = "none"
    other_keys: int = 0
    """Each lies behind that of a row."""
    has_triggers: bool = False
    journal: str = "delete"
    """SQLite's journal."""

    @property
    def row_numbers(self) -> Iterable[int]:
        """The numbers of the keys of rows."""
        return range(0, 2 * self.rows, 2)

    @property
    def other_numbers(self) -> Iterable[int]:
        """The numbers of the other keys."""
        return range(1, 1 + self.apart * self.other_keys, self.apart)

    @property
    def apart(self) -> int:
        """How far the numbers of two other keys are apart."""
        return 2 * max(1, self.rows // max(1, self.other_keys))


# state, checked, due_at, held_in, unreferenced_since
_LIVE = "1, true, NULL, :column, NULL"
_OTHERS: dict[str, str] = {
    "rowless": _LIVE,
    "checked": "2, true, 1000 + i / 100, :column, NULL",
    # every other one as a trigger leaves it, the rest as a sweep does
    "unchecked": (
        "2, false, 1000 + i / 100, CASE WHEN i % 2 = 0 THEN :column END, CASE WHEN i % 2 = 1 THEN 1000 END"
    ),
}


def fill(connection: Connection, filling: Filling, column: str | None) -> None:
    """Fill the tables, which are empty; *column* is the ledger's name for the file column."""
    kind = connection.dialect.name
    for table in ("documents", "filecolumn_ledger"):
        if kind in UNANALYSED:
            connection.execute(text(UNANALYSED[kind].format(table=table)))
    numbers = NUMBERS[kind].format(last=filling.rows - 1)
    key = _key(kind, "2 * i")
    value = JSON.get(kind, "{text}").format(text=f"replace(:value, '{{key}}', {key})")
    connection.execute(
        text(f"INSERT INTO documents (title, file) SELECT 'a', {value} FROM {numbers} AS n"),
        {"value": json.dumps(ROW)} | _count(kind, filling.rows),
    )
    _enter(connection, key, _LIVE, filling.rows, column)
    if filling.other_keys:
        key = _key(kind, f"{filling.apart} * i + 1")
        _enter(connection, key, _OTHERS[filling.others], filling.other_keys, column)


def _enter(connection: Connection, key: str, facts: str, count: int, column: str | None) -> None:
    kind = connection.dialect.name
    facts = facts.replace(" / ", " DIV ") if kind == "mariadb" else facts
    connection.execute(
        text(f"""
INSERT INTO filecolumn_ledger
  (backend, {"`key`" if kind == "mariadb" else "key"}, state, checked, due_at, held_in, unreferenced_since,
  size, sha256, created_at, attempts, fresh)
SELECT '{STORAGE}', {key}, {facts}, {SIZE}, '{"0" * 64}', 2000, 0, false
FROM {NUMBERS[kind].format(last=count - 1)} AS n"""),
        {"column": column} | _count(kind, count),
    )


def _key(kind: str, number: str) -> str:
    name = HEXADECIMAL[kind].format(number=number)
    return CONCATENATED.get(kind, "'{folder}/' || {name} || '.bin'").format(folder=FOLDER, name=name)


def _count(kind: str, count: int) -> dict[str, int]:
    return {} if kind == "mariadb" else {"count": count}
