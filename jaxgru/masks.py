"""Which steps of a padded batch count, and where episodes begin within it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgru.params import shape_of

Array = jax.Array


def check_masks(
    lengths: Any,
    mask: Any,
    resets: Any,
    steps: tuple[int, ...],
    batch: tuple[int, ...],
    time: int,
) -> None:
    """Raise ValueError unless what is given fits ``steps``, the axes of batch and time.

    Lengths that are not known, as under ``jax.jit``, pass.
    """
    if lengths is not None and mask is not None:
        raise ValueError("lengths and mask are both given: expected one of them")
    if lengths is not None:
        _check_lengths(lengths, batch, time)
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is not None:
            _check_flags(name, flags, steps)


def _check_lengths(lengths: Any, batch: tuple[int, ...], time: int) -> None:
    shape = shape_of("lengths", lengths)
    if shape != batch:
        raise ValueError(f"lengths has shape {shape}: expected {batch}, the batch axes of xs")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"lengths has dtype {lengths.dtype}: expected integers")
    if isinstance(lengths, jax.core.Tracer):
        return
    values = np.asarray(lengths)
    wrong = np.argwhere((values < 0) | (values > time))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        index = ", ".join(str(i) for i in place)
        raise ValueError(
            f"lengths{f'[{index}]' if place else ''} is {values[place]}: expected 0 to {time}, "
            "the number of steps of xs"
        )


def _check_flags(name: str, flags: Any, shape: tuple[int, ...]) -> None:
    found = shape_of(name, flags)
    if found != shape:
        raise ValueError(
            f"{name} has shape {found}: expected {shape}, that of xs but its last axis"
        )
    if flags.dtype != np.bool_:
        raise ValueError(f"{name} has dtype {flags.dtype}: expected bool")


def within(lengths: Array, time: int) -> Array:
    """Return flags ``(T, B)``, True at the first steps of each sequence, as many as its length.

    A length below 0 counts as 0 and one above T as T.
    """
    steps = jnp.arange(time, dtype=lengths.dtype)
    return steps[:, None] < lengths[None, :]


def cuts(resets: Array, valid: Array | None, *, reverse: bool) -> Array:
    """Return flags ``(T, B)``, True at each step before which the state is reset.

    ``resets`` is True at the first step of an episode; steps that do not count begin none. Going
    backwards, an episode is entered at its last step that counts: the one before the first step
    of the next.
    """
    if valid is None:
        return _next(resets) if reverse else resets
    if not reverse:
        return resets & valid
    # For each step, whether the next one that counts begins an episode. Codes fall with time, so
    # that the largest from here on is of the nearest; its last bit is the flag.
    time = len(resets)
    codes = 2 * jnp.arange(time, 0, -1)[:, None] + resets.astype(int)
    nearest = lax.cummax(jnp.where(valid, codes, 0), axis=0, reverse=True)
    begins = nearest % 2 == 1
    return valid & _next(begins)


def _next(flags: Array) -> Array:
    return jnp.concatenate([flags[1:], jnp.zeros_like(flags[:1])])
