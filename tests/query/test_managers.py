"""Managers of lookups and converters: registering, resolving, and values of metadata as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn.query import (
    ConverterManager,
    DataProcessorDoesNotExist,
    InvalidConditionError,
    LookupAlreadyRegisteredError,
    LookupManager,
    LookupProcessorDoesNotExist,
    ProcessorDoesNotExist,
)
from tests.scenarios.models import Document

FILE: Any = Document.file


# Lookups


def test_a_lookup_is_registered_once() -> None:
    lookups = LookupManager()
    lookups.register("equals", default=True)(lambda field, value: field == value)
    for name, default in (("equals", False), ("other", True)):
        with pytest.raises(RuntimeError) as raised:
            lookups.register(name, default=default)
        assert isinstance(raised.value, LookupAlreadyRegisteredError)
    for name in ("", "a__b"):
        with pytest.raises(InvalidConditionError):
            lookups.register(name)


def test_a_lookup_is_unregistered_once() -> None:
    lookups = LookupManager()

    @lookups.register("equals", default=True)
    def equals(field: Any, value: object) -> Any:
        return field == value

    assert lookups.get_processor("equals") is lookups.get_processor(None) is equals
    assert lookups.unregister("equals") is equals
    for call in (lookups.unregister, lookups.get_processor, lambda name: lookups.resolve(FILE.size, name, 1)):
        with pytest.raises(LookupProcessorDoesNotExist, match="'equals'"):
            call("equals")
    with pytest.raises(LookupProcessorDoesNotExist, match="no default"):
        lookups.resolve(FILE.size, None, 1)
    lookups.register("other", default=True)(equals)
    assert list(lookups) == ["other"]


def test_a_lookup_may_return_several_conditions_which_must_all_hold() -> None:
    lookups = LookupManager()
    lookups.register("near")(lambda field, value: (field >= value - 1, field <= value + 1))
    assert str(lookups.resolve(FILE.size, "near", 5)).count(" AND ") == 1


@pytest.mark.parametrize("name", list(LookupManager.standard()))
def test_lookups_are_resolved_for_attributes_and_facts(name: str) -> None:
    lookups = LookupManager.standard()
    values: dict[str, object] = {
        "in": ["a"], "between": ["a", "b"], "contains_any": ["a"], "exists": True, "year": 1, "month": 1, "day": 1
    }  # fmt: skip
    field = FILE.last_modified if name in {"year", "month", "day"} else FILE.filename
    for each in (field, Document.title) if field is FILE.filename or name != "year" else (field,):
        if each is Document.title and name in {"month", "day"}:
            continue
        assert str(lookups.resolve(each, name, values.get(name, "a")))


def test_managers_name_their_errors_as_documented() -> None:
    assert LookupManager.exception is LookupProcessorDoesNotExist
    assert ConverterManager.exception is DataProcessorDoesNotExist
    assert issubclass(LookupProcessorDoesNotExist, ProcessorDoesNotExist)
    assert issubclass(DataProcessorDoesNotExist, ProcessorDoesNotExist)


def test_standard_managers_are_new_each_time() -> None:
    LookupManager.standard().unregister("equals")
    assert "equals" in LookupManager.standard()
    ConverterManager.standard().unregister(str)
    assert ConverterManager.standard().to_db("a") == "a"


# Converters


class Level(IntEnum):
    """A number with a name."""

    HIGH = 3


class Mood(StrEnum):
    """A text with a name."""

    GOOD = "good"


class OldMood(str, Enum):  # noqa: UP042 - that it is no StrEnum is the point
    """A text with a name, which `str()` spells otherwise."""

    GOOD = "good"


EARLY, LATE = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2, 9998))
VALUES: list[object] = [
    "", "ü😀", 0, -(10**30), 1.5, True, False, None, date(2024, 2, 29), datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC),
    datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=-9, minutes=-30))), time(23, 59, 0, 1), Decimal("1.50"),
    Decimal("1E+30"), b"", b"\0\xff", UUID(int=5), [], [1, "a", None, [True]], {}, {"a": {"b": [1.5, None]}},
    Level.HIGH, Mood.GOOD, OldMood.GOOD,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value!r:.40}")
def test_a_value_comes_back_as_it_was(value: object) -> None:
    converters = ConverterManager.standard()
    stored = converters.to_db(value, None)
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert type(stored) in {str, int, float, bool, type(None), list, dict}
    assert converters.from_db(type(value), stored) == value


@given(
    value=st.one_of(
        st.datetimes(timezones=st.timezones(), min_value=EARLY, max_value=LATE), st.dates(),
        st.times(), st.decimals(allow_nan=False, allow_infinity=False), st.binary(), st.uuids(),
        st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.text(), st.booleans(),
    )
)  # fmt: skip
def test_any_value_of_a_standard_type_comes_back(value: object) -> None:
    converters = ConverterManager.standard()
    if isinstance(value, datetime):
        # a time that a clock shows twice equals none of another zone
        value = value.astimezone(UTC)
    assert converters.from_db(type(value), converters.to_db(value)) == value


def test_what_is_in_lists_and_dictionaries_is_converted() -> None:
    converters = ConverterManager.standard()
    day = date(2024, 2, 29)
    assert converters.to_db({"a": [day, {"b": b"a"}], "c": day}) == {
        "a": ["2024-02-29", {"b": "YQ=="}],
        "c": "2024-02-29",
    }


def test_moments_are_stored_as_texts_that_sort_as_they_do() -> None:
    to_db: Callable[[object], Any] = ConverterManager.standard().to_db
    moments = [
        datetime(2024, 1, 1, hour, tzinfo=timezone(timedelta(hours=zone)))
        for hour in (1, 9)
        for zone in (-5, 0, 8)
    ]
    assert [to_db(each) for each in sorted(moments)] == sorted(to_db(each) for each in moments)


@pytest.mark.parametrize("value", [..., 1j, {1}, (1,), [...], {"a": 1j}, timedelta(1)], ids=repr)
def test_a_value_of_another_type_has_no_converter(value: object) -> None:
    with pytest.raises(DataProcessorDoesNotExist, match="no converter for"):
        ConverterManager.standard().to_db(value)
    with pytest.raises(ProcessorDoesNotExist):
        ConverterManager.standard().from_db(complex, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), EARLY, {1: 2}], ids=repr)
def test_a_value_that_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidConditionError):
        ConverterManager.standard().to_db(value)


def test_what_is_not_of_the_form_of_a_type_is_refused() -> None:
    converters = ConverterManager.standard()
    wrong: list[tuple[type, object]] = [
        (date, "x"), (date, 1), (datetime, "x"), (time, "25:00"), (Decimal, "x"), (Decimal, 1), (bytes, "a"),
        (bytes, 1),
        (UUID, "x"), (int, "1"), (int, True), (float, "1"), (bool, 1), (str, 1), (list, {}), (dict, []),
    ]  # fmt: skip
    for datatype, value in wrong:
        with pytest.raises(ValueError, match=f"is no {datatype.__name__}") as raised:
            converters.from_db(datatype, value)
        assert isinstance(raised.value, InvalidConditionError)
    assert converters.from_db(date, None) is None
    assert converters.from_db(float, 1) == 1.0


class Point:
    """A class of an application."""

    def __init__(self, x: int) -> None:
        self.x = x


class Corner(Point):
    """A subclass of it."""


def test_a_class_of_an_application_has_its_converter_and_so_have_its_subclasses() -> None:
    converters = ConverterManager.standard()

    @converters.register(Point)
    class PointConverter:
        @classmethod
        def to_db(cls, value: Point, storage: object) -> object:
            return {"x": value.x, "store": storage}

        @classmethod
        def from_db(cls, value: Any) -> Point:
            return Point(value["x"])

    assert converters.to_db([Corner(1)], "store") == [{"x": 1, "store": "store"}]
    found = converters.from_db(Corner, {"x": 2})
    assert found is not None
    assert found.x == 2
    with pytest.raises(RuntimeError):
        converters.register(Point)(PointConverter)
    assert isinstance(converters.unregister(Point), PointConverter)
    for call in (converters.unregister, converters.get_processor):
        with pytest.raises(DataProcessorDoesNotExist, match="Point"):
            call(Point)
    with pytest.raises(TypeError, match="has no to_db and no from_db"):
        converters.register(Point)(Corner)
