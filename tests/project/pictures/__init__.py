"""The pictures of the documentation, each drawn by its own module from the facts that it shows."""

from __future__ import annotations

from pathlib import Path

from tests.project.pictures import file, flush, grant, key, layers, move, overview, sweep

__all__ = ("FOLDER", "drawn")

FOLDER = Path(__file__).parents[3] / "docs" / "pictures"
_PICTURES = (overview, flush, file, key, layers, grant, sweep, move)


def drawn() -> dict[str, str]:
    """Return all pictures as SVG, by the names of their files."""
    pictures = [picture.draw() for picture in _PICTURES]
    return {f"{picture.name}.svg": picture.svg() for picture in pictures}
