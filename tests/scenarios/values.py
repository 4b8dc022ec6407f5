"""Changes of documents, and what rows hold after them, each in a session of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select

from filecolumn import FileObject
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document
from tests.scenarios.records import file, held_pages


@pytest.fixture(params=["new", "none"])
def value(request: pytest.FixtureRequest) -> FileObject | None:
    """What replaces a file."""
    return file(b"new") if request.param == "new" else None


async def change(driver: Driver, act: Callable[[DriverSession, Document], Awaitable[None] | None]) -> None:
    """Commit what *act* does to document 1 in a session of its own."""
    async with driver.session() as session:
        done = act(session, await session.one(Document, 1))
        if done is not None:
            await done
        await session.commit()


async def held_scan(driver: Driver) -> bytes | None:
    """Return the content of document 1's deferred file."""
    async with driver.session() as session:
        scan = await session.run(lambda s: s.get_one(Document, 1).scan)
        return None if scan is None else await driver.content(scan)


async def held_files(driver: Driver, attribute: Any) -> dict[int, bytes | None]:
    """Return the content of an attribute in each row, by the row's id."""
    async with driver.session() as session:
        statement = select(attribute.class_.id, attribute)
        rows = await session.run(lambda s: s.execute(statement).all())
        return {key: None if found is None else await driver.content(found) for key, found in rows}


async def agree_with_pages(driver: Driver, files: dict[int, bytes], *pages: list[bytes]) -> None:
    """Assert that rows 1, 2... hold *files* and *pages*, and the storage nothing else."""
    assert await held_files(driver, Document.file) == files
    assert [await held_pages(driver, number) for number in files] == list(pages)
    assert contents() == sorted([*files.values(), *(page for row in pages for page in row)])
