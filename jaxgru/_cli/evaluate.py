"""``jaxgru evaluate``: the errors of a model on data, for each file and overall."""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxgru._cli.arguments import Input, Subparsers, add_command, add_weights
from jaxgru._cli.finetune_options import add_data_options
from jaxgru._cli.model_source import add_model_options, read_model
from jaxgru._optional import need

_EXAMPLES = """\
examples:
  jaxgru evaluate model.keras data.npz
      the errors of a whole Keras model
  jaxgru evaluate gru.npz recordings/ --readout readout.npz --targets position,velocity
      a GRU and its readout on a folder of .csv files: errors for each file and overall
  jaxgru evaluate model.keras data.npz --loss classification --on last
      loss, accuracy and confusion of the classes

DATA is as of jaxgru finetune. For numbers, MSE is the mean squared error, RMSE its root, and fit is
100 (1 - |y - p| / |y - mean(y)|) percent, of the measured y and the predicted p. For classes, the
loss is the mean cross-entropy; rows of the confusion are the true classes, columns the predicted.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "show the errors of a model on data"
    parser = add_command(subparsers, "evaluate", text, _EXAMPLES, _evaluate)
    add_weights(parser, "MODEL")
    text = ".npz, .csv or a folder of .csv"
    parser.add_argument("data", metavar="DATA", type=Input, help=text)
    add_data_options(parser)
    add_model_options(parser)


def _evaluate(arguments: argparse.Namespace) -> int:
    # Imported here, because the command line works without Optax.
    need("optax", "finetune", "evaluating")
    from jaxgru._cli.finetune_data import data_names, loss_of, read_data
    from jaxgru.finetune._metrics import (
        classification_metrics,
        predicted,
        regression_metrics,
    )
    from jaxgru.finetune._model import checked_model
    from jaxgru.finetune._validation import checked_data

    model = checked_model(read_model(arguments, arguments.on).model)
    loss = loss_of(arguments)
    data = read_data(arguments.data, arguments, model)
    data = checked_data(data, model, loss, arguments.data)
    pairs = predicted(model, data, loss)
    names = data_names(arguments.data)
    groups: list[tuple[str, list[Any]]] = []
    if names:
        groups = [(name, [pair]) for name, pair in zip(names, pairs, strict=True)]
    groups = [group for group in [*groups, ("all", pairs)] if any(len(p) for p, _ in group[1])]
    width = max(len(name) for name, _ in groups)
    joined: list[Any] = [
        (name, *map(np.concatenate, zip(*parts, strict=True))) for name, parts in groups
    ]
    if arguments.loss == "classification":
        print(f"{'file':<{width}} {'predictions':>11} {'loss':>11} {'accuracy':>9}")
        for name, p, y in joined:
            shown = classification_metrics(p, y)
            print(f"{name:<{width}} {len(y):>11} {shown.loss:>11.6g} {shown.accuracy:>9.4f}")
        print(*_confusion(shown.confusion), sep="\n")
        return 0
    outputs = _output_names(arguments, joined[0][1].shape[-1])
    wide = max(len("output"), *map(len, outputs))
    head = f"{'predictions':>11} {'mse':>11} {'rmse':>11} {'fit':>9}"
    print(f"{'file':<{width}} {'output':<{wide}} {head}")
    for name, p, y in joined:
        errors = zip(outputs, *regression_metrics(p, y), strict=True)
        for output, mse, rmse, fit in errors:
            row = f"{len(y):>11} {mse:>11.6g} {rmse:>11.6g} {fit:>7.2f} %"
            print(f"{name:<{width}} {output:<{wide}} {row}")
    return 0


def _output_names(arguments: argparse.Namespace, count: int) -> list[str]:
    names = [name.strip() for name in (arguments.targets or "").split(",")]
    if len(names) == count and arguments.targets:
        return names
    return [str(i) for i in range(count)]


def _confusion(counts: np.ndarray) -> Iterator[str]:
    width = max(7, len(str(counts.max())))
    yield f"\n{'true':>6}   {'predicted'}"
    yield " " * 6 + "".join(f" {i:>{width}}" for i in range(len(counts)))
    for i, row in enumerate(counts):
        yield f"{i:>6}" + "".join(f" {count:>{width}}" for count in row)
