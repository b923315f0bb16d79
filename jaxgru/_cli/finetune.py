"""The arguments of ``jaxgru finetune``; ``finetune_run`` has the command itself."""

import argparse

from jaxgru._cli.arguments import (
    Input,
    Output,
    Result,
    Subparsers,
    add_command,
    add_equations,
    add_weights,
    number,
    whole,
)
from jaxgru._cli.finetune_options import add_data_options
from jaxgru._cli.result import add_result_options
from jaxgru._cli.source import add_source_options
from jaxgru._optional import need

_EXAMPLES = """\
examples:
  jaxgru finetune gru.npz data.npz -o tuned.npz --readout readout.npz --epochs 20
      minimize the mean squared error of a linear readout of the states
  jaxgru finetune gru.npz recordings/ -o tuned.npz --targets position,velocity \\
      --readout-output readout.npz --history run.jsonl --plot run.png
      a folder of .csv files, and a new readout that is trained with the weights
  jaxgru finetune gru.npz long.csv -o tuned.npz --loss next-step --window 100 \\
      --trainable recurrent_kernel --checkpoints run/
      truncated backpropagation; after an interruption, the same command resumes
  jaxgru finetune model.keras data.npz -o tuned.keras --loss classification --on last
      a whole Keras model, written into a copy of its file

WEIGHTS is a whole Keras model, all of whose weights are trained, unless --layer, --readout or
--readout-output is given: then its GRU, with a linear readout. Other files have a GRU.

DATA:
  .npz  arrays called inputs (N, T, I), targets and, if the sequences are padded, lengths (N,).
        Targets are (N, T, O) numbers or (N, T) classes, with --on last (N, O) or (N,). For a
        single sequence, the axis N may be omitted. A model that begins with an Embedding takes
        integers (N, T).
  .csv  one sequence, one line per step. --targets selects the target columns in order, by the names
        in the first line or by numbers from 1; the other columns are the inputs. With --on last,
        the last line has the targets.
  folder  of .csv files with the same columns, one sequence per file, of any lengths
With --loss next-step, all columns are inputs, and the target of each step is the next step.
The held-out data are random sequences, or the last steps of a single sequence, unless --validation
is given. The command prints which, and writes them with --split-output.

The command writes the weights with the lowest held-out loss, including the initial ones.

exit codes: 0 done, 1 no epoch improved on the initial weights (which are written) or a loss was not
finite, 2 an error
"""


_fraction = number(float, lambda value: 0 < value < 1, "a number between 0 and 1")
_positive = number(float, lambda value: 0 < value < float("inf"), "a number above 0")


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "fine-tune weights on data with Adam, and print the loss on held-out data"
    parser = add_command(subparsers, "finetune", text, _EXAMPLES, _finetune)
    add_weights(parser)
    add = parser.add_argument
    add("data", metavar="DATA", type=Input, help=".npz, .csv or a folder of .csv, see below")
    text = "the file to write; for a whole model, a copy of WEIGHTS with the tuned weights"
    add("-o", "--output", metavar="TUNED", type=Result, required=True, help=text)
    add_source_options(parser)
    add_result_options(parser, "TUNED")
    add_equations(parser, "--equations", "WEIGHTS; TUNED has those of keras")
    _add_task(parser.add_argument_group("task"))
    _add_training(parser.add_argument_group("training"))
    _add_records(parser.add_argument_group("records"))


def _add_task(group: argparse._ArgumentGroup) -> None:
    add_data_options(group)
    add = group.add_argument
    text = "a .npz with kernel (H, O) and bias (O,) of a linear readout; without a "
    text += "readout the states are the predictions"
    add("--readout", metavar="IN", type=Input, help=text)
    text = "train the readout too (a new one without --readout) and write it"
    add("--readout-output", metavar="OUT", type=Output, help=text)
    held_out = group.add_mutually_exclusive_group()
    text = "the fraction of the data for validation (default: 0.2)"
    held_out.add_argument("--held-out", metavar="FRACTION", type=_fraction, help=text)
    text = "data for validation, like DATA; DATA is then only for training"
    held_out.add_argument("--validation", metavar="FILE", type=Input, help=text)


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    length = group.add_mutually_exclusive_group()
    length.add_argument("--epochs", metavar="N", type=whole, help="passes over the data (10)")
    length.add_argument("--steps", metavar="N", type=whole, help="training steps")
    add("--batch-size", metavar="N", type=whole, default=32, help="(%(default)s)")
    add("--learning-rate", metavar="RATE", type=_positive, default=1e-3, help="(%(default)s)")
    add("--clip-norm", metavar="NORM", type=_positive, help="the largest norm of a gradient")
    text = "train only weights of this path, such as recurrent_kernel or '0.forward.*' (repeatable)"
    add("--trainable", metavar="PATTERN", action="append", help=text)
    text = "train low-rank changes of all kernels, or of those of --trainable"
    add("--low-rank", metavar="RANK", type=whole, help=text)
    add("--window", metavar="STEPS", type=whole, help="the window of truncated backpropagation")
    text = "stop after N epochs without a lower held-out loss"
    add("--patience", metavar="N", type=whole, help=text)
    add("--seed", metavar="N", type=int, default=0, help="(%(default)s)")


def _add_records(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    text = "write a checkpoint after every epoch, and resume from the last"
    add("--checkpoints", metavar="FOLDER", help=text)
    text = "write which files, rows or steps (first and last) of DATA are held out, as JSON"
    add("--split-output", metavar="JSON", type=Output, help=text)
    add("--history", metavar="JSONL", type=Output, help="write one line of JSON per epoch")
    add(
        "--plot",
        metavar="IMAGE",
        type=Output,
        help="plot the losses and the held-out predictions (.png, .svg, .pdf)",
    )


def _finetune(arguments: argparse.Namespace) -> int:
    # Imported here, because the command line works without Optax.
    need("optax", "finetune", "fine-tuning")
    from jaxgru._cli.finetune_run import run

    return run(arguments)
