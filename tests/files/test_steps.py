"""What is written once as steps behaves as a function, and as a coroutine, would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from filecolumn import NotSupportedError
from filecolumn.files.steps import Steps, either, run, run_async


def half(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


async def half_async(number: int) -> int:
    await asyncio.sleep(0)
    return half(number)


def halved(number: int) -> Steps[int]:
    return either(half, half_async, number)


async def both(make: Callable[[], Steps[object]]) -> set[object]:
    return {run(make()), await run_async(make())}


async def test_steps_return_what_they_say() -> None:
    def quarter() -> Steps[int]:
        return (yield from halved((yield from halved(12))))

    assert await both(quarter) == {3}


async def test_steps_catch_what_a_call_raises_and_go_on() -> None:
    def rounded() -> Steps[int]:
        try:
            return (yield from halved(7))
        except ValueError:
            return (yield from halved(8))

    assert await both(rounded) == {4}


async def test_an_error_that_steps_do_not_catch_comes_to_the_caller_after_their_cleanup() -> None:
    cleaned: list[int] = []

    def refused() -> Steps[int]:
        try:
            return (yield from halved(7))
        finally:
            cleaned.append((yield from halved(2)))

    with pytest.raises(ValueError, match="7 is odd") as raised:
        run(refused())
    assert raised.value.__context__ is None
    with pytest.raises(ValueError, match="7 is odd"):
        await run_async(refused())
    assert cleaned == [1, 1]


async def test_the_cleanup_of_cancelled_steps_is_awaited() -> None:
    cleaned: list[int] = []
    never = asyncio.Event()

    def waiting() -> Steps[bool]:
        try:
            return (yield from either(bool, never.wait))
        finally:
            cleaned.append((yield from halved(2)))

    task = asyncio.ensure_future(run_async(waiting()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [1]


def test_steps_are_awaited_in_an_event_loop_only() -> None:
    with pytest.raises(NotSupportedError, match="event loop of asyncio"):
        run_async(halved(2)).send(None)
