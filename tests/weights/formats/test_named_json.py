"""Weights in JSON: RTNeural's layers, and PyTorch's names, against the arrays that were written.

The layers are written here as RTNeural's exporters of Keras and PyTorch models write them.
"""

import json

import cases
import jax
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru._weights.io import read_all


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


def _layer(params, **changed):
    """Return a layer with its arrays as Keras has them."""
    biases = [bias.tolist() for bias in (params.bias, params.recurrent_bias) if bias is not None]
    weights = [params.kernel.tolist(), params.recurrent_kernel.tolist()]
    weights += [biases if len(biases) == 2 else biases[0]] if biases else []
    layer = {"type": "gru", "activation": "tanh", "shape": [None, None, params.hidden_size]}
    return layer | {"weights": weights} | changed


def _write(path, *layers):
    dense = {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [[[0.5]], [1]]}
    path.write_text(json.dumps({"in_shape": [None, None, 3], "layers": [*layers, dense]}))


def _names(params):
    """Return PyTorch's arrays: blocks r, z, n, transposed."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return {
        name: np.concatenate([np.split(array, 3, -1)[gate] for gate in (1, 0, 2)], -1).T.tolist()
        for name, array in zip(names, jax.tree.leaves(params), strict=True)
    }


def test_layers_of_rtneural(key, path):
    first, second, third = (
        cases.random_params(k, 3, 4, reset_after=i != 1, activation="relu" if i == 1 else "tanh",
                            biases="input bias" if i == 1 else "both biases")
        for i, k in enumerate(jax.random.split(key, 3))
    )  # fmt: skip
    _write(path, _layer(first), _layer(second, activation="relu"), _layer(third, name="last"))
    with pytest.warns(jaxgru.WeightsWarning, match="not specify recurrent_activation: 'sigm"):
        found = jaxgru.load_all(path)
    assert list(found) == ["gru", "gru_1", "last"]
    assert_same(list(found.values()), [first, second, third])


def test_layers_without_biases(key, path):
    params = cases.random_params(key, 3, 4, biases="no bias", reset_after=False)
    _write(path, _layer(params, activation=""))
    assume = {"reset_after": False, "recurrent_activation": "sigmoid", "activation": "tanh"}
    assert_same(jaxgru.load(path, assume=assume), params)


def test_names_of_pytorch(key, path):
    """A state dict alone, and within others as GuitarML has it."""
    params = cases.random_params(key, 3, 4)
    rec = {f"rec.{name}": value for name, value in _names(params).items()}
    nested = {"model_data": {"unit_type": "GRU"}, "state_dict": rec | {"lin.bias": [0.5]}}
    for tree, name in ((_names(params), "gru"), (nested, "state_dict.rec")):
        path.write_text(json.dumps(tree, indent=4))
        ((found, net),) = jaxgru.load_all(path).items()
        assert found == name
        assert_same(net, params)


def test_the_type_is_what_holds_every_number(key, path):
    names = _names(cases.random_params(key, 3, 4))
    for last, dtype in ((0.5, "float32"), (0.1, "float64")):  # digits that float32 has, or has not
        names["bias_hh_l0"][0] = last
        path.write_text(json.dumps(names))
        assert read_all(path).gathered["gru"].net.kernel.dtype == dtype
