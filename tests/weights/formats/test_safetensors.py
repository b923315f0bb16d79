"""Our own safetensors files: any net comes back equal in every part.

Damaged and hostile files are in test_safetensors_bad_files.py.
"""

import dataclasses
import warnings
from typing import NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read

safetensors = pytest.importorskip("safetensors.numpy")


def _nets(key, dtype=jnp.float32):
    """Return nets of every kind, with every static field other than usual somewhere."""

    def layer(inputs, units=2, **variant):
        number = len(made)
        made.append(number)
        fold = jax.random.fold_in(key, number)
        return cases.random_params(fold, inputs, units, dtype=dtype, **variant)

    made = []
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
def test_any_net_comes_back_equal_in_every_part(key, tmp_path, name):
    net = _nets(key)[name]
    jaxgru.save(net, tmp_path / "net.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is assumed
        back = jaxgru.load(tmp_path / "net.safetensors")
    # The structure has the kinds, the fields and where there is None.
    assert jax.tree.structure(back) == jax.tree.structure(net)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(net), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
)
def test_every_type_of_number_comes_back_to_the_bit(key, tmp_path, dtype):
    net = jax.tree.map(lambda x: np.asarray(x).astype(jnp.dtype(dtype)), _nets(key)["tuple"])
    jaxgru.save(net, tmp_path / "net.safetensors")
    back = read(tmp_path / "net.safetensors")
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(net), strict=True):
        assert one.dtype == other.dtype == jnp.dtype(dtype)
        assert one.tobytes() == other.tobytes()


def test_a_named_tuple_comes_back_as_a_tuple(key, tmp_path):
    class Stack(NamedTuple):
        first: jaxgru.GRUParams

    jaxgru.save(Stack(cases.random_params(key, 3, 2)), tmp_path / "net.safetensors")
    assert type(jaxgru.load(tmp_path / "net.safetensors")) is tuple


def test_special_numbers_come_back_to_the_bit(key, tmp_path):
    net = jax.tree.map(np.array, cases.random_params(key, 3, 2))
    net.kernel[0, :4] = [np.nan, np.inf, -0.0, 1e-45]
    jaxgru.save(net, tmp_path / "net.safetensors")
    with pytest.warns(jaxgru.WeightsWarning, match="kernel holds 1 NaN and 1 Inf"):
        back = read(tmp_path / "net.safetensors")
    assert back.kernel.tobytes() == net.kernel.tobytes()


def test_the_library_reads_the_same_arrays_by_the_names_that_say_where_they_are(key, tmp_path):
    net = _nets(key)["tuple"]
    jaxgru.save(net, tmp_path / "net.safetensors")
    arrays = safetensors.load_file(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(arrays["0.forward.kernel"], net[0].forward.kernel)
    np.testing.assert_array_equal(arrays["2.net.bias"], net[2].net.bias)
    assert len(arrays) == len(jax.tree.leaves(net))


def test_a_type_that_the_format_has_not_is_refused(key, tmp_path):
    net = jax.tree.map(
        lambda x: np.asarray(x).astype(jnp.float8_e4m3b11fnuz), cases.random_params(key, 3, 2)
    )
    with pytest.raises(jaxgru.WeightsError, match="kernel has dtype float8_e4m3b11fnuz: expected"):
        jaxgru.save(net, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_assuming_what_the_file_says_is_refused(key, tmp_path):
    jaxgru.save(cases.random_params(key, 3, 2), tmp_path / "net.safetensors")
    with pytest.raises(jaxgru.WeightsError, match="assume has activation: expected nothing"):
        jaxgru.load(tmp_path / "net.safetensors", assume={"activation": "relu"})


def test_names_of_jax_libraries_are_known(key, tmp_path):
    arrays = {
        "gru.w_i": np.ones((3, 6), "f4"),
        "gru.w_h": np.ones((2, 6), "f4"),
        "gru.b": np.ones(6, "f4"),
        "step": np.ones((), "i4"),
    }
    safetensors.save_file(arrays, tmp_path / "net.safetensors")
    found = jaxgru.load_all(tmp_path / "net.safetensors")
    assert list(found) == ["gru"]
    np.testing.assert_array_equal(found["gru"].bias, [-1, -1, 1, 1, 1, 1])
