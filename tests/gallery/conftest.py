"""A live gallery, and a Chromium that looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from examples.gallery.app import create_app
from examples.gallery.settings import Settings
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.gallery.media import film, picture
from tests.litestar.server import LiveServer, serve
from tests.servers.process import unavailable

HERE = Path(__file__).parent
SCREENSHOTS = HERE / "screenshots"
"""What the pages looked like; the folder is no part of the repository."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the gallery's tests: what drives it is only installed with the browser's client."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[LiveServer]:
    """An empty gallery on loopback."""
    with serve(create_app(Settings.in_folder(tmp_path / "gallery"))) as server:
        yield server


@pytest.fixture
def http(gallery: LiveServer) -> Iterator[httpx.Client]:
    with gallery.client() as client:
        yield client


# closed with the module: an event loop runs in this thread as long as Playwright does
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        unavailable("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def problems() -> list[str]:
    """What went wrong in a page, in its own words."""
    return []


@pytest.fixture(params=["desktop", "phone"])
def page(
    request: pytest.FixtureRequest, browser: Browser, gallery: LiveServer, problems: list[str]
) -> Iterator[Page]:
    """The gallery's first page, on a desk and in a hand."""
    is_phone = request.param == "phone"
    context = browser.new_context(
        base_url=gallery.url,
        viewport={"width": 390, "height": 844} if is_phone else {"width": 1280, "height": 860},
        has_touch=is_phone,
        is_mobile=is_phone,
    )
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
    page.goto("/")
    yield page
    SCREENSHOTS.mkdir(exist_ok=True)
    name = request.node.name.removeprefix("test_").translate(str.maketrans("[]-", "___")).strip("_")
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    context.close()
    assert problems == []


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of some megabytes."""
    return film(tmp_path_factory.mktemp("films") / "noise.webm")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three pictures of different kinds and shapes."""
    return [
        picture(tmp_path / "wide.jpg", (1600, 900), "#24506b"),
        picture(tmp_path / "tall.png", (600, 900), "#7a3b4e"),
        picture(tmp_path / "square.webp", (700, 700)),
    ]
