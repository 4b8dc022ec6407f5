"""Each function that takes an engine has a twin for an `AsyncEngine`."""

from __future__ import annotations

import inspect

import pytest

from filecolumn import maintenance

NAMES = [name for name in maintenance.__all__ if name.islower() and name != "attach_triggers"]
CALLS = [name for name in NAMES if not name.endswith("_async")]


def test_each_call_has_a_twin() -> None:
    assert sorted(NAMES) == sorted([*CALLS, *(f"{name}_async" for name in CALLS)])


@pytest.mark.parametrize("name", CALLS)
def test_a_twin_has_the_parameters_of_its_call(name: str) -> None:
    twin = getattr(maintenance, f"{name}_async")
    engine, *others = inspect.signature(twin).parameters.values()
    _, *expected = inspect.signature(getattr(maintenance, name)).parameters.values()
    assert (engine.name, engine.annotation) == ("engine", "AsyncEngine")
    assert others == expected
    assert inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize("name", CALLS)
def test_a_twin_names_its_call(name: str) -> None:
    twin = getattr(maintenance, f"{name}_async")
    assert (twin.__name__, twin.__doc__) == (f"{name}_async", f"Call `{name}` asynchronously.")


@pytest.mark.parametrize("name", CALLS)
def test_a_twin_takes_its_engine_by_name_as_its_call_does(name: str) -> None:
    twin = getattr(maintenance, f"{name}_async")
    assert (
        next(iter(inspect.signature(twin).parameters.values())).kind
        is inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
    # the function that runs, not only what is shown of it
    assert "engine" in twin.__code__.co_varnames[twin.__code__.co_posonlyargcount :]
