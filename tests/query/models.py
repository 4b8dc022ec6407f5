"""Models with a column of each kind that queries know, and rows of any JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Date, DateTime, Engine, Float, String, bindparam, insert, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject

__all__ = ("NUMBERS", "ROWS", "TEXTS", "Base", "Label", "Paper", "write_papers")


class Base(DeclarativeBase):
    """Base of the models."""

    # MariaDB wants a length, and its server may have a character set by default that has no emoji
    type_annotation_map = {
        str: String(200).with_variant(mysql.VARCHAR(200, charset="utf8mb4"), "mysql", "mariadb")
    }


BY_CODE_POINT = (
    String(200)
    .with_variant(String(200, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(200, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
)


class Paper(Base):
    """Columns of its own, a file and a list of files; rows are written by SQL."""

    __tablename__ = "papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(BY_CODE_POINT)
    label: Mapped[str | None]
    """With the collation that the database has by itself."""
    pages_read: Mapped[int | None]
    price: Mapped[float | None] = mapped_column(Float(53))
    is_open: Mapped[bool | None]
    at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    noted: Mapped[datetime | None]
    day: Mapped[date | None] = mapped_column(Date)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))
    pages: Mapped[FileObjectList | None] = mapped_column(
        StoredObject(backend="docs", multiple=True, ledger=False)
    )


class Label(Base):
    """A model without files, whose names are unique."""

    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    colour: Mapped[str] = mapped_column(default="")


TEXTS = [
    "", "a", "A", "a ", "ab", "Ab", "b", "ü", "u\u0308", "😀 x", "50%_a", "50%", "50", "_", "*", "[a]", "?", "\\",
    "a\\b", 'a"b', "'", "1", "true", "null", "image/png", "\ue000", "\U0010ffff", "a\nb", "$", ":x", "%(x)s", "{",
]  # fmt: skip
NUMBERS: list[int | float] = [
    0, 1, -1, 2, 1.5, -1.25, 3.0, 1e300, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 0.5,
]  # fmt: skip
MOMENTS = [
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 12,
    tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
]  # fmt: skip
SECONDS = [0, 946684799.5, 946684800, 1764528000.25, -62135596800, 253402300799.5, 253402300800, -1e300]
VALUES = [*TEXTS, *NUMBERS, True, False, None, [], [1], ["a"], ["a", "50%", 2, True], [[1]], {}, {"a": 1}]
NAMES = ["k", "a b", "ü", "😀", 'q"\\', "'", "", "a.b", "$", "[0]", "%s", ":x", "size", "in"]


def _row(number: int) -> dict[str, Any]:
    """Return a row whose fields have values from the lists above, each in a turn of its own."""
    value, words = VALUES[number % len(VALUES)], TEXTS[number % len(TEXTS)]
    at = MOMENTS[number % len(MOMENTS)]
    file = {
        "filename": words,
        "to_filename": f"docs/{number}",
        "content_type": TEXTS[(number * 7) % len(TEXTS)] if number % 3 else None,
        "size": NUMBERS[number % len(NUMBERS)] if number % 5 else "10",
        "last_modified": SECONDS[number % len(SECONDS)],
        "metadata": dict.fromkeys(NAMES, value) | {"o": {"a": value}},
    }
    return {
        "id": number + 1,
        "title": words if number % 4 else None,
        "label": words if number % 4 else None,
        "pages_read": number - 20 if number % 3 else None,
        "price": number / 4 if number % 3 else None,
        "is_open": (True, False, None)[number % 3],
        "at": at if number % 4 else None,
        "noted": at.replace(tzinfo=None) if number % 4 else None,
        "day": at.date() + timedelta(days=-1 if at.year > 9000 else 1) if number % 4 else None,
        "file": file if number % 10 else (None, "text", [], {})[number // 10 % 4],
        "pages": [{**file, "size": size} for size in range(number % 4)]
        if number % 6
        else (None, 1)[number % 12 // 6],
    }


ROWS: Sequence[Mapping[str, Any]] = [_row(number) for number in range(len(VALUES) + 25)]


def write_papers(engine: Engine) -> None:
    """Write `ROWS`; the JSON as it stands."""
    table = Paper.__table__
    value = "CAST(:j AS JSONB)" if engine.dialect.name == "postgresql" else ":j"
    with engine.begin() as connection:
        connection.execute(
            insert(table),
            [{name: row[name] for name in row if name not in {"file", "pages"}} for row in ROWS],
        )
        for column in ("file", "pages"):
            statement = text(f"UPDATE papers SET {column} = {value} WHERE id = :i")
            connection.execute(
                statement.bindparams(bindparam("j"), bindparam("i")),
                [
                    {"i": row["id"], "j": json.dumps(row[column])}
                    for row in ROWS
                    if row[column] is not None or row["id"] % 2
                ],
            )
