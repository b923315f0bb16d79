"""``jaxgru convert``: weights to another format, or between two forms of the equations."""

import argparse

from jaxgru._cli.arguments import Result, Subparsers, add_command, add_equations, add_weights
from jaxgru._cli.describe import in_a_line
from jaxgru._cli.result import add_result_options, save_result
from jaxgru._cli.source import add_source_options, read_net
from jaxgru._weights.io import read

_EXAMPLES = """\
examples:
  jaxgru convert GRUMatrices.npz trained.npz --from-equations notebook
      weights of the notebook's equations to those of a Keras layer
  jaxgru convert trained.npz GRUMatrices.npz --to-equations notebook
      the inverse conversion
  jaxgru convert model.pt encoder.onnx --layer encoder.gru
      one GRU of a PyTorch model as an ONNX model
  jaxgru convert model.keras encoder.safetensors --to torch-safetensors
      a Keras layer with the names that torch.nn.GRU loads
  jaxgru convert model.keras encoder.onnx --layer gru --layer gru_1
      two layers of a Keras model as one stack
  jaxgru convert tuned.safetensors tuned.keras --into model.keras --into-layer encoder
      tuned weights into a copy of the original model

equations:
  keras     h' = z*h + (1-z)*n  with  n = tanh(x Wh + bh + r*(h Uh + ch))
            the equations of a trained Keras layer
  notebook  h' = z*n + (1-z)*h  with  n = tanh(x Wh + bh + ch + r*(h Uh))

If the new format cannot represent the net exactly, the command fails with the reason. The format is
that of --to, or that of the suffix: .safetensors, .npz, .onnx, .keras or .weights.h5.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "convert weights to another format, or between two forms of the equations"
    parser = add_command(subparsers, "convert", text, _EXAMPLES, _convert)
    add_weights(parser, "IN")
    parser.add_argument(
        "target", metavar="OUT", type=Result, help="the file to write, or to replace"
    )
    add_source_options(parser)
    add_result_options(parser, "OUT")
    add_equations(parser, "--from-equations", "IN")
    add_equations(parser, "--to-equations", "OUT")


def _convert(arguments: argparse.Namespace) -> int:
    # Not load: its JAX arrays would be rounded to float32.
    net = read_net(arguments.weights, arguments, arguments.from_equations, read)
    save_result(net, arguments.target, arguments, arguments.to_equations)
    source = _with_equations(arguments.weights, arguments.from_equations)
    target = _with_equations(arguments.target, arguments.to_equations)
    place = "" if arguments.into is None else f", into {arguments.into}"
    print(f"{source} -> {target}: {in_a_line(net)}{place}")
    return 0


def _with_equations(path: str, equations: str) -> str:
    """Return a path, with the equations if they are not those of Keras."""
    return path if equations == "keras" else f"{path} ({equations} equations)"
