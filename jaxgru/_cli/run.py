"""``jaxgru run``: run a net on inputs, and show, write, plot or check its states."""

import argparse
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np

from jaxgru._arrayfiles import ArrayFileError, ArrayReader, Window, create_array, open_array
from jaxgru._cli.arguments import (
    Input,
    Output,
    Subparsers,
    add_command,
    add_equations,
    add_weights,
    number,
    whole,
)
from jaxgru._cli.run_arrays import (
    NonFiniteWarner,
    add_columns,
    check_inputs,
    choose_columns,
    read_h0,
)
from jaxgru._cli.run_comparison import Comparison
from jaxgru._cli.run_table import Columns, Table
from jaxgru._cli.source import add_source_options, read_net
from jaxgru._net import Net, unroll
from jaxgru._progress import progress_bar
from jaxgru.plot import check_plot, plot_run
from jaxgru.streaming import Chunk, rounded, split_state, state_dtype, stream

_EXAMPLES = """\
examples:
  jaxgru run weights.npz inputs.npy
      the states as a table
  jaxgru run weights.npz inputs.csv -o states.csv --plot gates.png
      the states as a file, the gates of the sequence as a plot
  jaxgru run weights.npz inputs.npy --expect states.npy
      the largest difference from expected states; exit code 1 beyond the tolerance
  jaxgru run stack.pt log.csv --columns ax,ay,az --all-layers -o states.npy
      some columns of a file as inputs of a stack, and the states of all layers

nets: the states are the outputs of the last layer, for both directions in the order of the steps.
  With --all-layers, they are the states of all layers, joined in the order of inspect, which is
  always the order of H0. A bidirectional net needs whole sequences in memory.

files of numbers (INPUTS, OUT, H0, EXPECTED), by suffix:
  .npy  an array: inputs (T, I), or a batch (..., T, I); states (T, H) or (..., T, H); h0 (H,) or
        (..., H). Integers are converted to floating-point numbers.
  .npz  the same. If there are several arrays, the name must be inputs, outputs (for OUT and
        EXPECTED) or h0. The whole file is read into memory.
  .csv  one sequence, one line per step, with commas or semicolons. A first line without any number
        is a header; OUT has one. Empty lines and lines that begin with # are ignored.
  .txt  the same, with spaces or tabs instead of commas.
Numbers are rounded to the type of the weights (float32 if that is narrower). Inputs other than
.npz may be larger than memory: they are read, and the states written, in parts. OUT is replaced
when the new file is complete.

exit codes: 0 done, 1 beyond the tolerance, 2 an error
"""

_BEYOND_TOLERANCE = 1
_PLOTTED_STEPS = 10_000  # more than the pixels of a plot


_error_bound = number(float, lambda value: value >= 0, "a number, at least 0")


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "run a net on inputs; show, write, plot or check its states"
    parser = add_command(subparsers, "run", text, _EXAMPLES, _run_file)
    add_weights(parser)
    add = parser.add_argument
    text = "the input sequence, or a batch of them"
    add("inputs", metavar="INPUTS", type=Input, help=text)
    add(
        "-o",
        "--output",
        metavar="OUT",
        type=Output,
        help=("write the states instead of printing a table"),
    )
    add_source_options(parser)
    add_columns(parser, "INPUTS")
    text = "return the states of all layers instead of the last"
    add("--all-layers", action="store_true", help=text)
    text = "the state before the first step (default: zeros)"
    add("--h0", metavar="H0", type=Input, help=text)
    add("--expect", metavar="EXPECTED", type=Input, help="states to compare with")
    text = (
        "the largest absolute error for --expect (default: %(default)s: states lie within -1 and "
    )
    text += "1, where a rounding error in float32 is at most 6e-8, and several add up)"
    add("--tolerance", metavar="ERROR", type=_error_bound, default=1e-6, help=text)
    add("--plot", metavar="IMAGE", type=Output, help="plot gates and state (.png, .svg, .pdf)")
    add("--reverse", action="store_true", help="from the last step to the first")
    add_equations(parser, "--equations", "the weights")
    text = "steps per chunk (default: chunks of about 64 MiB)"
    add("--chunk", metavar="STEPS", type=whole, help=text)


def _run_file(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        check_plot(arguments.plot)  # before anything else
    net = read_net(arguments.weights, arguments, arguments.equations)
    columns = Columns.of(net, arguments.all_layers)
    with contextlib.ExitStack() as files:
        inputs = files.enter_context(open_array(arguments.inputs, "inputs"))
        inputs = choose_columns(inputs, arguments)
        check_inputs(inputs, net, arguments)
        h0 = read_h0(arguments.h0, net, inputs.shape[:-2])
        shape = (*inputs.shape[:-1], len(columns.labels))
        consumers: list[Callable[[Chunk], None]] = [NonFiniteWarner(inputs).add]
        comparison = None
        if arguments.expect is not None:
            expected = files.enter_context(open_array(arguments.expect, "outputs"))
            if expected.shape != shape:
                raise ArrayFileError(
                    f"{arguments.expect}: it has shape {expected.shape}: expected {shape}, the "
                    f"shape of the states for {arguments.inputs}"
                )
            comparison = Comparison(expected, columns)
            consumers.append(comparison.add)
        chunks = stream(
            net,
            inputs,
            h0,
            steps=arguments.chunk,
            reverse=arguments.reverse,
            all_layers=arguments.all_layers,
        )
        if arguments.output is None:
            table = Table(shape, columns, shutil.get_terminal_size().columns)
            _consume(chunks, [*consumers, table.add], shape)
            print(table)
        else:
            dtype = state_dtype(net)
            names = columns.names()
            with create_array(arguments.output, shape, dtype, "outputs", names) as writer:
                consumers.append(lambda chunk: writer.write(chunk.window, chunk.ys))
                _consume(chunks, consumers, shape)
            print(f"{arguments.output}: states {shape} of {dtype}{columns.slices()}")
        if arguments.plot is not None:
            _plot(net, inputs, h0, arguments)
    return 0 if comparison is None else _report(comparison, arguments)


def _consume(
    chunks: Iterator[Chunk], consumers: list[Callable[[Chunk], None]], shape: tuple[int, ...]
) -> None:
    """Pass every chunk to all consumers."""
    done = 0
    with progress_bar(math.prod(shape[:-1]), "step", delay=1) as advance:
        for chunk in chunks:
            for consume in consumers:
                consume(chunk)
            done += math.prod(chunk.ys.shape[:-1])
            advance(done)


def _plot(
    net: Net, inputs: ArrayReader, h0: np.ndarray | None, arguments: argparse.Namespace
) -> None:
    """Plot the first sequence, or the steps of a long one that are computed first."""
    *batch, time, _ = inputs.shape
    ways = {layer.reverse for layer in unroll(net, reverse=arguments.reverse)}
    # A bidirectional net needs all steps, and they are in memory anyway.
    most = _PLOTTED_STEPS if len(ways) == 1 else time
    start = max(0, time - most) if ways == {True} else 0
    window = Window(slice(0, 1), slice(start, min(time, start + most)))
    (xs,) = rounded(inputs.read(window), net)
    first = None
    if h0 is not None:
        first = split_state(net, rounded(h0 if h0.ndim == 1 else h0[(0,) * len(batch)], net))
    xs = jnp.asarray(xs)
    plot_run(net, xs, arguments.plot, first, reverse=arguments.reverse, first_step=start)
    shown = f"steps {start} to {start + len(xs) - 1} of {time}"
    which = " of sequence 0" if batch else ""
    print(f"{arguments.plot}: gates and state{which}, {shown}")


def _report(comparison: Comparison, arguments: argparse.Namespace) -> int:
    within = comparison.absolute <= arguments.tolerance
    print(
        f"against {arguments.expect}: {comparison}; "
        f"{'within' if within else 'BEYOND'} the tolerance of {arguments.tolerance:g}"
    )
    return 0 if within else _BEYOND_TOLERANCE
