"""INSERT OR REPLACE and OR IGNORE of SQLite, and conflicts by a constraint's name."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite

from filecolumn import NotSupportedError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.more_models import Page, create_tables
from tests.scenarios.records import file, run
from tests.scenarios.sqlite import driver

__all__ = ("driver",)


@pytest.fixture
async def pages(driver: Driver, storage: StorageBackend) -> None:
    """Two rows: their slugs are "a" and "b", and so are their contents."""
    await create_tables(driver)
    async with driver.session() as session:
        session.add(
            *(Page(id=number, slug=slug, file=file(slug.encode())) for number, slug in ((1, "a"), (2, "b")))
        )
        await session.commit()


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"id": 1, "slug": "c"}, [b"b", b"new"]),
        ({"id": 3, "slug": "a"}, [b"b", b"new"]),
        ({"id": 1, "slug": "b"}, [b"new"]),
        ({"id": 3, "slug": "c"}, [b"a", b"b", b"new"]),
    ],
    ids=["primary key", "unique key", "both", "neither"],
)
async def test_what_is_replaced_by_any_key_is_removed(
    driver: Driver, pages: None, row: dict[str, object], left: list[bytes]
) -> None:
    values = {"site": "main", "title": "", **row, "file": file(b"new")}
    await run(driver, lambda s: s.execute(insert(Page).prefix_with("OR REPLACE").values(values)))
    assert contents() == left


async def test_a_file_that_its_row_keeps_by_two_keys_is_copied_for_another_row(
    driver: Driver, pages: None
) -> None:
    async with driver.session() as session:
        other = await session.one(Page, 1)
    async with driver.session() as session:
        page = await session.one(Page, 1)
        rows = [{"id": 1, "slug": "a", "file": page.file}, {"id": 3, "slug": "c", "file": other.file}]
        statement = insert(Page).prefix_with("OR REPLACE")
        await session.execute(statement.values([{"site": "main", "title": "", **row} for row in rows]))
        await session.commit()
    assert contents() == [b"a", b"a", b"b"]


async def test_a_row_that_is_ignored_stores_nothing(driver: Driver, pages: None) -> None:
    values = {"id": 9, "site": "main", "slug": "a", "title": "", "file": file(b"never")}
    await run(driver, lambda s: s.execute(insert(Page).prefix_with("OR IGNORE").values(values)))
    assert contents() == [b"a", b"b"]


@pytest.mark.parametrize(
    ("make", "target", "reason"),
    [
        (postgresql.insert, {"constraint": "no_such_key"}, "no unique constraint"),
        (sqlite.insert, {"index_elements": ["no_such_column"]}, "is not a column"),
    ],
    ids=["constraint", "column"],
)
async def test_a_conflict_that_the_table_does_not_know_is_refused(
    driver: Driver, pages: None, make: Any, target: dict[str, Any], reason: str
) -> None:
    """Before anything is stored, so the statement never reaches the database."""
    statement = make(Page).values({"id": 9, "site": "main", "slug": "a", "file": file(b"new")})
    statement = statement.on_conflict_do_update(**target, set_={"file": statement.excluded.file})
    async with driver.session() as session:
        with pytest.raises(NotSupportedError, match=reason):
            await session.execute(statement)
    assert contents() == [b"a", b"b"]


async def test_a_conflict_by_a_constraints_name_reaches_the_rows_of_its_key(
    driver: Driver, pages: None
) -> None:
    """SQLAlchemy leaves the name out for SQLite, which then takes any conflict."""
    statement = postgresql.insert(Page).values({"id": 9, "site": "main", "slug": "a", "file": file(b"new")})
    statement = statement.on_conflict_do_update(
        constraint="one_slug_a_site", set_={"file": statement.excluded.file}
    )
    await run(driver, lambda s: s.execute(statement))
    assert contents() == [b"b", b"new"]
