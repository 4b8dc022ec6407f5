"""Save and commit one 4 KiB file: local folder through obstore, SQLite in a file."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from obstore.store import LocalStore
from sqlalchemy import Column, Engine, Integer, String, Table, create_engine, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from benchmarks import peer
from benchmarks.measure import Figure, Sizes, in_turn, medians
from benchmarks.models import Record, model, plain_json
from filecolumn import FileObject, StoredObject, storages

CONTENT = os.urandom(4096)

OURS, OURS_UNSYNCED = "ours", "ours, fsync=False"
FLOOR, FLOOR_PLAIN, PEER = "floor", "floor without the extra INSERT", "advanced-alchemy"


class Floor:
    """The least that a careful program does: store, fsync file and folder, write a plain row."""

    def __init__(self, folder: Path, *, extra: bool) -> None:
        self.folder = str(folder)
        self.store = LocalStore(folder, mkdir=True)
        self.model = model("floor" if extra else "plain", plain_json())
        metadata = self.model.__table__.metadata  # type: ignore[attr-defined]
        self.notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("key", String))
        self.extra = extra

    def put(self) -> dict[str, object]:
        """Store the content under a new key in a dated folder."""
        key = f"20260101/00/{uuid4().hex}"
        stored = self.store.put(key, CONTENT, mode="create", use_multipart=False)
        path = os.path.join(self.folder, key)
        for name, flags in ((path, os.O_RDONLY), (os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)):
            descriptor = os.open(name, flags)
            os.fsync(descriptor)
            os.close(descriptor)
        return {"filename": "a.bin", "to_filename": key, "size": len(CONTENT), "etag": stored["e_tag"]}

    def row(self, facts: dict[str, object]) -> Record:
        return self.model(title="a", file=facts)

    def note(self, session: Session, facts: dict[str, object]) -> None:
        if self.extra:
            session.execute(insert(self.notes).values(key=facts["to_filename"]))

    def save(self, session: Session) -> None:
        facts = self.put()
        session.add(self.row(facts))
        self.note(session, facts)
        session.commit()

    async def save_async(self, session: AsyncSession) -> None:
        facts = await asyncio.to_thread(self.put)
        session.add(self.row(facts))
        await session.run_sync(self.note, facts)
        await session.commit()


class Ours:
    """filecolumn."""

    def __init__(self, folder: Path, *, fsync: bool) -> None:
        key = f"saves{fsync:d}"
        storages.register_backend(f"{folder.as_uri()}/", key=key, fsync=fsync)
        self.model = model(key, StoredObject(backend=key))

    def row(self) -> Record:
        return self.model(title="a", file=FileObject("a.bin", content=CONTENT))

    def save(self, session: Session) -> None:
        session.add(self.row())
        session.commit()

    async def save_async(self, session: AsyncSession) -> None:
        session.add(self.row())
        await session.commit()


class Peer:
    """advanced-alchemy, with its listeners and with what it saves in the background awaited."""

    def __init__(self, folder: Path) -> None:
        peer.register(folder)
        self.model = model("peer", peer.column())

    def row(self) -> Record:
        return self.model(title="a", file=peer.file(f"{uuid4().hex}.bin", CONTENT))

    def save(self, session: Session) -> None:
        session.add(self.row())
        session.commit()

    async def save_async(self, session: AsyncSession) -> None:
        session.add(self.row())
        await session.commit()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def measure(sizes: Sizes) -> list[Figure]:
    """Measure sync, then async."""
    figures: list[Figure] = []
    for kind, run in (("sync", _sync), ("async", _async)):
        with tempfile.TemporaryDirectory() as folder:
            figures += _figures(kind, run(Path(folder).resolve(), sizes.saves))
        storages.clear_backends()
    return figures


def _figures(kind: str, taken: dict[str, float]) -> list[Figure]:
    def against(one: str, other: str, budget: float | None) -> Figure:
        detail = f"{taken[one] * 1e3:.2f} ms v {taken[other] * 1e3:.2f} ms"
        return Figure(
            what=f"{kind}: {one} v {other}", value=taken[one] / taken[other], budget=budget, detail=detail
        )

    figures = [against(OURS, FLOOR, 1.25), against(OURS, FLOOR_PLAIN, None)]
    if PEER in taken:
        figures += [
            against(OURS_UNSYNCED, PEER, 1.0),
            against(OURS, PEER, None),
            against(PEER, FLOOR_PLAIN, None),
        ]
    return figures


def _contenders(folder: Path) -> dict[str, Floor | Ours | Peer]:
    contenders: dict[str, Floor | Ours | Peer] = {
        OURS: Ours(folder / "ours", fsync=True),
        OURS_UNSYNCED: Ours(folder / "unsynced", fsync=False),
        FLOOR: Floor(folder / "floor", extra=True),
        FLOOR_PLAIN: Floor(folder / "plain", extra=False),
    }
    if peer.installed:
        contenders[PEER] = Peer(folder / "peer")
    return contenders


def _metadata(contender: Floor | Ours | Peer) -> Any:  # noqa: ANN401 - the model is mapped at run time
    return contender.model.__table__.metadata  # type: ignore[attr-defined]


def _sync(folder: Path, saves: int) -> dict[str, float]:
    engines: list[Engine] = []

    def contender(name: str, work: Floor | Ours | Peer) -> Callable[[], float]:
        engine = create_engine(f"sqlite:///{folder}/{len(engines)}.db")
        engines.append(engine)
        _metadata(work).create_all(engine)
        make = peer.sessions(engine) if isinstance(work, Peer) else lambda: Session(engine)

        def once() -> float:
            start = time.perf_counter()
            with make() as session:
                work.save(session)
            return time.perf_counter() - start

        return once

    taken = in_turn({name: contender(name, work) for name, work in _contenders(folder).items()}, saves)
    for engine in engines:
        engine.dispose()
    return medians(taken)


def _async(folder: Path, saves: int) -> dict[str, float]:
    return asyncio.run(_measure_async(folder, saves))


async def _measure_async(folder: Path, saves: int) -> dict[str, float]:
    engines: list[AsyncEngine] = []
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    for name, work in _contenders(folder).items():
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/{len(engines)}.db")
        engines.append(engine)
        async with engine.begin() as connection:
            await connection.run_sync(_metadata(work).create_all)
        contenders[name] = _once_async(engine, work)
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(saves + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gc.collect(0)
            seconds = await contenders[name]()
            if turn:
                taken[name].append(seconds)
    for engine in engines:
        await engine.dispose()
    return medians(taken)


def _once_async(engine: AsyncEngine, work: Floor | Ours | Peer) -> Callable[[], Awaitable[float]]:
    make = (
        peer.async_sessions(engine)
        if isinstance(work, Peer)
        else lambda: AsyncSession(engine, expire_on_commit=False)
    )

    async def once() -> float:
        start = time.perf_counter()
        async with make() as session:
            await work.save_async(session)
        return time.perf_counter() - start

    return once
