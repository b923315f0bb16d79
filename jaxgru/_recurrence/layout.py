"""All choices of layout for speed, made from shapes: chunks, padding, unrolling, products.

The choices do not change the results beyond rounding. For symbolic sizes (``jax.export``) the
general layout is used. The measurements are in benchmarks/README.md.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# The ``precision`` of jax.lax.dot_general.
Precision: TypeAlias = lax.PrecisionLike

# Elements in each (steps, B, H) array of a sequence that is not cut, and of a chunk of a longer
# one. A dozen arrays of a chunk are used again while they are in the last level cache, and stay
# below 32 MiB, above which glibc's malloc takes memory from the system, page by page, at each call.
_WHOLE = 2**19
_CHUNK = 2**16
_VECTOR = 8  # float32 elements in an AVX2 vector
_SHORT = 128  # elements in a state
_LONG = 512  # steps in a loop
_WIDE = 384  # inputs and units of a gate


def chunk_steps(time: int, state: tuple[int, ...]) -> int:
    """Return the number of steps in a chunk, for a ``(B, H)`` state."""
    rows, units = state
    if not _known(time, rows) or time * rows * units <= _WHOLE:
        return time
    # Each chunk also reads and writes whole kernels.
    elements = max(_CHUNK, 4 * units**2)
    steps = min(time, max(1, elements // (rows * units)))
    # Without a remainder, the sequences are not copied.
    return next((few for few in range(steps, steps // 2, -1) if time % few == 0), steps)


def padded_units(state: tuple[int, ...]) -> int:
    """Return the number of units to compute with; small states are padded to whole vectors.

    A loop over 6 elements compiles to six scalar operations, a loop over 8 to one vector operation.
    """
    rows, units = state
    short = _known(rows) and rows * units <= _SHORT
    return -(-units // _VECTOR) * _VECTOR if short else units


def padded(array: Any, units: int, spare: int) -> Any:
    """Append zeros to each block of the last axis."""
    if array is None:
        return None
    *leading, last = array.shape
    gates = array.reshape(*leading, last // units, units)
    gates = jnp.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, spare)])
    return gates.reshape(*leading, math.prod(gates.shape[-2:]))


def projects_in_loop(inputs: int, state: tuple[int, ...]) -> bool:
    """Return whether each step projects its own input, instead of one product for all steps.

    True where the products are small enough to be written out in the loop.
    """
    return _is_written_out(state) and _is_written_out((state[0], inputs))


def unroll_of(time: int, state: tuple[int, ...], *, holds: bool) -> int:
    """Return the number of steps in the compiled body of the loop.

    Long loops are unrolled. In a short loop, unrolling adds copies that XLA runs on its thread
    pool, at 20 microseconds each. Loops with held states are not unrolled: XLA may compute a state
    once for each use, with different rounding, and a held state must keep every bit.
    """
    long = _known(time) and time >= _LONG
    return 4 if long and _is_written_out(state) and not holds else 1


def keeps_gates(inputs: int, units: int, *, native: bool) -> bool:
    """Return whether the gates are kept for the backward pass, in addition to the states.

    The cost of recomputing a gate grows with its number of inputs; the cost of keeping it does not.
    The native loop has computed the gates and only writes them, while a scan gets longer.
    """
    return native or inputs + units >= _WIDE


def keeps_axes() -> bool:
    """Return whether products keep time and batch as separate axes.

    Merged axes are faster (``product``), but cannot be sharded by batch.
    """
    return jax.device_count() > 1 or not jax.sharding.get_abstract_mesh().empty


def product(x: Array, matrix: Array, precision: Precision) -> Array:
    """Return ``x @ matrix``, with the leading axes of x merged.

    With several leading axes, XLA's CPU backend transposes the whole operand in memory for the
    gradient of the matrix (measured: a third of the backward pass).
    """
    if x.ndim <= 2 or keeps_axes():
        return jnp.matmul(x, matrix, precision=precision)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    products = jnp.matmul(rows, matrix, precision=precision)
    return products.reshape(*x.shape[:-1], matrix.shape[-1])


def product_blocks(x: Array, matrix: Array, count: int, precision: Precision) -> list[Array]:
    """Return the ``count`` blocks of ``x @ matrix`` along the last axis."""
    if _is_written_out(x.shape):
        return [_written_out(x, block) for block in blocks(matrix, count)]
    return blocks(product(x, matrix, precision), count)


def projections(x: Array, kernel: Array, precision: Precision) -> list[Array]:
    """Return the products of the inputs with the three blocks of the kernel, ``(..., H)`` each.

    Three arrays, because a loop that slices one wide array is not vectorized by XLA's CPU backend
    (measured: nine times slower). The kernel or the product is split, whichever is smaller, as the
    split copies it.
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

    Returns the last carry, and the ys of all chunks joined. A remainder shorter than a chunk is
    computed last. ``counts (T,)`` flags the valid steps: a chunk without one calls ``idle``
    instead of ``function``, so that steps after the longest sequence cost little.
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
    """Return whether a product of this operand is small enough to be written out term by term.

    XLA then compiles the product and the gates into a single loop.
    """
    return len(operand) == 2 and _known(*operand) and max(operand) <= _VECTOR


def _written_out(x: Array, matrix: Array) -> Array:
    """Return ``x @ matrix`` as a sum of one term for each row of the matrix."""
    return functools.reduce(
        jnp.add, (x[:, i : i + 1] * matrix[i : i + 1] for i in range(len(matrix)))
    )


def _known(*sizes: Any) -> bool:
    """Return whether sizes are integers, not symbolic dimensions of ``jax.export``."""
    return all(isinstance(size, int) for size in sizes)
