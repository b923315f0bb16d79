"""``jaxgru finetune``: the command's arguments; the work is in ``finetune_run``."""

import argparse
import contextlib
from typing import Any

from jaxgru.cli.files import Input, Output, OutputFolder, Weights
from jaxgru.cli.source import add_source_options
from jaxgru.optional import need
from jaxgru.weights.equations import EQUATIONS

_EXAMPLES = """\
examples:
  jaxgru finetune gru.npz data.npz -o tuned.npz --readout readout.npz --epochs 20
      states read by a linear readout, the mean squared error of its predictions made smaller
  jaxgru finetune gru.npz recordings/ -o tuned.npz --targets position,velocity \\
      --readout-output readout.npz --history run.jsonl --plot run.png
      a folder of .csv files, and a new readout trained with the weights
  jaxgru finetune gru.npz long.csv -o tuned.npz --loss next-step --window 100 \\
      --trainable recurrent_kernel --checkpoints run/
      truncated backpropagation; killed at any moment, the same command goes on

DATA:
  .npz  arrays called inputs (N, T, I), targets and, if the sequences are padded, lengths (N,).
        Targets are (N, T, O) numbers or (N, T) classes, with --on last (N, O) or (N,). One
        sequence may be without the N.
  .csv  one sequence, a line for each step. The columns of --targets, by the names in the first
        line or by numbers from 1, are targets in the order given; the others are inputs in the
        order of the file. With --on last the last line has the targets.
  folder  of .csv files of the same columns, a sequence each, of any lengths
With --loss next-step there are no targets: all are inputs, and their next step is the target.
Held out are random sequences; of a single one, its last steps.

Written are the weights of the lowest held-out loss, of all epochs and the start.

exit codes: 0 done, 1 no epoch was better than the start (the weights are written as they were) or
a loss was not finite, 2 an error
"""


def add_parser(subparsers: Any) -> None:
    """Add this subcommand to the parser of the command line."""
    parser = subparsers.add_parser(
        "finetune",
        help="tune weights on data, by gradients",
        description="Tune weights on data by Adam, and print the loss on held-out data.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", type=Weights, help="weights; the content says the format"
    )
    parser.add_argument(
        "data", metavar="DATA", type=Input, help=".npz, .csv or a folder of .csv, see below"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="TUNED",
        type=Output,
        required=True,
        help="the file to write; the ending says the format",
    )
    parser.add_argument("--to", metavar="FORMAT", help="the format of TUNED, if not by its ending")
    add_source_options(parser)
    parser.add_argument(
        "--equations",
        choices=EQUATIONS,
        default="keras",
        help="what WEIGHTS is meant for (default: %(default)s); TUNED is meant for keras'",
    )
    _add_task(parser.add_argument_group("what is learned"))
    _add_training(parser.add_argument_group("how"))
    _add_records(parser.add_argument_group("what is kept"))
    parser.set_defaults(func=_run)


def _add_task(group: Any) -> None:
    group.add_argument(
        "--loss",
        choices=("regression", "classification", "next-step"),
        default="regression",
        help="squared error, cross-entropy, or squared error to the next input "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--on",
        choices=("steps", "last"),
        default="steps",
        help="whether every step has a target or each sequence one (default: %(default)s)",
    )
    group.add_argument("--targets", metavar="COLUMNS", help="of .csv: names or numbers with commas")
    group.add_argument(
        "--readout",
        metavar="IN",
        type=Input,
        help="a .npz of kernel (H, O) and bias (O,) that makes predictions of the states; the "
        "states are the predictions if there is no readout",
    )
    group.add_argument(
        "--readout-output",
        metavar="OUT",
        type=Output,
        help="train the readout too, a new one without --readout, and write it",
    )
    group.add_argument(
        "--held-out",
        metavar="FRACTION",
        type=_fraction,
        default=0.2,
        help="how much of the data is not learned from (default: %(default)s)",
    )


def _add_training(group: Any) -> None:
    length = group.add_mutually_exclusive_group()
    length.add_argument("--epochs", metavar="N", type=_whole, help="times through the data (10)")
    length.add_argument("--steps", metavar="N", type=_whole, help="steps of training")
    group.add_argument("--batch-size", metavar="N", type=_whole, default=32, help="(%(default)s)")
    group.add_argument(
        "--learning-rate", metavar="RATE", type=_positive, default=1e-3, help="(%(default)s)"
    )
    group.add_argument(
        "--clip-norm", metavar="NORM", type=_positive, help="scale larger gradients down to it"
    )
    group.add_argument(
        "--trainable",
        metavar="PATTERN",
        action="append",
        help="train weights of this path alone, as recurrent_kernel or '0.forward.*' (again for "
        "each)",
    )
    group.add_argument(
        "--low-rank",
        metavar="RANK",
        type=_whole,
        help="train changes of this rank of the kernels, all or those of --trainable",
    )
    group.add_argument(
        "--pull",
        metavar="STRENGTH",
        type=_positive,
        default=0.0,
        help="draw the weights to the original ones",
    )
    group.add_argument(
        "--window", metavar="STEPS", type=_whole, help="truncate backpropagation to windows"
    )
    group.add_argument(
        "--patience",
        metavar="N",
        type=_whole,
        help="stop after N epochs without a lower held-out loss",
    )
    group.add_argument("--seed", metavar="N", type=int, default=0, help="(%(default)s)")


def _add_records(group: Any) -> None:
    group.add_argument(
        "--checkpoints",
        metavar="FOLDER",
        type=OutputFolder,
        help="save every epoch, and go on there",
    )
    group.add_argument(
        "--history", metavar="JSONL", type=Output, help="write a line for every epoch"
    )
    group.add_argument(
        "--plot", metavar="IMAGE", type=Output, help="draw the losses (.png, .svg, .pdf)"
    )


def _run(arguments: argparse.Namespace) -> int:
    # Here and not above: the command line has to work without Optax.
    need("optax", "finetune", "fine-tuning")
    from jaxgru.cli.finetune_run import run

    return run(arguments)


def _fraction(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} given, expected a number between 0 and 1")


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} given, expected a number above 0")


def _whole(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} given, expected a whole number from 1 on")
