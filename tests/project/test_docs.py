"""Every block of code in the documentation runs, prints what is shown, and every name is described.

The oracle of a guide is the library that it converts from: its blocks compare outputs themselves.
"""

import ast
import re

import jax
import pages
import pytest

import jaxgru

# Those that need no more than the test extra; ``finetuning.md`` and ``deployment.md``, whose blocks
# need files and processes of their own, have tests beside the modules that they describe.
PAGES = (
    "docs/command-line.md",
    "docs/derivatives.md",
    "docs/devices.md",
    "docs/exactness.md",
    "docs/getting-started.md",
    "docs/index.md",
    "docs/latency.md",
    "docs/sequences.md",
)
LIVE = {
    "docs/from-jax-libraries.md": ("equinox", "flax", "haiku"),
    "docs/from-keras.md": ("keras",),
    "docs/from-onnx.md": ("onnx", "onnxruntime"),
    "docs/from-pytorch.md": ("torch", "safetensors"),
}

# A reader's script runs under JAX's own promotion rules, in a folder with the examples.
pytestmark = pytest.mark.usefixtures("default_promotion")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    jax.config.update("jax_cpu_enable_async_dispatch", True)  # latency.md turns it off


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_as_shown(name, folder):
    pages.run(pages.read(name))


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("name", LIVE)
def test_a_page_of_another_library_runs_as_shown(name, folder):
    for library in LIVE[name]:
        pytest.importorskip(library)
    pages.run(pages.read(name))


def test_every_page_is_run():
    here = {f"docs/{path.name}" for path in (pages.ROOT / "docs").glob("*.md")}
    elsewhere = {"docs/finetuning.md", "docs/deployment.md"}
    with_code = {name for name in here if re.search("^ *```python$", pages.read(name), re.M)}
    assert with_code <= {*PAGES, *LIVE} | elsewhere


@pytest.mark.parametrize("name", ["jaxgru", "jaxgru.finetune"])
def test_every_public_name_is_described(name):
    if name == "jaxgru.finetune":
        pytest.importorskip("optax")
    module = __import__(name, fromlist=["__all__"])
    page = pages.read(f"docs/api/{name.split('.')[-1]}.md")
    entries = re.findall(r"^\.\. auto\w+:: ([\w.]+)$", page, flags=re.MULTILINE)
    assert sorted(entries) == sorted(f"{name}.{public}" for public in module.__all__)


def test_examples_import_described_names_alone():
    described = re.findall(
        r"^\.\. auto\w+:: ([\w.]+)$",
        "\n".join(path.read_text(encoding="utf-8") for path in (pages.ROOT / "docs/api").glob("*")),
        flags=re.MULTILINE,
    )
    imported = [
        f"{node.module}.{alias.name}"
        for path in (pages.ROOT / "examples").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxgru")
        for alias in node.names
    ]
    assert imported
    assert set(imported) <= set(described)


def test_the_changelog_has_the_version():
    assert f"\n## [{jaxgru.__version__}]" in pages.read("CHANGELOG.md")
