"""`python -m tests.gallery.screenshots FOLDER`: what the documentation shows of the gallery and of the tutorial's page.

The pictures and films are made here; nothing but Chromium is needed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from examples.gallery.app import create_app
from examples.gallery.settings import Settings
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.gallery.media import encode, landscape, sound
from tests.litestar.server import serve, until
from tests.project.test_docs import ROOT, blocks

__all__ = ("SCHEMES", "SHOTS", "Shot")

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Shot:
    """The size of a page, in its own pixels, and how many of the picture's each of them is."""

    width: int
    height: int
    scale: int = 1

    @property
    def is_phone(self) -> bool:
        """Whether the page is touched."""
        return self.width < 600


SHOTS = {
    "gallery/files": Shot(1280, 860),
    "gallery/viewer": Shot(1280, 860),
    "gallery/status": Shot(1280, 860),
    "gallery/phone": Shot(390, 780, 2),
    "thumbnails": Shot(880, 440),
}

# Names of pictures, with their sizes, the colours of sky and hills, and where the sun is.
PICTURES = {
    "Lake at noon.jpg": ((1600, 1000), ("#3f8fd2", "#cfe8f5"), "#1d4a3a", 0.5),
    "First frost.png": ((900, 900), ("#7f9cc0", "#eef1f6"), "#39506b", 0.7),
    "Harbour hills.webp": ((1000, 1300), ("#2f6f8f", "#f2e2bd"), "#173845", 0.35),
    "Red evening.jpg": ((1800, 1000), ("#5b2a52", "#f59a5b"), "#2b1630", 0.8),
    "Before sunrise.jpg": ((1500, 1000), ("#16213f", "#d98b73"), "#0d1526", 0.2),
    "Meadow.webp": ((1200, 900), ("#76b7d8", "#f4f6df"), "#3f6b2c", 0.6),
}


def main() -> None:
    """Write the screenshots into the folder that was named."""
    if CHROMIUM is None or len(sys.argv) != 2:
        sys.exit("usage: python -m tests.gallery.screenshots FOLDER, where Chromium is installed")
    target = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        files = media(Path(made))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        show_gallery(browser, files, Path(made), target)
        show_tutorial(browser, files, Path(made), target)
        browser.close()


def media(folder: Path) -> list[Path]:
    """Make the files, the oldest first."""
    drawn = {
        name: landscape(size, sky, hills, sun=sun, seed=seed)
        for seed, (name, (size, sky, hills, sun)) in enumerate(PICTURES.items())
    }
    for name, image in drawn.items():
        image.save(folder / name, quality=90)
    frames = (
        landscape((640, 360), ("#2d3f73", "#f0b27a"), "#1c2740", sun=at / 40, seed=9) for at in range(40)
    )
    film = encode(folder / "A day in forty frames.webm", frames, (640, 360), rate=4, bit_rate=4_000_000)
    pages = folder / "Route.pdf"
    drawn["Meadow.webp"].save(pages)
    notes = folder / "Packing list.txt"
    notes.write_text("Boots, map, camera, spare batteries.\n" * 20)
    one, two, three, *rest = (folder / name for name in drawn)
    return [notes, one, two, sound(folder / "Wind.wav", seconds=12), three, film, pages, *rest]


def show_gallery(browser: Browser, files: list[Path], folder: Path, target: Path) -> None:
    """Fill the gallery and show its pages."""
    with serve(create_app(Settings.in_folder(folder / "gallery"))) as server:
        with opened(browser, SHOTS["gallery/files"], "light", server.url) as page:
            for count, path in enumerate(files, start=1):
                page.locator("#chooser").set_input_files(path)
                expect(page.locator(".tile")).to_have_count(count)
        for scheme in SCHEMES:
            for name in ("gallery/files", "gallery/phone"):
                with opened(browser, SHOTS[name], scheme, server.url) as page:
                    loaded(page, "#files img, #files video")
                    save(page, target / f"{name}-{scheme}.webp")
            with opened(browser, SHOTS["gallery/viewer"], scheme, server.url) as page:
                page.get_by_role("button", name="Open Red evening.jpg").click()
                loaded(page, "#stage img")
                save(page, target / f"gallery/viewer-{scheme}.webp")
            with opened(browser, SHOTS["gallery/status"], scheme, f"{server.url}/status.html") as page:
                page.get_by_role("button", name="Check now").click()
                expect(page.locator("#news")).to_contain_text("They agree")
                expect(page.get_by_role("button", name="Check now")).to_be_enabled()
                save(page, target / f"gallery/status-{scheme}.webp")


def show_tutorial(browser: Browser, files: list[Path], folder: Path, target: Path) -> None:
    """Run the application of the tutorial's page, in Litestar, and show it."""
    for block in blocks((ROOT / "docs" / "thumbnails.md").read_text(encoding="utf-8")):
        if block.file_name is not None:
            (folder / block.file_name).write_text(block.text, encoding="utf-8")
    sys.path.insert(0, str(folder))
    with contextlib.chdir(folder), serve(importlib.import_module("litestar_app").app) as server:
        with opened(browser, SHOTS["thumbnails"], "light", server.url) as page:
            for path in files[-3:]:
                page.get_by_label("Add a photo").set_input_files(path)
                page.get_by_role("button", name="Upload").click()
                expect(page.get_by_role("img", name=path.name)).to_be_visible()
        for scheme in SCHEMES:
            with opened(browser, SHOTS["thumbnails"], scheme, server.url) as page:
                loaded(page, "section img")
                save(page, target / f"thumbnails-{scheme}.webp")


@contextlib.contextmanager
def opened(browser: Browser, shot: Shot, scheme: Scheme, url: str) -> Iterator[Page]:
    """Open a page in a window of its own."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        is_mobile=shot.is_phone,
        has_touch=shot.is_phone,
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def loaded(page: Page, selector: str) -> None:
    """Wait until what can be seen of these pictures and films is there."""
    is_there = """(elements) => elements
        .filter((element) => element.getBoundingClientRect().top < innerHeight)
        .every((element) => element.readyState >= 2 || element.naturalWidth > 0)"""
    page.locator(selector).first.wait_for()
    if not until(lambda: page.locator(selector).evaluate_all(is_there), within=20):
        raise TimeoutError(f"{selector} of {page.url} did not load")


def save(page: Page, path: Path) -> None:
    """Write what the window shows, as a small file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, "WEBP", quality=82, method=6)


if __name__ == "__main__":
    main()
