"""One row of the table of formats: how near a loaded net is to its library, there and back."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from equal import same

import jaxgru
from jaxgru._weights.io import read_all

DTYPES = ("float16", "bfloat16", "float32", "float64")
# Where activations let states grow without bound, later steps say nothing of a format.
_BOUND = 4.0


class Row(NamedTuple):
    """What was measured of one variant of one library, in float32."""

    variant: str
    files: tuple[str, ...]  # the kinds of files that were loaded, all to the same bits
    steps: int  # that were compared; 0: no library computes with this format
    largest: float  # of the library's outputs, by absolute value
    error_in: float  # the largest difference between our outputs and the library's
    error_out: float | str  # the same of a new layer with our net in it, or why there is none
    exact: tuple[str, ...]  # the types in which a net is bit-for-bit identical after both ways


def compare(
    variant: str,
    files: tuple[str, ...],
    net: Any,
    xs: Any,
    expected: Any,
    outputs: Callable[[Any], Any],
    round_trip: Callable[[Any], Any],
) -> Row:
    """Return the row of a net that was loaded.

    Args:
        variant: its name.
        files: the kinds of files it was loaded from.
        net: the net.
        xs: inputs (batch, time, inputs).
        expected: what the library's own layer gives for them.
        outputs: takes a net into the library, and gives what that computes then.
        round_trip: takes a net out and in again.
    """
    ys, h = jaxgru.gru(net, xs)
    steps = _bounded_steps(expected)
    exact: tuple[str, ...] = ()
    error_out: float | str
    try:
        found = outputs(net)
    except jaxgru.WeightsError as error:
        error_out = str(error)
    else:
        # Where a library gives the sequence in another order, its last state is compared.
        is_last_state = not isinstance(found, tuple) and np.ndim(found) == 2
        error_out = _difference(found, h) if is_last_state else _difference(found, ys, steps)
        exact = exact_types(net, round_trip)
    largest = max(float(np.abs(y[:, :steps]).max()) for y in jax.tree.leaves(expected))
    error_in = _difference(expected, ys, steps)
    return Row(variant, files, steps, largest, error_in, error_out, exact)


def exact_types(net: Any, round_trip: Callable[[Any], Any]) -> tuple[str, ...]:
    """Return the types in which a net comes back bit-for-bit identical."""
    exact = []
    for dtype in DTYPES:
        with jax.enable_x64(True), quietly():
            # A third is no number of any type, so that no rounding goes unseen.
            cast = jax.tree.map(lambda array: (jnp.asarray(array) / 3).astype(dtype), net)  # noqa: B023
            with contextlib.suppress(jaxgru.WeightsError):  # a type that it does not have
                if same(round_trip(cast), cast):
                    exact.append(dtype)
    return tuple(exact)


def load_same(folder: Path, assume: Any = None) -> Any:
    """Return the net that is in every file of a folder, the same bit-for-bit in all of them."""
    with quietly():
        found = {path.name: jaxgru.load(path, assume=assume) for path in sorted(folder.iterdir())}
    first = next(iter(found.values()))
    for name, net in found.items():
        assert same(net, first), f"{name} holds another net than {next(iter(found))}"
    return first


def there_and_back(net: Any, path: Path) -> Any:
    """Return what is in a file that a net was saved to, as NumPy arrays."""
    jaxgru.save(net, path)
    found = [found.net for found in read_all(path).gathered.values()]
    return found[0] if len(found) == 1 else tuple(found)


@contextlib.contextmanager
def quietly():
    """Hear nothing of what files leave unsaid, nor of what is other libraries'."""
    with warnings.catch_warnings(action="ignore"):
        yield


def _difference(found: Any, expected: Any, steps: int | None = None) -> float:
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(
        float(np.abs(np.asarray(a)[:, :steps] - np.asarray(b)[:, :steps]).max()) for a, b in pairs
    )


def _bounded_steps(outputs: Any) -> int:
    """Return how many steps there are before an output is beyond the bound, or NaN."""
    return min(
        int(np.logical_and.accumulate(np.all(np.abs(y) <= _BOUND, axis=(0, 2))).sum())
        for y in map(np.asarray, jax.tree.leaves(outputs))
    )
