"""A flush that replaces a file, from the top to the bottom, and what a crash leaves at each point."""

from __future__ import annotations

from dataclasses import dataclass

from tests.project.pictures.canvas import FONT, MARGIN, SMALL, WIDTH, Canvas

__all__ = ("CRASHES", "draw")


@dataclass(frozen=True, slots=True)
class Step:
    """What a commit does next."""

    name: str
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Crash:
    """A point at which the process may die."""

    left: str
    """What is left."""
    ends: str
    """Who removes it."""
    failpoints: tuple[str, ...]
    """Where tests kill a process to prove it."""


TIME = (
    Step("start", "`commit()`: the flush begins", "quiet"),
    Crash("Nothing is left.", "", ("put.before",)),
    Step("upload", "New content is uploaded", "storage"),
    Crash(
        "Part of an upload is left.",
        "A sweep removes it; in a cloud, a rule of the bucket.",
        ("put.after_part", "put.before_complete"),
    ),
    Step("stored", "The upload is complete", "storage"),
    Crash(
        "A new object without a row is left.",
        "A sweep claims it, then a drain deletes it.",
        ("put.after_complete", "flush.before_ledger"),
    ),
    Step("written", "Ledger and row are written, in one transaction", "rows"),
    Crash(
        "As at 3: the database rolls back ledger and row.",
        "A sweep and a drain remove it.",
        ("flush.after_ledger", "flush.after_row"),
    ),
    Step("sent", "COMMIT is sent", "rows"),
    Crash(
        "As at 4 or at 6: the database has decided.",
        "A process that goes on asks it, and deletes nothing before.",
        ("commit.before",),
    ),
    Step("committed", "COMMIT is confirmed", "rows"),
    Crash(
        "The old object is left, DOOMED in the ledger.",
        "The next drain deletes it.",
        ("commit.after", "drain.before_delete"),
    ),
    Step("deleted", "The old object is deleted", "storage"),
    Crash(
        "Only its ledger entry is left.",
        "The next drain marks it GONE.",
        ("drain.after_delete", "drain.before_gone"),
    ),
    Step("gone", "The ledger marks the old key GONE", "ledger"),
)
CRASHES = tuple(each for each in TIME if isinstance(each, Crash))


@dataclass(frozen=True, slots=True)
class Bar:
    """What a lane has of the old file or of the new one."""

    lane: str
    is_new: bool
    start: str
    end: str
    """The steps that begin and end it; empty is the edge of the picture."""
    text: str = ""
    is_open: bool = False
    """Whether it is not complete, or not committed."""
    is_over: bool = False


BARS = (
    Bar("storage", False, "", "deleted"),
    Bar("storage", True, "upload", "stored", is_open=True),
    Bar("storage", True, "stored", ""),
    Bar("rows", False, "", "committed"),
    Bar("rows", True, "written", "committed", is_open=True),
    Bar("rows", True, "committed", ""),
    Bar("ledger", False, "", "committed", "LIVE"),
    Bar("ledger", False, "committed", "gone", "DOOMED"),
    Bar("ledger", False, "gone", "", "GONE", is_over=True),
    Bar("ledger", True, "written", "committed", "", is_open=True),
    Bar("ledger", True, "committed", "", "LIVE"),
)
LANES = {"storage": (262, 36, 36), "rows": (346, 36, 36), "ledger": (430, 68, 38)}
"""Where each begins, and how wide what it has of the old file and of the new one is."""
GAP = 4
TEXT = 224
END = "At every point, the committed row has its complete object."


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("flush", "A commit that replaces a file, and what a crash leaves", _in_words())
    y = _head(canvas)
    top, at, crossed = y, dict[str, float](), list[tuple[int, float]]()
    crashes = iter(range(1, len(CRASHES) + 1))
    for each in TIME:
        if isinstance(each, Step):
            at[each.name] = y + FONT * 0.7
            canvas.line((MARGIN + 1.5, y + 1), (MARGIN + 1.5, y + FONT * 1.25), colour=each.colour, width=4)
            y = canvas.text(each.text, (MARGIN + 12, y), width=TEXT - 12, bold=True) + 12
        else:
            number = next(crashes)
            crossed.append((number, y + FONT * 0.7))
            y = canvas.text(each.left, (MARGIN + 32, y), width=TEXT - 32, colour="danger")
            if each.ends:
                y = canvas.text(each.ends, (MARGIN + 32, y), width=TEXT - 32, colour="quiet", size=SMALL)
            y += 16
    at |= {"": y}
    for bar in BARS:
        _bar(canvas, bar, at[bar.start] if bar.start else top, at[bar.end])
    for number, here in crossed:
        canvas.line((MARGIN + TEXT + 6, here), (WIDTH - MARGIN, here), colour="danger", dashed=True)
        canvas.badge(str(number), (MARGIN + 12, here))
    _foot(canvas, y + 16)
    return canvas


def _head(canvas: Canvas) -> float:
    canvas.text("Replacing a file", (MARGIN, MARGIN), bold=True)
    canvas.text("At a number, the process dies", (MARGIN, MARGIN + 21), colour="danger", size=SMALL)
    for lane, (x, old, new) in LANES.items():
        middle = x + (old + GAP + new) / 2
        canvas.text(lane, (middle, MARGIN), colour=lane, bold=True, anchor="middle")
        canvas.text("old", (x + old / 2, MARGIN + 21), colour="quiet", size=SMALL, anchor="middle")
        canvas.text(
            "new", (x + old + GAP + new / 2, MARGIN + 21), colour="quiet", size=SMALL, anchor="middle"
        )
    return MARGIN + 54.0


def _foot(canvas: Canvas, y: float) -> None:
    canvas.bar(MARGIN, y + 2, 26, y + 18, colour="quiet", dashed=True)
    canvas.text("not complete, or not committed", (MARGIN + 36, y), colour="quiet", size=SMALL)
    canvas.line((MARGIN + 290, y + 10), (MARGIN + 316, y + 10), colour="danger", dashed=True)
    canvas.text("the process dies", (MARGIN + 326, y), colour="quiet", size=SMALL)
    canvas.text(END, (MARGIN, y + 30), bold=True)


def _bar(canvas: Canvas, bar: Bar, start: float, end: float) -> None:
    x, old, new = LANES[bar.lane]
    left, width = (x + old + GAP, new) if bar.is_new else (x, old)
    colour = "quiet" if bar.is_over else bar.lane
    canvas.bar(left, start, width, end, colour=colour, dashed=bar.is_open)
    if bar.text:
        canvas.text(bar.text, (left + width / 2, start + 5), size=SMALL, colour=colour, anchor="middle")


def _in_words() -> str:
    crashes = iter(range(1, len(CRASHES) + 1))
    return " ".join(
        f"{each.text.replace('`', '')}."
        if isinstance(each, Step)
        else f"If the process dies here ({next(crashes)}): {each.left} {each.ends}".rstrip()
        for each in TIME
    )
