"""Every link, image, script and style of a site leads to something in it, and nothing is loaded from elsewhere."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.site.faults import Fault

__all__ = ("broken",)

LOADING = frozenset({"audio", "embed", "iframe", "img", "script", "source", "track", "video"})
"""Elements whose `src` a browser loads; of `link` it depends on `rel`."""
LOADED_LINKS = frozenset({"icon", "manifest", "modulepreload", "preload", "shortcut", "stylesheet"})
A_FONT = re.compile(r"@font-face\s*{[^}]*}")
"""A font is loaded where it is used only, which the look at the pages sees."""
OF_A_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?P<url>(?:https?:)?//[^"')\s]+)""")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a page refers to."""

    tag: str
    line: int
    url: str
    is_loaded: bool


@dataclass(slots=True)
class Page:
    """What other pages can refer to, and what this one refers to."""

    anchors: set[str] = field(default_factory=set)
    references: list[Reference] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        if "id" in values:
            self.page.anchors.add(values["id"])
        if tag == "a" and "name" in values:
            self.page.anchors.add(values["name"])
        if tag in LOADING:
            urls = [values.get("src"), values.get("poster")]
            urls += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]
            self._refer(tag, urls, is_loaded=True)
        elif tag == "link":
            is_loaded = not LOADED_LINKS.isdisjoint(values.get("rel", "").split())
            self._refer(tag, [values.get("href")], is_loaded=is_loaded)
        elif tag in {"a", "area"}:
            self._refer(tag, [values.get("href")], is_loaded=False)

    def _refer(self, tag: str, urls: list[str | None], *, is_loaded: bool) -> None:
        line = self.getpos()[0]
        self.page.references += (Reference(tag, line, url, is_loaded) for url in urls if url)


def broken(site: Path) -> list[Fault]:
    """Return the references of a built site that lead nowhere, or load something from another host."""
    pages = {path.relative_to(site).as_posix(): _read(path) for path in sorted(site.rglob("*.html"))}
    faults = [
        fault
        for name, page in pages.items()
        for reference in page.references
        for fault in _of(name, reference, pages, site)
    ]
    for style in sorted(site.rglob("*.css")):
        name = style.relative_to(site).as_posix()
        for match in OF_A_STYLE.finditer(A_FONT.sub("", style.read_text())):
            faults.append(Fault(name, "source", match["url"], "loaded from another host", "serve a copy"))
    return faults


def _read(path: Path) -> Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page


def _of(name: str, reference: Reference, pages: dict[str, Page], site: Path) -> Iterator[Fault]:
    def fault(what: str, to_do: str) -> Fault:
        return Fault(name, "source", f"<{reference.tag}> in line {reference.line}", what, to_do)

    url = urlsplit(reference.url)
    if url.scheme in {"data", "mailto"}:
        return
    if url.scheme or url.netloc:
        if reference.is_loaded:
            yield fault(f"loads {reference.url} from another host", "serve a copy")
        return
    if url.path.startswith("/"):
        yield fault(f"{reference.url} is a path of the host", "write it relative to the page")
        return
    target = (
        posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(url.path))) if url.path else name
    )
    if target.startswith("../") or not (site / target).is_file():
        yield fault(f"{reference.url} is not in the site", "correct the link or add the file")
    elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
        yield fault(f"{target} has no anchor #{url.fragment}", "correct the link or the heading")
