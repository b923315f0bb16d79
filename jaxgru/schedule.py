"""How a loop is laid out for speed: decided here, from shapes alone, and nowhere else.

Whatever is chosen, the results are the same to rounding. The figures behind each choice are in
benchmarks/README.md.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# So many numbers in each (steps, B, H) array of a chunk: a dozen of such arrays then stay in a
# CPU's outer cache, where whole sequences would go through memory, freshly allocated at each call.
_CHUNK = 2**18


def chunk_steps(time: int, state: tuple[int, ...]) -> int:
    """Return how many steps are projected, or differentiated, at once for a ``(B, H)`` state."""
    rows, units = state
    return min(time, max(1, _CHUNK // max(1, rows * units)))


def unroll_of(state: tuple[int, ...]) -> int:
    """Return how many steps the compiled body of the loop holds."""
    return 1


def over_chunks(
    function: Callable[[Any, Any], tuple[Any, Array]],
    carry: Any,
    sequences: Any,
    steps: int,
    *,
    reverse: bool,
) -> Array:
    """Apply ``function(carry, chunk) -> carry, ys`` to chunks of the leading axis, in order.

    Returns the ys of all chunks joined. A remainder that fills no chunk comes last in the order
    of computation.
    """
    time = len(jax.tree.leaves(sequences)[0])
    count, rest = divmod(time, steps)
    start = rest if reverse else 0
    whole = jax.tree.map(lambda leaf: leaf[start : start + count * steps], sequences)
    remainder = jax.tree.map(
        lambda leaf: leaf[:rest] if reverse else leaf[time - rest :], sequences
    )
    if count == 1:
        carry, ys = function(carry, whole)
    else:
        chunks = jax.tree.map(lambda leaf: leaf.reshape(count, steps, *leaf.shape[1:]), whole)
        carry, ys = lax.scan(function, carry, chunks, reverse=reverse)
        ys = ys.reshape(count * steps, *ys.shape[2:])
    if rest:
        _, last = function(carry, remainder)
        ys = jnp.concatenate([last, ys] if reverse else [ys, last])
    return ys
