"""Weights in JSON: RTNeural's layers, and PyTorch's names, against the arrays that were written.

The layers are written here as RTNeural's exporters of Keras and PyTorch models write them.
"""

import dataclasses
import json

import cases
import chex
import jax
import numpy as np
import pytest
from bad_files import assert_refused

import jaxgru
from jaxgru.weights import read_all


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


def _layer(params, **changed):
    weights = [params.kernel.tolist(), params.recurrent_kernel.tolist()]
    if params.bias is not None:
        biases = [params.bias.tolist()]
        if params.recurrent_bias is not None:
            biases = [[*biases, params.recurrent_bias.tolist()]]
        weights += biases
    layer = {"type": "gru", "activation": "tanh", "shape": [None, None, params.hidden_size]}
    return layer | {"weights": weights} | changed


def _model(*layers):
    dense = {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [[[0.5]], [1]]}
    return {"in_shape": [None, None, 3], "layers": [*layers, dense]}


def _names(params):
    """Return PyTorch's arrays: blocks r, z, n, transposed."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = (params.kernel, params.recurrent_kernel, params.bias, params.recurrent_bias)
    order = [1, 0, 2]
    return {
        name: np.asarray(array).reshape(-1, 3, params.hidden_size)[:, order]
        .reshape(array.shape).T.tolist()
        for name, array in zip(names, arrays, strict=True)
    }  # fmt: skip


def test_layers_of_rtneural(key, path):
    first, second, third = (
        cases.random_params(k, 3, 4, reset_after=after)
        for k, after in zip(jax.random.split(key, 3), (True, False, True), strict=True)
    )
    second = dataclasses.replace(second, recurrent_bias=None)
    model = _model(_layer(first), _layer(second, activation="relu"), _layer(third, name="last"))
    path.write_text(json.dumps(model, indent=4))
    with pytest.warns(
        jaxgru.WeightsWarning, match="not specify recurrent_activation: 'sigmoid' is as"
    ):
        found = jaxgru.load_all(path)
    assert list(found) == ["gru", "gru_1", "last"]
    chex.assert_trees_all_equal(found["gru"], first)
    chex.assert_trees_all_equal(found["gru_1"].kernel, second.kernel)
    assert found["gru_1"].activation == "relu"
    assert not found["gru_1"].reset_after
    chex.assert_trees_all_equal(found["last"], third)


def test_layers_without_biases(key, path):
    params = cases.random_params(key, 3, 4, biases="no bias")
    path.write_text(json.dumps(_model(_layer(params, activation=""))))
    assume = {"reset_after": False, "recurrent_activation": "sigmoid", "activation": "tanh"}
    found = jaxgru.load(path, assume=assume)
    assert found.bias is None
    assert not found.reset_after


def test_names_of_pytorch(key, path):
    """A state dict alone, and within others as GuitarML has it."""
    params = cases.random_params(key, 3, 4)
    names = _names(params)
    rec = {f"rec.{name}": value for name, value in names.items()}
    for tree, name in (
        (names, "gru"),
        ({"model_data": {"unit_type": "GRU"}, "state_dict": rec | {"lin.bias": [0.5]}},
         "state_dict.rec"),
    ):  # fmt: skip
        path.write_text(json.dumps(tree))
        found = jaxgru.load_all(path)
        assert list(found) == [name]
        chex.assert_trees_all_equal(found[name], params)


def test_the_type_is_what_holds_every_number(key, path):
    params = cases.random_params(key, 3, 4)
    names = _names(params)
    path.write_text(json.dumps(names))
    assert _dtype(path) == np.float32
    names["bias_hh_l0"][0] = 0.1  # with digits that float32 has not
    path.write_text(json.dumps(names))
    assert _dtype(path) == np.float64


def _dtype(path):
    return read_all(path).gathered["gru"].net.kernel.dtype


_ROWS = [[0.0] * 3]
BAD_FILES = {
    "no JSON": (b'{"a": [1, 2', "it is no JSON (Expecting"),
    "a key twice": (b'{"a": [1], "a": [2]}', "it is no JSON (a key is there twice)"),
    "nested deeply": (b'{"a":' * 100_000, "it is no JSON (maximum recursion depth"),
    "objects nested deeply": (b'{"a":' * 40 + b"1" + b"}" * 40, "nested over 32 levels"),
    "digits": (b'{"a": ' + b"9" * 10_000 + b"}", "it is no JSON (Exceeds the limit"),
    "two of a name": (b'{"a.b": [1.0], "a": {"b": [1.0]}}', "two of its arrays have one name"),
    "no GRU": (b'{"a": [1.0]}', "no GRU is among its 1 arrays ('a')"),
    "no layer": (b'{"in_shape": [], "layers": [{"type": "lstm"}, 3]}', "2 layers are 'lstm, '"),
    "no weights": (_model({"type": "gru"}), "weights is no list of two or three arrays"),
    "two of one name": (_model(*[{"type": "gru", "name": "a"}] * 2), "are called 'a'"),
    "ragged": (
        _model({"type": "gru", "weights": [[[1.0, 2.0], [3.0]], _ROWS]}),
        "kernel holds lists of different lengths: expected",
    ),
    "text": (_model({"type": "gru", "weights": [[["a"] * 3], _ROWS]}), "kernel holds no num"),
    "nothing": (_model({"type": "gru", "weights": [[[None] * 3], _ROWS]}), "kernel holds no num"),
    "beyond": (
        _model({"type": "gru", "weights": [[[10**400] * 3], _ROWS]}),
        "kernel holds numbers beyond float64",
    ),
    "three biases": (
        _model({"type": "gru", "weights": [_ROWS, _ROWS, _ROWS * 3]}),
        "bias has shape (3, 3): expected (2, 3H) or (3H,)",
    ),
    "other shape": (
        _model({"type": "gru", "weights": [_ROWS, [[0.0] * 4]]}),
        "recurrent_kernel has shape (1, 4): expected (H, 3H) for 1 units",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name, path):
    content, message = BAD_FILES[name]
    assert_refused(path, content if isinstance(content, bytes) else _bytes(content), message)


def _bytes(tree):
    return json.dumps(tree).encode()
