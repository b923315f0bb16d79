"""Settings of the documentation: ``sphinx-build -W --keep-going -n docs build/docs`` builds it."""

import shutil
from pathlib import Path

import jaxgru

ROOT = Path(__file__).parents[1]

project = "jaxgru"
author = "The jaxgru authors"
copyright = "The jaxgru authors, MIT license"
version = release = jaxgru.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# The notebooks are shown as they are stored; a test runs them.
nb_execution_mode = "off"
# Sphinx reads what lies below this folder alone. The copies are ignored by git.
shutil.copytree(ROOT / "notebooks", ROOT / "docs" / "notebooks", dirs_exist_ok=True)

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# A link in the repository leads to the file; here it leads to the page made of that file.
_PAGES = {
    "](../benchmarks/README.md": "](benchmarks.md",
    "](../notebooks/": "](notebooks/",
    "](CHANGELOG.md": "](changelog.md",
    "](SECURITY.md": "](security.md",
    "](docs/formats.md": "](formats.md",
}


def link_pages(app, *names_and_source):
    """Make links to what is a file in the repository, and a page here, links to the page."""
    source = names_and_source[-1]
    for file, page in _PAGES.items():
        source[0] = source[0].replace(file, page)


def setup(app):
    """Register the above; Sphinx calls this."""
    app.connect("source-read", link_pages)
    app.connect("include-read", link_pages)


html_theme = "furo"
html_title = f"jaxgru {release}"
html_static_path: list[str] = []

# Shapes and types stand in the text of each argument. Every cross-reference must resolve but for
# the types of other libraries, whose inventories would need the network.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
nitpicky = True

copybutton_prompt_text = "$ "
