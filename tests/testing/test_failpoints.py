"""Failpoints that a process finds in its environment."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from filecolumn import _failpoints
from filecolumn.testing.failpoints import FAILPOINTS, VARIABLE, FailpointError, install_from_environment

NAME = FAILPOINTS[0]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    _failpoints.set_hook(None)


def install(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv(VARIABLE, text)
    install_from_environment()


def test_an_error_is_raised_at_the_hit_that_was_asked_for(environment: pytest.MonkeyPatch) -> None:
    install(environment, f"{NAME}=raise@2")
    _failpoints.failpoint(NAME)
    _failpoints.failpoint(FAILPOINTS[1])
    with pytest.raises(FailpointError):
        _failpoints.failpoint(NAME)
    _failpoints.failpoint(NAME)


def test_a_sleep_takes_its_seconds(environment: pytest.MonkeyPatch) -> None:
    install(environment, f"{NAME}=sleep:0.05")
    start = time.monotonic()
    _failpoints.failpoint(NAME)
    assert time.monotonic() - start >= 0.05


def test_without_the_variable_nothing_happens(environment: pytest.MonkeyPatch) -> None:
    environment.delenv(VARIABLE, raising=False)
    install_from_environment()
    for name in FAILPOINTS:
        _failpoints.failpoint(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("nowhere=raise", "there is no failpoint"), (f"{NAME}=jump", "can kill, raise or sleep")],
)
def test_what_cannot_be_done_is_refused(environment: pytest.MonkeyPatch, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        install(environment, text)
