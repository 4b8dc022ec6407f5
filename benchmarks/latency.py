"""Fifty files in one flush, on a storage that answers each call after 20 ms (wall time).

What eight uploads at a time can reach is ⌈50/8⌉ x 20 ms; the rest is ours.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from benchmarks.measure import Figure, Sizes, in_turn, medians
from filecolumn import FileObject, StoredObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import SlowBackend

FILES = 50
LATENCY = 0.02
BUDGET = 1.3


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="slow"))


def measure(sizes: Sizes) -> list[Figure]:
    """Flush in a sync and in an async session, in turn."""
    slow = SlowBackend(ObstoreBackend("slow", "memory://"), LATENCY)
    storages.register_backend(slow, replace=True)
    floor = math.ceil(FILES / slow.concurrency) * LATENCY
    contenders: dict[str, Callable[[], float]] = {"sync": _sync, "async": lambda: asyncio.run(_async())}
    cost = medians(in_turn(contenders, max(sizes.rounds, 3)))
    return [
        Figure(
            what=f"{name}: {FILES} files in a flush v {slow.concurrency} at a time",
            value=seconds / floor,
            budget=BUDGET,
            detail=f"{seconds * 1000:.0f} ms v {floor * 1000:.0f} ms",
        )
        for name, seconds in cost.items()
    ]


def _documents() -> list[Document]:
    return [Document(file=FileObject("a.txt", content=b"content")) for _ in range(FILES)]


def _sync() -> float:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(_documents())
        start = time.perf_counter()
        session.flush()
        seconds = time.perf_counter() - start
        session.commit()
    engine.dispose()
    return seconds


async def _async() -> float:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add_all(_documents())
        start = time.perf_counter()
        await session.flush()
        seconds = time.perf_counter() - start
        await session.commit()
    await engine.dispose()
    return seconds
