"""How Sphinx builds these pages; nothing here needs the network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.util.inspect import TypeAliasForwardRef

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "filecolumn"
author = "The filecolumn authors"
copyright = "2026, The filecolumn authors"
release = version = installed_version("filecolumn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "accessible",
]
exclude_patterns = ["_build"]
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
}
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
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The default style of the theme has comments that are too pale on its background.
pygments_style = "github-light-high-contrast"
html_theme = "shibuya"
html_title = "filecolumn"
html_theme_options = {"accent_color": "blue"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
# The list of a page's sections is narrow: members are named without their class there.
toc_object_entries_show_parents = "hide"
# A longer signature has a line for each parameter.
maximum_signature_line_length = 80
