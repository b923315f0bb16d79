"""The command ``jaxgru finetune``: read, train, report, write."""

import argparse
import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgru._arrayfiles import open_array
from jaxgru._atomic import replacing
from jaxgru._checks import state_dtype
from jaxgru._cli.describe import in_a_line
from jaxgru._cli.finetune_data import read_data, split_data
from jaxgru._cli.source import read_net
from jaxgru._net import Net, check_net
from jaxgru._weights.io import WeightsError, save
from jaxgru.finetune import (
    Epochs,
    LinearReadout,
    Result,
    Sequences,
    Steps,
    classification,
    fit,
    linear_readout,
    low_rank,
    patience,
    plot_history,
    regression,
    write_history,
)
from jaxgru.finetune._loop import OnRound
from jaxgru.finetune._model import checked_model
from jaxgru.finetune._validation import checked_data
from jaxgru.model import Model
from jaxgru.plot._figure import check_plot

_NO_BETTER = 1
_EPOCHS = 10


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code."""
    net = read_net(arguments.weights, arguments, arguments.equations)
    _check_outputs(net, arguments)
    data = read_data(arguments.data, arguments.targets, arguments.loss, arguments.on)
    data = _in_type_of(net, data)
    shuffle, factors, readout = jax.random.split(jax.random.key(arguments.seed), 3)
    given = _readout(net, data, arguments, readout)
    model = Model({"net": net} if given is None else {"net": net, "readout": given})
    loss = (classification if arguments.loss == "classification" else regression)(arguments.on)
    # Checked before the split, so that positions in errors are those of the file.
    data = checked_data(data, checked_model(model), loss, arguments.data)
    data, held_out = split_data(data, arguments.held_out, arguments.seed)
    print(f"{arguments.data}: {_size(data)} for training, {_size(held_out)} held out", flush=True)
    trainable = arguments.trainable or ["net.*"]
    if arguments.low_rank is not None:
        kernels = arguments.trainable or ["kernel", "recurrent_kernel"]
        changed = low_rank(model.net, factors, rank=arguments.low_rank, kernels=kernels)
        model, trainable = Model({**model.layers, "net": changed}), ["net.deltas.*"]
    if arguments.readout_output is not None:
        trainable = [*trainable, "readout.*"]
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
    _report(result, arguments)
    return _NO_BETTER if result.step == 0 or result.stopped == "not finite" else 0


def _check_outputs(net: Net, arguments: argparse.Namespace) -> None:
    """Raise the errors of the output formats before the training, by writing the initial net."""
    if arguments.plot is not None:
        check_plot(arguments.plot)
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(net, Path(folder, Path(arguments.output).name), format=arguments.to)
        except WeightsError as error:
            raise WeightsError(str(error).replace(f"{folder}{os.sep}", "")) from None


def _readout(
    net: Net, data: Sequences, arguments: argparse.Namespace, key: jax.Array
) -> LinearReadout | None:
    """Return the readout of a file, a new one, or None."""
    if arguments.readout is not None:
        arrays = []
        for name in ("kernel", "bias"):
            with open_array(arguments.readout, name) as reader:
                arrays.append(jnp.asarray(reader.read_all().astype(state_dtype(net))))
        return LinearReadout(*arrays)
    is_classes = arguments.loss == "classification"
    wanted = int(data.targets.max(initial=0)) + 1 if is_classes else int(data.targets.shape[-1])
    _, given = check_net(net)
    if given is None:
        raise ValueError(f"{arguments.weights}: the net gives a pair of outputs: expected one")
    if arguments.readout_output is not None:
        return linear_readout(key, given, wanted, dtype=state_dtype(net))
    if wanted > given or (wanted < given and not is_classes):
        raise ValueError(
            f"{arguments.data}: its targets have {wanted} {'classes' if is_classes else 'numbers'} "
            f"and the states, which are the predictions, {given}: expected --readout IN for a "
            "readout of the states, or --readout-output OUT to train a new one"
        )
    return None


def _report(result: Result, arguments: argparse.Namespace) -> None:
    """Write the files and print what was done."""
    net = result.model.net
    save(net, arguments.output, format=arguments.to)
    after = result.initial_loss
    for row in result.history:
        after = row["validation_loss"] if row["step"] == result.step else after
    if result.initial_loss is not None:
        print(f"loss on held-out data before: {result.initial_loss:.6g}")
    print(f"loss on held-out data after:  {after:.6g}, at step {result.step}")
    print(f"{arguments.output}: {in_a_line(net)}, stop reason: {result.stopped}")
    if arguments.readout_output is not None:
        with replacing(arguments.readout_output) as temporary, open(temporary, "wb") as file:
            readout = result.model.readout
            np.savez(file, kernel=readout.kernel, bias=readout.bias)
        print(f"{arguments.readout_output}: the readout, kernel {readout.kernel.shape}")
    if arguments.history is not None and result.history:
        print(f"{arguments.history}: {len(result.history)} lines")
    if arguments.plot is not None and result.history:
        plot_history(result.history, arguments.plot)
        print(f"{arguments.plot}: the losses")


def _in_type_of(net: Net, data: Sequences) -> Sequences:
    """Return the data rounded to the type of the states of the net."""
    dtype, targets = state_dtype(net), data.targets
    if targets.dtype != np.int32:  # classes are not rounded
        targets = targets.astype(dtype)
    return Sequences(data.inputs.astype(dtype), targets, data.lengths)


def _size(data: Sequences) -> str:
    count, time, _ = data.inputs.shape
    return f"{count} {'sequence' if count == 1 else 'sequences'} of up to {time} steps"
