"""The guides from a library need it only for the blocks that import it, and the library agrees.

With the library, the blocks compare its outputs with those of jaxgru, before and after tuning.
"""

import sys

import guide_files
import jax
import numpy as np
import pages
import pytest

import jaxgru

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("default_promotion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras' own
]

# What runs the guide of each library, and the libraries that it must not need.
GUIDES = {
    "keras": ("docs/from-keras.md", ["keras", "tensorflow", "torch"]),
    "torch": ("docs/from-pytorch.md", ["torch", "safetensors", "keras"]),
    "onnx": ("docs/from-onnx.md", ["onnxruntime", "keras", "torch"]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("library", GUIDES)
def test_a_guide_runs_without_the_library(library, folder, monkeypatch):
    for needed in ("optax", "h5py" if library == "keras" else "onnx"):
        pytest.importorskip(needed)
    page, without = GUIDES[library]
    guide_files.write(folder, library)
    for name in without:
        monkeypatch.setitem(sys.modules, name, None)
    names = pages.run(pages.read(page), without)
    losses = [row["loss"] for row in names["result"].history]
    assert losses[-1] < 0.9 * losses[0]


def test_the_command_line_prints_what_its_page_shows(folder, monkeypatch):
    for needed in ("optax", "h5py", "onnx", "safetensors", "matplotlib"):
        pytest.importorskip(needed)
    examples = pages.ROOT / "examples"
    (folder / "examples").symlink_to(examples)
    monkeypatch.syspath_prepend(examples)
    guide_files.write_command_line(folder)
    pages.run(pages.read("docs/command-line.md"))


@pytest.mark.live
def test_a_keras_classifier_is_tuned_in_few_lines(folder):
    """The oracle is Keras, which loads the file before and after, random statistics and all."""
    keras = pytest.importorskip("keras")
    guide_files.write(folder, "keras")
    theirs = keras.models.load_model("classifier.keras")
    page = pages.read("docs/from-keras.md")
    names = pages.run(page, ["keras"])
    ids, tuned = names["ids"], names["tuned"]
    np.testing.assert_allclose(theirs(ids), names["probabilities"], rtol=0, atol=1e-5)
    again = keras.models.load_model("tuned.keras")
    np.testing.assert_allclose(again(ids), tuned(ids), rtol=0, atol=1e-5)
    for old, new in zip(theirs.weights, again.weights, strict=True):
        assert np.array_equal(old, new) == ("moving" in old.name), old.path
    section = page.split("\n## ")[1]
    made, *blocks = pages.blocks(section, "python")
    assert "keras.Sequential" in made
    lines = "\n".join(blocks).splitlines()
    assert len([line for line in lines if line and not line.startswith("import")]) <= 15
    written = dict(jaxgru.load_arrays("classifier.keras"))
    exec(made, {})
    theirs = dict(jaxgru.load_arrays("classifier.keras"))
    assert jax.tree.map(np.shape, theirs) == jax.tree.map(np.shape, written)


@pytest.mark.live
def test_a_pytorch_checkpoint_keeps_what_is_not_tuned(folder):
    """The oracle is PyTorch, which made the file and loads the tuned one."""
    torch = pytest.importorskip("torch")
    pages.run(pages.read("docs/from-pytorch.md").split("\n## One GRU")[0])
    old, new = torch.load("recognizer.pt"), torch.load("tuned.pt")
    assert list(old) == list(new)
    for name in old:
        assert torch.equal(old[name], new[name]) == (name.split(".")[0] in ("conv", "norm")), name
    guide_files.write(folder, "torch")
    written = torch.load("recognizer.pt")
    shapes = {name: tensor.shape for name, tensor in old.items() if "norm" not in name}
    assert {name: tensor.shape for name, tensor in written.items()} == shapes
