"""How a loop is laid out for speed: decided here, from shapes alone, and nowhere else.

Whatever is chosen, the results are the same to rounding. The figures behind each choice are in
benchmarks/README.md.
"""

import functools
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


def padded_units(state: tuple[int, ...]) -> int:
    """Return how many units to compute with: the state's own, or a few more that stay unused.

    A loop over 6 numbers is compiled to six single ones, a loop over 8 to one vector: where a step
    is so short that it shows, the units are rounded up to whole vectors.
    """
    rows, units = state
    return -(-units // _VECTOR) * _VECTOR if rows * units <= _SHORT else units


def is_written_out(operand: tuple[int, ...]) -> bool:
    """Return whether a product of few rows of few numbers is computed term by term.

    Together with the gates it then is a single compiled loop.
    """
    return len(operand) == 2 and max(operand) <= _VECTOR


def projects_in_loop(inputs: int, state: tuple[int, ...]) -> bool:
    """Return whether each step projects its own input, rather than all being projected before.

    Where the products are but a few more terms in the same compiled loop.
    """
    return is_written_out(state) and is_written_out((state[0], inputs))


def unroll_of(time: int, state: tuple[int, ...], *, holds: bool) -> int:
    """Return how many steps the compiled body of the loop holds.

    Several where the loop is long. A short one is a single call, run at once, where the copies
    around several steps would be left to XLA's threads, at 20 microseconds. One, too, where a
    state may have to be held to the bit: of several steps XLA computes a state anew for each that
    uses it, and may round it differently.
    """
    return 4 if time >= _LONG and is_written_out(state) and not holds else 1


def keeps_gates(inputs: int, units: int) -> bool:
    """Return whether the backward pass is given the gates, rather than the states alone.

    To compute a gate anew costs in proportion to the numbers that go into it, to keep it does not.
    """
    return inputs + units >= _WIDE


def keeps_axes() -> bool:
    """Return whether products leave time and batch apart.

    One axis of both is faster (step.matmul), but cannot be shared out among devices by batch.
    """
    return jax.device_count() > 1


_VECTOR = 8  # numbers of single precision in a vector of AVX2
_SHORT = 128  # numbers in a state
_LONG = 512  # steps in a loop
_WIDE = 384  # numbers that go into a gate


def over_chunks(
    function: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    sequences: Any,
    steps: int,
    *,
    reverse: bool,
    idle: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    counts: Array | None = None,
) -> tuple[Any, Any]:
    """Apply ``function(carry, chunk) -> carry, ys`` to chunks of the leading axis, in order.

    Returns the last carry, and the ys of all chunks joined. A remainder that fills no chunk comes
    last in the order of computation. With ``counts (T,)``, flags of the steps that count at all, a
    chunk of none that does is left to ``idle``: so the steps beyond the longest sequence cost
    next to nothing.
    """
    time = len(jax.tree.leaves(sequences)[0])
    count, rest = divmod(time, steps)
    if counts is not None and time > steps:
        sequences = (sequences, counts)
        function = functools.partial(_unless_idle, function, idle)
    start = rest if reverse else 0
    whole = jax.tree.map(lambda leaf: leaf[start : start + count * steps], sequences)
    if count == 1:
        carry, ys = function(carry, whole)
    else:
        chunks = jax.tree.map(lambda leaf: leaf.reshape(count, steps, *leaf.shape[1:]), whole)
        carry, ys = lax.scan(function, carry, chunks, reverse=reverse)
        ys = jax.tree.map(lambda leaf: leaf.reshape(count * steps, *leaf.shape[2:]), ys)
    if rest:
        last = slice(None, rest) if reverse else slice(time - rest, None)
        carry, more = function(carry, jax.tree.map(lambda leaf: leaf[last], sequences))
        joined = (more, ys) if reverse else (ys, more)
        ys = jax.tree.map(lambda *parts: jnp.concatenate(parts), *joined)
    return carry, ys


def _unless_idle(function: Any, idle: Any, carry: Any, chunk: tuple[Any, Array]) -> Any:
    sequences, counts = chunk
    return lax.cond(counts.any(), function, idle, carry, sequences)
