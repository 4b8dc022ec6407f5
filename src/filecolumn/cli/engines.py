"""Runs work on an engine, sync or async, once it is known that its database is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from sqlalchemy import URL, Engine, StaticPool
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.cli.running import Failed, in_one_line, interruptible
from filecolumn.orm.asynchronous import AsyncEngine

__all__ = ("run_in_loop", "run_on")

T = TypeVar("T")


def run_on(engine: Engine, work: Callable[[Engine], T]) -> T:
    """Return what *work* returns with an engine whose database is there; Failed if it is not."""
    _refuse_missing_file(engine.url)
    try:
        with engine.connect():
            pass
    except Exception as error:
        # drivers raise what they like before there is a connection
        why = _without_password(in_one_line(error), engine.url)
        raise Failed(f"the database cannot be reached: {why}; check its URL, and that it runs") from error
    return work(engine)


async def run_in_loop(engine: AsyncEngine | Engine, work: Callable[[Engine], T]) -> T:
    """Call `run_on` in an event loop: that of an async engine, or of the application that has a sync one."""
    if isinstance(engine, AsyncEngine):
        try:
            return await greenlet_spawn(run_on, engine.sync_engine, work)
        finally:
            # its connections belong to this loop; a database in memory is gone with its only one
            if not isinstance(engine.pool, StaticPool):
                await engine.dispose()
    with interruptible():
        return run_on(engine, work)


def _refuse_missing_file(url: URL) -> None:
    """Raise Failed for a database of SQLite that is not there: to connect would make an empty file."""
    if url.get_backend_name() != "sqlite" or not (name := url.database):
        return
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").partition("?")[0])
        if "memory" in (url.query.get("mode"), url.query.get("vfs")):
            return
    if name and name != ":memory:" and not Path(name).exists():
        raise Failed(
            f"there is no database {name!r}: check its URL, or create the tables first, by "
            "Base.metadata.create_all() or an Alembic migration"
        )


def _without_password(text: str, url: URL) -> str:
    password = str(url.password or "")
    return text.replace(password, "***") if password else text
