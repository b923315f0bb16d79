"""Our own safetensors files: any net comes back equal in every part."""

import dataclasses
import warnings
from typing import NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru.weights import read

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def _nets(key):
    """Return nets of every kind, with every static field other than usual somewhere."""
    count = iter(range(100))

    def layer(inputs, units=2, **variant):
        return cases.random_params(jax.random.fold_in(key, next(count)), inputs, units, **variant)

    pair = jaxgru.Bidirectional(layer(3, activation="relu"), layer(3, clip=0.1 + 0.2), "sum")
    return {
        "layer": layer(3),
        "no bias": layer(3, biases="no bias"),
        "one bias, reset before": layer(3, reset_after=False, biases="recurrent bias"),
        "activations": layer(3, activation="gelu", recurrent_activation="hard_sigmoid_keras2"),
        "clip": layer(3, clip=1e-300),
        "backward": jaxgru.Backward(layer(3, biases="input bias")),
        "both directions, a pair of outputs": dataclasses.replace(pair, merge=None),
        "tuple": (pair, layer(2), jaxgru.Backward(layer(2))),
        "list in a tuple": ([layer(3), (layer(2),)],),
        "stacks in both directions": jaxgru.Bidirectional((layer(3), layer(2)), [layer(3)]),
    }


@pytest.mark.parametrize("name", list(_nets(jax.random.key(0))))
def test_any_net_comes_back_equal_in_every_part(key, path, name):
    net = _nets(key)[name]
    jaxgru.save(net, path)
    with warnings.catch_warnings(action="error"):  # nothing is assumed
        assert_same(jaxgru.load(path), net)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
)
def test_every_type_of_number_comes_back_to_the_bit(key, path, dtype):
    net = jax.tree.map(lambda x: np.asarray(x).astype(jnp.dtype(dtype)), _nets(key)["tuple"])
    jaxgru.save(net, path)
    assert_same(read(path), net)


def test_a_named_tuple_comes_back_as_a_tuple(key, path):
    class Stack(NamedTuple):
        first: jaxgru.GRUParams

    jaxgru.save(Stack(cases.random_params(key, 3, 2)), path)
    assert type(jaxgru.load(path)) is tuple


def test_special_numbers_come_back_to_the_bit(key, path):
    net = jax.tree.map(np.array, cases.random_params(key, 3, 2))
    net.kernel[0, :4] = [np.nan, np.inf, -0.0, 1e-45]
    jaxgru.save(net, path)
    with pytest.warns(jaxgru.WeightsWarning, match="kernel holds 1 NaN and 1 Inf"):
        assert_same(read(path), net)


def test_the_library_reads_the_same_arrays_by_the_names_of_their_places(key, path):
    net = _nets(key)["tuple"]
    jaxgru.save(net, path)
    arrays = safetensors.load_file(path)
    np.testing.assert_array_equal(arrays["0.forward.kernel"], net[0].forward.kernel)
    np.testing.assert_array_equal(arrays["2.net.bias"], net[2].net.bias)
    assert len(arrays) == len(jax.tree.leaves(net))


def test_a_type_that_the_format_has_not_is_refused(key, tmp_path, path):
    net = jax.tree.map(
        lambda x: np.asarray(x).astype(jnp.float8_e4m3b11fnuz), cases.random_params(key, 3, 2)
    )
    with pytest.raises(jaxgru.WeightsError, match="kernel has dtype float8_e4m3b11fnuz: expected"):
        jaxgru.save(net, path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_file_cannot_be_assumed(key, path):
    jaxgru.save(cases.random_params(key, 3, 2), path)
    with pytest.raises(jaxgru.WeightsError, match="assume has activation: expected nothing"):
        jaxgru.load(path, assume={"activation": "relu"})
