"""Every block of code in the documentation runs, prints what is shown, and every name is described.

The oracle of a guide is the library that it converts from: its blocks compare outputs themselves.
"""

import ast
import re

import jax
import pages
import pytest

import jaxgru

# Those that need more than the test extra.
LIVE = {
    "docs/from-jax-libraries.md": ("equinox", "flax", "haiku"),
    "docs/from-keras.md": ("keras",),
    "docs/from-onnx.md": ("onnx", "onnxruntime"),
    "docs/from-pytorch.md": ("torch", "safetensors"),
    "docs/from-tensorflow.md": ("tensorflow", "tf_keras"),
}
# Their blocks need files and processes of their own: they have tests of their own.
ELSEWHERE = {"docs/command-line.md", "docs/finetuning.md", "docs/deployment.md"}
PAGES = sorted(
    name
    for name in (f"docs/{path.name}" for path in (pages.ROOT / "docs").glob("*.md"))
    if re.search(r"^ *```(python$|sh\n *jaxgru )", pages.read(name), re.MULTILINE)
)

# A reader's script runs under JAX's own promotion rules, in a folder with the examples.
pytestmark = pytest.mark.usefixtures("default_promotion")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    jax.config.update("jax_cpu_enable_async_dispatch", True)  # latency.md turns it off


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if name not in {*LIVE, *ELSEWHERE}])
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


@pytest.mark.parametrize("name", ["jaxgru", "jaxgru.finetune", "jaxgru.model"])
def test_every_public_name_is_described(name):
    if name == "jaxgru.finetune":
        pytest.importorskip("optax")
    module = __import__(name, fromlist=["__all__"])
    page = pages.read(f"docs/api/{name.split('.')[-1]}.md")
    entries = re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", page, flags=re.MULTILINE)
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


def test_the_tests_that_a_page_names_exist():
    page = pages.read("docs/exactness.md")
    rows = re.findall(r"^\|.*\| ([^|]*`test_[^|]*) \|$", page, flags=re.MULTILINE)
    assert len(rows) > 20
    for row in rows:
        text = ""
        for name in re.split(r"::|`", row):
            if name.endswith(".py"):
                (path,) = (pages.ROOT / "tests/weights").rglob(name)
                text = path.read_text(encoding="utf-8")
            elif re.fullmatch(r"test_\w+|Test\w+", name):
                assert re.search(rf"^ *(?:def|class) {name}\b", text, flags=re.MULTILINE), name
            else:
                assert re.fullmatch(r"[\s,;:]*", name), name
