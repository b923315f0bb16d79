"""Checks of the programs of a feature against the equations in NumPy."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxgru
from benchmarks.contenders import OURS
from benchmarks.featured.case import (
    BIDIRECTIONAL,
    LAST,
    LENGTHS,
    MASK,
    PLAIN,
    RATE,
    RECURRENT_DROPOUT,
    RESETS,
    SHARED_DROPOUT,
    STACK,
    STEP_DROPOUT,
    THREE_CALLS,
    TWO_PASSES,
    Case,
    Featured,
)
from benchmarks.featured.jaxgru_rows import KEY, recurrent_dropout
from benchmarks.problem import Array
from benchmarks.reference import gru_states


def check_features(library: str, featured: Featured, case: Case) -> None:
    """Raise ArithmeticError unless the states and the loss of a library are correct."""
    contender = featured.contender
    for feature, programs in featured.rows.items():
        if feature == RECURRENT_DROPOUT and library != OURS:
            continue  # the draws of Keras are not known
        states = contender.layout(contender.to_numpy(programs["forward"].call()))
        loss, (_, of_xs) = jax.tree.map(contender.to_numpy, programs["train"].call())
        expected = _EXPECTED[feature](case, contender.layout(of_xs))
        name = f"{library}, {feature}"
        _agree(f"{name}: states", states, expected)
        _agree(f"{name}: loss", loss, np.mean(np.square(expected)))


def _agree(what: str, got: Array, want: Array) -> None:
    # These numbers are below 1; float32 rounds at 6e-8, over hundreds of steps and three layers;
    # an accelerator may multiply in TF32, which rounds at 5e-4.
    tolerance = 1e-4 if jax.default_backend() == "cpu" else 2e-2
    error = float(np.max(np.abs(got - want)))
    if not error <= tolerance:
        raise ArithmeticError(f"{what} off by {error:.1e}, expected <= {tolerance}")


def _plain(case: Case, _: Array) -> Array:
    return gru_states(case.layers[0], case.xs)


def _alone(case: Case, xs: Array) -> Array:
    """Return the states ``(time, units)`` of one sequence, or of a part of it."""
    return gru_states(case.layers[0], xs[None])[0]


def _lengths(case: Case, _: Array) -> Array:
    states = np.zeros((*case.xs.shape[:2], case.shape.units))
    for row, xs, length in zip(states, case.xs, case.lengths, strict=True):
        row[:length] = _alone(case, xs[:length])
    return states


def _mask(case: Case, _: Array) -> Array:
    """Return the states of the valid steps, each held until the next."""
    states = []
    for xs, mask in zip(case.xs, case.mask, strict=True):
        zeros = np.zeros((1, case.shape.units))
        counted = np.concatenate([zeros, _alone(case, xs[mask])]) if mask.any() else zeros
        states.append(counted[np.cumsum(mask)])
    return np.stack(states)


def _resets(case: Case, _: Array) -> Array:
    """Return the concatenated states of all episodes."""
    states = []
    for xs, resets in zip(case.xs, case.resets, strict=True):
        starts = np.flatnonzero(resets)
        episodes = [episode for episode in np.split(xs, starts) if len(episode)]
        states.append(np.concatenate([_alone(case, episode) for episode in episodes]))
    return np.stack(states)


def _input_dropout(case: Case, of_xs: Array) -> Array:
    """Return the states of the kept inputs: those with a nonzero gradient."""
    kept = of_xs != 0
    _check_rate(kept)
    return gru_states(case.layers[0], kept * case.xs / (1 - RATE))


def _recurrent_dropout(case: Case, _: Array) -> Array:
    """Return the states with the kept units: those with a gradient of their kernel rows."""
    params = jaxgru.GRUParams(*case.layers[0])
    few = case.xs[:, :3]  # as many steps as have a state before them, and one more

    def by_sequence(recurrent_kernel: jax.Array) -> jax.Array:
        moved = jaxgru.GRUParams(
            params.kernel, recurrent_kernel, params.bias, params.recurrent_bias
        )
        return recurrent_dropout(moved, few, KEY).sum((1, 2))

    rows = jax.jacrev(by_sequence)(params.recurrent_kernel)  # (batch, units, 3 * units)
    kept = np.any(np.asarray(rows) != 0, axis=-1)
    _check_rate(kept)
    return gru_states(case.layers[0], case.xs, state_factors=kept / (1 - RATE))


def _check_rate(kept: Array) -> None:
    # The share of independent draws is within four standard deviations; one draw for all steps
    # is one for each sequence and number.
    draws = kept.shape[0] * kept.shape[-1]
    allowed = 4 * np.sqrt(RATE * (1 - RATE) / draws)
    share = 1 - kept.mean()
    if not abs(share - RATE) <= allowed:
        raise ArithmeticError(f"dropout of {RATE} dropped a share of {share:.3f}")


def _last(case: Case, of_xs: Array) -> Array:
    return _plain(case, of_xs)[:, -1]


def _both_directions(case: Case, of_xs: Array) -> Array:
    back = gru_states(case.backward, case.xs[:, ::-1])[:, ::-1]
    return np.concatenate([_plain(case, of_xs), back], axis=-1)


def _stack(case: Case, _: Array) -> Array:
    states = case.xs
    for weights in case.layers:
        states = gru_states(weights, states)
    return states


# By the case and the computed gradient of the inputs.
_EXPECTED: dict[str, Callable[[Case, Any], Array]] = {
    PLAIN: _plain,
    LENGTHS: _lengths,
    MASK: _mask,
    RESETS: _resets,
    STEP_DROPOUT: _input_dropout,
    SHARED_DROPOUT: _input_dropout,
    RECURRENT_DROPOUT: _recurrent_dropout,
    LAST: _last,
    TWO_PASSES: _both_directions,
    BIDIRECTIONAL: _both_directions,
    THREE_CALLS: _stack,
    STACK: _stack,
}
