"""The life of a file: where its content is, and what moves it."""

from __future__ import annotations

from tests.project.pictures.canvas import MARGIN, SMALL, WIDTH, Canvas, Point

__all__ = ("STATES", "draw")

STATES = {
    "Pending": ("the content is with you", "quiet"),
    "Granted": ("where a client has uploaded it", "storage"),
    "Staged": ("in the storage, in no row", "storage"),
    "Stored": ("in the storage, and in a row", "rows"),
    "Consumed": ("read once, and not stored", "danger"),
    "Removed": ("its object is deleted", "danger"),
}
"""Each class of `ContentState`: where the content is, and a colour."""
LEFT, MIDDLE, RIGHT = 20, 206, 400
BESIDE, OUTSIDE = 370, 520
"""Where lines pass the boxes."""
ROW = 148
PLACES: dict[str, Point] = {
    "Granted": (LEFT, 76),
    "Pending": (MIDDLE, 76),
    "Consumed": (RIGHT, 76),
    "Staged": (MIDDLE, 76 + ROW),
    "Stored": (MIDDLE, 76 + 2 * ROW),
    "Removed": (MIDDLE, 76 + 3 * ROW),
}
BOX = 140, 66
DESCRIPTION = (
    "FileObject() makes a pending file: its content is with you. save(), or the flush, stores the content: the file "
    "is staged. The flush then gives it to a row: it is stored. Once a commit has replaced the file or deleted its "
    "row, the object is deleted: the file is removed; delete() does so to a staged file. from_key() begins with a "
    "staged file, from_grant() with a granted one, which save() or the flush copies, and a file that is loaded from "
    "a row is stored. A rollback goes back: from stored to staged, and, if the flush has stored the content, from "
    "staged to pending, to consumed if the content can be read only once, or to granted."
)


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("file", "The life of a file", DESCRIPTION)
    for state, place in PLACES.items():
        text, colour = STATES[state]
        canvas.box(place, BOX, title=state, text=text, colour=colour)
    _entries(canvas)
    _onwards(canvas)
    _back(canvas)
    return canvas


def _top(state: str, across: float = 0.5) -> Point:
    x, y = PLACES[state]
    return x + BOX[0] * across, y


def _bottom(state: str, across: float = 0.5) -> Point:
    x, y = PLACES[state]
    return x + BOX[0] * across, y + BOX[1]


def _left(state: str, down: float = 0.5) -> Point:
    x, y = PLACES[state]
    return x, y + BOX[1] * down


def _right(state: str, down: float = 0.5) -> Point:
    x, y = PLACES[state]
    return x + BOX[0], y + BOX[1] * down


def _entries(canvas: Canvas) -> None:
    """Draw where files come from."""
    for state, call in (("Granted", "`from_grant()`"), ("Pending", "`FileObject()`")):
        x, y = _top(state)
        canvas.text(call, (x, MARGIN), size=SMALL, anchor="middle")
        canvas.arrow((x, y - 32), (x, y))
    for state, call, down in (("Staged", "`from_key()`", 0.72), ("Stored", "loaded from a row", 0.5)):
        x, y = _left(state, down)
        canvas.text(call, (x - 44, y - 10), size=SMALL, anchor="end")
        canvas.arrow((x - 38, y), (x, y))


def _onwards(canvas: Canvas) -> None:
    """Draw the usual life."""
    for state, following, what, width in (
        ("Pending", "Staged", "`save()` or the flush stores it", 120),
        ("Staged", "Stored", "the flush gives it to a row", 120),
        ("Stored", "Removed", "a commit replaces it, or deletes its row", 266),
    ):
        x, y = _bottom(state, 0.2)
        canvas.arrow((x, y), (x, _top(following)[1]), colour="ink")
        canvas.text(what, (x + 10, y + 14), width=width, size=SMALL)
    x, y = _bottom("Granted", 0.3)
    end = _left("Staged", 0.28)
    canvas.arrow((x, y), (x, end[1]), end, colour="ink")
    canvas.text("`save()` or the flush copies it", (x + 10, y + 14), width=120, size=SMALL)
    begin, end = _right("Staged", 0.66), _right("Removed")
    canvas.arrow(begin, (OUTSIDE, begin[1]), (OUTSIDE, end[1]), end, colour="ink")
    canvas.text("`delete()`", (OUTSIDE - 8, end[1] - 24), size=SMALL, anchor="end")


def _back(canvas: Canvas) -> None:
    """Draw what rollbacks and failures do."""
    begin, end = _right("Pending", 0.3), _left("Consumed", 0.3)
    canvas.arrow(begin, end, colour="danger", dashed=True)
    x = BESIDE
    begin, end, consumed = _right("Staged", 0.36), _right("Pending", 0.7), _bottom("Consumed")
    canvas.arrow(begin, (x, begin[1]), (x, end[1]), end, colour="danger", dashed=True)
    branch = consumed[1] + 28
    canvas.arrow((x, branch), (consumed[0], branch), consumed, colour="danger", dashed=True)
    canvas.text(
        "rollback, or failure; consumed if it can be read only once",
        (x + 8, branch + 4),
        width=WIDTH - MARGIN - x - 8,
        size=SMALL,
        colour="danger",
    )
    begin, end = _right("Stored"), _right("Staged", 0.88)
    canvas.arrow(begin, (x, begin[1]), (x, end[1]), end, colour="danger", dashed=True)
    canvas.text("rollback", (x + 8, begin[1] - 40), size=SMALL, colour="danger")
    begin, end = _left("Staged", 0.5), _bottom("Granted", 0.12)
    canvas.arrow(begin, (end[0], begin[1]), end, colour="danger", dashed=True)
