"""The command ``jaxgru finetune``: read, train, report, write."""

import argparse
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxgru._atomic import replacing
from jaxgru._checks import state_dtype
from jaxgru._cli.describe import in_a_line
from jaxgru._cli.finetune_data import data_names, loss_of, read_data, split_data
from jaxgru._cli.model_source import read_model, readout_arrays
from jaxgru._cli.result import save_result
from jaxgru._cli.source import read_net
from jaxgru._net import Net, check_net
from jaxgru._weights.errors import WeightsError, WeightsWarning
from jaxgru._weights.whole import has_model
from jaxgru.finetune import (
    Epochs,
    LinearReadout,
    Loss,
    Result,
    Sequences,
    Steps,
    fit,
    linear_readout,
    low_rank,
    patience,
    plot_history,
    write_history,
)
from jaxgru.finetune._history import plot_predictions
from jaxgru.finetune._loop import OnRound
from jaxgru.finetune._metrics import predicted
from jaxgru.finetune._model import checked_model
from jaxgru.finetune._validation import checked_data
from jaxgru.model import Model
from jaxgru.plot._figure import check_plot, new_figure, save_figure

_NO_BETTER = 1
_EPOCHS = 10


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code."""
    shuffle, factors, readout = jax.random.split(jax.random.key(arguments.seed), 3)
    of_readout = arguments.readout is not None or arguments.readout_output is not None
    is_whole = not (of_readout or arguments.layer) and has_model(
        arguments.weights, external_data=arguments.external_data
    )
    if is_whole:
        model = read_model(arguments).model
        if arguments.into is None:
            arguments.into = arguments.weights
    else:
        model = Model(net=read_net(arguments.weights, arguments, arguments.equations))
    _check_outputs(model if is_whole else model.net, arguments)
    data = read_data(arguments.data, arguments, model)
    if not is_whole and (given := _readout(model.net, data, arguments, readout)) is not None:
        model = Model({"net": model.net, "readout": given})
    model, loss = checked_model(model), loss_of(arguments)
    # Checked before the split, so that errors have positions in the file.
    data = checked_data(data, model, loss, arguments.data)
    data, held_out = _split(data, model, loss, arguments)
    trainable = arguments.trainable or (None if is_whole else ["net.*"])
    if arguments.low_rank is not None:
        kernels = arguments.trainable or ["kernel", "recurrent_kernel"]
        if is_whole:
            model = low_rank(model, factors, rank=arguments.low_rank, kernels=kernels)
            trainable = ["deltas.*"]
        else:
            changed = low_rank(model.net, factors, rank=arguments.low_rank, kernels=kernels)
            model, trainable = Model({**model.layers, "net": changed}), ["net.deltas.*"]
    if arguments.readout_output is not None:
        trainable = [*(trainable or ()), "readout.*"]
    optimizer = optax.adam(arguments.learning_rate)
    if arguments.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(arguments.clip_norm), optimizer)
    on_round: list[OnRound] = []
    if arguments.history is not None:
        on_round.append(write_history(arguments.history))
    if arguments.patience is not None:
        on_round.append(patience(arguments.patience))
    result = fit(
        model,
        data,
        loss,
        Epochs(arguments.epochs or _EPOCHS) if arguments.steps is None else Steps(arguments.steps),
        key=shuffle,
        validation=held_out,
        batch_size=arguments.batch_size,
        window=arguments.window,
        optimizer=optimizer,
        trainable=trainable,
        on_round=on_round,
        checkpoint_dir=arguments.checkpoints,
    )
    _report(result, held_out, loss, arguments, is_whole=is_whole)
    return _NO_BETTER if result.step == 0 or result.stopped == "not finite" else 0


def _split(
    data: Sequences, model: Model, loss: Loss, arguments: argparse.Namespace
) -> tuple[Sequences, Sequences]:
    """Return the data for training and for validation, and print which data is held out."""
    if arguments.validation is not None:
        if arguments.split_output is not None:
            raise ValueError(
                "--split-output is given with --validation, which is held out completely: "
                "expected only one of them"
            )
        held_out = read_data(arguments.validation, arguments, model)
        held_out = checked_data(held_out, model, loss, arguments.validation)
        print(f"{arguments.data}: {_size(data)} for training")
        print(f"{arguments.validation}: {_size(held_out)} held out", flush=True)
        return data, held_out
    training, held_out, rows = split_data(data, arguments.held_out or 0.2, arguments.seed)
    print(f"{arguments.data}: {_size(training)} for training, {_size(held_out)} held out")
    names = data_names(arguments.data)
    if len(data.inputs) == 1:
        kind, which = "steps", [int(rows[0]), int(rows[-1])]
        print(f"held out: steps {rows[0]} to {rows[-1]}", flush=True)
    else:
        kind, which = ("files", [names[row] for row in rows]) if names else ("rows", rows.tolist())
        shown = ", ".join(map(str, which))
        print(f"held out: {'' if names else 'rows '}{shown}", flush=True)
    if arguments.split_output is not None:
        text = json.dumps({"data": arguments.data, f"held_out_{kind}": which})
        with replacing(arguments.split_output) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    return training, held_out


def _check_outputs(net: Any, arguments: argparse.Namespace) -> None:
    """Raise the errors of the output formats before the training, by writing the initial net."""
    if arguments.plot is not None:
        check_plot(arguments.plot)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", WeightsWarning)  # repeated when the result is written
        try:
            save_result(net, os.path.join(folder, Path(arguments.output).name), arguments)
        except WeightsError as error:
            raise WeightsError(str(error).replace(f"{folder}{os.sep}", "")) from None


def _readout(
    net: Net, data: Sequences, arguments: argparse.Namespace, key: jax.Array
) -> LinearReadout | None:
    """Return the readout of a file, a new one, or None."""
    if arguments.readout is not None:
        return LinearReadout(*readout_arrays(arguments.readout, net))
    is_classes = arguments.loss == "classification"
    wanted = int(data.targets.max(initial=0)) + 1 if is_classes else int(data.targets.shape[-1])
    _, given = check_net(net)
    if given is None:
        raise ValueError(
            f"{arguments.weights}: the net returns a pair of outputs: expected one output"
        )
    if arguments.readout_output is not None:
        return linear_readout(key, given, wanted, dtype=state_dtype(net))
    if wanted > given or (wanted < given and not is_classes):
        raise ValueError(
            f"{arguments.data}: its targets have {wanted} {'classes' if is_classes else 'numbers'} "
            f"and the states, which are the predictions, {given}: expected --readout IN for a "
            "readout of the states, or --readout-output OUT to train a new one"
        )
    return None


def _report(
    result: Result,
    held_out: Sequences,
    loss: Loss,
    arguments: argparse.Namespace,
    *,
    is_whole: bool,
) -> None:
    """Write the files and print what was done."""
    net: Any = result.model if is_whole else result.model.net
    save_result(net, arguments.output, arguments)
    after = result.initial_loss
    for row in result.history:
        after = row["validation_loss"] if row["step"] == result.step else after
    if result.initial_loss is not None:
        print(f"loss on held-out data before: {result.initial_loss:.6g}")
    print(f"loss on held-out data after:  {after:.6g}, at step {result.step}")
    what = f"a model of {len(net.layers)} layers" if is_whole else in_a_line(net)
    print(f"{arguments.output}: {what}, stop reason: {result.stopped}")
    if arguments.readout_output is not None:
        with replacing(arguments.readout_output) as temporary, open(temporary, "wb") as file:
            readout = result.model.readout
            np.savez(file, kernel=readout.kernel, bias=readout.bias)
        print(f"{arguments.readout_output}: the readout, kernel {readout.kernel.shape}")
    if arguments.history is not None and result.history:
        print(f"{arguments.history}: {len(result.history)} lines")
    if arguments.plot is not None and result.history:
        _plot(result, held_out, loss, arguments)
        print(f"{arguments.plot}: the losses, and predictions of the held-out data")


def _plot(result: Result, held_out: Sequences, loss: Loss, arguments: argparse.Namespace) -> None:
    figure = new_figure(7, 3)
    losses, fit = figure.subplots(1, 2)
    initial = result.initial_loss
    plot_history(result.history, ax=losses, initial_loss=initial, chosen_step=result.step)
    held_out = checked_data(held_out, result.model, loss, "the held-out data")
    predictions, targets = map(
        np.concatenate, zip(*predicted(result.model, held_out, loss), strict=True)
    )
    plot_predictions(predictions, targets, ax=fit)
    save_figure(figure, arguments.plot)


def _size(data: Sequences) -> str:
    count, time = data.inputs.shape[:2]
    return f"{count} {'sequence' if count == 1 else 'sequences'} of up to {time} steps"
