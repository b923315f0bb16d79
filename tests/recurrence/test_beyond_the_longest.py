"""Steps beyond the longest sequence of a batch: left out of the loops, a chunk at a time."""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru.recurrence import layout as schedule

_TIME, _ROWS, _UNITS = 23, 3, 41
_LENGTHS = jnp.asarray([9, 0, 6])


@pytest.fixture(autouse=True)
def chunks_of_four_steps(monkeypatch):
    """Cut time into chunks, so that some hold nothing but padding, and one is a remainder.

    JAX keeps programs by their shapes, and no other test has these 41 units: so each program here
    is compiled while the limit is replaced.
    """
    monkeypatch.setattr(schedule, "_CHUNK", 4 * _ROWS * _UNITS)


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("reset_after", [True, False])
def test_values_and_gradients_equal_those_of_the_sequence_cut(key, reset_after, reverse):
    params = cases.random_params(key, 3, _UNITS, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (_ROWS, _TIME, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (_ROWS, _UNITS))

    def loss(params, h0, xs):
        ys, h = jaxgru.gru(params, xs, h0, lengths=_LENGTHS, reverse=reverse)
        return (ys[:, :9] ** 2).sum() + h.sum(), (ys[:, :9], h)

    run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (gradient, outputs), (cut_gradient, cut_outputs) = (
        run(params, h0, xs[:, :time]) for time in (_TIME, 9)
    )
    # The same numbers in the same order, compiled as two programs: a few roundings of numbers
    # of the order of 1, and in the gradient of sums of about a hundred of them.
    chex.assert_trees_all_close(outputs, cut_outputs, rtol=0, atol=1e-6)
    chex.assert_trees_all_close(gradient, cut_gradient, rtol=1e-4, atol=1e-4)


def test_no_step_counts(key):
    params = cases.random_params(key, 3, _UNITS)
    xs = jnp.full((_ROWS, _TIME, 3), jnp.nan)
    h0 = cases.random_inputs(key, (_ROWS, _UNITS))
    ys, h = jaxgru.gru(params, xs, h0, lengths=jnp.zeros(_ROWS, int))
    np.testing.assert_array_equal(h, h0)
    np.testing.assert_array_equal(ys, jnp.broadcast_to(h0[:, None], ys.shape))


def test_padding_is_left_out_of_the_program(key):
    params = cases.random_params(key, 3, _UNITS)
    xs = jnp.zeros((_ROWS, _TIME, 3))
    padded = jax.jit(lambda xs: jaxgru.gru(params, xs, lengths=_LENGTHS)).lower(xs).as_text()
    assert "stablehlo.case" in padded
    assert "stablehlo.case" not in jax.jit(lambda xs: jaxgru.gru(params, xs)).lower(xs).as_text()
