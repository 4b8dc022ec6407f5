"""The protocol keeps its promises in every order of steps, and without any one of its guards it does not."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations_with_replacement

import pytest

from tests.faults.protocol import DANGLES, LOST, OPERATIONS, PROMISES, REAL, WORLDS, Rules, explore

# A row of advanced-alchemy that names what another row owns does not keep that row from letting go of it
CHANGES = {
    "owned": sorted(OPERATIONS),
    "adopted": sorted(OPERATIONS),
    "foreign": ["copy", "delete other", "touch", "touch other"],
}
PAIRS = [(name, *pair) for name, known in CHANGES.items() for pair in combinations_with_replacement(known, 2)]


@pytest.mark.parametrize(("name", "one", "other"), PAIRS)
def test_no_order_of_steps_breaks_a_promise(name: str, one: str, other: str) -> None:
    outcome = explore(WORLDS[name], (one, other))
    assert outcome.violation is None
    assert outcome.ends > 0


def first_violation(rules: Rules, promises: frozenset[str] = PROMISES) -> str | None:
    for name, *pair in reversed(PAIRS):
        outcome = explore(WORLDS[name], (pair[0], pair[1]), rules, promises)
        if outcome.violation is not None:
            return outcome.violation.what
    return None


# each is a second net behind the locked row, which alone keeps rows from dangling too
SECOND_NETS = {"asserts_kept", "never_revives"}


@pytest.mark.parametrize("guard", [guard.name for guard in fields(Rules) if guard.name not in SECOND_NETS])
def test_without_a_guard_a_promise_is_broken(guard: str) -> None:
    assert first_violation(replace(REAL, **{guard: False})) is not None


@pytest.mark.parametrize("guard", sorted(SECOND_NETS))
def test_a_second_net_holds_where_rows_are_not_locked(guard: str) -> None:
    unlocked = replace(REAL, locks_rows=False)
    pairs = [("owned", ("replace", "touch")), ("owned", ("delete", "touch")), ("owned", ("move", "touch"))]
    for name, pair in pairs:
        assert explore(WORLDS[name], pair, unlocked, frozenset({DANGLES})).violation is None
    torn = replace(unlocked, **{guard: False})
    found = [explore(WORLDS[name], pair, torn, frozenset({DANGLES})).violation for name, pair in pairs]
    assert any(found)
    # what is left is a lost update, for which there is the lock
    assert any(
        explore(WORLDS[name], pair, unlocked, frozenset({LOST})).violation for name, pair in PAIRS_OF_LOST
    )


PAIRS_OF_LOST = [("owned", ("append", "append")), ("owned", ("replace", "append"))]
