"""Storages that take their time: many files of one flush at once, and an event loop that goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample, sampled
from benchmarks.models import Record, model, table_of

FILES = 50
LATENCY = 0.02
BLOCKING = 0.1
"""Seconds for which each call of the slow filesystem keeps its thread."""


class Slow:
    """filecolumn over a storage that answers each call after 20 ms."""

    name: ClassVar[str] = "filecolumn"
    can: ClassVar[frozenset[str]] = frozenset({"latency"})

    def __init__(self, place: Place) -> None:
        from filecolumn import StoredObject, storages  # noqa: PLC0415 - the parent has it not
        from filecolumn.backends.obstore import ObstoreBackend  # noqa: PLC0415 - see above
        from filecolumn.testing import SlowBackend  # noqa: PLC0415 - see above

        storages.register_backend(SlowBackend(ObstoreBackend("slow", "memory://"), LATENCY))
        self.model = model("documents", StoredObject(backend="slow"))

    def documents(self) -> list[Record]:
        """Return new rows."""
        from filecolumn import FileObject  # noqa: PLC0415 - see __init__

        return [self.model(title="a", file=FileObject("a.txt", content=b"content")) for _ in range(FILES)]


def flush(contender: Slow, _times: int, _amount: int) -> Sample:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    table_of(contender.model).metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(contender.documents())
        with sampled(1) as sample:
            session.flush()
        session.commit()
    engine.dispose()
    return sample


async def flush_async(contender: Slow, _times: int, _amount: int) -> Sample:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(table_of(contender.model).metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add_all(contender.documents())
        with sampled(1) as sample:
            await session.flush()
        await session.commit()
    await engine.dispose()
    return sample


async def stall(_contender: Slow, _times: int, _amount: int) -> Sample:
    """Save while each write blocks its thread, and look how long the event loop did nothing."""
    from fsspec.implementations.memory import MemoryFileSystem  # noqa: PLC0415 - see Slow

    from filecolumn import FileObject, storages  # noqa: PLC0415 - see Slow
    from filecolumn.backends.fsspec import FSSpecBackend  # noqa: PLC0415 - see Slow

    class Blocking(MemoryFileSystem):  # type: ignore[misc]
        """Keeps the thread of a caller, as a sync client of a far server does."""

        cachable = False

        def _open(self, *arguments: Any, **options: Any) -> Any:
            time.sleep(BLOCKING)
            return super()._open(*arguments, **options)

    storages.register_backend(FSSpecBackend("blocking", Blocking(), prefix="/stall"), replace=True)
    longest = 0.0
    done = asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    ticking = asyncio.create_task(tick())
    with sampled(1) as sample:
        for _ in range(3):
            await FileObject("a.txt", content=b"content", backend="blocking").save_async()
    done.set()
    await ticking
    return sample | {"stall ms": longest * 1000}


CONTENDERS: dict[str, type[Any]] = {Slow.name: Slow}
MEASURES = (
    Measure(
        name="flush-50",
        title=f"flush {FILES} files to a storage that takes 20 ms",
        work=flush,
        needs="latency",
        item="flush",
        metrics=("wall", "cpu"),
    ),
    Measure(
        name="flush-50-async",
        title=f"flush {FILES} files to a storage that takes 20 ms, async",
        work=flush_async,
        needs="latency",
        item="flush",
        metrics=("wall", "cpu"),
    ),
    Measure(
        name="stall",
        title="the event loop beside a filesystem that blocks for 100 ms",
        work=stall,
        needs="latency",
        item="three saves",
        metrics=("stall ms", "wall"),
    ),
)
