"""What committed rows hold, read by a session of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, ColumnClause, select, text
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from filecolumn import FileObject
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document


def file(content: bytes, name: str = "a.txt") -> FileObject:
    return FileObject(name, content=content)


async def run(driver: Driver, call: Callable[[Session], object]) -> None:
    """Run *call* in a session of its own, and commit."""
    async with driver.session() as session:
        await session.run(call)
        await session.commit()


async def insert_files(driver: Driver, *bodies: bytes) -> None:
    """Commit a document for each content, numbered from 1."""
    async with driver.session() as session:
        session.add(*(Document(id=number, file=file(body)) for number, body in enumerate(bodies, 1)))
        await session.commit()


async def held(driver: Driver) -> dict[int, bytes | None]:
    """Return the content of each document's file."""
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document)).all())
        return {
            document.id: None if document.file is None else await driver.content(document.file)
            for document in documents
        }


async def agree(driver: Driver, expected: dict[int, bytes | None]) -> None:
    """Assert that rows hold *expected* and the storage nothing else."""
    assert await held(driver) == expected
    assert contents() == sorted(content for content in expected.values() if content is not None)


async def held_pages(driver: Driver, number: int = 1) -> list[bytes]:
    """Return the contents of a document's list, in its order."""
    async with driver.session() as session:
        document = await session.one(Document, number)
        return [await driver.content(page) for page in document.pages]


async def raw(driver: Driver, column: str, number: int = 1, table: str = "documents") -> Any:
    """Return the JSON of a column as it is committed."""
    async with driver.session() as session:
        statement = text(f"SELECT {column} FROM {table} WHERE id = {number}")
        return (await session.execute(statement.columns(column_of_json(column)))).scalar_one()


async def raw_file(driver: Driver, number: int = 1) -> dict[str, Any]:
    """Return the JSON of a document's file."""
    decoded: dict[str, Any] = await raw(driver, "file", number)
    return decoded


async def put_raw(
    driver: Driver, value: str, table: str = "documents", column: str = "file", number: int = 1
) -> None:
    """Commit *value* as the JSON of a row, past the library; skip where the database takes only JSON."""
    cast = "CAST(:value AS JSONB)" if driver.dialect == "postgresql" else ":value"
    async with driver.session() as session:
        statement = text(f"UPDATE {table} SET {column} = {cast} WHERE id = {number}")
        try:
            await session.execute(statement.bindparams(value=value))
        except DBAPIError as error:
            assert driver.dialect != "sqlite"
            pytest.skip(f"the database takes only JSON: {error.orig}")
        await session.commit()


async def insert_raw(driver: Driver, row: dict[str, object]) -> None:
    """Commit document 1 with *row* as the JSON of its file, past the library."""
    async with driver.session() as session:
        rows = sql_table(
            "documents", *map(sql_column, ("id", "title")), *map(column_of_json, ("file", "pages"))
        )
        await session.execute(rows.insert().values(id=1, title="", file=row, pages=[]))
        await session.commit()


def column_of_json(name: str) -> ColumnClause[Any]:
    """Return a column that knows nothing of files."""
    return sql_column(name, JSON().with_variant(JSONB(), "postgresql"))
