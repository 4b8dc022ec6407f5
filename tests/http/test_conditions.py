"""Conditional requests, as RFC 9110 section 13 has them, with weak tags, bad dates and long lists."""

from __future__ import annotations

import time

import pytest

from filecolumn.http.conditional import Outcome, Validators, evaluate, range_is_current

STRONG = Validators('"abc"', 1_700_000_000.7)
WEAK = Validators('W/"abc"', 1_700_000_000.7)
NONE = Validators(None, None)
MILLISECONDS = Validators('"abc"', 1_700_000_000_700)
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"
SEND, SAME, FAILED = Outcome.SEND, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    ("headers", "validators", "expected"),
    [
        ({}, STRONG, SEND),
        ({"if-none-match": '"abc"'}, STRONG, SAME),
        ({"if-none-match": 'W/"abc"'}, STRONG, SAME),
        ({"if-none-match": '"abc"'}, WEAK, SAME),
        ({"if-none-match": "*"}, STRONG, SAME),
        ({"if-none-match": '"x", W/"y" , "abc"'}, STRONG, SAME),
        ({"if-none-match": '"x"'}, STRONG, SEND),
        ({"if-none-match": "abc"}, STRONG, SEND),
        ({"if-none-match": '"abc"'}, NONE, SEND),
        ({"if-none-match": ", ".join(f'"{n}"' for n in range(1000))}, STRONG, SEND),
        ({"if-none-match": ", ".join(f'"{n}"' for n in range(1000)) + ', "abc"'}, STRONG, SAME),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, STRONG, SEND),
        ({"if-modified-since": DATE}, STRONG, SAME),
        ({"if-modified-since": EARLIER}, STRONG, SEND),
        ({"if-modified-since": "yesterday"}, STRONG, SEND),
        ({"if-modified-since": "Tue, 99 Nov 99999 22:13:20 GMT"}, STRONG, SEND),
        ({"if-modified-since": DATE}, NONE, SEND),
        # a time that no header can carry is not known
        ({"if-modified-since": DATE}, MILLISECONDS, SEND),
        ({"if-unmodified-since": DATE}, MILLISECONDS, SEND),
        ({"if-none-match": '"abc"'}, MILLISECONDS, SAME),
        ({"if-match": '"abc"'}, STRONG, SEND),
        ({"if-match": 'W/"abc"'}, STRONG, FAILED),
        ({"if-match": '"abc"'}, WEAK, FAILED),
        ({"if-match": "*"}, STRONG, SEND),
        ({"if-match": '"x"'}, STRONG, FAILED),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, STRONG, FAILED),
        ({"if-unmodified-since": EARLIER}, STRONG, FAILED),
        ({"if-unmodified-since": DATE}, STRONG, SEND),
    ],
)
def test_conditions(headers: dict[str, str], validators: Validators, expected: Outcome) -> None:
    assert evaluate(headers, validators) is expected


@pytest.mark.parametrize(
    ("if_range", "validators", "expected"),
    [
        (None, STRONG, True),
        ('"abc"', STRONG, True),
        ('"old"', STRONG, False),
        ('W/"abc"', STRONG, False),
        ('W/"abc"', WEAK, False),
        (DATE, STRONG, True),
        (EARLIER, STRONG, False),
        ("nonsense", STRONG, False),
        ('"abc"', NONE, False),
    ],
)
def test_if_range(if_range: str | None, validators: Validators, *, expected: bool) -> None:
    assert range_is_current(if_range, validators) is expected


def test_a_list_of_tags_is_read_in_linear_time() -> None:
    began = time.perf_counter()
    for header in ('"' * 60_000, 'W/"' * 20_000, '"a" ' * 15_000, "*," * 1_000_000):
        evaluate({"if-none-match": header, "if-match": header}, STRONG)
    assert time.perf_counter() - began < 1
