"""Put the pictures of `docs/pictures` into the pages themselves, so that they follow the theme's colours.

A page shows one as it shows any image, `![What it shows](pictures/flush.svg)`, which other readers of Markdown
understand as well.  As an image it would have the colours of the reader's system, whatever the page has.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

FOLDER = "pictures/"


class InlinePictures(SphinxPostTransform):
    """Replaces each image of the folder by the figure that it is."""

    default_priority = 100
    formats: ClassVar[tuple[str, ...]] = ("html",)

    def run(self, **kwargs: object) -> None:
        """Replace them in one page."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir, image["uri"])
            # of one that is not there Sphinx says so itself
            if not image["uri"].startswith(FOLDER) or not path.exists():
                continue
            svg = path.read_text(encoding="utf-8")
            figure = nodes.raw(
                "", f'<figure class="picture">\n{svg}</figure>', format="html"
            )
            # a paragraph may not have a figure in it
            alone = isinstance(image.parent, nodes.paragraph) and len(image.parent) == 1
            (image.parent if alone else image).replace_self(figure)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform, and what figures look like."""
    app.add_post_transform(InlinePictures)
    app.add_css_file("pictures.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
