"""A flush of new rows with new files alone takes a shorter way, with the same result as the whole one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from filecolumn import FileObject, storages
from filecolumn.ledger.table import ledger_of
from filecolumn.orm import flush
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver, contents
from tests.scenarios.models import Base, Document

LEDGER = ledger_of(Base.metadata)
assert LEDGER is not None
TABLE = LEDGER.table


@dataclass(frozen=True)
class NewFile:
    """A file that a row is to get."""

    body: bytes
    shared: int | None
    """Which of several objects it is, if other rows are to have it too."""
    is_staged: bool


@dataclass(frozen=True)
class NewRow:
    """A row to be added."""

    file: NewFile | None
    scan: NewFile | None
    pages: Sequence[NewFile]
    flushes: bool
    """Whether a flush follows."""


FILES = st.builds(NewFile, st.binary(max_size=20), st.none() | st.integers(0, 1), st.booleans())
ROWS = st.builds(NewRow, st.none() | FILES, st.none() | FILES, st.lists(FILES, max_size=3), st.booleans())


async def outcome(driver: Driver, rows: Sequence[NewRow]) -> object:
    """Add rows, and return what they hold, what the ledger says and what is stored: keys are made at random."""
    shared: dict[int, FileObject] = {}

    async def made(new: NewFile | None) -> FileObject | None:
        if new is None:
            return None
        if new.shared is not None and new.shared in shared:
            return shared[new.shared]
        file = FileObject("a.txt", content=new.body, backend="docs")
        if new.is_staged:
            await driver.save(file)
        if new.shared is not None:
            shared[new.shared] = file
        return file

    async with driver.session() as session:
        for number, row in enumerate(rows, 1):
            pages = [file for page in row.pages if (file := await made(page)) is not None]
            document = Document(id=number, file=await made(row.file), scan=await made(row.scan), pages=pages)
            session.add(document)
            if row.flushes:
                await session.flush()
        await session.commit()
    return await described(driver)


async def described(driver: Driver) -> object:
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document).order_by(Document.id)).all())
        held = [
            [
                (file.filename, file.size, file.checksum, file.content_type, await driver.content(file))
                for file in (document.file, *document.pages)
                if file is not None
            ]
            for document in documents
        ]
        files = [file for document in documents for file in (document.file, *document.pages) if file]
        keys = [file.path for file in files]
        query = select(
            TABLE.c.state, TABLE.c.size, TABLE.c.sha256, TABLE.c.held_in, TABLE.c.checked, TABLE.c.fresh
        )
        noted = sorted(map(str, (await session.execute(query)).all()))
    assert len(set(keys)) == len(keys), "each row has its own object"
    return held, noted, contents()


@contextmanager
def the_whole_way() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "are_new", lambda *_: False)
        yield


async def both_ways(kind: str, rows: Sequence[NewRow]) -> tuple[object, object]:
    found: list[object] = []
    for way in ("short", "whole"):
        storages.clear_backends()
        storages.register_backend("memory://", key="docs")
        driver: Driver = SyncDriver("sqlite://") if kind == "sync" else AsyncDriver("sqlite+aiosqlite://")
        await driver.create()
        try:
            if way == "short":
                found.append(await outcome(driver, rows))
            else:
                with the_whole_way():
                    found.append(await outcome(driver, rows))
        finally:
            await driver.dispose()
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["sync", "async"])
@given(rows=st.lists(ROWS, max_size=4))
def test_both_ways_give_the_same_rows_entries_and_objects(kind: str, rows: Sequence[NewRow]) -> None:
    short, whole = asyncio.run(both_ways(kind, rows))
    assert short == whole


def test_the_short_way_is_for_new_rows_with_new_files_only(tmp_path: Path) -> None:
    taken: list[bool] = []

    def noted(*arguments: object) -> bool:
        taken.append(flush_are_new(*arguments))  # type: ignore[arg-type]
        return taken[-1]

    flush_are_new = flush.are_new
    storages.register_backend("memory://", key="docs")

    async def scenario() -> None:
        driver = SyncDriver(f"sqlite:///{tmp_path}/app.db")
        await driver.create()
        async with driver.session() as session:
            one = FileObject("a.txt", content=b"one")
            session.add(Document(id=1, file=one))
            await session.flush()
            session.add(Document(id=2, file=one))
            await session.flush()
            (await session.one(Document, 1)).file = FileObject("b.txt", content=b"two")
            await session.commit()
        await driver.dispose()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "are_new", noted)
        asyncio.run(scenario())
    assert taken == [True, False, False]
    assert contents() == [b"one", b"two"]
