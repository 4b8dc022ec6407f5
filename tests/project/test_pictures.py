"""The pictures of the documentation are what the code draws, and what they show is so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import get_args

import pytest

from filecolumn.files.state import ContentState
from filecolumn.ledger import transitions
from filecolumn.ledger.table import State
from filecolumn.testing.failpoints import FAILPOINTS
from tests.project.code_map import arrows_between, folders
from tests.project.pictures import FOLDER, drawn, file, flush, grant, key, layers, sweep
from tests.project.pictures.canvas import PALETTES, SMALL, WIDTH

ROOT = FOLDER.parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
SVG = "{http://www.w3.org/2000/svg}"
PICTURES = drawn()


def root_of(name: str) -> ET.Element:
    return ET.fromstring(PICTURES[name])


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_code_draws(name: str) -> None:
    assert (FOLDER / name).read_text() == PICTURES[name], "run `python -m tests.project.pictures`"


def test_there_is_no_other_picture() -> None:
    assert {path.name for path in FOLDER.iterdir()} == PICTURES.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_read_without_being_seen(name: str) -> None:
    root = root_of(name)
    assert root.get("role") == "img"
    named = [root.find(f"{SVG}{tag}") for tag in ("title", "desc")]
    assert root.get("aria-labelledby") == " ".join(
        element.get("id", "") for element in named if element is not None
    )
    assert all(element is not None and element.text for element in named)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_needs_nothing_else_and_runs_nothing(name: str) -> None:
    assert not re.search(r"<script|<image|href|url\(|@import|\son\w+=", PICTURES[name])


@pytest.mark.parametrize("name", PICTURES)
def test_ids_are_those_of_one_picture(name: str) -> None:
    prefix = name.removesuffix(".svg")
    ids = [element.get("id", "") for element in root_of(name).iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    assert all(each == prefix or each.startswith(f"{prefix}-") for each in ids)


@pytest.mark.parametrize("name", PICTURES)
def test_text_is_large_enough_and_nothing_is_cut_off(name: str) -> None:
    root = root_of(name)
    assert root.get("viewBox") == f"0 0 {WIDTH} {root.get('height')}"
    for text in root.iter(f"{SVG}text"):
        assert float(text.get("font-size", "0")) >= SMALL
        assert 0 < float(text.get("y", "0")) < float(root.get("height", "0"))


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_on_a_page_with_words_for_it(name: str) -> None:
    shown = re.compile(rf"!\[(?P<alt>[^\]]*)\]\((?P<path>[\w./]*pictures/{re.escape(name)})\)")
    found = [(page, match) for page in PAGES for match in shown.finditer(page.read_text())]
    assert found
    for page, match in found:
        assert match["alt"]
        assert (page.parent / match["path"]).resolve() == FOLDER / name


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", PALETTES)
def test_text_can_be_told_from_its_ground(theme: str) -> None:
    colours = PALETTES[theme]
    grounds = {name: name.removesuffix("-fill") for name in colours if name.endswith("-fill")}
    pairs = [
        *((text, "paper") for text in ("ink", *grounds.values())),
        *(("ink", ground) for ground in grounds),
        *((text, ground) for ground, text in grounds.items()),
    ]
    weak = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


# What they show


def test_a_crash_is_where_tests_kill_a_process_and_in_that_order() -> None:
    shown = [place for crash in flush.CRASHES for place in crash.failpoints]
    # the removal after a commit comes by places of a drain, whose own follow
    inner = {"drain.before_claim", "drain.after_claim"}
    assert shown == [
        place for place in FAILPOINTS if not place.startswith(("rollback.", "sweep.")) and place not in inner
    ]


def test_a_crash_has_its_row_in_the_table_beside_the_picture() -> None:
    numbers = [row.split()[1].rstrip(".") for row in rows_below("docs/explanation.md", "flush")]
    assert numbers == [str(number) for number in range(1, len(flush.CRASHES) + 1)]


def test_a_file_has_these_states() -> None:
    assert set(file.STATES) == {state.__name__ for state in get_args(ContentState)}


def test_a_key_has_these_states() -> None:
    assert set(key.STATES) - {"no entry"} == {state.name for state in State}


def test_an_arrow_between_states_of_a_key_is_a_function() -> None:
    functions = {name for names in key.MOVES.values() for name in names}
    assert functions <= set(transitions.__all__)


def test_the_layers_are_the_folders_and_imports_go_down() -> None:
    assert sorted(folder for level in layers.levels() for folder in level) == sorted(folders())
    height = {folder: number for number, level in enumerate(layers.levels()) for folder in level}
    assert all(height[start] < height[end] for start, end in arrows_between())
    for above, below in pairwise(layers.levels()):
        assert {end for start, end in arrows_between() if start in above} & {*below}


def rows_below(page: str, picture: str) -> list[str]:
    """Return the rows of the table that follows a picture."""
    _, _, after = (ROOT / page).read_text().partition(f"pictures/{picture}.svg)\n")
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    return table[0].splitlines()[2:] if table else []


def test_a_table_says_in_words_what_a_picture_shows() -> None:
    assert len(rows_below("docs/howto/signing.md", "grant")) == len(grant.MESSAGES)
    assert len(rows_below("docs/howto/operations.md", "sweep")) == len(sweep.CASES)
    assert len(rows_below("docs/explanation.md", "key")) == len(key.MOVES)
    states = [
        row.split(" | ")[0].removeprefix("| ") for row in rows_below("docs/reference/values.md", "file")
    ]
    assert sorted(states) == sorted(state.lower() for state in file.STATES)


def test_times_are_those_of_the_library() -> None:
    assert (sweep.GRACE, sweep.QUARANTINE, sweep.FORGOTTEN) == ("24 hours", "7 days", "7 days")
    stated = "\n".join(rows_below("docs/howto/operations.md", "sweep"))
    assert sweep.GRACE in stated
    assert sweep.QUARANTINE in stated
