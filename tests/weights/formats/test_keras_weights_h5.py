"""Keras 3's ``.weights.h5``: GRUs found by their shapes, and what is assumed of them."""

import chex
import golden_keras as golden
import jax
import live_keras
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all

# What such a file does not specify of each variant, where it is not what is usual.
_UNSAID = {
    "reset before, no bias": {"reset_after": False},
    "go_backwards": {"reverse": True},
    "sum": {"merge": "sum"},
    "mul": {"merge": "mul"},
    "ave": {"merge": "ave"},
    "pair": {"merge": None},
}
# Said of both directions, this would be wrong of one.
_SEPARATE = "unlike directions"


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("variant", [name for name in live_keras.USUAL if name != _SEPARATE])
def test_layers(key, tmp_path, variant):
    pytest.importorskip("keras")
    layer = live_keras.build(variant, key)
    path = tmp_path / "model.weights.h5"
    live_keras.write(live_keras.model_of(layer), path)
    ((name, found),) = read_all(path, assume=_UNSAID.get(variant)).gathered.items()
    assert name == layer.name
    # The tests of archives compare that file with what Keras computes.
    live_keras.write(live_keras.model_of(layer), tmp_path / "model.keras")
    ((_, expected),) = read_all(tmp_path / "model.keras").gathered.items()
    chex.assert_trees_all_equal(found.net, expected.net)
    assert jax.tree.structure(found.net) == jax.tree.structure(expected.net)


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
def test_shards(key, tmp_path):
    pytest.importorskip("keras")
    model = live_keras.model_of(live_keras.build("usual", key))
    path = tmp_path / "model.weights.json"
    live_keras.write_shards(model, path)
    with pytest.raises(jaxgru.WeightsError, match="it is the index of weights in several files"):
        jaxgru.load(path)
    # Each of them is a file of weights.
    assert len(read_all(tmp_path / "model_00000.weights.h5").gathered) == 1


def test_what_is_assumed_is_told(tmp_path):
    path = tmp_path / "model.weights.h5"
    golden.write_groups(path, {"layers/gru/cell": golden.arrays(0)})
    with pytest.warns(
        jaxgru.WeightsWarning, match="does not specify activation, recurrent_activation"
    ):
        params = jaxgru.load(path)
    assert (params.activation, params.recurrent_activation) == ("tanh", "sigmoid")
    said = {"activation": "relu", "recurrent_activation": "sigmoid", "reverse": False}
    assert jaxgru.load(path, assume=said).activation == "relu"
    with pytest.raises(jaxgru.WeightsError, match="reset_after is True in the file"):
        jaxgru.load(path, assume={"reset_after": False})


def test_names_without_names_in_the_file(tmp_path):
    path = tmp_path / "model.weights.h5"
    places = ["layers/gru_10", "layers/gru_2", "layers/gru", "layers/sequential/layers/gru"]
    places += ["encoder", "layers/encoder", "optimizer"]
    groups = {f"{place}/cell": golden.arrays(i) for i, place in enumerate(places)}
    golden.write_groups(path, groups | {"decoder": golden.arrays(9)})
    gathered = read_all(path).gathered
    assert list(gathered) == [
        *("decoder", "encoder", "layers/encoder", "gru", "gru_2", "gru_10", "sequential/gru")
    ]
    np.testing.assert_array_equal(gathered["gru_2"].net.kernel, golden.arrays(1)[0])
    np.testing.assert_array_equal(gathered["decoder"].net.kernel, golden.arrays(9)[0])


def test_other_layers_are_passed_over(tmp_path):
    path = tmp_path / "model.weights.h5"
    kernel, recurrent_kernel, bias = golden.arrays(0)
    others = {
        "layers/dense": [kernel, bias[0]],
        "layers/simple_rnn/cell": [kernel[:, :4], recurrent_kernel[:, :4], bias[0, :4]],
        "layers/lstm/cell": [np.tile(kernel, 4)[:, :16], np.tile(recurrent_kernel, 2)[:, :16]],
        "layers/attention": [kernel, recurrent_kernel, bias[:, :4]],
        "layers/rnn/cell/cells": [],
        "layers/four": [kernel, recurrent_kernel, bias, bias],
    }
    golden.write_groups(path, others)
    with pytest.raises(jaxgru.WeightsError, match="there is no GRU in it"):
        jaxgru.load(path)


def test_a_stack_whose_cells_do_not_fit(tmp_path):
    path = tmp_path / "model.weights.h5"
    cells = {"gru_cell": golden.arrays(0), "gru_cell_1": golden.arrays(1)}
    golden.write_groups(
        path, {f"layers/rnn/cell/cells/{name}": arrays for name, arrays in cells.items()}
    )
    with pytest.raises(jaxgru.WeightsError, match=r"gives 4 outputs and .* takes 3 inputs"):
        jaxgru.load(path)
