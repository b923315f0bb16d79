"""``jaxgru inspect``: what a weights file holds, as a table and as a picture."""

import argparse
from typing import Any

from jaxgru.cli.describe import in_a_line, layers_of, summary, table
from jaxgru.cli.files import Output, Weights
from jaxgru.cli.source import add_source_options, source_options
from jaxgru.weights import Contents, WeightsError, read_all
from jaxgru.weights.reading import about
from jaxgru.weights.results import Found, pick, warn

_EXAMPLES = """\
examples:
  jaxgru inspect GRUMatrices.npz
  jaxgru inspect GRUMatrices.npz --plot weights.png
  jaxgru inspect model.keras --layer gru_1

A file with several GRUs is shown as a list; --layer picks one of them. The table has a row for
each gate's block of each array, in the equations
  z  = sigma(x Wz + bz + h Uz + cz)                 update
  r  = sigma(x Wr + br + h Ur + cr)                 reset
  n  = phi(x Wh + bh + r * (h Uh + ch))             candidate, reset_after=True
  n  = phi(x Wh + bh + (r * h) Uh + ch)             candidate, reset_after=False
  h' = z * h + (1 - z) * n
with kernel W, recurrent kernel U, bias b and recurrent bias c. The norm is the root of the sum of
squares. NaN and Inf are counted and left out of the other columns.
"""


def add_parser(subparsers: Any) -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a weights file holds",
        description="Show what a weights file holds: sizes, variant, and each gate's numbers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", metavar="FILE", type=Weights, help="a weights file; its content says the format"
    )
    add_source_options(parser)
    parser.add_argument(
        "--plot",
        metavar="OUT",
        type=Output,
        help="also draw the blocks as heat maps (.png, .svg, .pdf); needs jaxgru[plot]",
    )
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    contents = read_all(arguments.file, **source_options(arguments))
    if arguments.layer is None and len(contents.gathered) > 1:
        _list(arguments, contents)
        return 0
    with about(arguments.file):
        found = pick(contents.gathered, arguments.layer)
    warn(found, arguments.file, [], stacklevel=1)
    _show(arguments, contents.format, found)
    return 0


def _list(arguments: argparse.Namespace, contents: Contents) -> None:
    if arguments.plot is not None:
        with about(arguments.file):
            pick(contents.gathered, None)  # which is an error: one picture shows one GRU
    print(f"{arguments.file}: {len(contents.gathered)} GRUs, format {contents.format}\n")
    for name, found in contents.gathered.items():
        if isinstance(found, WeightsError):
            print(f"{name}: refused, {found}")
            continue
        print(f"{name}: {in_a_line(found.net)}")
        for note in found.notes:
            print(f"  {note}")


def _show(arguments: argparse.Namespace, format_: str, found: Found) -> None:
    layers = list(layers_of(found.net))
    kind = "a GRU layer" if len(layers) == 1 else f"a GRU of {len(layers)} layers"
    print(f"{arguments.file}: {kind}, format {format_}")
    if not (len(layers) == 1 and layers[0][0] == ""):
        print(in_a_line(found.net))
    for place, params in layers:
        print(f"\nnet{place}" if place else "")
        print("\n".join(summary(params)) + "\n")
        print("\n".join(table(params)))
    if arguments.plot is not None:
        from jaxgru.plot_weights import plot_weights

        with about(arguments.file):
            plot_weights(_one_layer(layers), arguments.plot)
        print(f"\nheat maps: {arguments.plot}")


def _one_layer(layers: list[Any]) -> Any:
    if len(layers) > 1:
        raise WeightsError(f"it is a GRU of {len(layers)} layers: expected one layer to draw")
    return layers[0][1]
