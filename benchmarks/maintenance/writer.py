"""Commits small rows one after the other, in a process of its own: `python -m benchmarks.maintenance.writer PLACE`.

It says that it has begun, and goes on until its input ends; then it says how long its commits took.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing

from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from benchmarks.contenders.base import Place
from benchmarks.maintenance.storage import MadeUp
from benchmarks.maintenance.world import RECORD, STORAGE
from filecolumn import FileObject, storages

PAUSE = 0.005
"""Seconds between two commits."""
LEAST = 10
"""Commits of each kind, also where the other process is done at once."""
TIMEOUT = 30
"""Seconds that SQLite waits for a lock."""

Waits = dict[str, list[float]]
"""Seconds of each commit, by the kind of writer."""


def main(place: Place) -> None:
    """Write until the input ends."""
    ended, parent = threading.Event(), os.getppid()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    storages.register_backend(MadeUp(STORAGE, place.folder))
    engine = create_engine(place.url, connect_args={"timeout": TIMEOUT})
    path = str(make_url(place.url).database)
    with closing(sqlite3.connect(path, timeout=TIMEOUT)) as connection:

        def plain() -> None:
            with connection:
                connection.execute("INSERT INTO notes (text) VALUES ('a')")

        def session() -> None:
            with Session(engine) as session:
                session.add(RECORD(title="a", file=FileObject("a.bin", content=b"a")))
                session.commit()

        writers = {"session": session, "plain": plain}
        waits: Waits = defaultdict(list)
        _write(writers, defaultdict(list), lambda: True)
        print("begun", flush=True)
        gc.collect()
        gc.freeze()
        failed, stalled = _write(writers, waits, lambda: ended.is_set() or os.getppid() != parent)
    engine.dispose()
    print(json.dumps({"waits": waits, "failed": failed, "stalled": stalled}))


def _write(
    writers: dict[str, Callable[[], None]], waits: Waits, is_over: Callable[[], bool]
) -> tuple[int, float]:
    """Let the writers take turns until it *is_over*, and add what each commit took.

    Return how many failed, and the seconds by which a pause was too long: for so long the machine, not a lock, may
    have kept this process waiting.
    """
    failed = turns = 0
    stalled = 0.0
    while turns < LEAST or not is_over():
        for name, write in writers.items():
            started = time.perf_counter()
            try:
                write()
            except Exception:  # noqa: BLE001 - each is a driver's way to say that the lock was not to be had
                failed += 1
            done = time.perf_counter()
            waits[name].append(done - started)
            time.sleep(PAUSE)
            stalled = max(stalled, time.perf_counter() - done - PAUSE)
        turns += 1
    return failed, stalled


if __name__ == "__main__":
    main(Place(**json.loads(sys.argv[1])))
