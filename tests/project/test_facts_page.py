"""The reference of facts shows the SQL that is sent."""

from __future__ import annotations

import pytest

from filecolumn.orm.facts_sql import FIELDS
from tests.project.facts_page import PAGE, current, written


def test_the_sql_in_the_reference_is_what_is_sent() -> None:
    assert current() == written(), "run `python -m tests.project.facts_page`"


@pytest.mark.parametrize("name", FIELDS)
def test_the_reference_has_a_row_for_each_fact(name: str) -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in row for row in rows)
