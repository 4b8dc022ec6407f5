"""The protocol keeps its promises in every order of steps, and without any one of its guards it does not."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations_with_replacement

import pytest

from tests.faults.protocol import DANGLES, LOST, OPERATIONS, REAL, WORLDS, Rules, explore

IN_TWO_ROWS = sorted(OPERATIONS.keys() - {"delete third"})
# A row of advanced-alchemy that names what another row owns does not keep that row from letting go of it
CHANGES = {
    "doomed": ["delete other", "delete third", "swap", "touch other"],
    "owned": IN_TWO_ROWS,
    "adopted": IN_TWO_ROWS,
    "foreign": ["copy", "delete other", "touch", "touch other"],
}
PAIRS = [(name, *pair) for name, known in CHANGES.items() for pair in combinations_with_replacement(known, 2)]


@pytest.mark.parametrize(("name", "one", "other"), PAIRS)
def test_no_order_of_steps_breaks_a_promise(name: str, one: str, other: str) -> None:
    outcome = explore(WORLDS[name], (one, other))
    assert outcome.violation is None
    assert outcome.ends > 0


# where a guard is needed
NEEDED = {
    "uploads_before_rows": ("adopted", "append", "append"),
    "deletes_after_commit": ("foreign", "copy", "copy"),
    "keeps_content_of_unknown": ("foreign", "copy", "copy"),
    "tells_sweep_from_commit": ("foreign", "copy", "copy"),
    "compares_rows": ("foreign", "copy", "copy"),
    "locks_rows": ("foreign", "copy", "copy"),
    "keeps_fence": ("foreign", "copy", "copy"),
    "sweeps_by_fence": ("foreign", "copy", "copy"),
    "doubts_foreign_rows": ("foreign", "copy", "copy"),
    # a drain misses a row that comes to name the key where it has looked already
    "asserts_kept": ("doomed", "delete third", "swap"),
    "locks_found_restored": ("doomed", "delete third", "swap"),
    "looks_after_listing": ("doomed", "delete third", "swap"),
    "claims_unchanged": ("doomed", "delete third", "swap"),
    # a key lives again for a row that has let go of it since the look
    "restores_unchanged": ("doomed", "delete other", "delete third"),
    "repairs_unchanged": ("doomed", "delete other", "delete third"),
    "rewrites_doomed": ("doomed", "delete other", "delete third"),
    "looks_up_unchecked": ("doomed", "delete other", "delete other"),
}
# where rows are locked and compared, it changes nothing
UNNEEDED = "never_revives"
# each keeps rows from dangling also where they are not locked
SECOND_NETS = {"asserts_kept", UNNEEDED}


@pytest.mark.parametrize("guard", [guard.name for guard in fields(Rules) if guard.name != UNNEEDED])
def test_without_a_guard_a_promise_is_broken(guard: str) -> None:
    name, *pair = NEEDED[guard]
    assert explore(WORLDS[name], (pair[0], pair[1]), replace(REAL, **{guard: False})).violation is not None


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
