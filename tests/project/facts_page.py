"""Write the SQL of facts into docs/reference/facts.md as it is sent: `python -m tests.project.facts_page`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Dialect, column, table, type_coerce
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject

__all__ = ("current", "written")

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "facts.md"
DIALECTS: dict[str, Dialect] = {
    "SQLite": sqlite.dialect(),
    "PostgreSQL": postgresql.dialect(),
    "MariaDB": MariaDBDialect(),
    "MySQL 8": mysql.dialect(),
}


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="documents"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(backend="documents", multiple=True))


file: Any = Document.file
pages: Any = Document.pages
NAME = file.filename
PLACE = {"filename": "a.txt", "to_filename": "2f/a.txt", "backend": "documents", "size": 1}

FACTS: dict[str, ColumnElement[Any]] = {
    "filename": NAME,
    "path": file.path,
    "size": file.size,
    "last_modified": file.last_modified,
    "last_modified.as_datetime()": file.last_modified.as_datetime(),
    "metadata": file.metadata,
    'metadata["a"]["b"]': file.metadata["a"]["b"],
    'metadata["a"][0]': file.metadata["a"][0],
    'metadata["a"].as_integer()': file.metadata["a"].as_integer(),
    'metadata["a"].as_float()': file.metadata["a"].as_float(),
    'metadata["a"].as_boolean()': file.metadata["a"].as_boolean(),
    'metadata["a"].exists()': file.metadata["a"].exists(),
    'metadata["not an identifier"]': file.metadata["not an identifier"],
}
LISTS: dict[str, ColumnElement[Any]] = {
    "count()": pages.count(),
    "some(lambda file: file.size > 10)": pages.some(lambda file: file.size > 10),
    "every(lambda file: file.size > 10)": pages.every(lambda file: file.size > 10),
}
OPERATORS: dict[str, ColumnElement[Any]] = {
    'filename == "a"': NAME == "a",
    'filename.in_(["a", "b"])': NAME.in_(["a", "b"]),
    'filename.is_distinct_from("a")': NAME.is_distinct_from("a"),
    'filename.startswith("ab")': NAME.startswith("ab"),
    'filename.endswith("ab")': NAME.endswith("ab"),
    'filename.contains("ab")': NAME.contains("ab"),
    'filename.like("a%")': NAME.like("a%"),
    'filename.ilike("a%")': NAME.ilike("a%"),
    'filename.icontains("ab")': NAME.icontains("ab"),
    'filename.regexp_match("^a")': NAME.regexp_match("^a"),
    "size > 10": file.size > 10,
    "file == saved": file == FileObject.from_dict(PLACE),
}
SHORT = ("path", "filename", "backend", "size", "last_modified")
"""Facts that stand by their names in the SQL of others, where they are not shown themselves."""
START, END = (
    "<!-- the SQL: written by `python -m tests.project.facts_page` -->\n",
    "<!-- the end of the SQL -->\n",
)


def current() -> str:
    """Return the page as it is."""
    return PAGE.read_text()


def written() -> str:
    """Return the page with the SQL as the code sends it now."""
    before, _, rest = current().partition(START)
    _, _, after = rest.partition(END)
    return "\n".join((f"{before}{START}", *_of_dialects(), f"{END}{after}"))


def _of_dialects() -> Iterator[str]:
    for name, dialect in DIALECTS.items():
        yield f"### {name}\n\n:::{{container}} wrapped\n```text"
        for call, expression in {**FACTS, **LISTS, **OPERATORS}.items():
            yield f"{call}\n{_wrapped(_sql(call, expression, dialect))}"
        yield "```\n:::\n"


def _wrapped(sql: str) -> str:
    """Return SQL in lines as long as a code block is wide, none of which ends within a string."""
    whole = re.sub(r"'[^']*'", lambda string: string[0].replace(" ", "\0"), sql)
    lines = textwrap.wrap(
        whole,
        88,
        initial_indent="    ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ")


def _sql(call: str, expression: ColumnElement[Any], dialect: Dialect) -> str:
    """Return the SQL of an expression, in one line, with the names of facts in place of theirs."""
    found = _compiled(expression, dialect)
    of_element = type_coerce(column("value", _selectable=table("anon_1")), StoredObject())
    for name in SHORT:
        if name != call:
            found = found.replace(_compiled(getattr(file, name), dialect), name)
            found = found.replace(_compiled(getattr(of_element.comparator, name), dialect), f"file.{name}")
    return found


def _compiled(expression: ColumnElement[Any], dialect: Dialect) -> str:
    return " ".join(str(expression.compile(dialect=dialect)).split())


if __name__ == "__main__":
    PAGE.write_text(written())
