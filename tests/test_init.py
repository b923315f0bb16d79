"""init draws weights as Keras does; the oracle is what is known of each distribution."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru


def test_kernel_is_glorot_uniform(key):
    kernel = np.asarray(jaxgru.init(key, 100, 50).kernel)
    limit = np.sqrt(6 / (100 + 150))
    assert kernel.shape == (100, 150)
    assert np.abs(kernel).max() <= limit
    # 15000 draws: the largest is within 0.1% of the limit but for a chance of e**-15, the mean
    # and the second moment are within five standard errors (0.8% of their scale) of theirs.
    assert np.abs(kernel).max() > 0.999 * limit
    assert abs(kernel.mean()) < 5 * limit / np.sqrt(3 * kernel.size)
    np.testing.assert_allclose(np.mean(kernel**2), limit**2 / 3, rtol=5 * 0.9 / kernel.size**0.5)


@pytest.mark.parametrize("units", [1, 6])
def test_recurrent_kernel_has_orthonormal_rows(key, units):
    rows = np.asarray(jaxgru.init(key, 4, units).recurrent_kernel)
    assert rows.shape == (units, 3 * units)
    # Products of float32 rows of norm 1.
    np.testing.assert_allclose(rows @ rows.T, np.eye(units), atol=1e-5)


@pytest.mark.parametrize(
    ("use_bias", "reset_after", "shapes"),
    [
        (True, True, ((12,), (12,))),
        (True, False, ((12,), None)),
        (False, True, (None, None)),
    ],
)
def test_biases_are_zeros_where_keras_has_them(key, use_bias, reset_after, shapes):
    options = {"reset_after": reset_after, "activation": "relu", "clip": 3.0}
    params = jaxgru.init(key, 3, 4, use_bias=use_bias, recurrent_activation="linear", **options)
    biases = params.bias, params.recurrent_bias
    assert tuple(bias if bias is None else bias.shape for bias in biases) == shapes
    assert not any(np.any(bias) for bias in biases if bias is not None)
    fields = dataclasses.asdict(params)
    assert {name: fields[name] for name in options} == options
    assert params.recurrent_activation == "linear"


def test_keys_decide(key):
    first, again = jaxgru.init(key, 3, 4), jaxgru.init(key, 3, 4)
    other = jaxgru.init(jax.random.fold_in(key, 1), 3, 4)
    for name in ("kernel", "recurrent_kernel"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert np.all(getattr(first, name) != getattr(other, name))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16, "float32"])
def test_every_array_has_the_dtype(key, x64, dtype):
    params = jax.eval_shape(lambda: jaxgru.init(key, 3, 4, dtype=dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_all_weights_can_be_donated(key):
    # Two biases in one buffer could not: XLA refuses to donate a buffer twice.
    update = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)
    params = jaxgru.init(key, 3, 4)
    updated = update(params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(updated.recurrent_bias, np.ones(12))
