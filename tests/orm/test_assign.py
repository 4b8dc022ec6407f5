"""How a flush decides whose file is whose: `assign` is pure, so its rules are stated for any input."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from filecolumn.orm.assignment import Use, Wanted, assign

PLACES = st.tuples(
    st.sampled_from(["one database", "another"]),
    st.sampled_from([("docs", "a"), ("docs", "b"), ("other", "a")]),
)
ROWS = st.sampled_from(["row 1", "row 2", "row 3"])
SLOTS = st.lists(st.builds(Wanted, ROWS, PLACES, st.booleans()), max_size=8)
FRESH = st.sets(PLACES)
HELD = st.dictionaries(ROWS, st.lists(PLACES, max_size=3), max_size=3)


@given(slots=SLOTS, fresh=FRESH, held=HELD)
def test_an_object_is_given_to_no_more_places_than_it_had(slots, fresh, held) -> None:
    had = Counter(place for places in held.values() for place in places) + Counter(fresh)
    uses = assign(slots, fresh, held).uses
    given_to = Counter(slot.spot for slot, use in zip(slots, uses, strict=True) if use is not Use.COPY)
    assert given_to <= had


@given(slots=SLOTS, fresh=FRESH, held=HELD)
def test_nothing_is_copied_that_could_have_been_given(slots, fresh, held) -> None:
    had = Counter(place for places in held.values() for place in places) + Counter(fresh)
    uses = assign(slots, fresh, held).uses
    given_to = Counter(slot.spot for slot, use in zip(slots, uses, strict=True) if use is not Use.COPY)
    for slot, use in zip(slots, uses, strict=True):
        if use is Use.COPY and slot.may_stay:
            assert given_to[slot.spot] == had[slot.spot]


@given(slots=SLOTS, fresh=FRESH, held=HELD)
def test_a_row_keeps_its_own_before_others_get_it(slots, fresh, held) -> None:
    uses = assign(slots, fresh, held).uses
    for row, places in held.items():
        for place, count in Counter(places).items():
            own = [
                use for slot, use in zip(slots, uses, strict=True) if (slot.row, slot.spot) == (row, place)
            ]
            assert own.count(Use.KEEP) >= min(count, len(own))


@given(slots=SLOTS, fresh=FRESH, held=HELD)
def test_what_was_held_and_is_no_longer_is_removed_and_nothing_else(slots, fresh, held) -> None:
    outcome = assign(slots, fresh, held)
    kept = {slot.spot for slot, use in zip(slots, outcome.uses, strict=True) if use is not Use.COPY}
    assert outcome.removed == {place for places in held.values() for place in places} - kept


@given(slots=SLOTS, fresh=FRESH, held=HELD)
def test_where_a_column_may_not_point_is_copied_unless_the_row_did_so_before(slots, fresh, held) -> None:
    for slot, use in zip(slots, assign(slots, fresh, held).uses, strict=True):
        if not slot.may_stay and slot.spot not in held.get(slot.row, ()):
            assert use is Use.COPY
