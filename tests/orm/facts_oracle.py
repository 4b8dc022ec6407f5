"""What facts in SQL are to be, in plain Python: an oracle for rows of any JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from filecolumn.files.facts import Json

__all__ = (
    "Reader",
    "boolean",
    "exists",
    "filename",
    "integer",
    "member",
    "moment",
    "number",
    "path_of",
    "string",
    "write_rows",
)

Reader = Callable[[object], object]


def member(row: object, *path: str | int) -> object:
    """Return the value at a path; None where there is none."""
    for step in path:
        match row:
            case dict() if isinstance(step, str):
                row = row.get(step)
            case list() if isinstance(step, int) and step < len(row):
                row = row[step]
            case _:
                return None
    return row


def string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -(2**63) <= value < 2**63 else None


def number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def exists(value: object) -> bool:
    return value is not None


def moment(value: object) -> datetime | None:
    seconds = number(value)
    if seconds is None or not -62135596800 <= seconds < 253402300800:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1_000_000))


def path_of(row: object) -> str | None:
    key = string(member(row, "to_filename"))
    return string(member(row, "filename")) if key is None else key


def filename(row: object) -> str | None:
    name = string(member(row, "filename"))
    return None if name is None else name.rpartition("/")[2]


def write_rows(engine: Engine, table: str, rows: Sequence[tuple[Json, Json]]) -> None:
    """Write the JSON of *rows* into the columns `file` and `pages`; ids are from 1."""
    value = "CAST(:{} AS JSONB)" if engine.dialect.name == "postgresql" else ":{}"
    names = ", ".join(value.format(name) for name in ("file", "pages"))
    with engine.begin() as connection:
        connection.execute(
            text(f"INSERT INTO {table} (id, file, pages) VALUES (:id, {names})"),
            [
                {"id": number, "file": json.dumps(file), "pages": json.dumps(pages)}
                for number, (file, pages) in enumerate(rows, 1)
            ],
        )
