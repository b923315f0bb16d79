"""The work of ``jaxgru finetune``: read, tune, tell, write."""

import argparse
import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from jaxgru.arrayfiles import open_array
from jaxgru.atomic import replacing
from jaxgru.cli.describe import in_a_line
from jaxgru.cli.finetune_data import read_data, split_data
from jaxgru.finetune import (
    LinearReadout,
    Loss,
    Model,
    Result,
    Sequences,
    classification,
    evaluate,
    fit,
    linear_readout,
    low_rank,
    plot_history,
    regression,
)
from jaxgru.finetune.validation import checked_data
from jaxgru.net import check_net
from jaxgru.params import at_least_float32
from jaxgru.plot_run import check_plot
from jaxgru.weights import WeightsError, load, save

_NOT_FINITE = 1
_EPOCHS = 10


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    net = load(
        arguments.weights,
        layer=arguments.layer,
        equations=arguments.equations,
        assume=dict(arguments.assume),
        external_data=arguments.external_data,
    )
    _check_outputs(net, arguments)
    loss = (classification if arguments.loss == "classification" else regression)(arguments.on)
    data = _in_type_of(
        net, read_data(arguments.data, arguments.targets, arguments.loss, arguments.on)
    )
    shuffle, start, readout_key = jax.random.split(jax.random.key(arguments.seed), 3)
    readout = _readout(net, data, arguments, readout_key)
    # The whole of it first: a place that is told is then a place in the file.
    data = checked_data(data, Model(net, readout), loss, arguments.data)
    data, held_out = split_data(data, arguments.held_out, arguments.seed)
    before = evaluate(Model(net, readout), held_out, loss)
    print(f"{arguments.data}: {_counted(data)} to learn from, {_counted(held_out)} held out")
    print(f"loss on held-out data before: {before:.6g}", flush=True)
    result = _fit(net, readout, data, held_out, loss, arguments, (shuffle, start))
    after = evaluate(Model(result.net, result.readout), held_out, loss)
    print(f"loss on held-out data after:  {after:.6g}")
    _write(result, arguments)
    return _NOT_FINITE if result.stopped == "not finite" else 0


def _fit(
    net: Any,
    readout: Any,
    data: Sequences,
    held_out: Sequences,
    loss: Loss,
    arguments: argparse.Namespace,
    keys: tuple[Any, Any],
) -> Result:
    optimizer = optax.adam(arguments.learning_rate)
    if arguments.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(arguments.clip_norm), optimizer)
    shuffle, start = keys
    trainable = arguments.trainable or ["net.*"]
    if arguments.low_rank is not None:
        chosen = arguments.trainable or ["kernel", "recurrent_kernel"]
        net = low_rank(net, start, rank=arguments.low_rank, kernels=chosen)
        trainable = ["net.deltas.*"]
    if arguments.readout_output is not None:
        trainable = [*trainable, "readout.*"]
    epochs = arguments.epochs
    if epochs is None and arguments.steps is None:
        epochs = _EPOCHS
    return fit(
        net,
        data,
        loss=loss,
        key=shuffle,
        readout=readout,
        steps=arguments.steps,
        epochs=epochs,
        batch_size=arguments.batch_size,
        optimizer=optimizer,
        trainable=trainable,
        pull=arguments.pull,
        window=arguments.window,
        validation=held_out,
        patience=arguments.patience,
        checkpoint_dir=arguments.checkpoints,
        history_path=arguments.history,
    )


def _check_outputs(net: Any, arguments: argparse.Namespace) -> None:
    """Raise the errors of writing before the work, not after it."""
    if arguments.plot is not None:
        check_plot(arguments.plot)
    for path in (arguments.output, arguments.readout_output, arguments.history):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "its folder is missing", path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(net, Path(folder, Path(arguments.output).name), format=arguments.to)
        except WeightsError as error:
            raise WeightsError(str(error).replace(f"{folder}{os.sep}", "")) from None


def _readout(net: Any, data: Sequences, arguments: argparse.Namespace, key: Any) -> Any:
    """Return the readout in a file, a new one, or None."""
    if arguments.readout is not None:
        arrays = []
        for name in ("kernel", "bias"):
            with open_array(arguments.readout, name) as reader:
                arrays.append(jnp.asarray(reader.read_all().astype(_dtype(net))))
        return LinearReadout(*arrays)
    if arguments.readout_output is None:
        return None
    _, outputs = check_net(net)
    if outputs is None:
        raise ValueError(f"{arguments.weights}: it gives a pair of outputs: expected one to read")
    if arguments.loss == "classification":
        return linear_readout(key, outputs, int(data.targets.max()) + 1, dtype=_dtype(net))
    return linear_readout(key, outputs, data.targets.shape[-1], dtype=_dtype(net))


def _write(result: Result, arguments: argparse.Namespace) -> None:
    save(result.net, arguments.output, format=arguments.to)
    print(f"{arguments.output}: {in_a_line(result.net)}, stopped by {result.stopped}")
    if arguments.readout_output is not None:
        with replacing(arguments.readout_output) as temporary, open(temporary, "wb") as file:
            np.savez(file, kernel=result.readout.kernel, bias=result.readout.bias)
        print(f"{arguments.readout_output}: the readout, kernel {result.readout.kernel.shape}")
    if arguments.history is not None:
        print(f"{arguments.history}: {len(result.history)} lines")
    if arguments.plot is not None and result.history:
        plot_history(result.history, arguments.plot)
        print(f"{arguments.plot}: the losses")


def _in_type_of(net: Any, data: Sequences) -> Sequences:
    """Return the data with its numbers rounded to the type that the net computes in."""
    targets = data.targets
    if targets.dtype != np.int32:  # classes stay what they are
        targets = targets.astype(_dtype(net))
    return Sequences(data.inputs.astype(_dtype(net)), targets, data.lengths)


def _dtype(net: Any) -> Any:
    return at_least_float32(jnp.result_type(*jax.tree.leaves(net)))


def _counted(data: Sequences) -> str:
    count, time, _ = data.inputs.shape
    return f"{count} {'sequence' if count == 1 else 'sequences'} of up to {time} steps"
