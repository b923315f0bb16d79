"""A net that is saved and loaded is the same: in structure, static fields, type and every bit.

The net that was saved is the oracle. What is written by way of a library is compared with that
library in test_formats_tables.py, and what a format cannot hold is in libraries/test_holders.py.
"""

import functools

import cases
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru._weights.io import read

_LAYERS = {
    "no bias": {"biases": "no bias"},
    "input bias, reset before": {"biases": "input bias", "reset_after": False},
    "recurrent bias": {"biases": "recurrent bias"},
    "activations": {"activation": "elu", "recurrent_activation": "hard_sigmoid_keras2"},
    "clip": {"clip": 0.1 + 0.2},  # no number of float32
}
_NETS = [*nets.NAMES, *_LAYERS, "unlike directions"]
_HELD = {
    ".npz": ["layer", "input bias, reset before"],
    ".safetensors": _NETS,
    ".onnx": _NETS,
}
_TYPES = {
    ".npz": ["float16", "float32", "float64"],
    ".safetensors": [
        "float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2",
    ],
    ".onnx": ["float16", "bfloat16", "float32", "float64"],
}  # fmt: skip


@pytest.fixture
def path(tmp_path, ending):
    if ending == ".onnx":
        pytest.importorskip("onnx")
    return tmp_path / f"net{ending}"


@pytest.mark.parametrize(
    ("ending", "name"), [(ending, name) for ending, names in _HELD.items() for name in names]
)
def test_every_net(key, path, name):
    net = _net(key, name)
    jaxgru.save(net, path)
    assert_same(jaxgru.load(path), net)


@pytest.mark.parametrize(
    ("ending", "dtype"), [(ending, dtype) for ending, types in _TYPES.items() for dtype in types]
)
def test_every_type(key, path, ending, dtype):
    net = nets.random_net(key, "layer" if ending == ".npz" else "bidirectional stack")
    net = jax.tree.map(lambda array: np.asarray(array).astype(jnp.dtype(dtype)), net)
    jaxgru.save(net, path)
    assert_same(read(path), net)


@pytest.mark.parametrize("ending", _HELD)
def test_special_numbers(key, path):
    net = jax.tree.map(np.array, cases.random_params(key, 3, 2))
    net.kernel[0, :4] = [np.nan, np.inf, -0.0, 1e-45]
    jaxgru.save(net, path)
    with pytest.warns(jaxgru.WeightsWarning, match="kernel has 1 NaN and 1 Inf"):
        assert_same(read(path), net)


def _net(key, name):
    layer = functools.partial(cases.random_params, key, 3, 4)
    if name in _LAYERS:
        return layer(**_LAYERS[name])
    if name == "unlike directions":
        backward = layer(biases="recurrent bias", activation="relu", clip=0.5)
        return jaxgru.Bidirectional(layer(biases="input bias"), backward, "ave")
    return nets.random_net(key, name)
