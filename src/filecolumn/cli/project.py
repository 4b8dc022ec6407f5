"""What a command works on: models, database and storages, from options and `[tool.filecolumn]`."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, registry
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance import Models

__all__ = ("Project", "read_project")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Project:
    """An application, ready to be maintained."""

    models: Sequence[Models]
    url: str = field(repr=False)

    def run(self, work: Callable[[Engine], T]) -> T:
        """Call *work* with the engine of the database, in an event loop if its driver is asynchronous."""
        dialect = make_url(self.url).get_dialect()
        if not dialect.is_async:
            engine = create_engine(self.url)
            try:
                return work(engine)
            finally:
                engine.dispose()
        return asyncio.run(self._run_async(work))

    async def _run_async(self, work: Callable[[Engine], T]) -> T:
        engine: AsyncEngine = create_async_engine(self.url)
        try:
            return await greenlet_spawn(work, engine.sync_engine)
        finally:
            await engine.dispose()


def read_project(app: Sequence[str], url: str | None, setup: str | None) -> Project:
    """Import what the options or the table `[tool.filecolumn]` name; click's UsageError says what is missing."""
    table = _table()
    sys.path.insert(0, os.getcwd())
    named = app or _strings(table.get("app"))
    if not named:
        raise click.UsageError(
            "which models? Give --app package.module:Base, or app = [...] in [tool.filecolumn] of pyproject.toml"
        )
    setup = setup or _string(table.get("setup"))
    if setup is not None:
        prepare: Callable[[], object] = _imported(setup)
        prepared = prepare()
        if inspect.iscoroutine(prepared):
            asyncio.run(_awaited(prepared))
    models = [_models(name) for name in named]
    url = url or _string(table.get("url"))
    if url is None:
        raise click.UsageError(
            "which database? Give --url, the variable FILECOLUMN_URL, or url = '...' in [tool.filecolumn]"
        )
    try:
        make_url(url)
    except (ArgumentError, ValueError):
        # the error quotes it, with its password
        raise click.UsageError(
            "the URL of the database cannot be read; write dialect+driver://user:password@host/name, with special "
            "characters of the password percent-encoded"
        ) from None
    return Project(models, url)


async def _awaited(coroutine: Coroutine[object, object, T]) -> T:
    return await coroutine


def _table() -> Mapping[str, Any]:
    """Return `[tool.filecolumn]` of the nearest pyproject.toml, here or above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            try:
                found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            except tomllib.TOMLDecodeError as error:
                raise click.UsageError(f"{path} cannot be read: {error}") from error
            tool: Mapping[str, Any] = found.get("tool", {})
            table: Mapping[str, Any] = tool.get("filecolumn", {})
            return table
    return {}


def _imported(name: str) -> Any:  # noqa: ANN401 - whatever the user has
    module, colon, attribute = name.partition(":")
    if not colon:
        raise click.UsageError(f"{name!r}: write package.module:name")
    try:
        found: object = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"{name!r} cannot be imported: {error}") from error
    return found


def _models(name: str) -> Models:
    found: object = _imported(name)
    if isinstance(found, MetaData | registry):
        return found
    if isinstance(found, type) and issubclass(declared := cast("type[object]", found), DeclarativeBase):
        return declared
    metadata = getattr(found, "metadata", None)
    if isinstance(metadata, MetaData):
        return metadata
    raise click.UsageError(f"{name!r} is no declarative base, registry or MetaData")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
