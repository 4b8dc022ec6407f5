"""What committed rows hold, read by a session of its own."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select, text

from filecolumn import FileObject
from tests.session.drivers import Driver, contents
from tests.session.models import Document


def file(content: bytes, name: str = "a.txt") -> FileObject:
    return FileObject(name, content=content)


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


async def raw_file(driver: Driver, number: int = 1) -> dict[str, Any]:
    """Return the JSON of a document's file."""
    async with driver.session() as session:
        result = await session.execute(text(f"SELECT file FROM documents WHERE id = {number}"))
        decoded: dict[str, Any] = json.loads(str(result.scalar_one()))
        return decoded


async def insert_raw(driver: Driver, row: dict[str, object]) -> None:
    """Commit document 1 with *row* as the JSON of its file, past the library."""
    async with driver.session() as session:
        statement = text("INSERT INTO documents (id, title, file, pages) VALUES (1, '', :row, '[]')")
        await session.execute(statement.bindparams(row=json.dumps(row)))
        await session.commit()
