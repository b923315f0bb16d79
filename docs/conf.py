"""Settings of the documentation: ``sphinx-build -W --keep-going -n docs build/docs`` builds it."""

import shutil
import sys
from pathlib import Path

from docutils import nodes
from math_core import LatexToMathML

import jaxgru

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from signatures import written_signature  # noqa: E402

project = "jaxgru"
author = "The jaxgru authors"
copyright = "The jaxgru authors, MIT license"
version = release = jaxgru.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

# The notebooks are shown with their stored outputs; a test runs them.
nb_execution_mode = "off"
# Sphinx reads only files in this folder. The copies are ignored by git.
shutil.copytree(ROOT / "notebooks", ROOT / "docs" / "notebooks", dirs_exist_ok=True)

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Formulas are MathML, which browsers render without a script or the network.
html_math_renderer = "mathml"


def write_formula(translator, node):
    """Write a formula as MathML; a command that has no conversion is an error."""
    in_block = isinstance(node, nodes.math_block)
    convert = LatexToMathML().convert_with_local_state
    translator.body.append(convert(node.astext(), displaystyle=in_block))
    raise nodes.SkipNode


# Links to files of the repository that are pages of the site.
_PAGES = {
    "](../benchmarks/README.md": "](benchmarks.md",
    "](../notebooks/": "](notebooks/",
    "](CHANGELOG.md": "](changelog.md",
    "](SECURITY.md": "](security.md",
    "](docs/formats.md": "](formats.md",
}


def link_pages(app, *names_and_source):
    """Replace links to files by links to the pages of these files."""
    source = names_and_source[-1]
    for file, page in _PAGES.items():
        source[0] = source[0].replace(file, page)


def setup(app):
    """Register the functions above; called by Sphinx."""
    app.connect("autodoc-process-signature", written_signature)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("source-read", link_pages)
    app.connect("include-read", link_pages)


html_theme = "furo"
html_title = f"jaxgru {release}"
html_static_path: list[str] = []

autodoc_typehints = "none"  # see signatures.py
# One argument in a line, with its type.
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
# Names of other libraries: their inventories would need the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|equinox|flax|haiku|jax|keras|numpy|onnx|optax|os|torch)\b.*"),
    (r"py:.*", r"T|Axes|Figure|Delta"),
    (r"py:.*", r"RNNCellBase|CollectionFilter|InOutScanAxis|PRNGSequenceFilter"),  # Flax linen's
]
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
nitpicky = True

copybutton_prompt_text = "$ "
