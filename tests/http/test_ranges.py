"""`Range`, as RFC 9110 section 14 has it: within the file whatever is asked, and cheap to refuse."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn.http.conditional import ByteRange, Unsatisfiable, requested_range

NO = Unsatisfiable.RANGE


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=0-", ByteRange(0, 10)),
        ("bytes=9-", ByteRange(9, 1)),
        ("bytes=3-5", ByteRange(3, 3)),
        ("bytes=3-99999999999999999999", ByteRange(3, 7)),
        ("bytes=-1", ByteRange(9, 1)),
        ("bytes=-10", ByteRange(0, 10)),
        ("bytes=-11", ByteRange(0, 10)),
        ("BYTES=0-0", ByteRange(0, 1)),
        ("bytes=10-", NO),
        ("bytes=10-20", NO),
        ("bytes=99999999999999999999-", NO),
        ("bytes=-0", NO),
        ("bytes=5-2", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes= 0 - 1", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1, bytes=3-4", None),
        ("bytes=0-1,", None),
        ("items=0-1", None),
        ("bytes 0-1", None),
        ("bytes=\u0660-\u0661", None),
        ("bytes=0x0-0x1", None),
        ("bytes=+0-1", None),
        ("", None),
        (None, None),
        ("bytes=" + "0-0," * 5000, None),
        ("bytes=" + "1" * 300 + "-", None),
    ],
)
def test_a_range_of_ten_bytes(header: str | None, expected: object) -> None:
    assert requested_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_an_empty_file_has_no_range(header: str) -> None:
    assert requested_range(header, 0) is NO


@given(st.integers(0, 1000), st.text("bytes=-,0123456789 ", max_size=30))
def test_a_range_is_within_the_file_whatever_is_asked(size: int, header: str) -> None:
    found = requested_range(header, size)
    if isinstance(found, ByteRange):
        assert 0 <= found.start < size
        assert 0 < found.length <= size - found.start


def test_a_long_header_costs_nothing() -> None:
    began = time.perf_counter()
    requested_range("bytes=" + "0-0," * 1_000_000, 10)
    assert time.perf_counter() - began < 0.5
