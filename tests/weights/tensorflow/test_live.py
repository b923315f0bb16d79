"""The ways that docs/from-tensorflow.md and errors name, gone with TensorFlow."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pages
import pytest
from tensorflow_files import case, cases

import jaxgru

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TF's own
tf = pytest.importorskip("tensorflow")

USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid"}
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}  # float32, with sums in another order
PAGE = "docs/from-tensorflow.md"


def test_the_script_makes_the_files_that_are_committed(tmp_path):
    folder = Path(__file__).parent
    code = "import pathlib, sys, make_files; make_files.main(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "made"], check=True, cwd=folder)
    names = {path.name for path in (tmp_path / "made").iterdir()}
    # Those of TensorFlow.js need its libraries.
    assert set(cases()) - names <= set(cases("tfjs"))
    for name in names:
        _, committed = case(name, tmp_path / "committed")
        made = np.load(tmp_path / "made" / name / "expected.npz")
        assert set(made) == set(committed)
        for key, array in made.items():
            # Of the training before the weights were set; numbered in no order by Keras 3.
            if "optimizer" in key or "_all_variables" in key:
                continue
            is_computed = key in ("y", "js") or key.startswith("g:")
            tolerance = TOLERANCE if is_computed else {"rtol": 0}
            if is_computed and "bfloat16" in name:
                # Processors round sums of bfloat16 at other places: two units of 2^-8.
                tolerance = {"rtol": 0, "atol": 2**-7}
            np.testing.assert_allclose(array, committed[key], err_msg=f"{name} {key}", **tolerance)


def test_the_oldest_checkpoint_as_npz(tmp_path):
    folder, expected = case("tf1_format_v1", tmp_path)
    path, new_path = str(folder / "model.ckpt-7"), tmp_path / "new.npz"
    with pytest.raises(jaxgru.WeightsError) as raised:
        jaxgru.load(path)
    code = re.search(r"reader = tf.*; numpy.savez.*$", str(raised.value))[0]
    exec(code, {"tf": tf, "numpy": np, "path": path, "new_path": new_path})
    net = jaxgru.load(new_path, assume={**USUAL, "reverse": False})
    np.testing.assert_allclose(jaxgru.gru(net, expected["x"])[0], expected["y"], **TOLERANCE)


@pytest.mark.parametrize("name", ["keras2_tf_save", "keras3_export_plain", "keras3_archive"])
def test_an_exported_model_has_variables_to_assign(name, tmp_path):
    folder, _ = case(name, tmp_path)
    loaded = tf.saved_model.load(str(folder))
    assert not hasattr(loaded, "save")
    for variable in loaded.variables:
        if variable.dtype.is_floating:
            variable.assign(0.5 * variable)
    tf.saved_model.save(loaded, str(tmp_path / "tuned"), signatures=loaded.signatures)
    before, after = (
        jaxgru.load(path, assume={**USUAL, "reverse": False})
        for path in (folder, tmp_path / "tuned")
    )
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(0.5 * a, b), before, after)


def test_a_checkpoint_of_tensorflow_1(tmp_path):
    folder, _ = case("tf1_gru_cell", tmp_path)
    names = {"np": np, "tf": tf}
    code = next(code for code in pages.blocks(pages.read(PAGE), "python") if "v1.global" in code)
    exec(code, names)
    assume = {**USUAL, "reverse": False}
    net = jaxgru.load(folder, assume=assume)
    tuned = jax.tree.map(lambda weight: 0.5 * weight, net)
    names["write_gru_cell"](tuned, str(folder / "model.ckpt-7"), str(tmp_path / "tuned.ckpt"))
    back = jaxgru.load(tmp_path / "tuned.ckpt", assume=assume)
    jax.tree.map(np.testing.assert_array_equal, tuned, back)


def test_models_made_from_others_are_read_by_these(tmp_path):
    """TFLite's and graph models are refused; the SavedModel that they are made from is read."""
    folder, _ = case("keras2_saved_chain", tmp_path)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS,
    ]  # fmt: skip
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    graph = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": []}
    (tmp_path / "model.json").write_text(json.dumps(graph))
    for name, what in {"model.tflite": "a model of TFLite", "model.json": "a graph model"}.items():
        with pytest.raises(jaxgru.WeightsError, match=rf"{what}.*the SavedModel"):
            jaxgru.load(tmp_path / name)
    assert jaxgru.load_all(folder)


@pytest.mark.skipif(importlib.util.find_spec("tensorflowjs") is None, reason="no tensorflowjs")
def test_tensorflowjs_by_its_converter(tmp_path, monkeypatch):
    folder, _ = case("tfjs_chain", tmp_path)
    monkeypatch.chdir(tmp_path)
    page = pages.read(PAGE)
    to_h5, back = re.findall(r"^    tensorflowjs_converter (.*)$", page, re.MULTILINE)
    program = Path(sys.executable).with_name("tensorflowjs_converter")

    def convert(line):
        subprocess.run([program, *line.split()], check=True)

    convert(to_h5.replace(" model.json", f" {folder / 'model.json'}"))
    net = jaxgru.load("model.h5", layer="encoder")
    tuned = jax.tree.map(lambda weight: 0.5 * weight, net)
    jaxgru.save(tuned, "tuned.h5", into="model.h5", layer="encoder")
    convert(back)
    held = jaxgru.load("tuned_folder", layer="encoder")
    jax.tree.map(np.testing.assert_array_equal, tuned, held)
    assert os.path.exists("tuned_folder/model.json")
