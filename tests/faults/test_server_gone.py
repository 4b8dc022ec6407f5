"""PostgreSQL cannot be reached right after COMMIT: what has committed is no error, and the next drain cleans up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool
from sqlalchemy.orm import Session

from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from filecolumn.testing.failpoints import failing
from tests.faults.proxy import Proxy, proxied
from tests.scenarios.drivers import AsyncDriver, Driver, SyncDriver, contents
from tests.scenarios.models import Base, Document
from tests.servers.databases import own_database

PLAIN = {"psycopg": {"sslmode": "disable"}, "asyncpg": {"ssl": "disable"}}


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[Engine]:
    """The database itself, with a row whose file is in a folder, which has an owner."""
    storages.register_backend(ObstoreBackend("docs", f"file://{tmp_path}/docs/", fsync=False))
    with own_database("postgresql", tmp_path, Base.metadata) as engine:
        with Session(engine) as session:
            session.add(Document(id=1, file=FileObject("a.txt", content=b"old")))
            session.commit()
        yield engine


@pytest.fixture
def proxy(direct: Engine) -> Iterator[Proxy]:
    with proxied(direct.url.host or "127.0.0.1", direct.url.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def driver(request: pytest.FixtureRequest, direct: Engine, proxy: Proxy) -> AsyncIterator[Driver]:
    """The database behind the proxy, with a new connection for each transaction."""
    url = direct.url.set(
        drivername=f"postgresql+{request.param}",
        host="127.0.0.1",
        port=proxy.port,
        query=PLAIN[request.param],
    )
    if request.param == "psycopg":
        made: Driver = SyncDriver(url, poolclass=NullPool)
    else:
        made = AsyncDriver(url, poolclass=NullPool, connect_args={"timeout": 1})
    yield made
    await made.dispose()


Fault = tuple[Callable[[Proxy], object], Callable[[Proxy], object]]

FAULTS: dict[str, Fault] = {
    "cut": (lambda proxy: setattr(proxy, "refuses", True), lambda proxy: setattr(proxy, "refuses", False)),
    # asyncpg's errors of these are not wrapped by SQLAlchemy
    "refused": (Proxy.go_away, Proxy.come_back),
    "mute": (lambda proxy: setattr(proxy, "is_mute", True), lambda proxy: setattr(proxy, "is_mute", False)),
}


@pytest.mark.server
@pytest.mark.parametrize(
    ("driver", "fault"),
    [("psycopg", "refused"), ("asyncpg", "cut"), ("asyncpg", "refused"), ("asyncpg", "mute")],
    indirect=["driver"],
)
async def test_a_commit_succeeds_when_nobody_can_be_asked_whose_the_storage_is(
    driver: Driver, direct: Engine, proxy: Proxy, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end = FAULTS[fault]
    async with driver.session() as session:
        document = await session.one(Document, 1)
        document.file = FileObject("a.txt", content=b"new")
        with failing("commit.after", lambda: begin(proxy)):
            await session.commit()
        end(proxy)
        # the session is of use after it
        session.add(Document(id=2, file=FileObject("a.txt", content=b"next")))
        await session.commit()
    assert contents() == [b"new", b"next", b"old"]
    assert "stay until the next drain" in caplog.text
    assert drain(direct, Base).deleted == 1
    assert contents() == [b"new", b"next"]
