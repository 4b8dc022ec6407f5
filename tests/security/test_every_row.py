"""Each row of the table that concerns what is built has a test under its number."""

from __future__ import annotations

import re
from pathlib import Path

IN_SCOPE = {*range(1, 22), *range(75, 91)} - {84}
"""Rows 22 to 74 are about uploads and serving; import from a URL (84) is not offered."""


def test_each_row_has_a_test_under_its_number() -> None:
    found = {
        int(number)
        for path in Path(__file__).parent.glob("test_*.py")
        for number in re.findall(r"^(?:async )?def test_row_(\d\d)_", path.read_text(), re.MULTILINE)
    }
    assert found >= IN_SCOPE
