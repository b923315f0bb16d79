"""The states of one layer over time: what is kept for their derivative, and spare units."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxgru.activations import get_activation
from jaxgru.recurrence.derivative import Want, run_layer
from jaxgru.recurrence.layout import keeps_gates, over_chunks, padded_units
from jaxgru.recurrence.step import Controls, Variant, Weights

Array = jax.Array

# What is kept for the backward pass: what layout.py finds fastest, nothing but the states, or
# the states of every K-th step.
Remat = int | Literal["states"] | None


def states(
    variant: Variant,
    reverse: bool,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None = None,
) -> Array:
    """Return the states after each step, ``(T, B, H)``, of inputs ``(T, B, I)``; T at least 1.

    Resets return to ``reset_to (B, H)``, or to h0 if that is None.
    """
    _, ys = _run(variant, reverse, "states", remat, weights, controls, xs, h0, reset_to)
    assert ys is not None  # for the type checker: states were wanted
    return ys


def last_state(
    variant: Variant,
    reverse: bool,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None = None,
) -> Array:
    """Return the state after the last step, ``(B, H)``, holding no other in the forward pass."""
    return _run(variant, reverse, "last", remat, weights, controls, xs, h0, reset_to)[0]


def _run(
    variant: Variant,
    reverse: bool,
    want: Want,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None,
) -> tuple[Array, Array | None]:
    """Return the last state, and what is wanted beside it."""
    if controls.resets is None:
        reset_to = None
    elif reset_to is None:
        reset_to = h0
    units = h0.shape[-1]
    spare = padded_units(h0.shape) - units
    if spare:
        weights, controls, h0, reset_to = _with_spare_units(weights, controls, h0, reset_to, spare)
    keep = remat is None and _can_keep(variant) and keeps_gates(xs.shape[-1], units)

    def segment(h: Array, inputs: tuple[Array, Controls]) -> tuple[Array, Array | None]:
        xs, at = inputs
        at = at._replace(recurrent_dropout=controls.recurrent_dropout)
        return run_layer(variant, reverse, want, keep, weights, at, xs, h, reset_to)

    every = len(xs)
    if isinstance(remat, int):
        # Of each segment only the state before it is kept; the rest is computed again.
        segment, every = jax.checkpoint(segment, prevent_cse=False), remat
    h, ys = over_chunks(segment, h0, (xs, controls.by_step()), every, reverse=reverse)
    if spare:
        h, ys = jax.tree.map(lambda leaf: leaf[..., :units], (h, ys))
    return h, ys


def _can_keep(variant: Variant) -> bool:
    """Return whether the derivative can start from the gates' outputs alone."""
    names = (variant.activation, variant.recurrent_activation)
    return variant.clip is None and not any(get_activation(name).needs_input for name in names)


def _with_spare_units(
    weights: Weights, controls: Controls, h0: Array, reset_to: Array | None, spare: int
) -> tuple[Weights, Controls, Array, Array | None]:
    """Append units that get no input and give none: their rows and columns are zero."""
    units = h0.shape[-1]

    def pad(array: Array) -> Array:
        """Append zeros to each block of the last axis."""
        gates = array.reshape(*array.shape[:-1], array.shape[-1] // units, units)
        gates = jnp.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, spare)])
        return gates.reshape(*array.shape[:-1], math.prod(gates.shape[-2:]))

    weights = jax.tree.map(pad, weights)
    kernel = jnp.pad(weights.recurrent_kernel, ((0, spare), (0, 0)))
    dropout = controls.recurrent_dropout
    return (
        weights._replace(recurrent_kernel=kernel),
        controls._replace(recurrent_dropout=None if dropout is None else pad(dropout)),
        pad(h0),
        None if reset_to is None else pad(reset_to),
    )
