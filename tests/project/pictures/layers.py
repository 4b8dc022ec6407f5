"""The layers of the code: each is above what it imports."""

from __future__ import annotations

from tests.project.code_map import arrows_between, folders, says
from tests.project.pictures.canvas import FONT, MARGIN, SMALL, WIDTH, Canvas, Point, text_height

__all__ = ("draw", "levels")

COLOURS = {
    "backends": "storage",
    "files": "rows",
    "orm": "rows",
    "ledger": "ledger",
    "maintenance": "ledger",
}
GAP, BETWEEN, PADDING = 14, 36, 14
RIGHT = WIDTH - MARGIN - 24
"""Where boxes end; arrows around them go beside."""


def levels() -> list[list[str]]:
    """Return the folders by how many imports stand below them, the highest first."""
    below = {folder: {other for start, other in arrows_between() if start == folder} for folder in folders()}
    heights: dict[str, int] = {}

    def height(folder: str) -> int:
        if folder not in heights:
            heights[folder] = 1 + max(map(height, below[folder]), default=-1)
        return heights[folder]

    def is_far(folder: str) -> bool:
        return any(end == folder and height(start) > height(end) + 1 for start, end in arrows_between())

    # what an arrow leads to from far above stands at the right
    ordered = sorted(folders(), key=lambda folder: (height(folder), is_far(folder), folder))
    return [
        [folder for folder in ordered if heights[folder] == level]
        for level in reversed(range(max(heights.values()) + 1))
    ]


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("layers", "The layers of filecolumn", _in_words())
    places: dict[str, tuple[Point, Point]] = {}
    y = float(MARGIN)
    for level in levels():
        width = (RIGHT - MARGIN - GAP * (len(level) - 1)) / len(level)
        height = max(_height(folder, width) for folder in level)
        for number, folder in enumerate(level):
            place = MARGIN + number * (width + GAP), y
            places[folder] = place, (width, height)
            canvas.box(place, (width, height), title=folder, text=_subject(folder), colour=_colour(folder))
        y += height + BETWEEN
    for start, end in arrows_between():
        _arrow(canvas, places[start], places[end])
    return canvas


def _arrow(canvas: Canvas, start: tuple[Point, Point], end: tuple[Point, Point]) -> None:
    """Draw an arrow down to the next level, or around all levels between."""
    ((x, y), (width, height)), ((end_x, end_y), (end_width, end_height)) = start, end
    bottom = y + height
    if end_y - bottom > BETWEEN + 1:
        outside, middle = RIGHT + 16, end_y + end_height / 2
        beside = y + height / 2
        canvas.arrow((x + width, beside), (outside, beside), (outside, middle), (end_x + end_width, middle))
        return
    left, right = max(x, end_x), min(x + width, end_x + end_width)
    if right - left > 2 * PADDING:
        canvas.arrow(((left + right) / 2, bottom), ((left + right) / 2, end_y))
        return
    begin, target = x + width / 2, end_x + end_width - PADDING
    canvas.arrow((begin, bottom), (begin, bottom + 14), (target, bottom + 14), (target, end_y))


def _colour(folder: str) -> str:
    return COLOURS.get(folder, "quiet")


def _subject(folder: str) -> str:
    """Return what a folder is about, with names of layers instead of packages."""
    return says(folder).replace("filecolumn.", "")


def _height(folder: str, width: float) -> float:
    return FONT + text_height(_subject(folder), width - 12, SMALL) + 2 * PADDING


def _in_words() -> str:
    return " ".join(
        f"{folder} ({_subject(folder)}) imports {', '.join(below)}."
        if below
        else f"{folder}: {_subject(folder)}"
        for level in levels()
        for folder in level
        for below in ([other for start, other in arrows_between() if start == folder],)
    )
