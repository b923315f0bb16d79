"""``jaxgru inspect``: the contents of a weights file as a table and as a plot."""

import argparse

from jaxgru._cli.arguments import Output, Subparsers, add_command, add_weights
from jaxgru._cli.describe import in_a_line, sizes, structure, summary, table
from jaxgru._cli.source import add_source_options, layer_option, source_options
from jaxgru._net import Net, unroll
from jaxgru._weights.errors import prefix_errors
from jaxgru._weights.io import Contents, WeightsError, read_all
from jaxgru._weights.results import pick, warn
from jaxgru._weights.whole import load_arrays
from jaxgru.plot import check_plot, plot_weights

_EXAMPLES = """\
examples:
  jaxgru inspect GRUMatrices.npz
  jaxgru inspect GRUMatrices.npz --plot weights.png
  jaxgru inspect model.keras --layer gru_1
  jaxgru inspect model.keras --arrays

If the file has several GRUs, the command lists them; --layer selects one, or several as a stack.
Each layer of a net is shown with its position. The table has a row for each block of each array in
the equations
  z  = sigma(x Wz + bz + h Uz + cz)                 update
  r  = sigma(x Wr + br + h Ur + cr)                 reset
  n  = phi(x Wh + bh + r * (h Uh + ch))             candidate, reset_after=True
  n  = phi(x Wh + bh + (r * h) Uh + ch)             candidate, reset_after=False
  h' = z * h + (1 - z) * n
with kernel W, recurrent kernel U, bias b and recurrent bias c. The norm is the root of the sum of
squares. NaN and Inf are counted, and excluded from the other columns.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "show the contents of a weights file: sizes, variant, statistics of each gate"
    parser = add_command(subparsers, "inspect", text, _EXAMPLES, _inspect)
    add_weights(parser, "FILE")
    add_source_options(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--arrays",
        action="store_true",
        help="list all arrays of the file, with the names of jaxgru.load_arrays",
    )
    shown.add_argument(
        "--plot",
        metavar="OUT",
        type=Output,
        help="plot the blocks as heat maps (.png, .svg, .pdf); needs jaxgru[plot]",
    )


def _inspect(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        check_plot(arguments.plot)  # before anything else
    if arguments.arrays:
        _list_arrays(arguments)
        return 0
    contents = read_all(arguments.weights, **source_options(arguments))
    if arguments.layer is None and len(contents.gathered) > 1:
        _list(arguments, contents)
        return 0
    with prefix_errors(arguments.weights):
        found = pick(contents.gathered, layer_option(arguments))
    warn(found, arguments.weights, [], stacklevel=1)
    _show(arguments, contents.format, found.net)
    return 0


def _list_arrays(arguments: argparse.Namespace) -> None:
    for option in ("layer", "assume", "override"):
        if getattr(arguments, option):
            raise ValueError(f"--{option} is given with --arrays, which lists all: expected none")
    arrays = load_arrays(arguments.weights, external_data=arguments.external_data)
    width = max(map(len, (*arrays, "array")))
    print(f"{arguments.weights}: {len(arrays)} {'array' if len(arrays) == 1 else 'arrays'}\n")
    print(f"{'array':<{width}} {'type':<9} shape")
    for name in arrays:
        shape = " x ".join(map(str, arrays.shape(name))) or "one number"
        print(f"{name:<{width}} {arrays.dtype(name):<9} {shape}")


def _list(arguments: argparse.Namespace, contents: Contents) -> None:
    if arguments.plot is not None:
        with prefix_errors(arguments.weights):
            pick(contents.gathered, None)  # an error, because a plot shows one GRU
    print(f"{arguments.weights}: {len(contents.gathered)} GRUs, format {contents.format}\n")
    for name, found in contents.gathered.items():
        if isinstance(found, WeightsError):
            print(f"{name}: refused, {found}")
            continue
        print(f"{name}: {in_a_line(found.net)}")
        for note in found.notes:
            print(f"  {note}")


def _show(arguments: argparse.Namespace, format_: str, net: Net) -> None:
    print(f"{arguments.weights}: {structure(net)}, format {format_}")
    layers = unroll(net)
    several = len(layers) > 1
    if several:
        print(sizes(net))
    for layer in layers:
        print(f"\n{layer.place}" if several else "")
        print("\n".join(summary(layer.params)) + "\n")
        print("\n".join(table(layer.params)))
    if arguments.plot is not None:
        plot_weights(net, arguments.plot)
        print(f"\nheat maps: {arguments.plot}")
