"""Types: what comes of each mixture, and halves widened exactly.

The oracle is JAX's promotion. That each precision computes the same is in test_matrix.py.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

_HALVES = [jnp.bfloat16, jnp.float16]


def _case(key, weights="float32", xs="float32", h0="float32", **variant):
    params = cases.random_params(key, 3, 4, dtype=jnp.dtype(weights), **variant)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 5, 3), jnp.dtype(xs))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, 4), jnp.dtype(h0))
    return params, xs, h0


def _types(params, xs, h0):
    """Return the types of the states of gru and of gru_cell."""
    found = jax.eval_shape(jaxgru.gru, params, xs, h0)
    found = (*found, jax.eval_shape(jaxgru.gru_cell, params, h0, xs[:, 0]))
    return {leaf.dtype.name for leaf in found}


@pytest.mark.parametrize(
    ("weights", "xs", "h0", "state"),
    [
        ("float64", "float64", "float64", "float64"),
        ("float32", "float32", "float32", "float32"),
        ("bfloat16", "bfloat16", "bfloat16", "float32"),
        ("float16", "float32", "float16", "float32"),
    ],
)
def test_the_state_is_single_or_double(key, x64, weights, xs, h0, state):
    assert _types(*_case(key, weights, xs, h0)) == {state}
    assert _types(*_case(key, weights, xs, h0, clip=np.float64(0.5))) == {state}


@pytest.mark.parametrize("position", range(3))
def test_mixtures_are_promoted_where_jax_promotes(key, x64, default_promotion, position):
    mixed = _case(key, *("float64" if i == position else "float32" for i in range(3)))
    assert _types(*mixed) == {"float64"}
    # The widest type is that of the whole net.
    stack = (mixed[0], cases.random_params(key, 4, 2))
    ys, h = jax.eval_shape(jaxgru.gru, stack, mixed[1], (mixed[2], None))
    assert {leaf.dtype.name for leaf in jax.tree.leaves((ys, h))} == {"float64"}
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), mixed)
    # float64 sums of about ten terms near 1, a few steps deep.
    chex.assert_trees_all_close(jaxgru.gru(*mixed), jaxgru.gru(*wide), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("half", _HALVES)
def test_halves_are_widened_exactly_and_their_gradients_are_halves(key, half):
    case = _case(key, half, half, half)

    def outputs_and_gradient(*case):
        def loss(*case):
            ys, h = jaxgru.gru(*case)
            return ys.sum(), (ys, h)

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*case)

    (_, found), gradient = outputs_and_gradient(*case)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(half)}
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), case)
    chex.assert_trees_all_equal(found, outputs_and_gradient(*wide)[0][1])
    # Half-precision weights take wide inputs, in strict mode too.
    chex.assert_trees_all_equal(jaxgru.gru(case[0], wide[1], case[2])[0], found[0])


def test_numpy_arrays_of_float64_are_float32_unless_x64_is_on(key):
    case = _case(key)
    double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), case)
    chex.assert_trees_all_equal(jaxgru.gru(*double), jaxgru.gru(*case))


@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_a_weak_type_gives_way(key, x64, promotion):
    params, xs, _ = _case(key)
    h0 = jnp.broadcast_to(jnp.asarray(0.5), (2, 4))
    assert h0.weak_type
    assert h0.dtype == jnp.float64
    with jax.numpy_dtype_promotion(promotion):
        assert _types(params, xs, h0) == {"float32"}
