"""A task is cancelled after the first step of the event loop, then after the second, until it completes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.faults.deployed import DEPLOYMENTS_OF_ALL, deployed, options_of
from tests.faults.oracle import look, put_right
from tests.profiles import PROFILE
from tests.scenarios.fixtures import on_servers
from tests.scenarios.models import Document

Step = Callable[[AsyncSession], Coroutine[object, object, None]]


async def replace(session: AsyncSession) -> None:
    (await session.get_one(Document, 1)).file = FileObject("a.txt", content=b"new")


async def append(session: AsyncSession) -> None:
    document = await session.get_one(Document, 1)
    document.pages.append(FileObject("a.txt", content=b"more"))


async def remove(session: AsyncSession) -> None:
    await session.delete(await session.get_one(Document, 1))


async def copy(session: AsyncSession) -> None:
    session.add(Document(id=2, file=(await session.get_one(Document, 1)).file))


@pytest.fixture(params=["sqlite", *on_servers(["postgresql"])])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=DEPLOYMENTS_OF_ALL)
async def database(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> AsyncIterator[tuple[AsyncEngine, Callable[[], None]]]:
    """A database for tasks, and the check that everything is right in it."""
    folder = tmp_path / "docs"
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=False), replace=True)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[kind]
    if (kind, request.param) == ("sqlite", "tenants"):
        pytest.skip("SQLite has no schemas but attached files")
    with deployed(kind, tmp_path, request.param) as tenants:
        direct = tenants[0]
        engine = create_async_engine(direct.url.set(drivername=driver), **options_of(direct))

        def check() -> None:
            finding = look(direct, folder)
            assert finding.nothing_is_lost, finding
            put_right(direct)
            assert look(direct, folder).orphans == []
            assert not [path for path in folder.rglob("*") if "stage" in path.parts and path.is_file()]

        yield engine, check
        await engine.dispose()


async def cancel_after(work: Coroutine[object, object, None], steps: int) -> bool:
    """Run *work*, cancel it after so many steps of the loop, and return whether it was too late for that."""
    task = asyncio.ensure_future(work)
    for step in range(steps):
        if task.done():
            break
        # what threads and sockets do takes time, not steps
        await asyncio.sleep(0.0005 if step % 4 == 3 else 0)
    is_late = task.done()
    task.cancel()
    await asyncio.wait({task}, timeout=20)
    assert task.done()
    if task.cancelled():
        return False
    if (error := task.exception()) is not None:
        raise error
    return is_late


@pytest.mark.sized
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [replace, append, remove, copy], ids=lambda step: step.__name__)
async def test_nothing_is_lost_and_nothing_is_left(
    database: tuple[AsyncEngine, Callable[[], None]], step: Step
) -> None:
    engine, check = database

    async def work() -> None:
        async with AsyncSession(engine) as session:
            await step(session)
            await session.commit()

    async def reset() -> None:
        async with AsyncSession(engine) as session:
            for number in (1, 2):
                if (document := await session.get(Document, number)) is not None:
                    await session.delete(document)
            await session.flush()
            session.add(Document(id=1, file=FileObject("a.txt", content=b"old")))
            await session.commit()

    for steps in count(1, PROFILE.stride):
        await reset()
        before = asyncio.all_tasks()
        is_late = await cancel_after(work(), steps)
        left = asyncio.all_tasks() - before
        if left:
            await asyncio.wait(left, timeout=10)
        assert not {task for task in left if not task.done()}
        # SQLAlchemy leaves a cancelled aiosqlite connection to the collector, with its locks
        gc.collect()
        await asyncio.to_thread(check)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        if is_late:
            break
