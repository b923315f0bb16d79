"""``jaxgru convert``: weights to another format, or between two forms of the equations."""

import argparse
from typing import Any

from jaxgru.weights import read, save
from jaxgru.weights.equations import EQUATIONS

_EXAMPLES = """\
examples:
  jaxgru convert GRUMatrices.npz trained.npz --from-equations notebook
      weights that were meant for the notebook's equations, for a Keras layer
  jaxgru convert trained.npz GRUMatrices.npz --to-equations notebook
      the way back

equations:
  keras     h' = z*h + (1-z)*n  with  n = tanh(x Wh + bh + r*(h Uh + ch))
            what a trained layer computes
  notebook  h' = z*n + (1-z)*h  with  n = tanh(x Wh + bh + ch + r*(h Uh))

What the new file cannot hold exactly is refused, with the reason. Its format is that of its
name's ending: .npz.
"""


def add_parser(subparsers: Any) -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "convert",
        help="convert weights to another format, or between two forms of the equations",
        description="Convert weights to another format, or between two forms of the equations.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", metavar="IN", help="the file to read; its content says the format"
    )
    parser.add_argument("target", metavar="OUT", help="the file to write, or to replace")
    parser.add_argument(
        "--from-equations",
        choices=EQUATIONS,
        default="keras",
        help="what the weights of IN are meant for (default: %(default)s)",
    )
    parser.add_argument(
        "--to-equations",
        choices=EQUATIONS,
        default="keras",
        help="what the weights of OUT are meant for (default: %(default)s)",
    )
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Not load: its JAX arrays would be rounded to float32.
    params = read(arguments.source, equations=arguments.from_equations)
    save(params, arguments.target, equations=arguments.to_equations)
    print(
        f"{arguments.source} ({arguments.from_equations} equations) -> "
        f"{arguments.target} ({arguments.to_equations} equations): "
        f"{params.input_size} inputs, {params.hidden_size} units, {params.dtype.name}"
    )
    return 0
