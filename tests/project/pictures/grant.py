"""A direct upload: who asks whom, and what the storage has meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from filecolumn.naming import INCOMING
from tests.project.pictures.canvas import FONT, MARGIN, SMALL, WIDTH, Canvas

__all__ = ("draw",)

LANES = {
    "browser": (262, "quiet"),
    "application": (346, "quiet"),
    "storage": (430, "storage"),
    "database": (504, "rows"),
}
"""The middle of each, and its colour."""
BAR = 12
TEXT = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What one sends to another."""

    sender: str
    receiver: str
    text: str


MESSAGES = (
    Message("browser", "application", "The browser asks for an upload."),
    Message("application", "browser", "`grant_upload()`: the answer is a signed URL and a token."),
    Message("browser", "storage", f"The content is sent, to a key under `{INCOMING}/`."),
    Message("browser", "application", "The token is sent to the application."),
    Message("application", "storage", "`from_grant()` looks at the upload: is it there, and small enough?"),
    Message(
        "application", "storage", "The flush copies it to a new key, and counts, hashes and checks the copy."
    ),
    Message("application", "database", "Row and ledger are written, and COMMIT. The grant is used up."),
    Message("application", "storage", "The upload is deleted."),
)
UPLOADED, COPIED, DELETED = 2, 5, 7
"""The messages with which the upload comes, its copy comes, and the upload goes."""
END = "If something fails before COMMIT, the copy is deleted. The upload stays, for another try."


def draw() -> Canvas:
    """Return the picture."""
    canvas = Canvas("grant", "A direct upload through a grant", _in_words())
    for lane, (x, colour) in LANES.items():
        canvas.text(lane, (x, MARGIN), size=SMALL, colour=colour, anchor="middle")
    heights, y = list[float](), MARGIN + 40.0
    for number, message in enumerate(MESSAGES, start=1):
        heights.append(y + FONT * 0.7)
        canvas.badge(str(number), (MARGIN + 12, heights[-1]), colour="quiet")
        y = canvas.text(message.text, (MARGIN + 32, y), width=TEXT - 32) + 18
    for x, _ in LANES.values():
        canvas.line((x, MARGIN + 24), (x, y))
    x, _ = LANES["storage"]
    canvas.bar(x - BAR - 1, heights[UPLOADED], BAR, heights[DELETED], colour="storage", dashed=True)
    canvas.bar(x + 1, heights[COPIED], BAR, y, colour="storage")
    for message, here in zip(MESSAGES, heights, strict=True):
        _arrow(canvas, message, here)
    _foot(canvas, y + 12)
    return canvas


def _arrow(canvas: Canvas, message: Message, y: float) -> None:
    start, end = LANES[message.sender][0], LANES[message.receiver][0]
    if message.receiver == "storage":
        end -= BAR + 2
    canvas.arrow((start, y), (end, y), colour="ink")


def _foot(canvas: Canvas, y: float) -> None:
    canvas.bar(MARGIN, y + 2, 26, y + 18, colour="storage", dashed=True)
    canvas.text("what the client uploaded", (MARGIN + 36, y), colour="quiet", size=SMALL)
    canvas.bar(MARGIN + 250, y + 2, 26, y + 18, colour="storage")
    canvas.text("the copy, which the row has", (MARGIN + 286, y), colour="quiet", size=SMALL)
    canvas.text(END, (MARGIN, y + 30), width=WIDTH - 2 * MARGIN, bold=True)


def _in_words() -> str:
    said = (
        f"{number}: {message.sender} to {message.receiver}: {message.text.replace('`', '')}"
        for number, message in enumerate(MESSAGES, start=1)
    )
    return " ".join((*said, END))
