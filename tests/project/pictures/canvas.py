"""A picture as SVG: text that is wrapped, boxes, arrows and bars, in colours that mean something.

All coordinates are in units of a picture that is 560 wide, so that it can be read on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

__all__ = ("FONT", "MARGIN", "PALETTES", "SMALL", "WIDTH", "Canvas", "text_height", "text_width")

WIDTH = 560
MARGIN = 20
FONT, SMALL = 15, 14
"""Sizes of text; nothing is smaller."""
LEADING = 1.32

PALETTES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "edge": "#d5dae1",
        "ink": "#1d2127",
        "quiet": "#56606c",
        "quiet-fill": "#f1f3f6",
        "storage": "#0b5aa8",
        "storage-fill": "#e0edfa",
        "rows": "#14683a",
        "rows-fill": "#def2e5",
        "ledger": "#673ba0",
        "ledger-fill": "#eee5fa",
        "danger": "#b3241c",
        "danger-fill": "#fde6e4",
    },
    "dark": {
        "paper": "#15171c",
        "edge": "#383f49",
        "ink": "#e7e9ec",
        "quiet": "#a6afba",
        "quiet-fill": "#24282f",
        "storage": "#82bdf8",
        "storage-fill": "#16304b",
        "rows": "#83d4a4",
        "rows-fill": "#153826",
        "ledger": "#c8abf3",
        "ledger-fill": "#32234c",
        "danger": "#ff9f96",
        "danger-fill": "#471f1c",
    },
}
"""What each colour is; a name with `-fill` is the ground under its own colour and under ink."""

Point = tuple[float, float]

# As wide as DejaVu Sans has them, which is wider than what systems use for their own text: in 1/1000 of the size
_WIDTHS = {
    character: width
    for width, characters in (
        (320, " ',.IJijl"),
        (370, "-/:;\\f|"),
        (415, "!()[]rt"),
        (460, '"'),
        (530, "*_`szc?L"),
        (610, "FPTYaekovxy"),
        (645, "$0123456789EKSbdghnpqu{}"),
        (700, "ABCRVXZ"),
        (780, "DHNUGOQ"),
        (850, "#+<=>M^~&w"),
        (1000, "%m@W"),
    )
    for character in characters
}
_BOLD = 1.11
_CODE = 0.605


class Canvas:
    """One picture, which grows downwards with what is drawn."""

    def __init__(self, name: str, title: str, description: str) -> None:
        self.name = name
        self.title = title
        self.description = description
        self.bottom = 0.0
        """Where the lowest thing so far ends."""
        self._body: list[str] = []

    def text(
        self,
        text: str,
        at: Point,
        *,
        width: float = WIDTH,
        colour: str = "ink",
        size: float = FONT,
        bold: bool = False,
        anchor: str = "start",
    ) -> float:
        """Write text below a point, wrapped, with `code` between backticks; return where it ends."""
        x, y = at
        for line in _wrapped(text, width, size, bold=bold):
            spans = "".join(
                f'<tspan class="code">{escape(word)}</tspan>' if is_code else escape(word)
                for word, is_code in _words(line)
            )
            weight = ' font-weight="600"' if bold else ""
            self._add(
                f'<text x="{x:g}" y="{y + size:g}" font-size="{size:g}" text-anchor="{anchor}"{weight} '
                f'fill="var(--{colour})">{spans}</text>',
                y + size * LEADING,
            )
            y += size * LEADING
        return y

    def box(
        self,
        at: Point,
        size: Point,
        *,
        colour: str,
        title: str = "",
        text: str = "",
        dashed: bool = False,
    ) -> None:
        """Draw a box with its top left at a point, and its title and text in its middle."""
        (x, y), (width, height) = at, size
        self._rectangle(x, y, width, height, colour, dashed=dashed)
        inner = width - 12
        lines = text_height(title, inner, bold=True) + text_height(text, inner, SMALL)
        top = y + (height - lines) / 2 - 1
        middle = x + width / 2
        if title:
            top = self.text(title, (middle, top), width=inner, colour=colour, bold=True, anchor="middle")
        if text:
            self.text(text, (middle, top), width=inner, size=SMALL, anchor="middle")

    def bar(
        self, x: float, top: float, width: float, bottom: float, *, colour: str, dashed: bool = False
    ) -> None:
        """Draw what is there from one time to another; dashed if it may still be undone."""
        self._rectangle(x, top, width, bottom - top, colour, dashed=dashed, radius=5)

    def arrow(self, *points: Point, colour: str = "quiet", dashed: bool = False) -> None:
        """Draw an arrow along points; its head is at the last one."""
        (x, y), (before_x, before_y) = points[-1], points[-2]
        length = ((x - before_x) ** 2 + (y - before_y) ** 2) ** 0.5
        across, down = (x - before_x) / length, (y - before_y) / length
        back = x - 9 * across, y - 9 * down
        self.line(*points[:-1], (x - 7 * across, y - 7 * down), colour=colour, dashed=dashed)
        corners = (
            (x, y),
            (back[0] - 5 * down, back[1] + 5 * across),
            (back[0] + 5 * down, back[1] - 5 * across),
        )
        self._add(
            f'<path d="{_path(corners)}z" fill="var(--{colour})"/>', max(corner[1] for corner in corners)
        )

    def line(self, *points: Point, colour: str = "edge", width: float = 1.75, dashed: bool = False) -> None:
        """Draw a line along points."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._add(
            f'<path d="{_path(points)}" fill="none" stroke="var(--{colour})" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dashes}/>',
            max(y for _, y in points),
        )

    def badge(self, text: str, at: Point, *, colour: str = "danger") -> None:
        """Draw a number in a disc around a point."""
        x, y = at
        self._add(f'<circle cx="{x:g}" cy="{y:g}" r="12" fill="var(--{colour})"/>', y + 12)
        self.text(text, (x, y - SMALL * 0.65), size=SMALL, colour="paper", bold=True, anchor="middle")

    def svg(self) -> str:
        """Return the picture: every name in it begins with its own, so that a page may have several."""
        name, height = self.name, round(self.bottom + MARGIN)
        root = (
            f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}">'
        )
        paper = (
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="12" fill="var(--paper)" '
            'stroke="var(--edge)"/>'
        )
        return "\n".join(
            [
                root,
                f'<title id="{name}-title">{escape(self.title)}</title>',
                f'<desc id="{name}-desc">{escape(self.description)}</desc>',
                *_style(f"#{name}"),
                paper,
                *self._body,
                "</svg>\n",
            ]
        )

    def _rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        dashed: bool,
        radius: float = 9,
    ) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        fill = "paper" if dashed else f"{colour}-fill"
        self._add(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
            f'fill="var(--{fill})" stroke="var(--{colour})" stroke-width="1.5"{dashes}/>',
            y + height,
        )

    def _add(self, element: str, bottom: float) -> None:
        self._body.append(element)
        self.bottom = max(self.bottom, bottom)


def text_width(text: str, size: float = FONT, *, bold: bool = False) -> float:
    """Return how wide a line of text is at most."""
    return sum(
        _CODE * size * len(word)
        if is_code
        else sum(_WIDTHS.get(each, 800) for each in word) * size / 1000 * (_BOLD if bold else 1)
        for word, is_code in _words(text)
    )


def text_height(text: str, width: float, size: float = FONT, *, bold: bool = False) -> float:
    """Return how high wrapped text is."""
    return len(_wrapped(text, width, size, bold=bold)) * size * LEADING


def _wrapped(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Return the lines of a text; code stays in one."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in re.findall(r"`[^`]*`\S*|\S+", paragraph):
            longer = f"{line} {word}".strip()
            if line and text_width(longer, size, bold=bold) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _words(line: str) -> Iterator[tuple[str, bool]]:
    """Yield what is in a line, and whether it is code."""
    for index, part in enumerate(line.split("`")):
        if part:
            yield part, index % 2 == 1


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _style(root: str) -> Iterator[str]:
    """Yield the colours: as the reader's system has it, or as the page around the picture says by a class."""
    light, dark = (
        "; ".join(f"--{name}: {value}" for name, value in PALETTES[theme].items())
        for theme in ("light", "dark")
    )
    yield "<style>"
    yield f"{root}, html.light {root} {{ {light} }}"
    yield f"@media (prefers-color-scheme: dark) {{ {root} {{ {dark} }} }}"
    yield f"html.dark {root} {{ {dark} }}"
    yield f"{root} text {{ font-family: system-ui, sans-serif }}"
    yield f"{root} .code {{ font-family: ui-monospace, monospace; font-size: .94em }}"
    yield "</style>"
