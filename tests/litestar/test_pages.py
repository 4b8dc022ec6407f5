"""The tables of the documentation say what the code does."""

from __future__ import annotations

from pathlib import Path

from filecolumn.http.errors import STATUS_BY_ERROR
from filecolumn.http.serving import secure_headers
from filecolumn.litestar import INLINE_TYPES, FileColumnConfig, Serving

PAGES = Path(__file__).parents[2] / "docs/howto"


def rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables of a page, by their first cell."""
    lines = (PAGES / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in cells}


def test_the_defaults_of_the_headers() -> None:
    table = rows("serving.md")
    for name, value in secure_headers(Serving()).items():
        assert table[f"`{name}`"][0].strip("`") == value
    shown = table["types that may be shown"][0]
    images = sorted(kind.removeprefix("image/") for kind in INLINE_TYPES if kind.startswith("image/"))
    assert f"`image/{' '.join(images)}`" in shown
    assert {kind for kind in INLINE_TYPES if f"`{kind}`" in shown} == INLINE_TYPES - {
        f"image/{n}" for n in images
    }
    assert table["`Content-Disposition`"][0].startswith(f"`{Serving().disposition}`")


def test_the_status_of_each_error() -> None:
    said = {
        name.strip(" `"): int(cells[0])
        for first, cells in rows("receiving.md").items()
        for name in first.split(",")
        if name.strip(" `").endswith("Error")
    }
    assert said == {error.__name__: known.status for error, known in STATUS_BY_ERROR.items()}


def test_the_time_that_a_body_may_take() -> None:
    [limit] = [name for name in rows("receiving.md") if name.startswith("`body_idle_timeout`")]
    config = FileColumnConfig()
    assert (config.body_idle_timeout, config.body_timeout) == (30.0, 3600.0)
    assert limit == "`body_idle_timeout`, 30 s without a byte, and `body_timeout`, one hour"
