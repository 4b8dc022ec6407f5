"""What axe finds in the HTML of Sphinx and of the theme, mended while pages are written.

`python -m tests.site` holds that axe finds nothing; what is mended in the theme may be removed here.
"""

from __future__ import annotations

from typing import Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.writers.html5 import HTML5Translator

LANDMARKS: Final = {
    # an article in `main` is no second `main`
    ' role="main">': ">",
    '<div class="sy-head">': '<div class="sy-head" role="banner">',
    '<nav class="sy-head-links">': '<nav class="sy-head-links" aria-label="Site">',
    '<aside id="lside"': '<aside id="lside" aria-label="Pages"',
    '<aside id="rside"': '<aside id="rside" aria-label="On this page"',
    '<div class="sy-breadcrumbs" role="navigation">': (
        '<div class="sy-breadcrumbs" role="navigation" aria-label="Parents">'
    ),
}
"""Tags of the theme, and what they must be for readers who go from landmark to landmark."""

LINES: Final = {
    "<dl>\n": '<span class="sig-lines">',
    "</dl>\n\n": "</span>",
    "<dd>": '<span class="sig-line">',
    "</dd>\n": "</span>",
}
"""Parts of a signature over several lines, which Sphinx writes as a list without terms."""


def with_landmarks(page: str) -> str:
    """Return a page of the theme with one `main`, and with names for what there is twice."""
    for tag, mended in LANDMARKS.items():
        page = page.replace(tag, mended)
    return page


class AccessibleTranslator(HTML5Translator):
    """Writes lists and tables that a screen reader can announce."""

    def visit_desc_parameterlist(self, node: nodes.Element) -> None:
        """Remember where the parameters begin."""
        self.context.append(str(len(self.body)))
        super().visit_desc_parameterlist(node)

    def depart_desc_parameterlist(self, node: nodes.Element) -> None:
        """Write each parameter's line as a line."""
        super().depart_desc_parameterlist(node)
        start = int(self.context.pop())
        self.body[start:] = [LINES.get(part, part) for part in self.body[start:]]

    def visit_entry(self, node: nodes.Element) -> None:
        """Begin a cell; one without words is the header of nothing."""
        super().visit_entry(node)
        if not node.astext() and isinstance(node.parent.parent, nodes.thead):
            self.body[-1] = self.body[-1].replace("<th", "<td", 1)
            self.context[-1] = "</td>\n"


def _add_filter(app: Sphinx) -> None:
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.templates.environment.filters["with_landmarks"] = with_landmarks


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the translator, and the filter for docs/_templates."""
    app.set_translator("html", AccessibleTranslator)
    app.connect("builder-inited", _add_filter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
