"""The valid steps of a padded batch, and the first steps of episodes."""

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def length_mask(lengths: Array, time: int) -> Array:
    """Return flags ``(T, B)``, True at the steps of each sequence within its length.

    Lengths are limited to 0 ... T.
    """
    steps = jnp.arange(time, dtype=lengths.dtype)
    return steps[:, None] < lengths[None, :]


def reset_mask(resets: Array, valid: Array | None, *, reverse: bool) -> Array:
    """Return flags ``(T, B)``, True at each step before which the state is reset.

    ``resets`` is True at the first step of an episode; flags at invalid steps are ignored. In
    reverse, an episode starts at its last valid step, which precedes the first step of the next
    episode.
    """
    if valid is None:
        return _next(resets) if reverse else resets
    if not reverse:
        return resets & valid
    # For each step, whether the next valid step begins an episode. Codes decrease with time, so the
    # largest code of the following steps is that of the nearest one; its last bit is the flag.
    time = resets.shape[0]
    codes = 2 * (time - jnp.arange(time))[:, None] + resets.astype(int)
    nearest = lax.cummax(jnp.where(valid, codes, 0), axis=0, reverse=True)
    begins = nearest % 2 == 1
    return valid & _next(begins)


def _next(flags: Array) -> Array:
    return jnp.concatenate([flags[1:], jnp.zeros_like(flags[:1])])
