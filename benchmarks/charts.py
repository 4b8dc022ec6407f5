"""Draw the charts of `docs/growth.md`: `python -m benchmarks.charts RESULTS.json [FOLDER]`.

*RESULTS* is what `python -m benchmarks growth lists sessions --json RESULTS.json` wrote.  The folder, by default
`docs/_data`, gets a chart for each subject as SVG, the sentence that says what was measured where, and `growth.json`,
which has no more than these show: drawn from that file, they are the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path("docs/_data")
CONTENDERS = {
    "filecolumn": "#2f7de1",
    "floor+L": "#d9730d",
    "advanced-alchemy": "#8f7fd6",
}
"""Who is drawn, and in which colour: each is readable on white and on black."""
PACKAGES = ("filecolumn", "SQLAlchemy", "obstore", "advanced-alchemy")

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 176, 48, 52
TEXT = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One picture: how a cost grows with an amount."""

    name: str
    title: str
    """What is on the vertical axis, and per what."""
    across: str
    """What is on the horizontal axis."""
    measure: str
    """`subject/measure-` before the amount."""
    scale: float = 1e6
    """What seconds are multiplied with."""
    is_steep: bool = False
    """Whether the vertical axis is logarithmic too."""


CHARTS = (
    Chart(
        name="commit",
        title="Saving a file of 4 KiB: microseconds of processor time, each file",
        across="files in one commit",
        measure="growth/commit-",
    ),
    Chart(
        name="rows",
        title="Saving a file of 4 KiB: microseconds of processor time",
        across="rows that are there already",
        measure="growth/save-among-",
    ),
    Chart(
        name="delete",
        title="Deleting 200 rows in one transaction: microseconds of processor time, each row",
        across="rows that are there",
        measure="growth/delete-among-",
    ),
    Chart(
        name="list",
        title="Loading a row, appending a file to its list, committing: milliseconds of processor time",
        across="files in the list",
        measure="lists/append-",
        scale=1e3,
        is_steep=True,
    ),
    Chart(
        name="size",
        title="Saving one file: milliseconds of processor time",
        across="KiB in the file",
        measure="growth/size-",
        scale=1e3,
        is_steep=True,
    ),
    Chart(
        name="sessions",
        title="Saving a file of 4 KiB: microseconds of processor time, each file",
        across="async sessions at a time",
        measure="sessions/sessions-",
    ),
)

Line = Sequence[tuple[int, float]]


def main(results: Path, folder: Path = FOLDER) -> None:
    """Draw everything."""
    document = reduced(json.loads(results.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in drawn(document).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "growth.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def drawn(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of all files that are made of results, by name."""
    charts = {f"growth-{chart.name}.svg": draw(chart, lines_of(chart, document)) for chart in CHARTS}
    return {**charts, "growth-measured.txt": _measured(document)}


def reduced(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what charts show of results."""
    shown = {
        name: {
            "contenders": {
                contender: {"cpu": {"median": figures["cpu"]["median"]}}
                for contender, figures in measure["contenders"].items()
                if contender in CONTENDERS and "cpu" in figures
            }
        }
        for name, measure in document["measures"].items()
        if any(_amount(chart, name) is not None for chart in CHARTS)
    }
    facts = {name: document[name] for name in ("when", "python", "system", "processors")}
    packages = {name: document["packages"][name] for name in PACKAGES}
    return {**facts, "packages": packages, "measures": shown}


def lines_of(chart: Chart, document: Mapping[str, Any]) -> dict[str, Line]:
    """Return the points of each contender, by the amount."""
    lines: dict[str, dict[int, float]] = {}
    for name, measure in document["measures"].items():
        if (amount := _amount(chart, name)) is not None:
            for contender, figures in measure["contenders"].items():
                lines.setdefault(contender, {})[amount] = figures["cpu"]["median"] * chart.scale
    return {contender: sorted(lines[contender].items()) for contender in CONTENDERS if contender in lines}


def _amount(chart: Chart, measure: str) -> int | None:
    rest = measure.removeprefix(chart.measure)
    return int(rest) if rest != measure and rest.isdecimal() else None


def _measured(document: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    return (
        f"Measured on {document['when'][:10]} with Python {document['python']}, {packages}, on {document['system']} "
        f"with {document['processors']} processors; SQLite and a local folder, both in memory, with `fsync`.\n"
    )


# A picture


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values are, in pixels from *start* to *end*."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, here = (self._plain(each) for each in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (here - low) / (high - low)

    def _plain(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def ticks(self) -> Iterator[float]:
        """Yield round values from the lowest to the highest."""
        if self.is_log:
            tick = self.low
            while tick <= self.high:
                yield tick
                tick = _round(tick * 1.01)
            return
        step = _round(self.high / 5)
        for number in range(int(self.high / step) + 1):
            yield number * step


def draw(chart: Chart, lines: Mapping[str, Line]) -> str:
    """Return a chart as SVG, in the colours of the text around it."""
    amounts = sorted({amount for line in lines.values() for amount, _ in line})
    values = [value for line in lines.values() for _, value in line]
    across = Axis(amounts[0], amounts[-1], LEFT, WIDTH - RIGHT, is_log=True)
    low = _round(min(values) / 2.5) if chart.is_steep else 0.0
    up = Axis(low, max(values) * 1.1, HEIGHT - BOTTOM, TOP, is_log=chart.is_steep)
    body = [
        _text(chart.title, LEFT - 44, 20, weight=600),
        *_grid(up),
        *(
            _text(_number(amount), across.at(amount), HEIGHT - BOTTOM + 20, anchor="middle")
            for amount in amounts
        ),
        _text(chart.across, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, anchor="middle", opacity=0.75),
        *_drawn_lines(lines, across, up),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'style="max-width: {WIDTH}px; width: 100%; font-family: inherit" fill="currentColor">'
    )
    title = f"<title>{escape(chart.title)}, by {escape(chart.across)}: {escape(_told(lines))}</title>"
    return "\n".join([head, title, *body, "</svg>"]) + "\n"


def _grid(up: Axis) -> Iterator[str]:
    for tick in up.ticks():
        y = up.at(tick)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
            'stroke-opacity="0.18"/>'
        )
        yield _text(_number(tick), LEFT - 8, y + 4, anchor="end", opacity=0.75)


def _drawn_lines(lines: Mapping[str, Line], across: Axis, up: Axis) -> Iterator[str]:
    ends = _apart([(up.at(line[-1][1]), name) for name, line in lines.items()])
    for name, line in lines.items():
        colour = CONTENDERS[name]
        points = [(across.at(amount), up.at(value)) for amount, value in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points)
        label = f"{name} {_number(line[-1][1])}"
        yield _text(label, WIDTH - RIGHT + 10, ends[name] + 4, colour=colour, weight=600, size=12)


def _apart(wanted: Iterable[tuple[float, str]]) -> dict[str, float]:
    """Return where labels stand, from the highest, so that none covers another."""
    placed: dict[str, float] = {}
    least = -math.inf
    for y, name in sorted(wanted):
        least = placed[name] = max(y, least + 16)
    # and none below the axis
    surplus = max(0.0, least - (HEIGHT - BOTTOM))
    return {name: y - surplus for name, y in placed.items()}


def _text(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    weight: int = 400,
    opacity: float = 1,
    colour: str = "currentColor",
    size: int = TEXT,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}" fill-opacity="{opacity:g}">{escape(text)}</text>'
    )


def _told(lines: Mapping[str, Line]) -> str:
    """Return the figures for those who hear the page."""
    return "; ".join(
        f"{name} " + ", ".join(f"{_number(value)} at {_number(amount)}" for amount, value in line)
        for name, line in lines.items()
    )


def _round(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least *value*."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.9999)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
