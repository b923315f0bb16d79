"""How a loop and its products are laid out for speed: decided from shapes, here and nowhere else.

The results are the same to rounding, whatever is chosen. A size that is no integer yet
(``jax.export`` with symbolic shapes) decides nothing: the general way serves every size. The
figures behind each choice are in benchmarks/README.md.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# What ``precision=`` takes: whatever jax.lax.dot_general takes.
Precision = Any

# Numbers in each (steps, B, H) array of a chunk: a dozen of such arrays then stay in a CPU's outer
# cache, where whole sequences would go through memory, freshly allocated at each call.
_CHUNK = 2**18
_VECTOR = 8  # numbers of single precision in a vector of AVX2
_SHORT = 128  # numbers in a state
_LONG = 512  # steps in a loop
_WIDE = 384  # numbers that go into a gate


def chunk_steps(time: int, state: tuple[int, ...]) -> int:
    """Return how many steps are projected, or differentiated, at once for a ``(B, H)`` state."""
    rows, units = state
    if not _known(time, rows):
        return time
    return min(time, max(1, _CHUNK // max(1, rows * units)))


def padded_units(state: tuple[int, ...]) -> int:
    """Return how many units to compute with: the state's own, or a few more that stay unused.

    A loop over 6 numbers is compiled to six single ones, a loop over 8 to one vector: where a step
    is so short that it shows, the units are rounded up to whole vectors.
    """
    rows, units = state
    short = _known(rows) and rows * units <= _SHORT
    return -(-units // _VECTOR) * _VECTOR if short else units


def projects_in_loop(inputs: int, state: tuple[int, ...]) -> bool:
    """Return whether each step projects its own input, rather than all being projected before.

    Where the products are but a few more terms in the same compiled loop.
    """
    return _is_written_out(state) and _is_written_out((state[0], inputs))


def unroll_of(time: int, state: tuple[int, ...], *, holds: bool) -> int:
    """Return how many steps the compiled body of the loop holds.

    Several where the loop is long. A short one is a single call, run at once, where the copies
    around several steps would be left to XLA's threads, at 20 microseconds. One, too, where a
    state may have to be held to the bit: of several steps XLA computes a state anew for each that
    uses it, and may round it differently.
    """
    long = _known(time) and time >= _LONG
    return 4 if long and _is_written_out(state) and not holds else 1


def keeps_gates(inputs: int, units: int) -> bool:
    """Return whether the backward pass is given the gates, rather than the states alone.

    To compute a gate anew costs in proportion to the numbers that go into it, to keep it does not.
    """
    return inputs + units >= _WIDE


def keeps_axes() -> bool:
    """Return whether products leave time and batch apart.

    One axis of both is faster (``product``), but cannot be shared out among devices by batch.
    """
    return jax.device_count() > 1 or not jax.sharding.get_abstract_mesh().empty


def product(x: Array, matrix: Array, precision: Precision) -> Array:
    """Return ``x @ matrix`` for any leading axes of x, taken as one.

    With several leading axes, XLA's CPU backend transposes the whole operand in memory to form
    the gradient of the matrix (measured: a third of the backward pass).
    """
    if x.ndim <= 2 or keeps_axes():
        return jnp.matmul(x, matrix, precision=precision)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    products = jnp.matmul(rows, matrix, precision=precision)
    return products.reshape(*x.shape[:-1], matrix.shape[-1])


def product_blocks(x: Array, matrix: Array, count: int, precision: Precision) -> list[Array]:
    """Return the blocks of ``x @ matrix`` along the last axis, as many as ``count``."""
    if _is_written_out(x.shape):
        return [_written_out(x, block) for block in blocks(matrix, count)]
    return blocks(product(x, matrix, precision), count)


def projections(x: Array, kernel: Array, precision: Precision) -> list[Array]:
    """Return the products of the inputs with the three blocks of the kernel, ``(..., H)`` each.

    Three arrays, not one cut later: a loop that slices one wide array makes XLA's CPU backend
    compute the gates one number at a time (measured, nine times slower). To get them, the smaller
    of the kernel and the product is cut, as that copies it.
    """
    rows = x.shape[:-1]
    few = _known(*rows) and math.prod(rows) < x.shape[-1]
    if few or _is_written_out(x.shape):
        return product_blocks(x, kernel, 3, precision)
    return [product(x, block, precision) for block in blocks(kernel, 3)]


def blocks(array: Array, count: int) -> list[Array]:
    """Cut the last axis into equal blocks."""
    return list(lax.split(array, (array.shape[-1] // count,) * count, axis=array.ndim - 1))


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
    time = jax.tree.leaves(sequences)[0].shape[0]
    if steps == time:
        return function(carry, sequences)
    if counts is not None:
        sequences = (sequences, counts)
        function = functools.partial(_unless_idle, function, idle)
    count, rest = divmod(time, steps)
    start = rest if reverse else 0
    whole = jax.tree.map(lambda leaf: leaf[start : start + count * steps], sequences)
    chunks = jax.tree.map(lambda leaf: leaf.reshape(count, steps, *leaf.shape[1:]), whole)
    carry, ys = lax.scan(function, carry, chunks, reverse=reverse)
    ys = jax.tree.map(lambda leaf: leaf.reshape(count * steps, *leaf.shape[2:]), ys)
    if rest == 0:
        return carry, ys
    last = slice(None, rest) if reverse else slice(time - rest, None)
    carry, more = function(carry, jax.tree.map(lambda leaf: leaf[last], sequences))
    joined = (more, ys) if reverse else (ys, more)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), *joined)


def _unless_idle(function: Any, idle: Any, carry: Any, chunk: tuple[Any, Array]) -> Any:
    sequences, counts = chunk
    return lax.cond(counts.any(), function, idle, carry, sequences)


def _is_written_out(operand: tuple[int, ...]) -> bool:
    """Return whether a product of few rows of few numbers is computed term by term.

    Together with the gates it then is a single compiled loop.
    """
    return len(operand) == 2 and _known(*operand) and max(operand) <= _VECTOR


def _written_out(x: Array, matrix: Array) -> Array:
    """Return ``x @ matrix`` as a sum of one term for each row of the matrix."""
    return functools.reduce(
        jnp.add, (x[:, i : i + 1] * matrix[i : i + 1] for i in range(len(matrix)))
    )


def _known(*sizes: Any) -> bool:
    """Return whether sizes are numbers, and not symbols of ``jax.export``."""
    return all(isinstance(size, int) for size in sizes)
