"""Types: each precision against the oracle, halves widened, mixtures promoted or refused."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# Sums of about ten terms near 1, a few steps deep. Half-precision weights are widened before the
# first product, so on the same rounded weights they meet the oracle as float32 does.
_TOLERANCES = {
    jnp.float64: {"rtol": 1e-13, "atol": 1e-14},
    jnp.float32: {"rtol": 1e-5, "atol": 1e-6},
    jnp.bfloat16: {"rtol": 1e-5, "atol": 1e-6},
    jnp.float16: {"rtol": 1e-5, "atol": 1e-6},
}
_HALVES = [jnp.bfloat16, jnp.float16]


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("dtype", _TOLERANCES)
def test_each_precision_equals_oracle(key, x64, dtype, reset_after):
    params, xs, h0 = _case(key, dtype, dtype, dtype, reset_after=reset_after)

    ys, h = jaxgru.gru(params, xs, h0)
    stepped = jaxgru.gru_cell(params, h0, xs[:, 0])

    state = jnp.float64 if dtype is jnp.float64 else jnp.float32
    assert ys.dtype == h.dtype == stepped.dtype == state
    expected_ys, expected_h = oracle.gru_batch(params, xs, h0)
    np.testing.assert_allclose(ys, expected_ys, **_TOLERANCES[dtype])
    np.testing.assert_allclose(h, expected_h, **_TOLERANCES[dtype])
    np.testing.assert_allclose(stepped, expected_ys[:, 0], **_TOLERANCES[dtype])


@pytest.mark.parametrize("half", _HALVES)
def test_half_precision_is_widened_exactly(key, half):
    params, xs, h0 = _case(key, half, half, half)
    wide, wide_xs, wide_h0 = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, xs, h0))
    for found, expected in zip(
        jaxgru.gru(params, xs, h0), jaxgru.gru(wide, wide_xs, wide_h0), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("half", _HALVES)
def test_half_weights_take_wide_inputs_even_in_strict_mode(key, half):
    params, xs, h0 = _case(key, half, jnp.float32, half)
    expected, _ = oracle.gru_batch(params, xs, h0)
    ys, _ = jaxgru.gru(params, xs, h0)
    np.testing.assert_allclose(ys, expected, **_TOLERANCES[half])


@pytest.mark.parametrize("half", _HALVES)
def test_gradients_have_the_type_of_what_they_are_of(key, half):
    params, xs, h0 = _case(key, half, half, half)
    gradients = jax.grad(lambda *args: jaxgru.gru(*args)[0].sum(), argnums=(0, 1, 2))(
        params, xs, h0
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype(half)}


@pytest.mark.parametrize("position", [0, 1, 2])
def test_mixtures_are_promoted_where_jax_promotes(key, x64, default_promotion, position):
    dtypes = [jnp.float32, jnp.float32, jnp.float32]
    dtypes[position] = jnp.float64
    params, xs, h0 = _case(key, *dtypes)
    ys, h = jaxgru.gru(params, xs, h0)
    assert ys.dtype == h.dtype == jnp.float64
    expected, _ = oracle.gru_batch(params, xs, h0)
    np.testing.assert_allclose(ys, expected, **_TOLERANCES[jnp.float64])


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        ((jnp.float64, jnp.float32, jnp.float64), "xs has dtype float32: expected float64"),
        ((jnp.float32, jnp.float64, jnp.float32), "xs has dtype float64: expected float32"),
        ((jnp.float32, jnp.float32, jnp.float64), "h0 has dtype float64: expected float32"),
    ],
)
def test_strict_promotion_names_the_argument(key, x64, dtypes, message):
    params, xs, h0 = _case(key, *dtypes)
    with pytest.raises(ValueError, match=f"^{message}, as strict dtype promotion is on$"):
        jaxgru.gru(params, xs, h0)


@pytest.mark.parametrize("field", ["recurrent_kernel", "bias", "recurrent_bias"])
def test_strict_promotion_names_the_weights(key, x64, field):
    params, xs, _ = _case(key, jnp.float32, jnp.float32, jnp.float32)
    odd = getattr(params, field).astype(jnp.float64)
    params = dataclasses.replace(params, **{field: odd})
    with pytest.raises(ValueError, match=f"^{field} has dtype float64: expected float32, as stri"):
        jaxgru.gru(params, xs)


def test_numpy_arrays_of_float64_are_float32_unless_x64_is_on(key):
    params, xs, h0 = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), _case(key, *[jnp.float32] * 3)
    )
    expected, _ = oracle.gru_batch(params, xs, h0)
    ys, _ = jaxgru.gru(params, xs, h0)
    assert ys.dtype == jnp.float32
    np.testing.assert_allclose(ys, expected, **_TOLERANCES[jnp.float32])


@pytest.mark.parametrize("reset_after", [True, False])
def test_clip_of_any_float_type_leaves_the_type_alone(key, x64, reset_after):
    params, xs, h0 = _case(key, *[jnp.float32] * 3, reset_after=reset_after, clip=np.float64(0.5))
    assert jaxgru.gru(params, xs, h0)[0].dtype == jnp.float32


def _case(key, weights_dtype, xs_dtype, h0_dtype, **variant):
    params = cases.random_params(key, 3, 4, dtype=weights_dtype, **variant)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 5, 3), xs_dtype)
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, 4), h0_dtype)
    return params, xs, h0
