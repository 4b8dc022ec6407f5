"""What a command works on: models, database and storages, from options and `[tool.filecolumn]`."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import tomllib
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast

import click
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, registry

from filecolumn.cli.engines import run_in_loop, run_on
from filecolumn.cli.output import Output
from filecolumn.cli.running import Failed, Project, Running, in_one_line
from filecolumn.errors import FileColumnError
from filecolumn.maintenance import Models
from filecolumn.orm.asynchronous import AsyncEngine, create_async_engine

__all__ = ("Given", "UrlProject", "engine_of", "read_project")

T = TypeVar("T")


@dataclass(slots=True)
class Given:
    """What options say."""

    app: list[str] = field(default_factory=list[str])
    url: str | None = field(default=None, repr=False)
    setup: str | None = None


@dataclass(frozen=True, slots=True)
class UrlProject:
    """Models, a database by its URL, and the storages that are registered."""

    models: tuple[Models, ...]
    url: str = field(repr=False)

    def run(self, work: Callable[[Running], T], output: Output) -> T:
        """Call *work* with the database, in an event loop if its driver is asynchronous."""
        engine = engine_of(self.url)

        def call(engine: Engine) -> T:
            return work(Running(engine, self.models, output))

        if isinstance(engine, AsyncEngine):
            return asyncio.run(run_in_loop(engine, call))
        try:
            return run_on(engine, call)
        finally:
            engine.dispose()


def engine_of(url: str) -> Engine | AsyncEngine:
    """Return an engine for a URL with a sync or async driver; click's UsageError if there can be none."""
    try:
        parsed = make_url(url)
        return create_async_engine(parsed) if parsed.get_dialect().is_async else create_engine(parsed)
    except (ArgumentError, ValueError, TypeError):
        # the error may quote it, with its password
        raise click.UsageError(
            "the URL of the database cannot be read; write dialect+driver://user:password@host/name, with special "
            "characters of the password percent-encoded"
        ) from None
    except ImportError as error:
        raise click.UsageError(
            f"the driver of the database's URL is not installed: {in_one_line(error)}"
        ) from error


def read_project(given: Given) -> Project:
    """Import what the options or the table `[tool.filecolumn]` name; click's UsageError says what is missing."""
    table = _table()
    sys.path.insert(0, os.getcwd())
    named = given.app or table.app
    if not named:
        raise click.UsageError(
            "which models? Give --app package.module:Base, or app = [...] in [tool.filecolumn] of pyproject.toml; it "
            "may be a Litestar application with FileColumnPlugin too"
        )
    if (setup := given.setup or table.setup) is not None:
        _set_up(setup)
    found = [_made(name) for name in named]
    models = tuple(_models(name, each) for name, each in zip(named, found, strict=True) if not _is_app(each))
    url = given.url or table.url
    if url is not None:
        engine_of(url)
    apps = [each for each in found if _is_app(each)]
    if len(apps) > 1:
        raise click.UsageError(f"{len(apps)} applications are named; maintain the files of each separately")
    if apps:
        # it is there: somebody has made an application of it
        project_of: Callable[..., Project] = import_module("filecolumn.litestar.project").project_of
        return project_of(apps[0], models=models, url=url)
    if url is None:
        raise click.UsageError(
            "which database? Give --url, the variable FILECOLUMN_URL, or url = '...' in [tool.filecolumn]"
        )
    return UrlProject(models, url)


def _set_up(name: str) -> None:
    """Call the function that registers the storages."""
    prepare = _imported(name)
    if not callable(prepare):
        raise click.UsageError(f"{name!r} is not a function that registers storages")
    try:
        prepared: object = prepare()
        if inspect.isawaitable(prepared):
            asyncio.run(_awaited(prepared))
    except FileColumnError as error:
        raise Failed(f"{name!r} does not register the storages: {in_one_line(error)}") from error
    except Exception as error:
        raise Failed(f"{name!r} failed: {_where(error)}") from error


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _table() -> Given:
    """Return what `[tool.filecolumn]` of the nearest pyproject.toml says, here or above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            try:
                found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
                raise click.UsageError(f"{path} cannot be read: {error}") from error
            return _read_table(path, found)
    return Given()


def _read_table(path: Path, found: Mapping[str, object]) -> Given:
    tool = found.get("tool", {})
    table = cast("dict[str, object]", tool).get("filecolumn", {}) if isinstance(tool, dict) else None
    if isinstance(table, dict):
        values = cast("dict[str, object]", table)
        app, url, setup = (values.pop(name, None) for name in ("app", "url", "setup"))
        names = [app] if isinstance(app, str) else app
        if not values and _is_names(names) and isinstance(url, str | None) and isinstance(setup, str | None):
            return Given(names or [], url, setup)
    raise click.UsageError(
        f"[tool.filecolumn] in {path} cannot be read: it has app, a list of names, url and setup, and nothing else"
    )


def _is_names(value: object) -> TypeGuard[list[str] | None]:
    if value is None:
        return True
    return isinstance(value, list) and all(isinstance(each, str) for each in cast("list[object]", value))


def _imported(name: str) -> Any:  # noqa: ANN401 - whatever the user has
    module, colon, attribute = name.partition(":")
    if not (colon and module and attribute):
        raise click.UsageError(f"{name!r}: write package.module:name")
    try:
        found: object = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise click.UsageError(f"{name!r} cannot be imported: {in_one_line(error)}") from error
    except Exception as error:
        # the module's own
        raise click.UsageError(f"{name!r} cannot be imported: {_where(error)}") from error
    return found


def _where(error: Exception) -> str:
    """Return what an error of the user's code says, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {in_one_line(error)}{place}"


def _made(name: str) -> object:
    """Return what is imported by *name*, or what it returns if it is a factory."""
    found: object = _imported(name)
    if _is_app(found) or isinstance(found, type | MetaData | registry) or hasattr(found, "metadata"):
        return found
    if not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        raise click.UsageError(
            f"{name!r} is not an application, and calling it failed: {_where(error)}"
        ) from error


def _is_app(found: object) -> bool:
    # nobody has made an application of a framework that is not imported
    litestar = sys.modules.get("litestar")
    return litestar is not None and isinstance(found, litestar.Litestar)


def _models(name: str, found: object) -> Models:
    if isinstance(found, MetaData | registry):
        return found
    if isinstance(found, type) and issubclass(declared := cast("type[object]", found), DeclarativeBase):
        return declared
    metadata = getattr(found, "metadata", None)
    if isinstance(metadata, MetaData):
        return metadata
    raise click.UsageError(f"{name!r} is not a declarative base, registry, MetaData or Litestar application")
