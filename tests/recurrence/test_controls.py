"""Held steps, resets and recurrent dropout: to second order, against a plain loop."""

from typing import NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from second_order import assert_equal_to_second_order

import jaxgru
from jaxgru import recurrence
from jaxgru.recurrence import layout as schedule


class Controls(NamedTuple):
    valid: np.ndarray | None = None
    resets: np.ndarray | None = None
    recurrent_dropout: np.ndarray | None = None


_ROWS, _TIME, _INPUTS, _UNITS = 9, 6, 2, 5

_RNG = np.random.default_rng(1)
_VALID = _RNG.random((_TIME, _ROWS)) < 0.7
_VALID[2:4] = False  # a whole chunk, where chunks are of two steps
_RESETS = _VALID & (_RNG.random((_TIME, _ROWS)) < 0.3)
_FACTORS = np.where(_RNG.random((_ROWS, _UNITS)) < 0.4, 0.0, 1 / 0.6)

_CONTROLS = {
    "held steps": Controls(valid=_VALID),
    "resets": Controls(resets=_RESETS),
    "recurrent dropout": Controls(recurrent_dropout=_FACTORS),
}
_ALL = Controls(valid=_VALID, resets=_RESETS, recurrent_dropout=_FACTORS)
_PLACEMENTS = pytest.mark.parametrize("reset_after", [True, False])


@_PLACEMENTS
@pytest.mark.parametrize("controls", _CONTROLS.values(), ids=_CONTROLS)
def test_each_alone(key, x64, controls, reset_after):
    _check(key, controls, reset_after=reset_after)


@_PLACEMENTS
def test_held_steps_where_the_slope_of_an_open_gate_is_not_zero(key, x64, reset_after):
    _check(key, Controls(valid=_VALID), reset_after=reset_after, recurrent_activation="softplus")


@_PLACEMENTS
@pytest.mark.parametrize("reverse", [True, False])
def test_all_with_a_state_to_reset_to(key, x64, reset_after, reverse):
    _check(key, _ALL, reset_after=reset_after, reverse=reverse, own_reset_state=True)


@_PLACEMENTS
@pytest.mark.parametrize("reverse", [True, False])
def test_all_in_chunks(key, x64, monkeypatch, reset_after, reverse):
    # Chunks of two steps, of 8 units for the 5: three are spare.
    monkeypatch.setattr(schedule, "_CHUNK", 2 * _ROWS * 8)
    _check(key, _ALL, reset_after=reset_after, reverse=reverse)


@_PLACEMENTS
@pytest.mark.parametrize("remat", [None, 4])
def test_all_where_gates_or_segments_are_kept(key, x64, monkeypatch, reset_after, remat):
    monkeypatch.setattr(schedule, "_WIDE", 1)
    _check(key, _ALL, reset_after=reset_after, remat=remat, own_reset_state=True)


def _check(key, controls, *, reverse=False, remat=None, own_reset_state=False, **variant):
    params = cases.random_params(key, _INPUTS, _UNITS, dtype=jnp.float64, **variant)
    shapes = [(_TIME, _ROWS, _INPUTS), (_ROWS, _UNITS), (_ROWS, _UNITS)]
    xs, h0, reset_state = (
        cases.random_inputs(jax.random.fold_in(key, i), shape, jnp.float64)
        for i, shape in enumerate(shapes)
    )
    if not own_reset_state:
        reset_state = None

    def found(arguments):
        params, xs, h0, reset_state = arguments
        valid, resets, factors = jax.tree.map(jnp.asarray, controls)
        last, ys = recurrence.states(
            params,
            xs,
            h0,
            valid=valid,
            resets=resets,
            reset_to=reset_state,
            factors=factors,
            reverse=reverse,
            remat=remat,
        )
        return ys, last

    def expected(arguments):
        return _plain_loop(*arguments, controls, reverse)

    assert_equal_to_second_order(key, found, expected, (params, xs, h0, reset_state))


def _plain_loop(params, xs, h0, reset_state, controls, reverse):
    """Return the states and the last one, by autodiff through a scan over ``gru_gates``."""
    reset_state = h0 if reset_state is None else reset_state
    valid = np.ones((_TIME, _ROWS), bool) if controls.valid is None else controls.valid
    resets = np.zeros((_TIME, _ROWS), bool) if controls.resets is None else controls.resets
    factors = 1.0 if controls.recurrent_dropout is None else controls.recurrent_dropout

    def body(h, at):
        x, valid, resets = at
        h = jnp.where(resets[:, None], reset_state, h)
        # Dropout acts on the state in the products; what is kept of the state is kept in full.
        gates = jaxgru.gru_gates(params, h * factors, x)
        new = gates.update * h + (1 - gates.update) * gates.candidate
        h = jnp.where(valid[:, None], new, h)
        return h, h

    h, ys = jax.lax.scan(body, h0, (xs, valid, resets), reverse=reverse)
    return ys, h
