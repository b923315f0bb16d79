import json
import os
import warnings

import jax
import numpy as np
import pytest
from tensorflow_files import case, cases

import jaxgru

# float32, with sums in another order than TensorFlow's, over at most three layers.
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
_OF_LAYERS = cases("tfjs")


@pytest.mark.parametrize("name", _OF_LAYERS)
@pytest.mark.parametrize("given", ["", "model.json"])
def test_a_model_computes_what_keras_or_its_own_library_does(name, given, tmp_path):
    folder, expected = case(name, tmp_path)
    model = jaxgru.load_model(folder / given)
    np.testing.assert_allclose(model(expected["x"]), expected["y"], **TOLERANCE)
    if "js" in expected:
        np.testing.assert_allclose(model(expected["x"]), expected["js"], **TOLERANCE)


@pytest.mark.parametrize("name", _OF_LAYERS)
def test_arrays_are_those_of_the_other_reader_to_the_bit(name, tmp_path):
    folder, expected = case(name, tmp_path)
    arrays = jaxgru.load_arrays(folder)
    variables = {name: array for name, array in expected.items() if name.startswith("v:")}
    assert len(arrays) == len(variables)
    for name, array in variables.items():
        parts = name.removeprefix("v:").removesuffix(":0").split("/")
        side = [part.partition("_")[0] for part in parts if part.startswith(("forw", "backw"))]
        held = arrays["/".join([parts[0], *side, parts[-1]])]
        assert held.dtype == array.dtype
        np.testing.assert_array_equal(held, array)


def test_grus_have_the_fields_of_the_configuration(tmp_path):
    folder, _ = case("tfjs_chain", tmp_path)
    nets = jaxgru.load_all(folder)
    assert list(nets) == ["encoder", "both", "last"]
    # Of Keras 2, as its version in the file says.
    assert nets["encoder"].recurrent_activation == "hard_sigmoid_keras2"
    assert nets["both"].merge == "sum"
    assert not nets["both"].forward.reset_after
    assert (nets["last"].activation, nets["last"].bias) == ("relu", None)


def test_hard_sigmoid_of_keras_3_is_reported(tmp_path):
    folder, _ = case("tfjs_chain", tmp_path)
    _edit(folder, lambda tree: tree["modelTopology"].update(keras_version="3.4.1"))
    with pytest.warns(jaxgru.WeightsWarning, match=r"TensorFlow.js computes 0\.2 x \+ 0\.5"):
        assert jaxgru.load(folder, layer="encoder").recurrent_activation == "hard_sigmoid"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxgru.load(folder, layer="last")


def test_inner_models_and_frozen_layers_are_told_by_name(tmp_path):
    folder, _ = case("tfjs_chain", tmp_path)
    plain = jaxgru.load_all(folder)

    def nest(tree):
        config = tree["modelTopology"]["model_config"]["config"]
        inner = {"class_name": "Sequential", "config": {"name": "inner"}}
        first, *rest = config["layers"]
        inner["config"]["layers"] = rest[:2]
        config["layers"] = [first, inner, *rest[2:]]
        rest[0]["config"]["trainable"] = False  # the weights stay where they are

    _edit(folder, nest)
    nested = jaxgru.load_all(folder)
    assert list(nested) == ["inner/encoder", "inner/both", "last"]
    for before, after in zip(plain.values(), nested.values(), strict=True):
        jax.tree.map(np.testing.assert_array_equal, before, after)
    assert "inner/both/backward/kernel" in jaxgru.load_arrays(folder)


def test_a_layer_of_a_users_own_class_is_refused_unless_assumed(tmp_path):
    folder, expected = case("tfjs_before", tmp_path)

    def custom(tree):
        layer = tree["modelTopology"]["model_config"]["config"]["layers"][-1]
        layer["class_name"] = "Mine>GRU"

    _edit(folder, custom)
    with pytest.raises(jaxgru.WeightsError, match="may compute anything"):
        jaxgru.load(folder)
    ys, _ = jaxgru.gru(jaxgru.load(folder, assume={"subclass": "gru"}), expected["x"])
    np.testing.assert_allclose(ys, expected["y"], **TOLERANCE)


def _edit(folder, change):
    tree = json.loads((folder / "model.json").read_text())
    change(tree)
    (folder / "model.json").write_text(json.dumps(tree))


def _group(change):
    return lambda tree: change(tree["weightsManifest"][0])


def _first(**fields):
    return _group(lambda group: group["weights"][0].update(fields))


def _quantized(**fields):
    return _group(lambda group: group["weights"][0]["quantization"].update(fields))


_DAMAGE = {
    "a path": (_group(lambda g: g.update(paths=["../w.bin"])), "the plain name of a file"),
    "a drive": (_group(lambda g: g.update(paths=["C:w.bin"])), "the plain name of a file"),
    "a number": (_group(lambda g: g.update(paths=[7])), "the plain name of a file"),
    "an absent file": (_group(lambda g: g.update(paths=["w.bin"])), "cannot be read"),
    "one file twice": (_group(lambda g: g.update(paths=2 * g["paths"])), "expected each once"),
    "one group twice": (
        lambda t: t.update(weightsManifest=2 * t["weightsManifest"]), "expected each once"),
    "no group": (lambda t: t.update(weightsManifest=[3]), "expected its lists"),
    "no manifest": (lambda t: t.pop("weightsManifest"), "expected a list of groups"),
    "no topology": (lambda t: t.update(modelTopology=None), "expected a layers model"),
    "a larger shape": (_first(shape=[3, 9]), "expected the 63 bytes of its files"),
    "a huge shape": (_first(shape=[2**40, 2**40]), "expected at most 8 axes"),
    "a negative size": (_first(shape=[-2, -9]), "each from 1 to"),
    "no shape": (_first(shape="2"), "expected a list of integers"),
    "another dtype": (_first(dtype="string"), "expected one of float32"),
    "no name": (_first(name=None), "expected a name and a shape"),
    "another quantization": (_quantized(dtype="int4"), "expected float16 or uint8"),
    "no scale": (_quantized(scale=None), "finite numbers for scale and min"),
    "an infinite scale": (_quantized(scale=float("inf")), "finite numbers for scale and min"),
    "one name twice": (
        _group(lambda g: g["weights"].append(g["weights"][0])), "is a duplicate name"),
    "no weights of the layer": (
        _group(lambda g: [w.update(name=f"a/{w['name']}x") for w in g["weights"]]),
        "the weights of 0 cells for it"),
}  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damage_is_one_clean_error(damage, tmp_path):
    folder, _ = case("tfjs_uint8", tmp_path)
    change, words = _DAMAGE[damage]
    _edit(folder, change)
    with pytest.raises(jaxgru.WeightsError, match=words) as raised:
        jaxgru.load_all(folder)
    assert "\n" not in str(raised.value)


def test_links_and_pipes_are_refused(tmp_path):
    folder, _ = case("tfjs_uint8", tmp_path)
    shard = folder / "group1-shard1of1.bin"
    shard.rename(tmp_path / "elsewhere.bin")
    shard.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(jaxgru.WeightsError, match=r"is a link .*cp -L"):
        jaxgru.load(folder)
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(jaxgru.WeightsError, match="not a regular file"):
        jaxgru.load(folder)


def test_a_file_that_shrinks_is_an_error(tmp_path):
    folder, _ = case("tfjs_before", tmp_path)
    arrays = jaxgru.load_arrays(folder)
    os.truncate(folder / "group1-shard1of1.bin", 100)
    with pytest.raises(jaxgru.WeightsError):
        arrays["gru/recurrent_kernel"]


def test_a_model_of_other_weights_is_no_gru(tmp_path):
    folder, _ = case("tfjs_before", tmp_path)

    def other(tree):
        layers = tree["modelTopology"]["model_config"]["config"]["layers"]
        layers[-1] = {"class_name": "Dense", "config": {"name": "gru", "units": 9}}
        for weight in tree["weightsManifest"][0]["weights"]:
            weight["name"] = weight["name"].replace("recurrent_kernel", "other")

    _edit(folder, other)
    with pytest.raises(jaxgru.WeightsError, match="it has no GRU"):
        jaxgru.load(folder)


def test_it_is_not_written_into(tmp_path):
    folder, _ = case("tfjs_before", tmp_path)
    net = jaxgru.load(folder)
    with pytest.raises(jaxgru.WeightsError, match=r"tensorflowjs_converter .* goes back"):
        jaxgru.save(net, tmp_path / "new", into=folder)
