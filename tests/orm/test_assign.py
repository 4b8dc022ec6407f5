"""How a flush decides whose file is whose: `assign` is pure, so its rules are stated for any input."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from filecolumn.orm.assignment import HomeRef, Use, assign

HOMES = ["one database", "another"]
REFS = [("docs", "a"), ("docs", "b"), ("other", "a")]
HOME_REFS = st.tuples(st.sampled_from(HOMES), st.sampled_from(REFS))
ROWS = st.sampled_from(["row 1", "row 2", "row 3"])


@dataclass
class File:
    row: str
    at: HomeRef

    @property
    def home(self) -> object:
        return self.at[0]

    @property
    def ref(self) -> tuple[str, str]:
        return self.at[1]


@dataclass
class Place(File):
    may_stay: bool
    is_fresh: bool
    use: Use = Use.COPY


SLOTS = st.lists(st.builds(Place, ROWS, HOME_REFS, st.booleans(), st.booleans()), max_size=8)
COMMITTED = st.lists(st.builds(File, ROWS, HOME_REFS), max_size=8)


def supply(slots: list[Place], committed: list[File]) -> Counter[HomeRef]:
    """Return how many places could have each object: those that had it, and one for what is fresh."""
    fresh = {slot.ref: slot.at for slot in reversed(slots) if slot.is_fresh}
    return Counter(file.at for file in committed) + Counter(fresh.values())


@given(slots=SLOTS, committed=COMMITTED)
def test_an_object_is_given_to_no_more_places_than_it_had(slots, committed) -> None:
    had = supply(slots, committed)
    assign(slots, committed)
    assert Counter(slot.at for slot in slots if slot.use is not Use.COPY) <= had


@given(slots=SLOTS, committed=COMMITTED)
def test_nothing_is_copied_that_could_have_been_given(slots, committed) -> None:
    had = supply(slots, committed)
    assign(slots, committed)
    given_to = Counter(slot.at for slot in slots if slot.use is not Use.COPY)
    for slot in slots:
        if slot.use is Use.COPY and slot.may_stay:
            assert given_to[slot.at] == had[slot.at]


@given(slots=SLOTS, committed=COMMITTED)
def test_a_row_keeps_its_own_before_others_get_it(slots, committed) -> None:
    assign(slots, committed)
    for (row, at), count in Counter((file.row, file.at) for file in committed).items():
        own = [slot.use for slot in slots if (slot.row, slot.at) == (row, at)]
        assert own.count(Use.KEEP) >= min(count, len(own))


@given(slots=SLOTS, committed=COMMITTED)
def test_what_was_held_and_is_no_longer_is_removed_and_nothing_else(slots, committed) -> None:
    removed = assign(slots, committed)
    kept = {slot.at for slot in slots if slot.use is not Use.COPY}
    assert removed == {file.at for file in committed} - kept


@given(slots=SLOTS, committed=COMMITTED)
def test_where_a_column_may_not_point_is_copied_unless_the_row_did_so_before(slots, committed) -> None:
    assign(slots, committed)
    before = {(file.row, file.at) for file in committed}
    for slot in slots:
        if not slot.may_stay and (slot.row, slot.at) not in before:
            assert slot.use is Use.COPY
