"""init draws weights as Keras does; the oracle is what is known of each distribution."""

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


@pytest.mark.parametrize("units", [1, 6, 50])
def test_recurrent_kernel_has_orthonormal_rows(key, units):
    recurrent_kernel = jaxgru.init(key, 4, units).recurrent_kernel
    assert recurrent_kernel.shape == (units, 3 * units)
    # Products of float32 rows of norm 1.
    np.testing.assert_allclose(
        np.dot(recurrent_kernel, np.transpose(recurrent_kernel)), np.eye(units), atol=1e-5
    )


@pytest.mark.parametrize(
    ("use_bias", "reset_after", "has"),
    [
        (True, True, (True, True)),
        (True, False, (True, False)),
        (False, True, (False, False)),
        (False, False, (False, False)),
    ],
)
def test_biases_are_zeros_where_keras_has_them(key, use_bias, reset_after, has):
    params = jaxgru.init(key, 3, 4, use_bias=use_bias, reset_after=reset_after)
    for bias, is_there in zip((params.bias, params.recurrent_bias), has, strict=True):
        if is_there:
            np.testing.assert_array_equal(bias, np.zeros(12))
        else:
            assert bias is None


def test_keys_decide(key):
    first, again = jaxgru.init(key, 3, 4), jaxgru.init(key, 3, 4)
    other = jaxgru.init(jax.random.fold_in(key, 1), 3, 4)
    for name in ("kernel", "recurrent_kernel"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert np.all(getattr(first, name) != getattr(other, name))


def test_static_fields_are_passed_on(key):
    params = jaxgru.init(
        key, 3, 4, reset_after=False, activation="relu", recurrent_activation="linear", clip=3.0
    )
    assert not params.reset_after
    assert (params.activation, params.recurrent_activation) == ("relu", "linear")
    assert params.clip == 3.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16, jnp.float16, "float32"])
def test_every_array_has_the_dtype(key, x64, dtype):
    params = jaxgru.init(key, 3, 4, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_all_weights_can_be_donated(key):
    # Two biases in one buffer could not: XLA refuses to donate a buffer twice.
    update = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)
    params = jaxgru.init(key, 3, 4)
    updated = update(params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(updated.recurrent_bias, np.ones(12))


@pytest.mark.parametrize(("sizes", "name"), [((0, 4), "input_size"), ((3, -1), "hidden_size")])
def test_a_size_below_one_is_refused(key, sizes, name):
    with pytest.raises(ValueError, match=f"^{name} is .*: expected at least 1$"):
        jaxgru.init(key, *sizes)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64, bool])
def test_a_dtype_that_is_not_floating_is_refused(key, dtype):
    with pytest.raises(ValueError, match=r"^dtype is .*: expected a floating-point type$"):
        jaxgru.init(key, 3, 4, dtype=dtype)
