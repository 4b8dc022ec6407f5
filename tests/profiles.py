"""How much the tests make up: `quick` in `make test`, `ci` in `make test-all`, `soak` for hours.

`FILECOLUMN_TEST_PROFILE` names the profile; `quick` is the default.  As a pytest plugin it marks the
tests that Hypothesis makes examples for as `sized`; others with a size of a profile mark themselves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

__all__ = ("NAME", "PROFILE", "SECONDS", "Profile", "bounds")


@dataclass(frozen=True)
class Profile:
    """Sizes of the tests that have one."""

    examples: int
    """Of each property."""
    histories: int
    """Of a state machine, 40 steps each; the slower machines take a share of it."""
    fuzzed: int
    """Hostile names, keys and rows."""
    kills: int
    """Schedules of random kills, two kills each."""
    cuts: int
    """Connections cut on each side of COMMIT, for each driver."""
    stride: int
    """A task is cancelled at every so many-th step of the event loop."""
    call_stride: int
    """Every so many-th call of a scenario fails."""
    race_seconds: float
    """Of workers that change and clean the same rows."""
    soak_seconds: float
    """Of load with kills in between."""
    objects: int
    """In the storage that is checked, swept and drained."""
    stream_mib: int
    """Of one file that is stored and read in bounded memory."""
    requests: int
    """Small ones to a server, twice."""
    uploads: int
    """To a server, and downloads, twice."""


PROFILES = {
    "quick": Profile(
        examples=30,
        histories=12,
        fuzzed=5_000,
        kills=3,
        cuts=10,
        stride=13,
        call_stride=19,
        race_seconds=1,
        soak_seconds=3,
        objects=5_000,
        stream_mib=64,
        requests=300,
        uploads=20,
    ),
    "ci": Profile(
        examples=20,
        histories=12,
        fuzzed=20_000,
        kills=8,
        cuts=30,
        stride=5,
        call_stride=17,
        race_seconds=3,
        soak_seconds=4,
        objects=10_000,
        stream_mib=128,
        requests=1_000,
        uploads=100,
    ),
    "soak": Profile(
        examples=1_000,
        histories=5_000,
        fuzzed=1_000_000,
        kills=1_000,
        cuts=2_000,
        stride=1,
        call_stride=1,
        race_seconds=120,
        soak_seconds=7_200,
        objects=1_000_000,
        stream_mib=5_120,
        requests=10_000,
        uploads=2_000,
    ),
}
NAME = os.environ.get("FILECOLUMN_TEST_PROFILE") or "quick"
PROFILE = PROFILES[NAME]

for _name, _profile in PROFILES.items():
    settings.register_profile(_name, max_examples=_profile.examples, deadline=None)
settings.load_profile(NAME)

SECONDS = 300 + 2 * PROFILE.histories
"""How long a state machine may take."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what Hypothesis makes examples for."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.sized)


def bounds(share: float = 1.0) -> settings:
    """Return the size of a state machine's run; those of servers and event loops take a smaller *share*."""
    return settings(
        max_examples=max(1, round(PROFILE.histories * share)),
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
    )
