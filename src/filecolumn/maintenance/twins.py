"""The functions of maintenance for an `AsyncEngine`: each runs in a greenlet, so it is written once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance.adopt import adopt, undelete
from filecolumn.maintenance.check import check
from filecolumn.maintenance.columns import (
    copy_files,
    forget_file_column,
    list_file_columns,
    rename_file_column,
)
from filecolumn.maintenance.drain import drain
from filecolumn.maintenance.migrate import migrate
from filecolumn.maintenance.status import status
from filecolumn.maintenance.sweep import sweep, sweep_when_due
from filecolumn.maintenance.triggers import install_triggers, remove_triggers
from filecolumn.orm.asynchronous import AsyncEngine

__all__ = (
    "adopt_async",
    "check_async",
    "copy_files_async",
    "drain_async",
    "forget_file_column_async",
    "install_triggers_async",
    "list_file_columns_async",
    "migrate_async",
    "remove_triggers_async",
    "rename_file_column_async",
    "status_async",
    "sweep_async",
    "sweep_when_due_async",
    "undelete_async",
)

P = ParamSpec("P")
T = TypeVar("T")

Synchronous = Callable[Concatenate[Engine, P], T]
Asynchronous = Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, T]]


def twin_of(call: Synchronous[P, T]) -> Callable[[Callable[[], None]], Asynchronous[P, T]]:
    """Replace a function without a body by *call* for an `AsyncEngine`; its name and docstring stay."""

    def decorate(named: Callable[[], None]) -> Asynchronous[P, T]:
        @wraps(named)
        async def twin(engine: AsyncEngine, *args: P.args, **kwargs: P.kwargs) -> T:
            return await greenlet_spawn(partial(call, engine.sync_engine, *args, **kwargs))

        # what `inspect` and Sphinx show: the parameters of the call, with its defaults
        of_call = signature(call)
        engine, *others = of_call.parameters.values()
        shown = [engine.replace(annotation="AsyncEngine"), *others]
        vars(twin)["__signature__"] = of_call.replace(parameters=shown)
        # a caller may name the engine, as in the call itself; `Concatenate` cannot say so
        return cast("Asynchronous[P, T]", twin)

    return decorate


@twin_of(adopt)
def adopt_async() -> None:
    """Call `adopt` asynchronously."""


@twin_of(check)
def check_async() -> None:
    """Call `check` asynchronously."""


@twin_of(copy_files)
def copy_files_async() -> None:
    """Call `copy_files` asynchronously."""


@twin_of(drain)
def drain_async() -> None:
    """Call `drain` asynchronously."""


@twin_of(forget_file_column)
def forget_file_column_async() -> None:
    """Call `forget_file_column` asynchronously."""


@twin_of(install_triggers)
def install_triggers_async() -> None:
    """Call `install_triggers` asynchronously."""


@twin_of(list_file_columns)
def list_file_columns_async() -> None:
    """Call `list_file_columns` asynchronously."""


@twin_of(migrate)
def migrate_async() -> None:
    """Call `migrate` asynchronously."""


@twin_of(remove_triggers)
def remove_triggers_async() -> None:
    """Call `remove_triggers` asynchronously."""


@twin_of(rename_file_column)
def rename_file_column_async() -> None:
    """Call `rename_file_column` asynchronously."""


@twin_of(status)
def status_async() -> None:
    """Call `status` asynchronously."""


@twin_of(sweep)
def sweep_async() -> None:
    """Call `sweep` asynchronously."""


@twin_of(sweep_when_due)
def sweep_when_due_async() -> None:
    """Call `sweep_when_due` asynchronously."""


@twin_of(undelete)
def undelete_async() -> None:
    """Call `undelete` asynchronously."""
