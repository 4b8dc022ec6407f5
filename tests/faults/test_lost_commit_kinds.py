"""The connection is cut in COMMIT of every kind of transaction, before the server has it and when it has answered.

The caller gets `CommitOutcomeUnknownError`, which knows how the transaction ended as soon as the
connection is back in its pool, and the content follows: also with a pool of one connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.orm import Session

from filecolumn import CommitOutcomeUnknownError, FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from tests.faults.deployed import deployed
from tests.faults.proxy import Cut, Proxy, proxied
from tests.scenarios.drivers import AsyncDriver, Driver, DriverSession, SyncDriver, contents
from tests.scenarios.fixtures import on_servers
from tests.scenarios.models import Base, Document
from tests.servers.databases import SCHEMES

PLAIN: dict[str, dict[str, str]] = {
    "psycopg": {"sslmode": "disable"},
    "asyncpg": {"ssl": "disable"},
    "pymysql": {},
    "asyncmy": {},
}
"""The proxy reads what it forwards."""

pytestmark = pytest.mark.timeout(60)

Act = Callable[[DriverSession], Awaitable[object]]


def file(content: bytes) -> FileObject:
    return FileObject("a.txt", content=content)


async def _insert(session: DriverSession) -> None:
    session.add(Document(id=3, file=file(b"inserted")))


async def _replace(session: DriverSession) -> None:
    (await session.one(Document, 1)).file = file(b"next")


async def _delete(session: DriverSession) -> None:
    await session.delete(await session.one(Document, 1))


async def _clear(session: DriverSession) -> None:
    (await session.one(Document, 1)).file = None


async def _move(session: DriverSession) -> None:
    origin, target = await session.one(Document, 1), await session.one(Document, 2)
    target.file, origin.file = origin.file, None


async def _change_metadata(session: DriverSession) -> None:
    document = await session.one(Document, 1)
    assert document.file is not None
    document.file.update_metadata({"checked": True})


async def _reorder(session: DriverSession) -> None:
    document = await session.one(Document, 1)
    document.pages.reverse()


async def _delete_in_bulk(session: DriverSession) -> None:
    await session.execute(delete(Document).where(Document.id == 1))


async def _clear_in_bulk(session: DriverSession) -> None:
    await session.execute(update(Document).where(Document.id == 1).values(file=None))


async def _delete_nothing(session: DriverSession) -> None:
    """Of the library's statements none finds a row; one past it does."""
    await session.execute(text("DELETE FROM documents WHERE id = 2"))
    await session.execute(delete(Document).where(Document.id == 99))


async def _clear_after_an_undone_savepoint(session: DriverSession) -> None:
    document = await session.one(Document, 1)
    with pytest.raises(ZeroDivisionError):
        async with session.begin_nested():
            document.file = file(b"undone")
            await session.flush()
            raise ZeroDivisionError
    async with session.begin_nested():
        document.file = None
        await session.flush()


KINDS: dict[str, Act] = {
    "insert": _insert,
    "replace": _replace,
    "delete": _delete,
    "clear": _clear,
    "move": _move,
    "metadata": _change_metadata,
    "order of a list": _reorder,
    "bulk delete": _delete_in_bulk,
    "bulk update": _clear_in_bulk,
    "a statement that finds nothing": _delete_nothing,
    "savepoints": _clear_after_an_undone_savepoint,
}


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def direct(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The database itself, past the proxy."""
    with deployed(request.param, tmp_path_factory.mktemp("database")) as engines:
        yield engines[0]


@pytest.fixture(scope="module")
def proxy(direct: Engine) -> Iterator[Proxy]:
    with proxied(direct.url.host or "127.0.0.1", direct.url.port or 0) as proxy:
        yield proxy


@pytest.fixture(params=["sync", "async"])
async def driver(request: pytest.FixtureRequest, direct: Engine, proxy: Proxy) -> AsyncIterator[Driver]:
    """The database behind the proxy, with two rows and a pool of one connection."""
    names = [name for name, scheme in SCHEMES.items() if scheme.startswith(direct.dialect.name)]
    name = names[request.param == "async"]
    url = direct.url.set(drivername=SCHEMES[name], host="127.0.0.1", port=proxy.port, query=PLAIN[name])
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 10}
    storages.register_backend(ObstoreBackend("docs", "memory://"), replace=True)
    with direct.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if not table.name.endswith("meta"):
                connection.execute(table.delete())
    shown = url.render_as_string(hide_password=False)
    made: Driver = AsyncDriver(shown, **options) if request.param == "async" else SyncDriver(shown, **options)
    async with made.session() as session:
        session.add(Document(id=1, file=file(b"one"), pages=[file(b"p"), file(b"q")]), Document(id=2))
        await session.commit()
    yield made
    await made.dispose()


Row = tuple[bytes | None, dict[str, Any], list[bytes]]


def rows_of(direct: Engine) -> dict[int, Row]:
    """Return what the rows hold."""
    with Session(direct) as session:
        return {
            document.id: (
                None if document.file is None else document.file.get_content(),
                {} if document.file is None else dict(document.file.metadata),
                [page.get_content() for page in document.pages],
            )
            for document in session.scalars(select(Document))
        }


def bodies_of(rows: dict[int, Row]) -> list[bytes]:
    return sorted(body for one, _, pages in rows.values() for body in (one, *pages) if body is not None)


@pytest.mark.parametrize("act", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNANSWERED], ids=["before", "unanswered"])
@pytest.mark.parametrize("direct", on_servers(["postgresql", "mariadb"]), indirect=True)
@pytest.mark.usefixtures("recorded_at_once")
async def test_the_caller_learns_how_it_ended(
    driver: Driver, direct: Engine, proxy: Proxy, cut: Cut, act: Act
) -> None:
    before = rows_of(direct)
    async with driver.session() as session:
        await act(session)
        await session.flush()
        proxy.next = cut
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
        assert proxy.next is None
        assert raised.value.committed is None
        assert len(contents()) >= 3, "nothing is deleted while it is unknown"
    committed = cut is Cut.UNANSWERED
    assert raised.value.committed is committed
    after = rows_of(direct)
    assert (after != before) is committed
    assert contents() == bodies_of(after)
    assert drain(direct, Base).deleted == 0


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNANSWERED], ids=["before", "unanswered"])
@pytest.mark.parametrize("direct", on_servers(["postgresql", "mariadb"]), indirect=True)
async def test_what_lay_in_the_storage_before_stays_and_is_a_rows_if_it_committed(
    driver: Driver, direct: Engine, proxy: Proxy, cut: Cut
) -> None:
    storages.get("docs").put("legacy.txt", [b"legacy"])
    async with driver.session() as session:
        session.add(Document(id=3, file=FileObject.from_key("legacy.txt")))
        await session.flush()
        proxy.next = cut
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
    committed = cut is Cut.UNANSWERED
    assert raised.value.committed is committed
    assert (3 in rows_of(direct)) is committed
    drain(direct, Base)
    assert storages.get("docs").get_bytes("legacy.txt") == b"legacy"


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNANSWERED], ids=["before", "unanswered"])
@pytest.mark.parametrize("direct", on_servers(["postgresql", "mariadb"]), indirect=True)
async def test_nobody_can_tell_before_the_database_answers(
    driver: Driver, direct: Engine, proxy: Proxy, cut: Cut
) -> None:
    async with driver.session() as session:
        await session.delete(await session.one(Document, 1))
        await session.flush()
        proxy.next, proxy.before_cut = cut, lambda: setattr(proxy, "refuses", True)
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
    error = raised.value
    assert error.committed is None
    assert contents() == [b"one", b"p", b"q"]
    proxy.refuses, proxy.before_cut = False, lambda: None
    committed = cut is Cut.UNANSWERED
    assert await (error.resolve_async() if driver.is_async else _resolved(error)) is committed
    assert error.committed is committed
    assert contents() == bodies_of(rows_of(direct))


async def _resolved(error: CommitOutcomeUnknownError) -> bool:
    return error.resolve()


LIMITS: dict[str, Any] = {"asyncpg": {"command_timeout": 1}, "pymysql": {"read_timeout": 1}}
"""The time limits that drivers have for an answer."""


@pytest.mark.parametrize(
    ("direct", "driver"),
    [
        pytest.param("postgresql", "async", marks=pytest.mark.server),
        pytest.param("mariadb", "sync", marks=pytest.mark.server),
    ],
    indirect=True,
)
@pytest.mark.parametrize("act", [_insert, _delete])
async def test_a_time_limit_of_the_driver_is_a_lost_answer(
    driver: Driver, direct: Engine, proxy: Proxy, act: Act
) -> None:
    url = driver.sync_engine.url.render_as_string(hide_password=False)
    limits = {"connect_args": LIMITS[driver.sync_engine.dialect.driver], "pool_size": 1, "max_overflow": 0}
    limited: Driver = AsyncDriver(url, **limits) if driver.is_async else SyncDriver(url, **limits)
    async with limited.session() as session:
        await act(session)
        await session.flush()
        proxy.next = Cut.MUTE
        with pytest.raises(CommitOutcomeUnknownError) as raised:
            await session.commit()
    await limited.dispose()
    assert raised.value.committed is True
    assert contents() == bodies_of(rows_of(direct))


@pytest.mark.parametrize("direct", on_servers(["postgresql", "mariadb"]), indirect=True)
async def test_a_connection_leaves_one_token_however_many_transactions_it_has(
    driver: Driver, direct: Engine
) -> None:
    meta = Base.metadata.tables["filecolumn_meta"]
    tokens = select(meta.c.value).where(meta.c.name.startswith("commit:"))
    with direct.begin() as connection:
        connection.execute(meta.delete().where(meta.c.name.startswith("commit:")))
    values = set[object]()
    for number in range(3):
        async with driver.session() as session:
            document = await session.one(Document, 1)
            assert document.file is not None
            document.file.update_metadata({"n": number})
            await session.commit()
        with direct.connect() as connection:
            values.add(connection.scalars(tokens).one())
    assert len(values) == 3
    with direct.begin() as connection:
        old = meta.update().where(meta.c.name.startswith("commit:")).values(value="0" * 32)
        connection.execute(old)
    drain(direct, Base)
    with direct.connect() as connection:
        assert connection.scalars(tokens).all() == []
    async with driver.session() as session:
        (await session.one(Document, 1)).file = None
        await session.commit()
    with direct.connect() as connection:
        assert len(connection.scalars(tokens).all()) == 1
