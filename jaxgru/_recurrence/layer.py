"""The states of one layer over time, with padded units and rematerialization."""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxgru._activations import get_activation
from jaxgru._params import GRUParams
from jaxgru._recurrence.derivative import Plan, run_layer
from jaxgru._recurrence.implementation import Implementation, choose
from jaxgru._recurrence.layout import Precision, keeps_gates, over_chunks, padded_units
from jaxgru._recurrence.scan import Flags, Operands
from jaxgru._recurrence.step import Gates, Variant, Weights, fold, variant_of

__all__ = ["Gates", "Implementation", "Precision", "Remat", "choose", "states"]

Array = jax.Array

# What is kept for the backward pass. None: the states, and the gates where that is faster
# (layout.py). "states": the states alone. An integer K: the state of every K-th step.
Remat = int | Literal["states"] | None


def states(
    params: GRUParams,
    xs: Array,
    h: Array,
    *,
    valid: Array | None = None,
    resets: Array | None = None,
    reset_to: Array | None = None,
    factors: Array | None = None,
    reverse: bool = False,
    precision: Precision = None,
    remat: Remat = None,
    last_only: bool = False,
    implementation: Implementation = "auto",
) -> tuple[Array, Array | None]:
    """Return the state after the last step, and the states after each step.

    Args:
        params: the weights, I inputs and H units, in the type of the state.
        xs: the inputs ``(T, B, I)``.
        h: the state before the first step, ``(B, H)``.
        valid: booleans ``(T, B)``; where False, the state is held, to the bit.
        resets: booleans ``(T, B)``; where True, the state before the step is ``reset_to``.
        reset_to: the state after a reset, ``(B, H)``.
        factors: recurrent dropout: multiply the state in its products with the recurrent kernel,
            ``(B, H)``.
        reverse: go from the last step to the first.
        precision: the precision of the matrix products.
        remat: what is kept for the backward pass, see ``Remat``.
        last_only: return None in place of the states after each step.
        implementation: what runs the loops, see ``Implementation``.

    Returns:
        ``(B, H)`` and ``(T, B, H)``.

    Raises:
        ValueError: implementation is "native", which cannot serve.
    """
    (time, _, inputs), units = xs.shape, h.shape[-1]
    weights, variant, flags = fold(params), variant_of(params, precision), Flags(valid, resets)
    implementation = choose(implementation, params, precision, h.dtype)
    if time == 0:
        return h, None if last_only else jnp.zeros((0, *h.shape), h.dtype)
    if resets is None:
        reset_to = None
    native = implementation != "scan"
    keep = remat is None and _gates_suffice(variant) and keeps_gates(inputs, units, native=native)
    spare = 0 if native else padded_units(h.shape) - units
    if spare:
        weights = _with_spare_units(weights, units, spare)
        h, reset_to, factors = (_padded(array, units, spare) for array in (h, reset_to, factors))

    plan = Plan(reverse, keep, last_only, implementation)
    operands = Operands(weights, xs, h, reset_to, flags, factors)
    if not isinstance(remat, int):
        h, ys = run_layer(variant, plan, operands)
    else:
        if not isinstance(time, int):
            xs, flags = _in_whole_segments(xs, flags, remat)

        # Only the state before each segment is kept; the backward pass recomputes the rest.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def segment(h: Array, at: tuple[Array, Flags]) -> tuple[Array, Array | None]:
            xs, flags = at
            return run_layer(variant, plan, operands._replace(xs=xs, h=h, flags=flags))

        h, ys = over_chunks(segment, h, (xs, flags), remat, reverse=reverse)
    # Of appended steps and units.
    return h[..., :units], None if ys is None else ys[:time, :, :units]


def _in_whole_segments(xs: Array, flags: Flags, steps: int) -> tuple[Array, Flags]:
    """Append held steps, so that a symbolic number of steps is a multiple of ``steps``."""
    time, rows, _ = xs.shape
    spare = (time + steps - 1) // steps * steps - time

    def appended(array: Array) -> Array:
        return jnp.concatenate([array, jnp.zeros((spare, *array.shape[1:]), array.dtype)])

    valid = jnp.ones((time, rows), bool) if flags.valid is None else flags.valid
    return appended(xs), jax.tree.map(appended, flags._replace(valid=valid))


def _gates_suffice(variant: Variant) -> bool:
    """Return whether the derivative can start from the gates' outputs alone."""
    names = (variant.activation, variant.recurrent_activation)
    return variant.clip is None and not any(get_activation(name).needs_input for name in names)


def _with_spare_units(weights: Weights, units: int, spare: int) -> Weights:
    """Append unconnected units: their rows and columns are zero."""
    weights = jax.tree.map(lambda array: _padded(array, units, spare), weights)
    kernel = jnp.pad(weights.recurrent_kernel, ((0, spare), (0, 0)))
    return weights._replace(recurrent_kernel=kernel)


def _padded(array: Any, units: int, spare: int) -> Any:
    """Append zeros to each block of the last axis."""
    if array is None:
        return None
    *leading, last = array.shape
    gates = array.reshape(*leading, last // units, units)
    gates = jnp.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, spare)])
    return gates.reshape(*leading, math.prod(gates.shape[-2:]))
