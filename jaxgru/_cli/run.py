"""``jaxgru run``: run a net on inputs, and show, write, plot or check its states."""

import argparse
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np

from jaxgru._arrayfiles import ArrayReader, Window, create_array, open_array
from jaxgru._cli.files import Input, Output, Weights
from jaxgru._cli.progress import progress_bar
from jaxgru._cli.run_arrays import (
    NonFiniteWarner,
    check_expected,
    check_inputs,
    choose_columns,
    read_h0,
)
from jaxgru._cli.run_comparison import Comparison
from jaxgru._cli.run_table import Columns, Table
from jaxgru._cli.source import add_source_options, read_net
from jaxgru._layers import directions, split_state
from jaxgru._net import Net
from jaxgru._weights.equations import EQUATIONS
from jaxgru.plot import check_plot, plot_run
from jaxgru.streaming import Chunk, rounded, state_dtype, stream

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
  .csv  one sequence, one line per step. A first line without any number is a header, and so is
        0,1,2... as written by pandas. Empty lines and lines that begin with # are ignored.
  .txt  the same, with spaces or tabs instead of commas.
Numbers are rounded to the type of the weights (float32 if that is narrower). Inputs other than
.npz may be larger than memory: they are read, and the states written, in parts. OUT is replaced
when the new file is complete.

exit codes: 0 done, 1 beyond the tolerance, 2 an error
"""

_BEYOND_TOLERANCE = 1
_PLOTTED_STEPS = 10_000  # more than the pixels of a plot


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "run",
        help="run a net on inputs; show, write, plot or check its states",
        description="Run a net on inputs; show, write, plot or check its states.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", type=Weights, help="weights; the format is detected"
    )
    parser.add_argument(
        "inputs", metavar="INPUTS", type=Input, help="the input sequence, or a batch of them"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Output, help="write the states, print no table"
    )
    add_source_options(parser)
    columns = parser.add_mutually_exclusive_group()
    columns.add_argument(
        "--columns",
        metavar="LIST",
        help="the columns of INPUTS to use, in this order: names in the header, or numbers from 1",
    )
    columns.add_argument("--skip", metavar="LIST", help="the columns of INPUTS to skip")
    parser.add_argument(
        "--all-layers", action="store_true", help="return the states of all layers, not of the last"
    )
    parser.add_argument(
        "--h0", metavar="H0", type=Input, help="the state before the first step (default: zeros)"
    )
    parser.add_argument("--expect", metavar="EXPECTED", type=Input, help="states to compare with")
    parser.add_argument(
        "--tolerance",
        metavar="ERROR",
        type=_tolerance,
        default=1e-6,
        help="the largest absolute error for --expect (default: %(default)s: states lie "
        "within -1 and 1, where a rounding error in float32 is at most 6e-8, and several add up)",
    )
    parser.add_argument(
        "--plot", metavar="IMAGE", type=Output, help="plot gates and state (.png, .svg, .pdf)"
    )
    parser.add_argument("--reverse", action="store_true", help="from the last step to the first")
    parser.add_argument(
        "--equations",
        choices=EQUATIONS,
        default="keras",
        help="the equations of the weights (default: %(default)s, those of a trained layer)",
    )
    parser.add_argument(
        "--chunk",
        metavar="STEPS",
        type=_steps,
        help="steps at a time (default: for parts of about 64 MiB)",
    )
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        check_plot(arguments.plot)  # before anything else
    net = read_net(arguments.weights, arguments, arguments.equations)
    _check_directions(net, arguments)
    columns = Columns.of(net, arguments.all_layers)
    with contextlib.ExitStack() as files:
        inputs = files.enter_context(open_array(arguments.inputs, "inputs"))
        inputs = choose_columns(inputs, arguments)
        check_inputs(inputs, net, arguments)
        h0 = read_h0(arguments.h0, net, inputs.shape[:-2])
        shape = (*inputs.shape[:-1], len(columns.labels))
        comparison = None
        takers: list[Callable[[Chunk], None]] = [NonFiniteWarner(inputs).add]
        if arguments.expect is not None:
            expected = files.enter_context(open_array(arguments.expect, "outputs"))
            check_expected(expected, shape, arguments)
            comparison = Comparison(expected, columns)
            takers.append(comparison.add)
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
            _consume(chunks, [*takers, table.add], shape)
            print(table)
        else:
            _write(chunks, takers, shape, state_dtype(net), arguments.output)
            print(f"{arguments.output}: states {shape} of {state_dtype(net)}{columns}")
        if arguments.plot is not None:
            _plot(net, inputs, h0, arguments)
    return 0 if comparison is None else _report(comparison, arguments)


def _check_directions(net: Net, arguments: argparse.Namespace) -> None:
    ways = directions(net)
    if arguments.reverse and True in ways:
        raise ValueError(
            f"{arguments.weights}: its net has a backward direction: expected no --reverse"
        )
    if arguments.chunk is not None and len(ways) > 1:
        raise ValueError(
            f"{arguments.weights}: its net goes both ways and needs whole sequences: expected no "
            "--chunk"
        )


def _write(
    chunks: Iterator[Chunk],
    takers: list[Callable[[Chunk], None]],
    shape: tuple[int, ...],
    dtype: np.dtype,
    path: str,
) -> None:
    with create_array(path, shape, dtype, "outputs") as writer:
        _consume(chunks, [*takers, lambda chunk: writer.write(chunk.window, chunk.ys)], shape)


def _consume(
    chunks: Iterator[Chunk], takers: list[Callable[[Chunk], None]], shape: tuple[int, ...]
) -> None:
    """Pass every chunk to all takers."""
    with progress_bar(math.prod(shape[:-1])) as advance:
        for chunk in chunks:
            for take in takers:
                take(chunk)
            advance(math.prod(chunk.ys.shape[:-1]))


def _plot(
    net: Net, inputs: ArrayReader, h0: np.ndarray | None, arguments: argparse.Namespace
) -> None:
    """Plot the first sequence, or the steps of a long one that are computed first."""
    *batch, time, _ = inputs.shape
    ways = directions(net, arguments.reverse)
    # A net that goes both ways has to see all steps, and they are in memory anyway.
    most = _PLOTTED_STEPS if len(ways) == 1 else time
    start = max(0, time - most) if ways == {True} else 0
    window = Window(slice(0, 1), slice(start, min(time, start + most)))
    (xs,) = rounded(inputs.read(window), net)
    first = None
    if h0 is not None:
        first = split_state(net, rounded(h0 if h0.ndim == 1 else h0[(0,) * len(batch)], net))
    plot_run(
        net,
        jnp.asarray(xs),
        arguments.plot,
        first,
        reverse=arguments.reverse,
        first_step=start,
    )
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


def _tolerance(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (value := float(text)) >= 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} given, expected a number from 0 on")


def _steps(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} given, expected a whole number from 1 on")
