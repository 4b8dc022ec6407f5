"""CONTRIBUTING.md shows the code as it is."""

from __future__ import annotations

from tests.project.code_map import current, drawn


def test_the_map_of_the_code_is_current() -> None:
    assert current() == drawn(), "run `python -m tests.project.code_map`"
