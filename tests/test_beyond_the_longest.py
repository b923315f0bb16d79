"""Steps beyond the longest sequence of a batch: left out of the loops, a chunk at a time."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru import schedule

_TIME, _ROWS = 23, 3
_LENGTHS = jnp.asarray([9, 0, 6])


@pytest.fixture(autouse=True)
def chunks_of_four_steps(monkeypatch):
    """Cut time into chunks, so that some hold nothing but padding, and one is a remainder."""
    monkeypatch.setattr(schedule, "_CHUNK", 4 * _ROWS * 40)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("reset_after", [True, False])
def test_values_and_gradients_equal_those_of_the_sequence_cut(key, reset_after, reverse):
    params = cases.random_params(key, 3, 40, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (_ROWS, _TIME, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (_ROWS, 40))

    def outputs(params, h0, time):
        ys, h = jaxgru.gru(params, xs[:, :time], h0, lengths=_LENGTHS, reverse=reverse)
        return ys[:, :9], h

    def loss(params, h0, time):
        ys, h = outputs(params, h0, time)
        return (ys**2).sum() + h.sum()

    # The same numbers in the same order, compiled as two programs: a few roundings of numbers
    # of the order of 1, and in the gradient of sums of about a hundred of them.
    for whole, cut in zip(outputs(params, h0, _TIME), outputs(params, h0, 9), strict=True):
        np.testing.assert_allclose(whole, cut, rtol=0, atol=1e-6)
    gradients = [jax.grad(loss, (0, 1))(params, h0, time) for time in (_TIME, 9)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *gradients)


def test_no_step_counts(key):
    params = cases.random_params(key, 3, 40)
    xs = jnp.full((_ROWS, _TIME, 3), jnp.nan)
    h0 = cases.random_inputs(key, (_ROWS, 40))
    ys, h = jaxgru.gru(params, xs, h0, lengths=jnp.zeros(_ROWS, int))
    np.testing.assert_array_equal(h, h0)
    np.testing.assert_array_equal(ys, jnp.broadcast_to(h0[:, None], ys.shape))


def test_padding_is_left_out_of_the_program(key):
    params = cases.random_params(key, 3, 40)
    xs = jnp.zeros((_ROWS, _TIME, 3))
    padded = jax.jit(lambda xs: jaxgru.gru(params, xs, lengths=_LENGTHS)).lower(xs).as_text()
    assert "stablehlo.case" in padded
    assert "stablehlo.case" not in jax.jit(lambda xs: jaxgru.gru(params, xs)).lower(xs).as_text()
