"""The picture of the first page: the steps of a commit that replaces a file, and what there is at each time."""

from __future__ import annotations

from dataclasses import dataclass

from tests.project.pictures.canvas import MARGIN, SMALL, WIDTH, Canvas

__all__ = ("draw",)

BOX, GAP = 106, 32
STEPS = (
    ("Store", "the new content", "storage"),
    ("Write", "row and ledger", "rows"),
    ("COMMIT", "in one transaction", "rows"),
    ("Delete", "the old content", "storage"),
)


@dataclass(frozen=True, slots=True)
class Crash:
    """What is there if the process dies between two steps."""

    after: int
    """The step before."""
    text: str


CRASHES = (
    Crash(0, "A sweep removes the new content."),
    Crash(1, "The database rolls back; a sweep removes the new content."),
    Crash(2, "A drain deletes the old content: the ledger says so."),
)
DIES = "At a number, the process dies"
TITLE = "A commit that replaces a file"
END = "Wherever the process dies, the row has its file."


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("overview", TITLE, _in_words())
    canvas.text(TITLE, (MARGIN, MARGIN), bold=True)
    right = WIDTH - MARGIN
    y = canvas.text(DIES, (right, MARGIN), size=SMALL, colour="danger", anchor="end") + 12
    for index, (title, text, colour) in enumerate(STEPS):
        canvas.box((_left(index), y), (BOX, 66), colour=colour, title=title, text=text)
        if index:
            canvas.arrow((_left(index) - GAP + 3, y + 33), (_left(index) - 3, y + 33))
    y = _bars(canvas, y + 66 + 40) + 18
    for number, crash in enumerate(CRASHES, start=1):
        canvas.badge(str(number), (MARGIN + 12, y + 10))
        y = canvas.text(crash.text, (MARGIN + 34, y), width=WIDTH - 2 * MARGIN - 34, colour="danger") + 7
    canvas.text(END, (MARGIN, y + 6), bold=True)
    return canvas


def _left(index: int) -> float:
    """Return where the box of a step begins."""
    return MARGIN + index * (BOX + GAP)


def _bars(canvas: Canvas, y: float) -> float:
    """Draw what the storage and the row have, below the steps; return where it ends."""
    stored, committed, deleted = (_left(index) + BOX / 2 for index in (0, 2, 3))
    dies = [_left(crash.after) + BOX + GAP / 2 for crash in CRASHES]
    right = WIDTH - MARGIN
    for top, text, colour, start, end, label in (
        (y, "storage: old", "storage", MARGIN, deleted, MARGIN),
        (y + 30, "storage: new", "storage", stored, right, dies[0]),
        (y + 60, "row: old", "rows", MARGIN, committed, MARGIN),
        (y + 60, "row: new", "rows", committed + 4, right, dies[2]),
    ):
        canvas.bar(start, top, end - start, top + 25, colour=colour)
        canvas.text(text, (label + 10, top + 3), size=SMALL, colour=colour)
    for number, x in enumerate(dies, start=1):
        canvas.line((x, y - 20), (x, y + 92), colour="danger", dashed=True)
        canvas.badge(str(number), (x, y - 20))
    return y + 92


def _in_words() -> str:
    steps = ", ".join(f"{title.lower() if title != 'COMMIT' else title} {text}" for title, text, _ in STEPS)
    crashes = " ".join(f"If the process dies after step {crash.after + 1}: {crash.text}" for crash in CRASHES)
    return f"The steps in their order: {steps}. {crashes} {END}"
