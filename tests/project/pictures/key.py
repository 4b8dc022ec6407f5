"""The life of a key in the ledger: its states, and what moves it from one to another."""

from __future__ import annotations

from filecolumn.ledger.transitions import FENCE_RETENTION
from tests.project.pictures.canvas import MARGIN, SMALL, WIDTH, Canvas, Point

__all__ = ("MOVES", "STATES", "draw")

DAYS = f"{FENCE_RETENTION / 86400:g} days"
STATES = {
    "no entry": ("the key is free", "quiet"),
    "LIVE": ("a row has the object", "rows"),
    "DOOMED": ("no row has it: the object is to be deleted", "danger"),
    "GONE": ("the object is deleted, no row can get the key", "ledger"),
}
"""Each state: what it means, and a colour."""
MOVES = {
    ("no entry", "LIVE"): ("record", "reserve", "adopt_live"),
    ("no entry", "DOOMED"): ("fence", "record"),
    ("LIVE", "DOOMED"): ("record", "doom_unchecked", "doom_live"),
    ("DOOMED", "LIVE"): ("reassert", "restore", "restore_unchanged", "revive"),
    ("DOOMED", "GONE"): ("mark_gone",),
    ("GONE", "DOOMED"): ("doom_gone",),
    ("GONE", "no entry"): ("purge", "purge_some"),
}
"""The functions of `ledger.transitions` that each arrow stands for."""
X, BOX = 190, (180, 72)
TOP, ROW = MARGIN + 4, 168
LEFT, FAR_LEFT, RIGHT = 160, 30, 396
DESCRIPTION = (
    "A key without an entry becomes LIVE when a flush gives it to a row, and DOOMED when a flush or a trigger takes "
    "it from the row. It becomes GONE when its object is deleted, by the commit itself or by a drain. After "
    f"{DAYS} the ledger forgets it. A sweep dooms the key of an object that neither a row nor the ledger knows, so "
    "that no transaction can give it to a row, and the key of an object that came back. A doomed key becomes LIVE "
    "again if a row has it after all, or by undelete. A rollback undoes what its transaction wrote."
)


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("key", "The life of a key in the ledger", DESCRIPTION)
    for state, (text, colour) in STATES.items():
        canvas.box(_place(state), BOX, title=state, text=text, colour=colour, dashed=state == "no entry")
    _down(canvas, "no entry", "LIVE", "a flush gives the key to a row")
    _down(canvas, "LIVE", "DOOMED", "a flush or a trigger takes it from its row")
    _down(canvas, "DOOMED", "GONE", "the commit, or a drain, deletes its object")
    _beside(canvas, "no entry", "DOOMED", LEFT, "a sweep finds an object that neither rows nor ledger know")
    _beside(canvas, "DOOMED", "LIVE", RIGHT, "a row has it after all, or `undelete`")
    _beside(canvas, "GONE", "DOOMED", RIGHT, "a sweep finds the object again: an upload came late")
    _beside(canvas, "GONE", "no entry", FAR_LEFT, f"{DAYS} later the ledger forgets it")
    return canvas


def _place(state: str) -> Point:
    return X, TOP + ROW * list(STATES).index(state)


def _down(canvas: Canvas, state: str, following: str, text: str) -> None:
    x, (_, y), (_, end) = X + 24, _place(state), _place(following)
    canvas.arrow((x, y + BOX[1]), (x, end), colour="ink")
    canvas.text(text, (x + 10, y + BOX[1] + 20), width=BOX[0] - 34, size=SMALL)


def _beside(canvas: Canvas, state: str, following: str, x: float, text: str) -> None:
    """Draw an arrow that goes around the boxes: it leaves one below where the other arrow of that side arrives."""
    is_up = _place(state)[1] > _place(following)[1]
    side = X if x < X else X + BOX[0]
    start = _place(state)[1] + BOX[1] * (0.3 if is_up else 0.7)
    end = _place(following)[1] + BOX[1] * (0.7 if is_up and x > X else 0.3)
    canvas.arrow((side, start), (x, start), (x, end), (side, end), colour="ink")
    if x < X:
        y = (start + end) / 2 - 50 if x == LEFT else start - 64
        canvas.text(text, (FAR_LEFT + 12, y), width=LEFT - FAR_LEFT - 20, size=SMALL)
    else:
        canvas.text(text, (x + 10, (start + end) / 2 - 36), width=WIDTH - MARGIN - RIGHT - 10, size=SMALL)
