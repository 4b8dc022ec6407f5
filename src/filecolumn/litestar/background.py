"""The drain that runs beside the requests of an application."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from filecolumn._threads import completed
from filecolumn.backends.registry import storages
from filecolumn.errors import BackendNotRegisteredError
from filecolumn.logs import note, warn
from filecolumn.maintenance import (
    DrainReport,
    Models,
    SweepReport,
    drain,
    drain_async,
    sweep_when_due,
    sweep_when_due_async,
)

__all__ = ("BACKGROUND_STATE_KEY", "Background", "EngineSource")

EngineSource = AsyncEngine | Engine | Callable[[], AsyncEngine | Engine]
"""An engine, or what returns one at start-up, such as `alchemy.get_engine`."""

BACKGROUND_STATE_KEY = "filecolumn_background"
"""Where an application's state has its `Background`."""

STOP_LIMIT = 10.0
"""Seconds that a drain may take to end when the application stops; then it is cancelled, and its lease ends."""


@dataclass(slots=True)
class Background:
    """Drains at intervals, in every worker: drains do not block each other."""

    engine: EngineSource
    models: Sequence[Models]
    interval: float
    """Seconds between two drains."""
    sweep_unreferenced: bool = False
    """Whether one process of the database sweeps each day, and deletes files that have had no row for a week."""
    last: DrainReport | None = None
    """The report of the last drain that did not fail."""
    error: str | None = None
    """The class of the error that the last drain raised, if it did."""
    ended_at: float = field(default_factory=time.monotonic)

    @property
    def lag(self) -> float:
        """Seconds since a drain came to its end, or since the start."""
        return time.monotonic() - self.ended_at

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Drain until the block ends, and wait for the last drain."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(stop), name="filecolumn drain")
        try:
            yield
        finally:
            stop.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=STOP_LIMIT)
                task.cancel()
                await asyncio.wait({task})

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            # workers that start together are not to drain together
            with anyio.move_on_after(self.interval * random.uniform(0.5, 1.5)):  # noqa: S311
                await stop.wait()
            if not stop.is_set():
                await self._drain()

    async def _drain(self) -> None:
        try:
            engine = self.engine() if callable(self.engine) else self.engine
            try:
                self.last = await self._maintain(engine, None)
            except BackendNotRegisteredError as error:
                # other processes of the database may have the other storages
                note("the background drain deletes in the registered storages only: %s", error)
                self.last = await self._maintain(engine, storages.registered_backends())
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the next drain is tried
            self.error = type(error).__name__
            warn("the background drain failed and will be retried: %s: %s", self.error, error)
        else:
            self.error = None
            self.ended_at = time.monotonic()

    async def _maintain(self, engine: AsyncEngine | Engine, only: Collection[str] | None) -> DrainReport:
        if isinstance(engine, AsyncEngine):
            report = await drain_async(engine, *self.models, only=only)
            if self.sweep_unreferenced:
                _warn_of_unreachable(
                    await sweep_when_due_async(engine, *self.models, unreferenced=True, only=only)
                )
            return report
        report = await completed(lambda: drain(engine, *self.models, only=only))
        if self.sweep_unreferenced:
            _warn_of_unreachable(
                await completed(partial(sweep_when_due, engine, *self.models, unreferenced=True, only=only))
            )
        return report


def _warn_of_unreachable(report: SweepReport | None) -> None:
    for name, why in (report.unreachable if report else {}).items():
        warn("the background sweep skipped storage %s, which does not answer: %s", name, why)
