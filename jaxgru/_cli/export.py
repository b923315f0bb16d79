"""``jaxgru export``: write a net to a file that runs without jaxgru."""

import argparse

from jaxgru._cli.arguments import Output, Subparsers, add_command, add_equations, add_weights
from jaxgru._cli.source import add_source_options, read_net
from jaxgru._export import ENDINGS, PLATFORMS, export
from jaxgru._weights.io import read

_EXAMPLES = """\
examples:
  jaxgru export weights.npz net.onnx
      an ONNX model
  jaxgru export weights.npz step.onnx --streaming
      an ONNX model with the state as input and output, for sequences in chunks
  jaxgru export model.pt net.stablehlo --layer encoder.gru --platforms cpu,cuda
      a program for jax.export.deserialize

The inputs of the file are x, then lengths with --lengths, then the first state of each layer with
--streaming. The outputs are y and the last state of each layer. The command prints their shapes, in
which batch and time may have any size from 1. docs/deployment.md shows how to run the files.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "write a net as an ONNX model or a StableHLO program"
    parser = add_command(subparsers, "export", text, _EXAMPLES, _export)
    add_weights(parser)
    parser.add_argument(
        "output", metavar="OUT", type=Output, help="the file to write: .onnx or .stablehlo"
    )
    add_source_options(parser)
    parser.add_argument("--format", choices=ENDINGS, help="the format of OUT (default: by suffix)")
    parser.add_argument(
        "--streaming", action="store_true", help="add the first state of each layer as an input"
    )
    parser.add_argument(
        "--lengths",
        action="store_true",
        help="add the lengths of the sequences as an input; y is zero at later steps",
    )
    parser.add_argument("--time-major", action="store_true", help="time before batch in x and y")
    parser.add_argument(
        "--platforms",
        metavar="LIST",
        default="cpu",
        help=f"platforms of StableHLO, of {','.join(PLATFORMS)} (default: %(default)s)",
    )
    add_equations(parser, "--equations", "the weights")


def _export(arguments: argparse.Namespace) -> int:
    # Not load: its JAX arrays would be rounded to float32.
    net = read_net(arguments.weights, arguments, arguments.equations, read=read)
    signature = export(
        net,
        arguments.output,
        format=arguments.format,
        streaming=arguments.streaming,
        lengths=arguments.lengths,
        time_major=arguments.time_major,
        platforms=tuple(arguments.platforms.split(",")),
    )
    inputs, outputs = (
        ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in side.items())
        for side in (signature.inputs, signature.outputs)
    )
    kind = f"{signature.dtype.name}, {inputs} -> {outputs}"
    print(f"{arguments.weights} -> {arguments.output}: {kind}")
    return 0
