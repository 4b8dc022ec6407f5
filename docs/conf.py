"""How Sphinx builds these pages; nothing here needs the network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.inspect import TypeAliasForwardRef

sys.path.insert(0, str(Path(__file__).with_name("_extensions")))

project = "filecolumn"
author = "The filecolumn authors"
copyright = "2026, The filecolumn authors"
release = version = installed_version("filecolumn")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "accessible",
    "inline_pictures",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

# Docstrings write `code` in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Long unions are shown by their names.
autodoc_type_aliases = {
    "Content": "filecolumn.Content",
    "Json": "filecolumn.files.Json",
    "JsonObject": "filecolumn.files.JsonObject",
    "Models": "filecolumn.maintenance.Models",
    "OnFinding": "filecolumn.maintenance.OnFinding",
    "OnTrigger": "filecolumn.maintenance.OnTrigger",
    "Progress": "filecolumn.maintenance.Progress",
}
# A longer signature has a line for each parameter
maximum_signature_line_length = 80
# Sections have their class in the heading or above
toc_object_entries_show_parents = "hide"
# Inside of a larger type, Sphinx 9 shows how it keeps the alias instead of the name
TypeAliasForwardRef.__repr__ = lambda alias: alias.name
autodoc_inherit_docstrings = False
add_module_names = False
python_use_unqualified_type_names = True
# Names of other libraries have no page to link to without a network, and type variables none at all;
# every other name of ours must be found.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!filecolumn\b).*"),
    (r"py:class", r"filecolumn\..*\b([A-Z](_co|_contra)?|Received|Sent)"),
]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
# A notebook is shown with the outputs that it is stored with; the tests run it.
nb_execution_mode = "off"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "shibuya"
html_title = "filecolumn"
html_theme_options = {
    "accent_color": "blue",
    "nav_links": [
        {"title": "Tutorial", "url": "tutorial"},
        {"title": "How-to guides", "url": "howto/index"},
        {"title": "Reference", "url": "reference/index"},
        {"title": "How it works", "url": "explanation"},
    ],
    # They would lead every reader's address to other hosts.
    "show_ai_links": False,
}
# The default style of the theme has comments that are too pale on its background.
pygments_style = "github-light-high-contrast"
html_static_path = ["_static"]
html_css_files = ["site.css", "notebook.css"]
html_js_files = ["site.js"]


def readable_defaults(*event: object) -> tuple[str | None, str | None]:
    """Name the defaults that have no readable `repr`, so that the signature can be laid out."""
    *_, signature, returned = event
    for shown, name in (("Ellipsis", "..."), ("<function no_progress>", "no_progress")):
        signature = signature and signature.replace(f"= {shown}", f"= {name}")
    return signature, returned


def setup(app: Sphinx) -> None:
    """Register what the pages need of Sphinx's events."""
    app.connect("autodoc-process-signature", readable_defaults)
