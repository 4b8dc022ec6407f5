"""What has a synchronous and an asynchronous form, written once: a generator yields calls, a driver makes them.

`yield from either(call, call_async, ...)` has the result of the call, or raises what it raises, a cancellation
too; so `try`, `with` and `finally` hold for both forms.  Steps use other steps with `yield from`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar, cast

from filecolumn._workers import running_loop

__all__ = (
    "Step",
    "Steps",
    "either",
    "run",
    "run_async",
)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call, in both forms."""

    call: Callable[[], object]
    call_async: Callable[[], Awaitable[object]]


Steps = Generator[Step, object, T]
"""Logic that returns a T, for `run` or `run_async`."""


def either(
    call: Callable[P, T], call_async: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> Steps[T]:
    """Return what *call* returns in a synchronous run, and what *call_async* does in an asynchronous one."""
    return cast("T", (yield Step(partial(call, *args, **kwargs), partial(call_async, *args, **kwargs))))


def run(steps: Steps[T]) -> T:
    """Make the synchronous calls, and return what *steps* return."""
    try:
        step = next(steps)
        while True:
            try:
                result = step.call()
            except BaseException as error:  # noqa: BLE001 - raised in the steps
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


async def run_async(steps: Steps[T]) -> T:
    """Call `run` asynchronously: in the caller's own task, whose cancellation the steps get as any error.

    Raises NotSupportedError outside an event loop of asyncio.
    """
    running_loop()
    try:
        step = next(steps)
        while True:
            try:
                result = await step.call_async()
            except BaseException as error:  # noqa: BLE001 - raised in the steps
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)
