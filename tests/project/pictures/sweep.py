"""What sweeps and drains do over time, and how long they wait."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature

from filecolumn.ledger.transitions import FENCE_RETENTION
from filecolumn.maintenance import sweep
from tests.project.pictures.canvas import MARGIN, SMALL, WIDTH, Canvas

__all__ = ("CASES", "draw")


def _in_units(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:g} days" if days > 1 else f"{seconds / 3600:g} hours"


GRACE, QUARANTINE = (_in_units(signature(sweep).parameters[name].default) for name in ("grace", "quarantine"))
FORGOTTEN = _in_units(FENCE_RETENTION)


@dataclass(frozen=True, slots=True)
class Case:
    """What becomes of one object."""

    title: str
    before: tuple[str, str]
    """The state of its key in the ledger, and how long."""
    first: str
    """What ends that."""
    waiting: str
    """How long it is doomed; empty if it is not."""
    second: str
    """What ends that."""


CASES = (
    Case(
        "A commit replaces a file",
        ("LIVE", "as long as a row has it"),
        "the commit deletes it",
        "",
        "",
    ),
    Case(
        "The same, but the process dies, or the storage refuses",
        ("LIVE", "as long as a row has it"),
        "the commit notes it",
        "until the next drain",
        "a drain deletes it",
    ),
    Case(
        "The same, with `storages.retention`",
        ("LIVE", "as long as a row has it"),
        "the commit notes it",
        "for the retention",
        "a drain deletes it",
    ),
    Case(
        "An upload has left an object without a row",
        ("no entry", f"the grace:\n{GRACE}"),
        "a sweep claims it",
        f"the quarantine:\n{QUARANTINE}",
        "a drain looks for a row, and deletes it",
    ),
    Case(
        "SQL has deleted a row, and there are no triggers",
        ("LIVE", f"a sweep notes it: {QUARANTINE}"),
        "`sweep --unreferenced`",
        "until the next drain",
        "a drain looks for a row, and deletes it",
    ),
)
BOX = 136, 72
GAP = (WIDTH - 2 * MARGIN - 3 * BOX[0]) / 2
COLOURS = {"LIVE": "rows", "no entry": "quiet", "DOOMED": "danger", "GONE": "ledger"}


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("sweep", "What a commit, a sweep and a drain delete, and when", _in_words())
    y = float(MARGIN)
    for number, case in enumerate(CASES):
        if number:
            canvas.line((MARGIN, y - 14), (WIDTH - MARGIN, y - 14), width=1)
        y = _draw_case(canvas, case, y) + 30
    return canvas


def _draw_case(canvas: Canvas, case: Case, y: float) -> float:
    top = canvas.text(case.title, (MARGIN, y), bold=True) + 8
    _box(canvas, 0, top, *case.before)
    _box(canvas, 2, top, "GONE", f"{FORGOTTEN}, then it is forgotten")
    if not case.waiting:
        return _step(canvas, 0, 2, top, case.first)
    _box(canvas, 1, top, "DOOMED", case.waiting)
    return max(_step(canvas, 0, 1, top, case.first), _step(canvas, 1, 2, top, case.second))


def _left(column: int) -> float:
    return MARGIN + column * (BOX[0] + GAP)


def _box(canvas: Canvas, column: int, y: float, state: str, text: str) -> None:
    canvas.box(
        (_left(column), y), BOX, title=state, text=text, colour=COLOURS[state], dashed=state == "no entry"
    )


def _step(canvas: Canvas, column: int, following: int, y: float, text: str) -> float:
    """Draw what leads from one state to another; return where its words end."""
    start, end = _left(column) + BOX[0], _left(following)
    canvas.arrow((start, y + BOX[1] / 2), (end, y + BOX[1] / 2), colour="ink")
    middle = ((start + end) / 2, y + BOX[1] + 5)
    return canvas.text(text, middle, width=176, size=SMALL, colour="quiet", anchor="middle")


def _in_words() -> str:
    return " ".join(
        f"{case.title}: its key is {case.before[0]}, {case.before[1]}; then {case.first}: "
        + (f"DOOMED, {case.waiting}; then {case.second}: " if case.waiting else "")
        + f"GONE for {FORGOTTEN}, then the ledger forgets it."
        for case in CASES
    ).translate({ord("`"): None, ord("\n"): " "})
