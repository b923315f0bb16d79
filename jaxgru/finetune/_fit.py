"""A whole run of fine-tuning, built from the other modules."""

import contextlib
import functools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgru._progress import progress_bar
from jaxgru.finetune._batches import Batch, Position, batches, count_batches
from jaxgru.finetune._checkpoints import Checkpoints, described
from jaxgru.finetune._data import Sequences
from jaxgru.finetune._evaluate import mean_loss
from jaxgru.finetune._loop import (
    NOT_FINITE,
    Best,
    Epochs,
    FinetuneWarning,
    OnRound,
    Progress,
    Row,
    Steps,
    check_sizes,
    run_rounds,
)
from jaxgru.finetune._lora import LowRank, merge
from jaxgru.finetune._losses import Loss
from jaxgru.finetune._model import RunOptions, check_windows, checked_model, run_model
from jaxgru.finetune._sharding import batch_size_of, place, replicate
from jaxgru.finetune._train_step import TrainState, init_state, make_train_step
from jaxgru.finetune._trainable import leaf_paths, partition, trainable_mask
from jaxgru.finetune._validation import checked_data
from jaxgru.model import Model, Noise, Recurrent
from jaxgru.model._layers import statistics

ADAM = optax.adam(1e-3)


class Result(NamedTuple):
    """The result of a run.

    Args:
        model: the tuned model, low-rank changes merged.
        history: one row per round, see ``read_history``.
        stopped: the reason why the run stopped: "epochs", "steps", "not finite", or the value of
            a function of ``on_round``, such as "patience".
        step: the step of the model: with validation data, the step of the lowest validation loss,
            0 if no round improved on the initial model.
        initial_loss: the validation loss of the initial model; None without validation data.
    """

    model: Model
    history: list[Row]
    stopped: str
    step: int
    initial_loss: float | None = None


def fit(
    model: Model,
    data: Sequences,
    loss: Loss,
    until: Epochs | Steps,
    *,
    key: jax.Array,
    validation: Sequences | None = None,
    batch_size: int = 32,
    window: int | None = None,
    optimizer: optax.GradientTransformation = ADAM,
    trainable: str | Sequence[str] | None = None,
    options: RunOptions = RunOptions(),  # noqa: B008 (an immutable tuple)
    on_round: OnRound | Sequence[OnRound] = (),
    checkpoint_dir: str | os.PathLike[str] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    progress: bool = True,
) -> Result:
    """Return a model fine-tuned on data.

    The training step is that of ``make_train_step``, and the order of the data is that of
    ``batches``. With validation data, the result is the model with the lowest validation loss,
    which may be the initial model. Otherwise, it is the model of the last round.

    The statistics of a ``BatchNormalization`` do not change. Dropout layers act as configured.

    Args:
        model: the model, such as ``Model(net=net, readout=readout)`` or that of
            ``jaxgru.load_model``.
        data: the training data.
        loss: the loss to minimize.
        until: the length of the run and of its rounds, ``Epochs(100)`` or
            ``Steps(10_000, every=500)``. Each round ends with a validation and a checkpoint, so
            it should take seconds or longer.
        key: a JAX random key, for the order of the data and for dropout.
        validation: data that is not used for training.
        batch_size: the number of sequences in a step, limited to the number of sequences.
        window: the number of steps of a window; each window is a training step, see ``batches``.
        optimizer: an Optax optimizer.
        trainable: patterns of the trained weights, as in ``trainable_mask``. None: all
            floating-point weights or, in a ``LowRank`` layer, only its changes. Other weights stay
            bit-for-bit identical and have no optimizer state.
        options: options for running the nets in training.
        on_round: one or more functions of a ``Round``, such as ``patience(10)`` or
            ``write_history("run.jsonl")``, called after each round and, in a resumed run, with the
            round from which it resumes. If one returns a str, the run stops with this reason. Each
            process calls them, and all must return the same value.
        checkpoint_dir: a folder for checkpoints. If it contains any, the run resumes from the last,
            and the final weights are bit-for-bit identical to those without the interruption.
        mesh: the devices among which each batch is split, as ``data_mesh()``; batch_size must be a
            multiple of their number. None: JAX's default device.
        progress: show whether to show a progress bar on stderr, if that is a terminal and tqdm is
            installed, and a line when a run resumes.

    Returns:
        The tuned model, the history, and the reason why the run stopped.

    Raises:
        ValueError: the data is invalid or does not fit, a pattern matches nothing, a function of
            on_round returns another type, or the checkpoints are of another run.
        ImportError: checkpoint_dir is given and Orbax is not installed.
        OSError: a checkpoint cannot be written or read.

    Warns:
        FinetuneWarning: a loss is not finite; or no round has a lower validation loss than the
            initial model, which is then the result.

    >>> import jax, numpy as np, jaxgru
    >>> from jaxgru.finetune import Epochs, Sequences, fit, regression
    >>> from jaxgru.model import Model, Noise, Recurrent
    >>> model = Model(net=jaxgru.init(jax.random.key(0), 3, 5))
    >>> data = Sequences(np.ones((8, 20, 3), np.float32), np.zeros((8, 20, 5), np.float32))
    >>> result = fit(model, data, regression(), Epochs(3), key=jax.random.key(1))
    >>> result.stopped, [row["step"] for row in result.history]
    ('epochs', [1, 2, 3])
    >>> result.history[2]["loss"] < result.history[0]["loss"]
    True
    """
    check_sizes(window=window)
    if not isinstance(until, Epochs | Steps):
        raise ValueError(f"until is {until!r}: expected Epochs(count) or Steps(count)")
    model = checked_model(model)
    data = checked_data(data, model, loss, "data")
    if validation is not None:
        validation = checked_data(validation, model, loss, "validation")
    mask = _trained(model, trainable)
    size = batch_size_of(batch_size, len(data.inputs), mesh)
    data_key, step_key = jax.random.split(key)
    carry = None if window is None else _first_carry(model, loss, data.inputs, size)
    begin = Progress(
        state=init_state(model, optimizer, mask=mask, key=step_key, carry=carry),
        last_finite=model,
        best=None if validation is None else Best(model, math.inf, 0),
        initial_loss=None,
        position=Position(),
        history=[],
    )
    checkpoints = Checkpoints(
        checkpoint_dir,
        inputs={
            "another key (of another seed)": key,
            "other data": data,
            "other validation data": validation,
            "other weights at the start": model,
        },
        settings={
            **described({"model": model}),
            "trainable": ", ".join(leaf_paths(partition(model, mask)[0])),
            "batch_size": f"{size}",
            "window": f"{window}",
            "options": f"{_of_all_versions(options)}",
            **_rates(model),
            **described(begin.state),
        },
    )
    train = make_train_step(loss, optimizer, mask=mask, options=options)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, float]:
        after, mean = train(state, place(batch, mesh))
        return after, float(mean)

    def validate(model: Model) -> float:
        return mean_loss(model, validation, loss, size, precision=options.precision, mesh=mesh)

    with contextlib.closing(checkpoints):
        start = _on_devices(checkpoints.restore(begin), mesh)
        shown = progress and jax.process_index() == 0
        if shown and start.steps:
            done = f"step {start.steps}, {start.position.epoch} epochs done"
            print(f"{checkpoint_dir}: resumes after {done}", file=sys.stderr)
        with _training_bar(until, start, count_batches(data, size), shown=shown) as on_step:
            end, stopped = run_rounds(
                start,
                step,
                batches(data, size, data_key, window=window, start=start.position),
                until,
                validate=None if validation is None else validate,
                on_step=on_step,
                save=checkpoints.save,
                on_round=[on_round] if callable(on_round) else on_round,
            )
    best, step_of_best = end.state.model, end.steps
    if end.best is not None:
        best, step_of_best = end.best.model, end.best.step
    elif stopped == NOT_FINITE:
        best = end.last_finite
    if end.best is not None and end.best.step == 0 and end.history:
        warnings.warn(
            f"no round has a lower validation loss than the initial model, {end.best.loss:.6g}: "
            "the result is the initial model",
            FinetuneWarning,
            stacklevel=2,
        )
    return Result(merge(best), end.history, stopped, step_of_best, end.initial_loss)


@contextlib.contextmanager
def _training_bar(
    until: Epochs | Steps, start: Progress, batches_of_epoch: int, *, shown: bool
) -> Iterator[Callable[[int, Position, float], None]]:
    """Yield a function to call after every step, with its number, the position and the loss."""
    by_steps = isinstance(until, Steps)

    def done(steps: int, position: Position) -> int:
        # With windows, the number of steps of an epoch is not known in advance.
        return steps if by_steps else position.epoch * batches_of_epoch + position.batch

    total, unit = (until.count, "step") if by_steps else (until.count * batches_of_epoch, "batch")
    initial = done(start.steps, start.position)
    with progress_bar(total, unit, initial=initial, shown=shown) as advance:
        yield lambda steps, position, loss: advance(done(steps, position), f"loss {loss:.4g}")


def _trained(model: Model, patterns: str | Sequence[str] | None) -> Any:
    """Return the mask of the trained weights; raise ValueError for one without a gradient."""
    if patterns is None:
        return jax.tree.map(
            _trained_by_default, model, statistics(model), is_leaf=lambda n: isinstance(n, LowRank)
        )
    mask = trainable_mask(model, patterns)
    trained, _ = partition(model, mask)
    for path, leaf in zip(leaf_paths(trained), jax.tree.leaves(trained), strict=True):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"{path} has dtype {leaf.dtype}: expected a floating-point type for training"
            )
    return mask


def _of_all_versions(options: RunOptions) -> RunOptions:
    """Return options as checkpoints of the version before have them, which had no None."""
    return options._replace(
        dropout=options.dropout or 0.0, recurrent_dropout=options.recurrent_dropout or 0.0
    )


def _rates(model: Model) -> dict[str, str]:
    """Return the configuration of the layers that act only in training, by name."""
    rates = {}
    for name, layer in merge(model).layers.items():
        if isinstance(layer, Noise):
            rates[f"layer {name}"] = f"{layer}"
        elif isinstance(layer, Recurrent) and (layer.dropout or layer.recurrent_dropout):
            rates[f"layer {name}"] = f"{layer.dropout}, {layer.recurrent_dropout}"
    return rates


def _trained_by_default(leaf: Any, is_constant: Any) -> Any:
    if isinstance(leaf, LowRank):
        net, deltas = (
            jax.tree.map(lambda _, flag=flag: flag, part)
            for part, flag in ((leaf.net, False), (leaf.deltas, True))
        )
        return LowRank(net, deltas)
    return not is_constant and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _first_carry(model: Model, loss: Loss, inputs: Any, batch_size: int) -> Any:
    """Return the states of the nets before the first window, for a batch.

    Raises ValueError if windows are impossible.
    """
    if loss.on != "steps":
        raise ValueError("window is given for a loss on 'last': expected a loss on 'steps'")
    check_windows(model)
    batch = np.broadcast_to(np.zeros((), inputs.dtype), (batch_size, *inputs.shape[1:]))
    run = functools.partial(run_model, lengths=None, h0=None, loss=loss)
    states = jax.eval_shape(run, model, batch).states
    return jax.tree.map(lambda state: jnp.zeros(state.shape, state.dtype), states)


def _on_devices(progress: Progress, mesh: jax.sharding.Mesh | None) -> Progress:
    """Return the progress with its arrays on the devices of the steps."""
    state = replicate(progress.state._replace(carry=None), mesh)
    best = progress.best
    return progress._replace(
        state=state._replace(carry=place(progress.state.carry, mesh)),
        last_finite=replicate(progress.last_finite, mesh),
        best=None if best is None else best._replace(model=replicate(best.model, mesh)),
    )
