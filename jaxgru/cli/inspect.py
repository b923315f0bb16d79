"""``jaxgru inspect``: what a weights file holds, as a table and as a picture."""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxgru.params import GATES, GRUParams
from jaxgru.weights import format_of, read

_EXAMPLES = """\
examples:
  jaxgru inspect GRUMatrices.npz
  jaxgru inspect GRUMatrices.npz --plot weights.png

The table has a row for each gate's block of each array, in the equations
  z  = sigma(x Wz + bz + h Uz + cz)                 update
  r  = sigma(x Wr + br + h Ur + cr)                 reset
  n  = phi(x Wh + bh + r * (h Uh + ch))             candidate, reset_after=True
  n  = phi(x Wh + bh + (r * h) Uh + ch)             candidate, reset_after=False
  h' = z * h + (1 - z) * n
with kernel W, recurrent kernel U, bias b and recurrent bias c. The norm is the root of the sum of
squares. NaN and Inf are counted and left out of the other columns.
"""

_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def add_parser(subparsers: Any) -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a weights file holds",
        description="Show what a weights file holds: sizes, variant, and each gate's numbers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="a weights file; its content says the format")
    parser.add_argument(
        "--plot",
        metavar="OUT",
        help="also draw the blocks as heat maps (.png, .svg, .pdf); needs jaxgru[plot]",
    )
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    params = read(arguments.file)
    print(f"{arguments.file}: a GRU layer, format {format_of(arguments.file)}\n")
    print("\n".join(_summary(params)) + "\n")
    print("\n".join(_table(params)))
    if arguments.plot is not None:
        from jaxgru.plot_weights import plot_weights

        plot_weights(params, arguments.plot)
        print(f"\nheat maps: {arguments.plot}")
    return 0


def _summary(params: GRUParams) -> Iterator[str]:
    arrays = [(name, getattr(params, name)) for name in _ARRAYS]
    present = [(name, value) for name, value in arrays if value is not None]
    applied = "after" if params.reset_after else "before"
    rows = {
        "inputs": params.input_size,
        "units": params.hidden_size,
        "variant": f"reset gate applied {applied} the recurrent product "
        f"(reset_after={params.reset_after})",
        "activations": f"{params.activation} (candidate), {params.recurrent_activation} (gates)",
        "clip": params.clip,
        "biases": ", ".join(name for name, _ in present if "bias" in name) or "none",
        "dtype": ", ".join(sorted({value.dtype.name for _, value in present})),
        "parameters": f"{sum(value.size for _, value in present):,}",
    }
    for name, value in rows.items():
        if value is not None:
            yield f"{name:<12} {value}"


def _table(params: GRUParams) -> Iterator[str]:
    blocks = list(_blocks(params))
    counts = any(np.count_nonzero(~np.isfinite(block)) for _, _, block in blocks)
    columns = " ".join(f"{name:>11}" for name in ("min", "max", "mean", "norm"))
    yield f"{'array':<17} {'gate':<10} {'shape':>13} {columns}" + (
        f" {'NaN':>7} {'Inf':>7}" if counts else ""
    )
    for name, gate, block in blocks:
        shape = " x ".join(map(str, block.shape))
        row = f"{name:<17} {gate:<10} {shape:>13} {_statistics(block)}"
        nan, inf = np.count_nonzero(np.isnan(block)), np.count_nonzero(np.isinf(block))
        yield row + (f" {nan:>7} {inf:>7}" if counts else "")


def _blocks(params: GRUParams) -> Iterator[tuple[str, str, Any]]:
    for name in _ARRAYS:
        value = getattr(params, name)
        if value is not None:
            for gate, block in zip(GATES, np.split(value, 3, axis=-1), strict=True):
                yield name, gate, block


def _statistics(block: Any) -> str:
    # Summed in double precision: in half precision a norm soon overflows.
    finite = block[np.isfinite(block)].astype(np.float64)
    if finite.size == 0:
        return " ".join(["          -"] * 4)
    values = (finite.min(), finite.max(), finite.mean(), np.linalg.norm(finite))
    return " ".join(f"{value:>11.5g}" for value in values)
