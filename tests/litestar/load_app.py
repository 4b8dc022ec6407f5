"""The application in a process of its own, which measures what each callback takes of its event loop's thread.

Processor time of the thread, not time of the clock: what else the machine does is nobody's fault here, nor
that of a callback what the garbage collector takes in its midst.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from advanced_alchemy.extensions.litestar import EngineConfig
from litestar import get, post

from tests.litestar.application import alchemy_config, application

SLOWEST = 10
"""Callbacks that are reported."""

process = psutil.Process()
slowest: list[tuple[float, str]] = []
collecting: list[float] = [0.0, 0.0]
"""When the collector began, and what it has taken."""
real_run = asyncio.Handle._run


def run(handle: Any) -> None:
    began = time.thread_time() - collecting[1]
    real_run(handle)
    took = time.thread_time() - collecting[1] - began
    if took > 0.01 and (len(slowest) < SLOWEST or took > slowest[-1][0]):
        slowest.append((took, repr(handle)[:1000]))
        slowest.sort(reverse=True)
        del slowest[SLOWEST:]


def collect(phase: str, info: dict[str, int]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    if phase == "start":
        collecting[0] = time.thread_time()
    else:
        collecting[1] += time.thread_time() - collecting[0]


gc.callbacks.append(collect)
asyncio.Handle._run = run  # type: ignore[method-assign]


@get("/measured")
async def measured() -> dict[str, Any]:
    gc.collect()
    return {
        "memory": process.memory_info().rss,
        "files": process.num_fds(),
        "threads": process.num_threads(),
        "tasks": len(asyncio.all_tasks()),
        "slowest": slowest,
    }


@post("/measured")
async def measure_anew() -> None:
    """Forget what was done once: imports, the first statements, the first connections."""
    slowest.clear()


folder = Path(os.environ["FILECOLUMN_TEST_FOLDER"])
engine = EngineConfig(pool_size=20, max_overflow=0, pool_timeout=60, connect_args={"timeout": 60})
app = application(folder, handlers=[measured, measure_anew], alchemy=alchemy_config(folder, engine=engine))
