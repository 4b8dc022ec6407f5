"""The page on changed names: each old name is gone, each new one is there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project.test_reference import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "upgrade.md"
_NAME = re.compile(r"`(?P<name>filecolumn[\w.]*)(?:\((?P<option>\w+)=\.\.\.\))?`")
_HEADING = re.compile(r"^\| (?:status \| )?old ")


@dataclass(frozen=True)
class Change:
    """A line of a table of names."""

    old: str
    new: str


def changes(text: str) -> Iterator[Change]:
    """Yield the lines of the tables whose heads say `old name`."""
    is_wanted = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_wanted = False
        elif _HEADING.match(line):
            is_wanted = True
        elif is_wanted and not line.startswith("|---"):
            *_, old, new = line.strip("| ").split(" | ")
            yield Change(old, new)


CHANGES = list(changes(PAGE.read_text(encoding="utf-8")))
NAMES = [change for change in CHANGES if _NAME.match(change.old)]
TEXTS = [change for change in CHANGES if "`" not in change.old]


def is_there(text: str) -> bool:
    """Return whether a name, and the option that is given with it, can be used."""
    match = _NAME.match(text)
    assert match is not None, text
    try:
        found = load(match["name"])
    except (AssertionError, AttributeError):
        return False
    if match["option"] is None:
        return True
    assert callable(found)
    return match["option"] in inspect.signature(found).parameters


def test_the_page_has_tables_of_names() -> None:
    assert len(NAMES) > 30
    assert len(TEXTS) > 20


@pytest.mark.parametrize("change", NAMES, ids=lambda change: change.old)
def test_each_old_name_is_gone_and_each_new_one_is_there(change: Change) -> None:
    assert not is_there(change.old)
    if _NAME.match(change.new):
        assert is_there(change.new)


def test_each_new_text_of_an_http_error_is_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "filecolumn").rglob("*.py"))
    missing = [change.new for change in TEXTS if f'"{change.new}"' not in code]
    remaining = [change.old for change in TEXTS if f'"{change.old}"' in code]
    assert (missing, remaining) == ([], [])


def test_an_old_name_that_is_still_there_would_be_found() -> None:
    assert is_there("`filecolumn.files.enc_hook`")
    assert is_there("`filecolumn.maintenance.drain(storages=...)`")
    assert not is_there("`filecolumn.maintenance.drain(only=...)`")
    assert not is_there("`filecolumn.files.no_such_name`")
