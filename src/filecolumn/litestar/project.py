"""A Litestar application as the project of a command, which runs inside its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

import click
from litestar import Litestar
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from filecolumn.cli.engines import run_in_loop
from filecolumn.cli.output import Output
from filecolumn.cli.project import engine_of
from filecolumn.cli.running import Failed, Running, in_one_line
from filecolumn.litestar.lifespan import Lifespan, lifespans_of
from filecolumn.maintenance import Models

__all__ = ("project_of", "started")

T = TypeVar("T")


def project_of(app: Litestar, *, models: Sequence[Models] = (), url: str | None = None) -> ApplicationProject:
    """Return what the plugin of *app* was given, with more *models*, and another database if *url* names one.

    Raises click's UsageError for what the plugin was not given.
    """
    lifespans = lifespans_of(app)
    if not lifespans:
        raise click.UsageError("the application has no FileColumnPlugin")
    known = [*models, *(model for lifespan in lifespans for model in lifespan.config.models)]
    if not known:
        raise click.UsageError(
            "which models? The application's FileColumnPlugin names none; set "
            "FileColumnConfig(engine=..., models=[Base])"
        )
    if url is None and all(lifespan.config.engine is None for lifespan in lifespans):
        raise click.UsageError(
            "which database? The application's FileColumnPlugin names none; set "
            "FileColumnConfig(engine=..., models=[Base])"
        )
    return ApplicationProject(app, lifespans, tuple(dict.fromkeys(known)), url)


@dataclass(frozen=True, slots=True)
class ApplicationProject:
    """An application, what its plugins were given, and the database of its files."""

    app: Litestar
    lifespans: Sequence[Lifespan]
    models: tuple[Models, ...]
    url: str | None = field(default=None, repr=False)
    """The database, if it is not the plugin's."""

    def run(self, work: Callable[[Running], T], output: Output) -> T:
        """Call *work* while the application runs, so that its storages are registered."""

        def call(engine: Engine) -> T:
            return work(Running(engine, self.models, output))

        return asyncio.run(self._run(call, output))

    async def _run(self, call: Callable[[Engine], T], output: Output) -> T:
        async with started(self.app, output):
            engine = self._engine()
            try:
                return await run_in_loop(engine, call)
            finally:
                # made here; the plugin's own engine is the application's
                if self.url is not None and isinstance(engine, Engine):
                    engine.dispose()

    def _engine(self) -> AsyncEngine | Engine:
        if self.url is not None:
            return engine_of(self.url)
        [source, *_] = self._sources()
        try:
            engine: object = source() if callable(source) else source
        except Exception as error:
            raise Failed(f"FileColumnConfig(engine=...) raised {_said(error)}") from error
        # somebody's callable returns what it likes
        if not isinstance(engine, AsyncEngine | Engine):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise Failed(f"FileColumnConfig(engine=...) must be an engine, not a {type(engine).__name__}")
        return engine

    def _sources(self) -> Iterator[AsyncEngine | Engine | Callable[[], AsyncEngine | Engine]]:
        for lifespan in self.lifespans:
            if lifespan.config.engine is not None:
                yield lifespan.config.engine


@asynccontextmanager
async def started(app: Litestar, output: Output) -> AsyncGenerator[None]:
    """Run an application, without a probe and a drain of its plugin; Failed if it does not start.

    What is raised inside does not pass through the application, which would make it one error of a group.
    """
    with ExitStack() as passive:
        for lifespan in lifespans_of(app):
            passive.enter_context(lifespan.passive())
        stack = AsyncExitStack()
        try:
            await stack.enter_async_context(app.lifespan())
        except Exception as error:
            raise Failed(f"the application failed to start: {_said(error)}") from error
        try:
            yield
        finally:
            await _stop(stack, output)


async def _stop(stack: AsyncExitStack, output: Output) -> None:
    try:
        await stack.aclose()
    except Exception as error:  # noqa: BLE001 - the work is done
        output.say(f"warning: the application failed to stop: {_said(error)}")


def _said(error: BaseException) -> str:
    """Return the class of an error and what it says; of a group the first one."""
    if isinstance(error, BaseExceptionGroup):
        return _said(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return f"{type(error).__name__}: {in_one_line(error)}"
