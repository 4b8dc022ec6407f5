"""What a reader sees of each page: at a desk, in the dark, in a hand, on paper and without JavaScript."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, Request, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.chromium import ARGUMENTS, CHROMIUM
from tests.site.faults import Fault

__all__ = ("CHROMIUM", "look")

# what a page wants from elsewhere is a fault, and is not fetched
NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND"
OURS = (Path(__file__).parent / "looks.js").read_text(encoding="utf-8")

DESK, PHONE, PAPER = (
    {"width": 1280, "height": 900},
    {"width": 390, "height": 844},
    {"width": 718, "height": 1000},
)
"""The paper is A4 without its margins."""
STILL = "*, ::before, ::after { transition: none !important; animation: none !important }"
"""Colours in the middle of a change of themes are nobody's to judge."""
PER_PAGE, IN_ALL = 120, 480
"""Seconds after which a page, or the whole, counts as hung."""
AT_ONCE = 2
SAMPLES = ("index.html", "howto/index.html")
"""Pages of each layout, for what is the same on all of them."""
MENUS = {
    "lside": ".sy-breadcrumbs [aria-controls=lside]",
    "rside": ".sy-breadcrumbs [aria-controls=rside]",
    "head-nav": ".sy-head-actions [aria-controls=head-nav]",
}
"""What opens by a tap on a small screen, and the button."""


def look(site: Path, only: str = "") -> list[Fault]:
    """Return what is wrong with the pages that have *only* in their path."""
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    looks = Looks(site, deque(name for name in names if only in name))
    try:
        asyncio.run(_look(looks))
    except TimeoutError:
        late = f"{len(looks.waiting)} pages were not looked at within {IN_ALL} s"
        looks.faults.append(Fault("-", "all", "html", late, "see which ones take long"))
    return looks.faults


async def _look(looks: Looks) -> None:
    async with asyncio.timeout(IN_ALL), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*ARGUMENTS, NO_OTHER_HOST]
        )
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(looks.work(browser))
                group.create_task(looks.tried("menus", looks.menus(browser)))
                group.create_task(looks.tried("without JavaScript", looks.without_javascript(browser)))
        finally:
            await browser.close()


@dataclass(slots=True)
class Looks:
    """A look at each page of a site."""

    site: Path
    waiting: deque[str]
    faults: list[Fault] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)
    """Kinds of text whose contrast was judged, on whatever page."""

    async def work(self, browser: Browser) -> None:
        """Look at pages until none waits."""
        context = await browser.new_context(viewport=DESK, has_touch=True, color_scheme="light")
        context.set_default_timeout(15_000)
        await context.add_init_script(f"{AXE_SCRIPT};{OURS};window.siteCheck = siteCheck")
        page = await context.new_page()
        page.on("request", lambda request: self._asked(page, request))
        page.on("pageerror", lambda error: self._note(self._name(page), "loading", [_failed(error)]))
        while self.waiting:
            name = self.waiting.popleft()
            try:
                async with asyncio.timeout(PER_PAGE):
                    await self._look_at(name, page)
            except TimeoutError:
                self._note(name, "all", [("html", f"took longer than {PER_PAGE} s", "make it shorter")])
            except PlaywrightError as error:
                self._note(name, "all", [("html", error.message.partition("\n")[0], "see whether it loads")])
        await context.close()

    async def _look_at(self, name: str, page: Page) -> None:
        await page.set_viewport_size(DESK)
        await page.emulate_media(media="screen")
        await page.goto((self.site / name).as_uri())
        await page.add_style_tag(content=STILL)
        await self._at_a_desk(name, page)
        await self._in_a_hand(name, page)
        await self._on_paper(name, page)

    def _asked(self, page: Page, request: Request) -> None:
        if request.url.startswith(("http:", "https:")):
            found = (request.url, "loaded from another host", "serve a copy")
            self._note(self._name(page), "loading", [found])

    def _name(self, page: Page) -> str:
        return page.url.partition("#")[0].removeprefix(f"{self.site.as_uri()}/")

    async def _at_a_desk(self, name: str, page: Page) -> None:
        for check in ("cutOff", "tooWide", "rules"):
            self._note(name, "1280 light", await page.evaluate(f"siteCheck.{check}()"))
        for theme in ("light", "dark"):
            await page.evaluate("theme => setColorMode(theme)", theme)
            kinds = [kind for kind in await page.evaluate("siteCheck.kinds()") if kind not in self.judged]
            self.judged.update(kinds)
            if kinds:
                found = await page.evaluate("kinds => siteCheck.contrast(kinds)", kinds)
                self._note(name, f"1280 {theme}", found)
        await page.evaluate("setColorMode('light')")

    async def _in_a_hand(self, name: str, page: Page) -> None:
        await page.set_viewport_size(PHONE)
        for check in ("tooWide", "boxes"):
            self._note(name, "390", await page.evaluate(f"siteCheck.{check}()"))

    async def _on_paper(self, name: str, page: Page) -> None:
        await page.set_viewport_size(PAPER)
        await page.emulate_media(media="print")
        for check in ("cutOff", "tooWide"):
            self._note(name, "print", await page.evaluate(f"siteCheck.{check}()"))

    async def tried(self, name: str, trial: Awaitable[None]) -> None:
        """Note the error of a trial: what else was found is told too."""
        try:
            await trial
        except PlaywrightError as error:
            self._note(name, "390", [("html", error.message.partition("\n")[0], "see whether it loads")])

    async def menus(self, browser: Browser) -> None:
        """See that the menus open by a tap."""
        context = await browser.new_context(viewport=PHONE, has_touch=True)
        context.set_default_timeout(15_000)
        page = await context.new_page()
        for name in self._samples():
            await page.goto((self.site / name).as_uri())
            for menu, opener in MENUS.items():
                button = page.locator(opener)
                if not await button.count():
                    continue
                await button.tap()
                if await page.locator(f"#{menu}").get_attribute("aria-hidden") != "false":
                    found = (f"#{menu}", "does not open by a tap", "see the theme's script")
                    self._note(name, "390", [found])
                # what opened lies over the button
                await button.dispatch_event("click")
        await context.close()

    async def without_javascript(self, browser: Browser) -> None:
        """See that a page can be read and left."""
        context = await browser.new_context(viewport=PHONE, java_script_enabled=False)
        context.set_default_timeout(15_000)
        page = await context.new_page()
        for name in self._samples():
            await page.goto((self.site / name).as_uri())
            for selector in ("main h1", "#lside a"):
                wanted = page.locator(selector).first
                if await wanted.count() and not await wanted.is_visible():
                    found = (selector, "is not visible without JavaScript", "show it by a style")
                    self._note(name, "390 without JavaScript", [found])
        await context.close()

    def _samples(self) -> list[str]:
        return [name for name in SAMPLES if (self.site / name).is_file()]

    def _note(self, name: str, seen: str, found: list[tuple[str, str, str]]) -> None:
        self.faults += (Fault(name, seen, selector, what, to_do) for selector, what, to_do in found)


def _failed(error: PlaywrightError) -> tuple[str, str, str]:
    return "script", error.message.partition("\n")[0], "correct it"
