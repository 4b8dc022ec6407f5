"""One session on two databases, each with tables of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from filecolumn import ConcurrentFileChangeError
from filecolumn.backends.base import StorageBackend
from tests.scenarios import models
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.fixtures import driver_for, make_driver
from tests.scenarios.models import Document, Item
from tests.scenarios.records import file
from tests.servers.databases import SCHEMES, empty_database

OpenSession = Callable[[], AbstractAsyncContextManager[DriverSession]]


@pytest.fixture
async def second(driver: Driver, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """The database of the items."""
    kind = request.node.callspec.params["driver"]
    if kind in SCHEMES:
        server = SCHEMES[kind].partition("+")[0]
        made = driver_for(empty_database(server, models.Base.metadata, suffix="_second"), kind)
    else:
        (tmp_path / "second").mkdir()
        made = make_driver(kind, tmp_path / "second")
        await made.create()
    yield made
    await made.dispose()


@pytest.fixture
def both(driver: Driver, second: Driver, storage: StorageBackend) -> OpenSession:
    """Opens a session on both."""
    return lambda: driver.session(binds={Item: second.engine})  # type: ignore[attr-defined]


async def keys_of(driver: Driver, attribute) -> dict[int, str]:  # type: ignore[no-untyped-def]
    """Return the key of each row's file, which must be there."""
    async with driver.session() as session:
        rows = await session.run(lambda s: s.execute(select(attribute.class_.id, attribute)).all())
    keys = {number: found.path for number, found in rows if found is not None}
    assert set(keys.values()) <= stored().keys()
    return keys


async def agree(driver: Driver, second: Driver, document: bytes | None, item: bytes | None) -> None:
    """Assert what row 1 of each database holds, and that the storage holds nothing else."""
    objects = stored()
    held = [await keys_of(driver, Document.file), await keys_of(second, Item.file)]
    assert [objects.get(keys.get(1, "")) for keys in held] == [document, item]
    assert contents() == sorted(body for body in (document, item) if body is not None)


@pytest.fixture
async def committed(both: OpenSession) -> None:
    async with both() as session:
        session.add(Document(id=1, file=file(b"one")), Item(id=1, file=file(b"two")))
        await session.commit()


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_files_of_both_follow_the_session(
    driver: Driver, second: Driver, both: OpenSession, committed: None, end: str
) -> None:
    await agree(driver, second, b"one", b"two")
    async with both() as session:
        (await session.one(Document, 1)).file = file(b"new one")
        (await session.one(Item, 1)).file = file(b"new two")
        await session.flush()
        await getattr(session, end)()
    new = b"new " if end == "commit" else b""
    await agree(driver, second, new + b"one", new + b"two")


async def test_a_savepoint_is_one_of_both(
    driver: Driver, second: Driver, both: OpenSession, committed: None
) -> None:
    async with both() as session:
        (await session.one(Document, 1)).file = file(b"outer")
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                (await session.one(Item, 1)).file = file(b"undone")
                (await session.one(Document, 1)).file = file(b"undone too")
                await session.flush()
                raise ZeroDivisionError
        await session.commit()
    await agree(driver, second, b"outer", b"two")


async def test_a_file_moves_from_one_to_the_other(
    driver: Driver, second: Driver, both: OpenSession, committed: None
) -> None:
    async with both() as session:
        document, item = await session.one(Document, 1), await session.one(Item, 1)
        item.file, document.file = document.file, None
        await session.commit()
    await agree(driver, second, None, b"one")


async def test_files_swap_between_both(
    driver: Driver, second: Driver, both: OpenSession, committed: None
) -> None:
    async with both() as session:
        document, item = await session.one(Document, 1), await session.one(Item, 1)
        item.file, document.file = document.file, item.file
        await session.commit()
    await agree(driver, second, b"two", b"one")


# SQLAlchemy's rollback meets the transaction that has committed
@pytest.mark.filterwarnings("ignore:transaction already deassociated:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("change", ["move", "swap", "replace"])
async def test_when_one_refuses_to_commit_no_row_dangles_or_shares(
    driver: Driver,
    second: Driver,
    both: OpenSession,
    committed: None,
    which: str,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialect = (driver if which == "first" else second).sync_engine.dialect

    def do_commit(connection: object) -> None:
        monkeypatch.undo()
        raise dialect.loaded_dbapi.OperationalError("no")

    async with both() as session:
        document, item = await session.one(Document, 1), await session.one(Item, 1)
        match change:
            case "move":
                item.file, document.file = document.file, None
            case "swap":
                item.file, document.file = document.file, item.file
            case _:
                item.file, document.file = file(b"new"), file(b"new")
        await session.flush()
        monkeypatch.setattr(dialect, "do_commit", do_commit)
        with pytest.raises(DBAPIError):
            await session.commit()
        await session.rollback()
    documents, items = await keys_of(driver, Document.file), await keys_of(second, Item.file)
    assert not set(documents.values()) & set(items.values())


async def test_another_session_is_heard_of_in_either(
    driver: Driver, second: Driver, both: OpenSession, committed: None
) -> None:
    async with driver.session(binds={Item: second.engine}, expire_on_commit=False) as session:  # type: ignore[attr-defined]
        item = await session.one(Item, 1)
        await session.commit()
        async with second.session() as other:
            (await other.one(Item, 1)).file = file(b"first")
            await other.commit()
        session.add(Document(id=2, file=file(b"never")))
        item.file = file(b"never")
        with pytest.raises(ConcurrentFileChangeError):
            await session.commit()
        await session.rollback()
    await agree(driver, second, b"one", b"first")
