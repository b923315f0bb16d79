"""``jaxgru run``: inputs through a GRU, its states to a file or to a table."""

import argparse
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxgru.arrayfiles import ArrayReader, Window, create_array, open_array
from jaxgru.cli.files import Input, Output, Weights
from jaxgru.cli.progress import progress_bar
from jaxgru.cli.run_arrays import check_expected, check_inputs, read_h0
from jaxgru.cli.run_comparison import Comparison
from jaxgru.cli.run_non_finite import NonFiniteWarner
from jaxgru.cli.run_table import Table
from jaxgru.cli.source import add_source_options, source_options
from jaxgru.net import Backward
from jaxgru.params import GRUParams
from jaxgru.plot_run import check_plot, plot_run
from jaxgru.streaming import Chunk, rounded, state_dtype, stream
from jaxgru.weights import WeightsError, load
from jaxgru.weights.conventions import only_layer
from jaxgru.weights.equations import EQUATIONS

_EXAMPLES = """\
examples:
  jaxgru run weights.npz inputs.npy
      the states as a table
  jaxgru run weights.npz inputs.csv -o states.csv --plot gates.png
      the states as a file, the gates of the sequence as a plot
  jaxgru run weights.npz inputs.npy --expect states.npy
      how far the states are from the expected ones; exit code 1 beyond the tolerance

files of numbers (INPUTS, OUT, H0, EXPECTED), by the ending of their name:
  .npy  an array: inputs (T, I), or a batch (..., T, I); states (T, H) or (..., T, H); h0 (H,) or
        (..., H). Integers are taken as the numbers they are.
  .npz  the same. If it holds several arrays, the one called inputs, outputs (of OUT and
        EXPECTED) or h0 is taken. Such a file is read whole.
  .csv  one sequence, a line for each step. A first line without any number is a header. Empty
        lines and lines that begin with # are passed over.
  .txt  the same, with spaces or tabs instead of commas.
Numbers are rounded to the type of the weights (float32 if that is narrower). Inputs other than
.npz may be larger than memory: they are read, and the states written, in parts. OUT is replaced
only once it is complete.

exit codes: 0 done, 1 beyond the tolerance, 2 an error
"""

_BEYOND_TOLERANCE = 1
_PLOTTED_STEPS = 10_000  # more than a picture has room for


def add_parser(subparsers: Any) -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "run",
        help="run a GRU on inputs, write, show, plot or check its states",
        description="Run a GRU on inputs; write, show, plot or check its states.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", type=Weights, help="weights; the content says the format"
    )
    parser.add_argument(
        "inputs", metavar="INPUTS", type=Input, help="the input sequence, or a batch of them"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Output, help="write the states, no table"
    )
    add_source_options(parser)
    parser.add_argument(
        "--h0", metavar="H0", type=Input, help="state before the first step (default: zeros)"
    )
    parser.add_argument("--expect", metavar="EXPECTED", type=Input, help="states to compare with")
    parser.add_argument(
        "--tolerance",
        metavar="ERROR",
        type=_tolerance,
        default=1e-6,
        help="largest absolute error that --expect accepts (default: %(default)s: states lie "
        "within -1 and 1, where a rounding in float32 is at most 6e-8, and some add up)",
    )
    parser.add_argument(
        "--plot", metavar="IMAGE", type=Output, help="draw gates and state (.png, .svg, .pdf)"
    )
    parser.add_argument("--reverse", action="store_true", help="go from the last step to the first")
    parser.add_argument(
        "--equations",
        choices=EQUATIONS,
        default="keras",
        help="what the weights are meant for (default: %(default)s, as a trained layer computes)",
    )
    parser.add_argument(
        "--chunk",
        metavar="STEPS",
        type=_steps,
        help="steps at a time (default: as many as keep a part near 64 MiB)",
    )
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        check_plot(arguments.plot)  # before the work, not after it
    params = _load_layer(arguments)
    with contextlib.ExitStack() as files:
        inputs = files.enter_context(open_array(arguments.inputs, "inputs"))
        check_inputs(inputs, params, arguments)
        h0 = read_h0(arguments.h0, params, inputs)
        shape = (*inputs.shape[:-1], params.hidden_size)
        comparison = None
        if arguments.expect is not None:
            expected = files.enter_context(open_array(arguments.expect, "outputs"))
            check_expected(expected, shape, arguments)
            comparison = Comparison(expected)
        chunks = stream(params, inputs, h0, steps=arguments.chunk, reverse=arguments.reverse)
        _consume(chunks, shape, comparison, params, arguments)
        if arguments.plot is not None:
            _plot(params, inputs, h0, arguments)
    return 0 if comparison is None else _report(comparison, arguments)


def _load_layer(arguments: argparse.Namespace) -> GRUParams:
    """Return the layer to run; one that goes backward is run in reverse."""
    net = load(
        arguments.weights,
        layer=arguments.layer,
        equations=arguments.equations,
        **source_options(arguments),
    )
    if isinstance(net, Backward):
        if arguments.reverse:
            raise WeightsError(
                f"{arguments.weights}: its GRU goes from the last step to the first: expected no "
                "--reverse"
            )
        arguments.reverse = True
        net = net.net
    try:
        return only_layer(net, "run")
    except WeightsError as error:
        raise WeightsError(
            f"{arguments.weights}: {error}; jaxgru.gru runs nets of several"
        ) from None


def _consume(
    chunks: Iterator[Chunk],
    shape: tuple[int, ...],
    comparison: Comparison | None,
    params: GRUParams,
    arguments: argparse.Namespace,
) -> None:
    """Give every chunk to whoever is to see it."""
    takers: list[Callable[[Chunk], None]] = [NonFiniteWarner(arguments.inputs).add]
    if comparison is not None:
        takers.append(comparison.add)
    with contextlib.ExitStack() as stack:
        table = None
        if arguments.output is None:
            table = Table(shape, shutil.get_terminal_size().columns)
            takers.append(table.add)
        else:
            dtype = state_dtype(params)
            writer = stack.enter_context(create_array(arguments.output, shape, dtype, "outputs"))
            takers.append(lambda chunk: writer.write(chunk.window, chunk.ys))
        advance = stack.enter_context(progress_bar(math.prod(shape[:-1])))
        for chunk in chunks:
            for take in takers:
                take(chunk)
            advance(math.prod(chunk.ys.shape[:-1]))
    if table is None:
        print(f"{arguments.output}: states {shape} of {state_dtype(params)}")
    else:
        print(table)


def _plot(
    params: GRUParams, inputs: ArrayReader, h0: np.ndarray | None, arguments: argparse.Namespace
) -> None:
    """Draw the first sequence, and of a long one the steps that are computed first."""
    *batch, time, _ = inputs.shape
    start = max(0, time - _PLOTTED_STEPS) if arguments.reverse else 0
    window = Window(slice(0, 1), slice(start, min(time, start + _PLOTTED_STEPS)))
    (xs,) = rounded(inputs.read(window), params)
    first = None
    if h0 is not None:
        first = jnp.asarray(rounded(h0 if h0.ndim == 1 else h0[(0,) * len(batch)], params))
    plot_run(
        params,
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
    at = f" at {comparison.place}" if comparison.place else ""
    print(
        f"against {arguments.expect}: largest absolute error {comparison.absolute:.3g}{at}, "
        f"largest relative error {comparison.relative:.3g}; "
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
