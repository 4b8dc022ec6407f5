"""The long description as a package index shows it: rendered as there, and each address in it absolute."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from readme_renderer.markdown import render

from tests.release.project import PROJECT, SOURCE_URL

NOT_SHOWN = (".svg",)
"""A package index shows pictures from elsewhere through a proxy, and GitHub serves SVG as text."""


class Addresses(HTMLParser):
    """Collects what a page links to and shows."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            # the renderer gives each heading a link to itself
            if name == "href" and not (value or "").startswith("#user-content-"):
                self.links.append(value or "")
            elif name in {"src", "srcset"}:
                self.pictures.append(value or "")


def faults_of_description(markdown: str) -> Iterator[str]:
    html = render(markdown, variant="GFM")
    if html is None:
        yield "the description is not rendered"
        return
    found = Addresses()
    found.feed(html)
    for address in (*found.links, *found.pictures):
        if not address.startswith("https://"):
            yield f"{address!r} is not an absolute address"
    ours = [address for address in found.links if address.startswith(f"{SOURCE_URL}/blob/")]
    if not ours:
        yield "no link leads to the sources"
    tag = f"{SOURCE_URL}/blob/v{PROJECT['version']}/"
    yield from (f"{address!r} is not of this version" for address in ours if not address.startswith(tag))
    yield from (f"{address!r} is not shown" for address in found.pictures if address.endswith(NOT_SHOWN))
    for left in ("<picture", "<!--", "badges/", "[]("):
        if left in markdown:
            yield f"{left!r} is left in the description"
