"""The documentation's screenshots are those that `python -m tests.gallery.screenshots docs/_static` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from tests.gallery.screenshots import SCHEMES, SHOTS
from tests.project.test_docs import ROOT

STATIC = ROOT / "docs" / "_static"
EACH, ALL = 120_000, 800_000
"""Bytes of one, and of all."""
PICTURE = re.compile(r"^```\{image\} (?P<path>\S+\.webp)\n(?P<options>(?::.*\n)+)```$", re.MULTILINE)


@pytest.mark.parametrize("name", SHOTS)
def test_a_screenshot_is_small_and_has_its_size_in_both_schemes(name: str) -> None:
    shot, brightness = SHOTS[name], {}
    for scheme in SCHEMES:
        path = STATIC / f"{name}-{scheme}.webp"
        assert path.stat().st_size < EACH
        with Image.open(path) as image:
            assert (image.format, image.size) == ("WEBP", (shot.width * shot.scale, shot.height * shot.scale))
            brightness[scheme] = ImageStat.Stat(image.convert("L")).mean[0]
    assert brightness["dark"] < brightness["light"]


def test_each_screenshot_is_shown_in_its_scheme_with_a_text() -> None:
    shown: set[Path] = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for match in PICTURE.finditer(page.read_text(encoding="utf-8")):
            path = (page.parent / match["path"]).resolve()
            options = dict(re.findall(r"^:(\w+): (.+)$", match["options"], re.MULTILINE))
            assert options["class"] == f"{path.stem.rpartition('-')[2]}-only"
            assert len(options["alt"]) > 30
            shown.add(path)
    made = {STATIC / f"{name}-{scheme}.webp" for name in SHOTS for scheme in SCHEMES}
    assert shown >= made
    assert set(STATIC.rglob("*.webp")) == made
    assert sum(path.stat().st_size for path in made) < ALL
