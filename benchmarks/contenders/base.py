"""What a contender offers, and what all that map files to columns of SQLAlchemy have in common."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from sqlalchemy import Engine, Select, String, create_engine, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from benchmarks.models import Record, model, table_of

CONTENT = os.urandom(4096)
"""What is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a contender works; no other is there."""

    key: str
    """A name that no other place has in this process."""
    folder: str = ""
    """For files, where they are not in S3."""
    url: str = ""
    """The database, for a sync driver."""
    async_url: str = ""
    s3: dict[str, Any] = field(default_factory=dict)
    """obstore's options for the bucket; empty for a folder."""


class Contender:
    """A library as a benchmark drives it: `can` says which of the operations it has.

    `sync`: save, replace, delete; `async`: their twins; `lists`: fill_list, append, clear_list, delete_list;
    `rows`: fill, select_core, select_orm; `facts`: one_fact, all_facts; `s3`: files in a bucket.
    """

    name: ClassVar[str]
    can: ClassVar[frozenset[str]]
    hashes: ClassVar[str] = "-"
    """What it computes of the content."""
    durable: ClassVar[str] = "-"
    """What it has on the disk before the row."""
    deletes: ClassVar[str] = "-"
    """Which files it deletes: `replaced`, of rows `deleted`, of transactions `rolled back`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.content = CONTENT
        """What files have."""

    def stored(self) -> int | None:
        """Return how many files are in the folder; None for a bucket."""
        if self.place.s3:
            return None
        return sum(len(files) for _, _, files in os.walk(self.place.folder))


class NotDoneError(Exception):
    """A contender was measured that had not done its work."""


@contextmanager
def storing(contender: Contender, files: int) -> Iterator[None]:
    """Raise NotDoneError if there are not so many files more after the block."""
    before = contender.stored()
    yield
    after = contender.stored()
    if before is not None and after is not None and after < before + files:
        raise NotDoneError(f"{after - before} of {files} files were stored")


class Mapped(Contender):
    """A column type of SQLAlchemy that stores files when a session flushes or commits."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.engine: Engine = create_engine(place.url)
        self.prepare()
        self.record = model("records", self.column())
        table_of(self.record).metadata.create_all(self.engine)

    def prepare(self) -> None:
        """Register a storage."""

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        """Return its column type."""
        raise NotImplementedError

    def file(self) -> object:
        """Return a file with new content, to be assigned."""
        raise NotImplementedError

    def session(self) -> Session:
        """Return a sync session."""
        return Session(self.engine)

    def save(self, files: int) -> None:
        """Save that many files in one commit."""
        with self.session() as session:
            session.add_all([self.record(title="a", file=self.file()) for _ in range(files)])
            session.commit()

    def replace(self, key: int) -> None:
        """Give a row another file."""
        with self.session() as session:
            record = session.get_one(self.record, key)
            record.file = self.file()
            session.commit()

    def delete(self, keys: Sequence[int]) -> None:
        """Delete rows in one transaction."""
        with self.session() as session:
            for record in session.scalars(self.those(keys)):
                session.delete(record)
            session.commit()

    def keys(self, rows: int) -> list[int]:
        """Return the newest rows."""
        column = table_of(self.record).c.id
        with self.engine.connect() as connection:
            return list(connection.scalars(select(column).order_by(column.desc()).limit(rows)))

    def those(self, keys: Sequence[int]) -> Select[tuple[Record]]:
        """Return the statement for rows."""
        return select(self.record).where(table_of(self.record).c.id.in_(keys))

    # --- rows with a list of files

    @cached_property
    def shelf(self) -> type[Record]:
        """Return the model whose rows have lists."""
        class_ = model("shelves", self.column(multiple=True))
        table_of(class_).metadata.create_all(self.engine)
        return class_

    def fill_list(self, files: int) -> int:
        """Save a row with that many files, and return its key."""
        with self.session() as session:
            shelf = self.shelf(title="a", file=[self.file() for _ in range(files)])
            session.add(shelf)
            session.commit()
            return shelf.id

    def append(self, key: int) -> None:
        """Add a file to a row's."""
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            shelf.file.append(self.file())
            session.commit()

    def clear_list(self, key: int) -> None:
        """Take all files from a row."""
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            shelf.file = []
            session.commit()

    def delete_list(self, key: int) -> None:
        """Delete a row with its files."""
        with self.session() as session:
            session.delete(session.get_one(self.shelf, key))
            session.commit()

    # --- async twins

    @cached_property
    def async_engine(self) -> AsyncEngine:
        """Return the engine of async sessions."""
        return create_async_engine(self.place.async_url)

    def async_session(self) -> AsyncSession:
        """Return an async session."""
        return AsyncSession(self.async_engine, expire_on_commit=False)

    async def settle(self) -> None:
        """Wait for what is still done in the background."""

    async def save_async(self, files: int) -> None:
        """Save that many files in one commit."""
        async with self.async_session() as session:
            session.add_all([self.record(title="a", file=self.file()) for _ in range(files)])
            await session.commit()
        await self.settle()

    async def replace_async(self, key: int) -> None:
        """Give a row another file."""
        async with self.async_session() as session:
            record = await session.get_one(self.record, key)
            record.file = self.file()
            await session.commit()
        await self.settle()

    async def delete_async(self, keys: Sequence[int]) -> None:
        """Delete rows in one transaction."""
        async with self.async_session() as session:
            for record in await session.scalars(self.those(keys)):
                await session.delete(record)
            await session.commit()
        await self.settle()

    async def sessions_async(self, sessions: int, each: int) -> None:
        """Save one file after the other in each of several sessions at a time."""

        async def one() -> None:
            for _ in range(each):
                await self.save_async(1)

        await asyncio.gather(*(one() for _ in range(sessions)))

    # --- rows that are there already

    def raw(self, files: int) -> str:
        """Return the text of a row that has a file; or a list of several, for `multiple` columns."""
        raise NotImplementedError

    def fill(self, rows: int, files: int = 0) -> type[Record]:
        """Make a table of rows, written as text; return its model, with lists of files if there are any."""
        name = f"filled_{rows}_{files}"
        class_ = model(name, self.column(multiple=True) if files else self.column())
        with self.engine.begin() as connection:
            text = table_of(model(name, String()))
            text.create(connection)
            connection.execute(insert(text), [{"title": "a", "file": self.raw(files)}] * rows)
        return class_

    @staticmethod
    def one_fact(file: Any) -> object:
        """Read the size of a loaded file."""
        return file.size

    @staticmethod
    def all_facts(file: Any) -> object:
        """Read all that the row says of a file."""
        raise NotImplementedError
