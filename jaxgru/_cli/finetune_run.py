"""The command ``jaxgru finetune``: read, train, report, write."""

import argparse
import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from jaxgru._arrayfiles import open_array
from jaxgru._atomic import replacing
from jaxgru._cli.describe import in_a_line
from jaxgru._cli.finetune_data import read_data, split_data
from jaxgru._cli.source import read_net
from jaxgru._net import Net, check_net
from jaxgru._params import at_least_float32
from jaxgru._weights.io import WeightsError, save
from jaxgru.finetune import (
    Epochs,
    LinearReadout,
    Loss,
    Model,
    Result,
    Sequences,
    Steps,
    classification,
    evaluate,
    fit,
    linear_readout,
    low_rank,
    patience,
    plot_history,
    pulled,
    regression,
    write_history,
)
from jaxgru.finetune._loop import OnRound
from jaxgru.finetune._model import checked_model
from jaxgru.finetune._validation import checked_data
from jaxgru.plot._figure import check_plot

_NO_BETTER = 1
_EPOCHS = 10


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code."""
    net = read_net(arguments.weights, arguments, arguments.equations)
    _check_formats(net, arguments)
    loss = (classification if arguments.loss == "classification" else regression)(arguments.on)
    data = _in_type_of(
        net, read_data(arguments.data, arguments.targets, arguments.loss, arguments.on)
    )
    shuffle, start, readout_key = jax.random.split(jax.random.key(arguments.seed), 3)
    model = Model(net, _readout(net, data, arguments, readout_key))
    _check_predictions(model, data, arguments)
    # All data first, so that positions in messages are positions in the file.
    data = checked_data(data, model, loss, arguments.data)
    data, held_out = split_data(data, arguments.held_out, arguments.seed)
    before = evaluate(model, held_out, loss)
    print(f"{arguments.data}: {_counted(data)} to learn from, {_counted(held_out)} held out")
    print(f"loss on held-out data before: {before:.6g}", flush=True)
    result = _fit(model, data, held_out, loss, arguments, (shuffle, start))
    after = evaluate(result.model, held_out, loss)
    print(f"loss on held-out data after:  {after:.6g}, at step {result.step}")
    _write(result, arguments)
    return _NO_BETTER if result.step == 0 or result.stopped == "not finite" else 0


def _fit(
    model: Model,
    data: Sequences,
    held_out: Sequences,
    loss: Loss,
    arguments: argparse.Namespace,
    keys: tuple[jax.Array, jax.Array],
) -> Result:
    optimizer = optax.adam(arguments.learning_rate)
    if arguments.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(arguments.clip_norm), optimizer)
    if arguments.pull:
        optimizer = pulled(optimizer, arguments.pull)
    shuffle, start = keys
    trainable = arguments.trainable or ["net.*"]
    if arguments.low_rank is not None:
        chosen = arguments.trainable or ["kernel", "recurrent_kernel"]
        net = low_rank(model.net, start, rank=arguments.low_rank, kernels=chosen)
        model, trainable = model._replace(net=net), ["net.deltas.*"]
    if arguments.readout_output is not None:
        trainable = [*trainable, "readout.*"]
    steps, epochs = arguments.steps, arguments.epochs or _EPOCHS
    on_round: list[OnRound] = (
        [] if arguments.history is None else [write_history(arguments.history)]
    )
    if arguments.patience is not None:
        on_round.append(patience(arguments.patience))
    return fit(
        model,
        data,
        loss,
        Epochs(epochs) if steps is None else Steps(steps),
        key=shuffle,
        validation=held_out,
        batch_size=arguments.batch_size,
        window=arguments.window,
        optimizer=optimizer,
        trainable=trainable,
        on_round=on_round,
        checkpoint_dir=arguments.checkpoints,
    )


def _check_formats(net: Net, arguments: argparse.Namespace) -> None:
    """Raise errors of the output formats before the training."""
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
                arrays.append(jnp.asarray(reader.read_all().astype(_dtype(net))))
        readout = LinearReadout(*arrays)
        try:
            checked_model(Model(net, readout))
        except ValueError as error:
            message = str(error).removeprefix("readout: ")
            raise ValueError(f"{arguments.readout}: {message}") from None
        return readout
    if arguments.readout_output is None:
        return None
    _, outputs = check_net(net)
    if outputs is None:
        raise ValueError(f"{arguments.weights}: it gives a pair of outputs: expected one to read")
    return linear_readout(key, outputs, _outputs_wanted(data, arguments), dtype=_dtype(net))


def _check_predictions(model: Model, data: Sequences, arguments: argparse.Namespace) -> None:
    """Raise ValueError, naming the options of the readout, if targets and predictions differ."""
    wanted, given = _outputs_wanted(data, arguments), check_net(model.net)[1]
    source = "the states, which are the predictions,"
    expected = "expected --readout IN to read them, or --readout-output OUT to train a new one"
    if model.readout is not None:
        given, source = model.readout.bias.size, f"the predictions of --readout {arguments.readout}"
        expected = "expected another --readout, or --readout-output OUT alone for a new one"
    classes = arguments.loss == "classification"
    if given is not None and (wanted > given or (not classes and wanted < given)):
        raise ValueError(
            f"{arguments.data}: its targets have {wanted} {'classes' if classes else 'numbers'} "
            f"and {source} {given}: {expected}"
        )


def _outputs_wanted(data: Sequences, arguments: argparse.Namespace) -> int:
    if arguments.loss == "classification":
        return int(data.targets.max(initial=0)) + 1
    return int(data.targets.shape[-1])


def _write(result: Result, arguments: argparse.Namespace) -> None:
    net, readout = result.model
    save(net, arguments.output, format=arguments.to)
    print(f"{arguments.output}: {in_a_line(net)}, stopped by {result.stopped}")
    if arguments.readout_output is not None:
        with replacing(arguments.readout_output) as temporary, open(temporary, "wb") as file:
            np.savez(file, kernel=readout.kernel, bias=readout.bias)
        print(f"{arguments.readout_output}: the readout, kernel {readout.kernel.shape}")
    if arguments.history is not None and result.history:
        print(f"{arguments.history}: {len(result.history)} lines")
    if arguments.plot is not None and result.history:
        plot_history(result.history, arguments.plot)
        print(f"{arguments.plot}: the losses")


def _in_type_of(net: Net, data: Sequences) -> Sequences:
    """Return the data rounded to the type of the states of the net."""
    targets = data.targets
    if targets.dtype != np.int32:  # classes are not rounded
        targets = targets.astype(_dtype(net))
    return Sequences(data.inputs.astype(_dtype(net)), targets, data.lengths)


def _dtype(net: Net) -> np.dtype:
    return at_least_float32(jnp.result_type(*jax.tree.leaves(net)))


def _counted(data: Sequences) -> str:
    count, time, _ = data.inputs.shape
    return f"{count} {'sequence' if count == 1 else 'sequences'} of up to {time} steps"
