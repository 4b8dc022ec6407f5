"""A file that moves from one row to another in one flush."""

from __future__ import annotations

from tests.project.pictures.canvas import MARGIN, SMALL, WIDTH, Canvas, Point

__all__ = ("draw",)

CODE = "`b.file, a.file = a.file, None`"
ROW, OBJECT = (150, 46), (170, 62)
ROWS_AT, OBJECT_AT = 116, WIDTH - MARGIN - 170
PANEL = 118
DESCRIPTION = (
    "Before, row a has the file, whose object is in the storage, and row b has none. After one flush with "
    "b.file, a.file = a.file, None row b has it and row a has none. The object is the same: nothing is copied, and "
    "nothing is deleted. Its key is LIVE in the ledger before and after."
)


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("move", "A file moves between rows, and nothing is copied", DESCRIPTION)
    middle = _panel(canvas, MARGIN, "before", owner="a")
    x = MARGIN + 34
    canvas.arrow((x, middle - PANEL + 74), (x, middle + 84), colour="ink")
    canvas.text(CODE, (ROWS_AT, middle + 18), bold=True)
    canvas.text(
        "one flush: both rows are written, nothing is copied",
        (ROWS_AT, middle + 40),
        size=SMALL,
        colour="quiet",
    )
    _panel(canvas, middle + 84, "after", owner="b")
    return canvas


def _panel(canvas: Canvas, y: float, when: str, *, owner: str) -> float:
    """Draw the rows and the object at one time; return where they end."""
    canvas.text(when, (MARGIN + 34, y + 34), bold=True, anchor="middle")
    middle = y + PANEL / 2
    target: Point = OBJECT_AT, middle
    canvas.box(
        (OBJECT_AT, middle - OBJECT[1] / 2),
        OBJECT,
        title="the object",
        text="its key is LIVE",
        colour="storage",
    )
    for name, top in (("a", y), ("b", y + PANEL - ROW[1])):
        has = name == owner
        text = "has the file" if has else "has no file"
        canvas.box((ROWS_AT, top), ROW, title=f"row {name}", text=text, colour="rows", dashed=not has)
        if has:
            beside = ROWS_AT + ROW[0]
            turn = (beside + OBJECT_AT) / 2
            here = top + ROW[1] / 2
            canvas.arrow((beside, here), (turn, here), (turn, middle), target, colour="ink")
    return y + PANEL
