"""A held step holds its state bit-for-bit, whatever overflows in it.

The oracle is the identity: the state after held steps is the one before, its derivative 1, every
other derivative 0. Nothing is computed, so nothing is rounded.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

# Products of this weight and a state of 1e20 are infinite in float32, and so are most activations
# of them; exp already overflows at 1e20.
_WEIGHT, _STATE = 1e30, 1e20


@pytest.mark.parametrize(
    ("activation", "reset_after", "remat"),
    [
        ("exponential", True, 1),
        ("relu", False, None),
        ("silu", True, None),  # its derivative needs its input
        ("linear", False, "states"),
    ],
)
def test_overflow(activation, reset_after, remat):
    units = 2
    params = jaxgru.GRUParams(
        jnp.ones((1, 3 * units)),
        jnp.full((units, 3 * units), _WEIGHT),
        jnp.ones(3 * units),
        jnp.ones(3 * units) if reset_after else None,
        reset_after=reset_after,
        activation=activation,
        recurrent_activation=activation,
    )
    xs = jnp.full((2, 1), jnp.nan)
    h0 = jnp.array([_STATE, -_STATE])

    def last(params, xs, h0):
        ys, h = jaxgru.gru(params, xs, h0, mask=jnp.zeros(2, bool), remat=remat)
        return h, ys

    def all_of(params, xs, h0):
        value, back = jax.vjp(last, params, xs, h0)
        ones = jax.tree.map(jnp.ones_like, value)

        def loss(*arguments):
            return sum(leaf.sum() for leaf in last(*arguments))

        tangents = jax.tree.map(jnp.ones_like, (params, xs, h0))
        second = jax.jvp(jax.grad(loss, argnums=(0, 1, 2)), (params, xs, h0), tangents)[1]
        return value, back(ones), jax.jvp(last, (params, xs, h0), tangents)[1], second

    (h, ys), (dparams, dxs, dh0), moved, second = jax.jit(all_of)(params, xs, h0)
    np.testing.assert_array_equal(h, h0)
    np.testing.assert_array_equal(ys, jnp.stack([h0, h0]))
    # The state is in the outputs three times: last, and after each of the two steps.
    np.testing.assert_array_equal(dh0, jnp.full(units, 3.0))
    chex.assert_trees_all_equal((dparams, dxs), jax.tree.map(jnp.zeros_like, (params, xs)))
    chex.assert_trees_all_equal(moved, jax.tree.map(jnp.ones_like, (h, ys)))
    chex.assert_trees_all_equal(second, jax.tree.map(jnp.zeros_like, (params, xs, h0)))


def test_the_state_before_held_steps_still_counts():
    params = jaxgru.GRUParams(jnp.zeros((1, 3)), jnp.ones((1, 3)), activation="exponential")
    ys, h = jaxgru.gru(params, jnp.ones((1, 1)), jnp.array([200.0]), mask=jnp.array([False]))
    assert (ys.tolist(), h.tolist()) == ([[200.0]], [200.0])
