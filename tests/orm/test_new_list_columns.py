"""A NOT NULL column of lists is added to a table that has rows, by Alembic, with a default of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, String, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import ON_SERVERS, ON_SQLITE

TABLE = "albums_with_rows"
DEFAULTS = {"sqlite": "'[]'", "postgresql": "'[]'", "mariadb": "(JSON_ARRAY())"}


class Base(DeclarativeBase):
    """Of the model as it is after the migration."""


class Album(Base):
    __tablename__ = TABLE
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50), default="")
    photos: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="docs", multiple=True, ledger=False), default=list, server_default=text("'[]'")
    )


@pytest.fixture
async def with_rows(driver: Driver, storage: StorageBackend) -> AsyncIterator[Driver]:
    """A database with the table as it was, and a row."""
    await run_sql(
        driver, f"CREATE TABLE {TABLE} (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR(50) NOT NULL)"
    )
    try:
        await run_sql(driver, f"INSERT INTO {TABLE} VALUES (1, 'old')")
        yield driver
    finally:
        await run_sql(driver, f"DROP TABLE {TABLE}")


async def run_sql(driver: Driver, statement: str) -> None:
    async with driver.session() as session:
        await session.execute(text(statement))
        await session.commit()


def upgrade(connection: Connection) -> None:
    kind = StoredObject(backend="docs", multiple=True, ledger=False)
    default = text(DEFAULTS[connection.dialect.name])
    operations = Operations(MigrationContext.configure(connection))
    operations.add_column(TABLE, Column("photos", kind, nullable=False, server_default=default))


def differences(session: Session) -> list[object]:
    context = MigrationContext.configure(
        session.connection(), opts={"include_name": lambda name, kind, _: kind != "table" or name == TABLE}
    )
    return list(compare_metadata(context, Base.metadata))


@pytest.mark.parametrize("driver", [*ON_SQLITE, *ON_SERVERS], indirect=True)
async def test_rows_that_were_there_have_an_empty_list_and_take_files(with_rows: Driver) -> None:
    async with with_rows.session() as session:
        await session.run(lambda sync: upgrade(sync.connection()))
        await session.commit()
    async with with_rows.session() as session:
        assert await session.run(differences) == []
        await session.rollback()
        await session.execute(insert(Album.__table__).values(id=2, title="by SQL alone"))
        session.add(Album(id=3))
        await session.commit()
        for number in (1, 2, 3):
            album = await session.one(Album, number)
            assert list(album.photos) == []
            album.photos.append(FileObject("a.jpg", content=b"photo"))
        await session.commit()
    async with with_rows.session() as session:
        for number in (1, 2, 3):
            album = await session.one(Album, number)
            assert [await with_rows.content(photo) for photo in album.photos] == [b"photo"]
