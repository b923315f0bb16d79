"""Common parts of the drop-in modules."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxgru._activations import ACTIVATIONS, get_activation
from jaxgru._params import GRUParams
from jaxgru._sequence import gru


def hand_over(what: str, reason: str) -> None:
    """Warn that the library's own loop runs."""
    warnings.warn(f"{what} runs the library's own loop: {reason}", UserWarning, stacklevel=3)


def names_of(functions: Iterable[Any], known: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the names of activations that are the same objects as known ones, or None."""
    return tuple(next((n for n, g in known.items() if g is f), None) for f in functions)


def flax_names(cell: Any) -> tuple[Any, ...]:
    """Return the names of the activation and the recurrent activation of a cell of Flax."""
    found = {str(name): get_activation(name).flax for name in ACTIVATIONS}
    known = {name: function for name, function in found.items() if function is not None}
    return names_of((cell.activation_fn, cell.gate_fn), known)


def reorder(array: Array, axis: int = -1) -> Array:
    """Return r, z, n as z, r, n."""
    r, z, n = jnp.split(array, 3, axis)
    return jnp.concatenate([z, r, n], axis)


def candidate_bias(bias: Array) -> Array:
    """Return the recurrent bias ``(3H,)`` for one ``(H,)`` of the candidate only."""
    return jnp.concatenate([jnp.zeros_like(bias), jnp.zeros_like(bias), bias])


def promoted(tree: Any, dtype: Any = None) -> Any:
    """Return a tree of arrays in one dtype: the given one, or their promotion."""
    dtype = jnp.result_type(*jax.tree.leaves(tree)) if dtype is None else dtype
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def run_flax(
    module: Any,
    inputs: Array,
    given: Mapping[str, Any],
    *,
    params: GRUParams,
    step: Callable[[Any, Any], Any],
    first: Callable[[tuple[int, ...]], Array],
    flip: Callable[..., Array],
    dtype: Any,
    precision: Any = None,
) -> Any:
    """Return the results of an ``RNN`` of Flax, or None if its own scan would reject the carry.

    ``given`` are the arguments of its call. The module's attributes replace those that are None.
    ``step`` is the cell, evaluated for shapes and dtypes only. ``first`` returns a carry for the
    shape of the inputs, ``flip`` is Flax's ``flip_sequences``, and ``dtype`` is that of the cell.
    """
    time_major, return_carry, reverse, keep_order = (
        getattr(module, name) if given[name] is None else given[name]
        for name in ("time_major", "return_carry", "reverse", "keep_order")
    )
    inputs = jnp.asarray(inputs)
    axis = 0 if time_major else inputs.ndim - 2
    shape = inputs.shape[:axis] + inputs.shape[axis + 1 :]
    carry, lengths = given["initial_carry"], given["seq_lengths"]
    carry = first(shape) if carry is None else jnp.asarray(carry)
    new, y = jax.eval_shape(step, carry, jnp.zeros(shape, inputs.dtype))
    if (new.shape, new.dtype) != (carry.shape, carry.dtype):
        return None
    # Padding stays at the end, so sequences of several lengths are reversed one by one.
    by_hand = reverse and lengths is not None
    inputs = flip(inputs, lengths, inputs.ndim - 2, time_major) if by_hand else inputs
    params, xs = promoted((params, inputs), dtype)
    ys, last = gru(
        params, xs, carry, reverse=reverse and not by_hand, time_major=time_major,
        precision=precision,
    )  # fmt: skip
    ys = ys.astype(y.dtype)
    if lengths is not None and return_carry and ys.shape[axis]:
        # Flax also computes the padding and returns the carry of the last valid step.
        index = jnp.clip(lengths - 1, 0, ys.shape[axis] - 1)
        ends = jnp.take_along_axis(ys, jnp.expand_dims(index, (axis, -1)), axis).squeeze(axis)
        last = jnp.where(jnp.expand_dims(lengths > 0, -1), ends, carry)
    if reverse and keep_order == by_hand:
        ys = flip(ys, lengths, inputs.ndim - 2, time_major)
    return (last.astype(carry.dtype), ys) if return_carry else ys
