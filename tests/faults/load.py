"""One process of the soak: sync or async work on hot rows, or clean-up, on a storage that fails now and then.

Run as `python -m tests.faults.load URL FOLDER KIND SEED LIMIT`.  It says when it begins, works until
SIGTERM, at most LIMIT seconds, and prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import concurrency

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from filecolumn.testing import WrappedBackend
from filecolumn.testing.wrappers import Operation, Passage
from tests.faults.due import sweep_all_now
from tests.faults.hot import HotRows
from tests.scenarios.models import Base

KINDS = ("sync", "async", "drain", "sweep")
SHARE = 0.01
"""Of the calls to the storage, how many fail."""
PAUSE = 0.02
"""Seconds between two transactions of a worker."""
LEASE = 5.0
GRACE = 5.0


class Unreliable(WrappedBackend):
    """Fails before a call has any effect, or after it."""

    def __init__(self, backend: StorageBackend, seed: int) -> None:
        super().__init__(backend)
        self._random = random.Random(seed)

    def passage(self, operation: Operation, number: int) -> Passage:
        return Failing(self._random.random() < 0.5) if self._random.random() < SHARE else Passage()


class Failing(Passage):
    def __init__(self, is_late: bool) -> None:
        self._is_late = is_late

    def before(self) -> None:
        if not self._is_late:
            raise StorageError("it fails")

    async def before_async(self) -> None:
        self.before()

    def after(self) -> None:
        if self._is_late:
            raise StorageError("it failed")


class Time:
    """Goes on until SIGTERM, or the limit."""

    def __init__(self, limit: float) -> None:
        self._end = time.monotonic() + limit
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self._end = 0.0

    @property
    def is_left(self) -> bool:
        return time.monotonic() < self._end


class SyncLoad(HotRows):
    """Hot rows, with a moment between transactions."""

    forgiven = (StorageError,)

    def work(self, left: Time) -> None:
        while left.is_left:
            with Session(self._engine) as session:
                self.step(session)
            time.sleep(PAUSE)


# named await_ since SQLAlchemy 2.1
await_in_session = getattr(concurrency, "await_", concurrency.await_only)


class AsyncLoad(HotRows):
    """The same in an event loop."""

    forgiven = (StorageError,)

    async def work(self, url: str, left: Time) -> None:
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
        self._engine = engine.sync_engine
        while left.is_left:
            async with AsyncSession(engine) as session:
                await session.run_sync(self.step)
            await asyncio.sleep(PAUSE)
        await engine.dispose()

    def _content(self, file: FileObject) -> bytes:
        found: bytes = await_in_session(file.get_content_async())
        return found


def clean_up(engine: Engine, kind: str, left: Time) -> Counter[str]:
    """Drain once in a while, or sweep."""
    counts: Counter[str] = Counter()
    while left.is_left:
        try:
            if kind == "drain":
                counts["deleted"] += drain(engine, Base, lease=LEASE).deleted
            else:
                counts["claimed"] += sweep_all_now(engine, Base, grace=GRACE).claimed
        except StorageError:
            counts["refused"] += 1
        time.sleep(0.5)
    return counts


def main() -> None:
    url, folder, kind, seed, limit = sys.argv[1:]
    local = ObstoreBackend("docs", f"file://{folder}/", fsync=False)
    storages.register_backend(Unreliable(local, int(seed)))
    engine, left = create_engine(url), Time(float(limit))
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    if kind == "async":
        load = AsyncLoad(engine, int(seed))
        asyncio.run(load.work(url, left))
        counts = load.counts
    elif kind == "sync":
        rows = SyncLoad(engine, int(seed))
        rows.work(left)
        counts = rows.counts
    else:
        counts = clean_up(engine, kind, left)
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main()
