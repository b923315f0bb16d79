"""Fine-tuning from beginning to end, built of nothing but the pieces beside it."""

import contextlib
import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import optax  # type: ignore[import-untyped]

from jaxgru.dropout import Dropout
from jaxgru.finetune.batches import Batch, Position, batches, count_batches
from jaxgru.finetune.checkpoints import described, fingerprint
from jaxgru.finetune.data import Sequences
from jaxgru.finetune.evaluate import mean_loss
from jaxgru.finetune.fit_arguments import (
    as_model,
    check_choices,
    check_sizes,
    check_trained,
    first_carry,
    trained_by_default,
)
from jaxgru.finetune.history import Row
from jaxgru.finetune.loop import NOT_FINITE, Goal, Progress, run_rounds
from jaxgru.finetune.lora import merge
from jaxgru.finetune.losses import Loss
from jaxgru.finetune.model import RunOptions
from jaxgru.finetune.progress import training_bar
from jaxgru.finetune.records import recording
from jaxgru.finetune.sharding import batch_size_of, place, replicate
from jaxgru.finetune.train_step import TrainState, init_state, make_train_step, result_model
from jaxgru.finetune.trainable import leaf_paths, partition, trainable_mask
from jaxgru.finetune.validation import checked_data
from jaxgru.recurrence import Remat
from jaxgru.recurrence.step import Precision

ADAM = optax.adam(1e-3)


class Result(NamedTuple):
    """What a run gave.

    Args:
        net: the tuned net, low-rank changes merged.
        readout: the tuned readout.
        history: a row a round, see ``read_history``.
        stopped: why the run is over: "steps", "epochs", "patience" or "not finite".
    """

    net: Any
    readout: Any
    history: list[Row]
    stopped: str


def fit(
    net: Any,
    data: Sequences,
    *,
    loss: Loss,
    key: jax.Array,
    readout: Any = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    optimizer: optax.GradientTransformation = ADAM,
    trainable: str | Sequence[str] | None = None,
    pull: float = 0.0,
    average: optax.GradientTransformation | None = None,
    window: int | None = None,
    dropout: float | Dropout = 0.0,
    recurrent_dropout: float = 0.0,
    precision: Precision = None,
    remat: Remat = None,
    validation: Sequences | None = None,
    patience: int | None = None,
    every: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    history_path: str | os.PathLike[str] | None = None,
    progress: bool = True,
    mesh: jax.sharding.Mesh | None = None,
) -> Result:
    """Return a net fine-tuned on data.

    The step is that of ``make_train_step``, the data comes in the order of ``batches``. A run ends
    after so many steps or epochs, when its validation loss no longer falls, or when a loss is NaN
    or infinite.

    Args:
        net: what to tune, as ``jaxgru.gru`` takes it, or a ``LowRank`` of such.
        data: what to learn from.
        loss: what is to become small.
        key: a JAX random key: of it come the order of the data and what is dropped.
        readout: what makes predictions of the outputs of the net, a callable pytree; the outputs
            are the predictions if None.
        steps: how many steps to do. Give this or epochs.
        epochs: how often to go through the data.
        batch_size: sequences of a step; no more than there are.
        optimizer: any of Optax.
        trainable: patterns of what is trained, as in ``trainable_mask``, of a
            ``Model(net, readout)``. All of it if None; of a ``LowRank`` its changes and the
            readout. What is not trained stays equal to the bit, and no optimiser keeps state for
            it.
        pull: how strongly the net is drawn to what it was, see ``make_train_step``.
        average: a transformation that averages the weights, as ``optax.ema(0.999)``: validation
            and result are of the average.
        window: steps of a window: each is a step of training, see ``batches``.
        dropout: in training, see ``jaxgru.gru``.
        recurrent_dropout: in training, see ``jaxgru.gru``.
        precision: of the matrix products, see ``jaxgru.gru``.
        remat: what is kept for the gradient, see ``jaxgru.gru``.
        validation: data not learned from, whose loss is taken at the end of each round.
        patience: stop after so many rounds without a lower validation loss; the result is then
            the model of the best round.
        every: steps of a round; an epoch if None. At the end of each round there is a row in the
            history, a validation and a checkpoint, so a round should take seconds, not less.
        checkpoint_dir: where to keep checkpoints. If there are any, the run goes on from the last,
            and ends with the weights, to the bit, that it would have had without interruption.
        history_path: a file for the history, a JSON line a round; replaced if it exists.
        progress: show a bar on stderr, if that is a terminal.
        mesh: devices to share each batch, as ``data_mesh()``; batch_size is a multiple of their
            number then. JAX's default device if None.

    Returns:
        The tuned net and readout, the history, and why the run is over.

    Raises:
        ValueError: the data is unsound or does not fit, arguments contradict, a pattern fits
            nothing, or the checkpoints are of another run; the message says where and what.
        ImportError: a library is missing.
        OSError: a checkpoint or the history cannot be written.

    Warns:
        FinetuneWarning: a loss was NaN or infinite. The step is named, and the result is the
            last model that had a finite loss.

    >>> import jax, numpy as np, jaxgru
    >>> from jaxgru.finetune import Sequences, fit, regression
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> data = Sequences(np.ones((8, 20, 3), np.float32), np.zeros((8, 20, 5), np.float32))
    >>> result = fit(net, data, loss=regression(), epochs=3, key=jax.random.key(1))
    >>> result.stopped, [row["step"] for row in result.history]
    ('epochs', [1, 2, 3])
    >>> result.history[2]["loss"] < result.history[0]["loss"]
    True
    """
    check_sizes(steps=steps, epochs=epochs, patience=patience, every=every, window=window)
    check_choices(steps, epochs, patience, validation)
    model = as_model(net, readout)
    data = checked_data(data, model, loss, "data")
    if validation is not None:
        validation = checked_data(validation, model, loss, "validation")
    mask = trainable_mask(model, trained_by_default(model) if trainable is None else trainable)
    check_trained(model, mask)
    size = batch_size_of(batch_size, len(data.inputs), mesh)
    data_key, step_key = jax.random.split(key)
    carry = None if window is None else first_carry(model, loss, data.inputs, size)
    options = RunOptions(dropout, recurrent_dropout, precision, remat)
    begin = Progress(
        state=init_state(model, optimizer, mask=mask, key=step_key, average=average, carry=carry),
        good=model,
        best=None if validation is None else model,
        position=Position(),
        history=[],
    )
    about = {
        **described({"model": model}),
        "trainable": ", ".join(leaf_paths(partition(model, mask)[0])),
        "the original weights": fingerprint(model),
        "data": fingerprint(data),
        "validation": fingerprint(validation),
        "the key": fingerprint(key),
        "batch_size": f"{size}",
        "window": f"{window}",
        "pull": f"{pull}",
        "how the net is run": f"{options}",
        **described(begin.state),
    }
    train = make_train_step(
        loss,
        optimizer,
        mask=mask,
        pull=pull,
        original=merge(model.net) if pull else None,
        average=average,
        options=options,
    )

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, float]:
        after, mean = train(state, place(batch, mesh))
        return after, float(mean)

    validate = None
    if validation is not None:
        validate = functools.partial(
            mean_loss, data=validation, loss=loss, batch_size=size, precision=precision, mesh=mesh
        )
    goal = Goal(steps, epochs, every, patience)
    with recording(begin, about, checkpoint_dir, history_path) as records:
        start = _on_devices(records.resumed, mesh)
        bar: Any = contextlib.nullcontext(_no_bar)
        if progress and jax.process_index() == 0:
            bar = training_bar(goal, start, count_batches(data, size))
        with bar as on_step:
            end, stopped = run_rounds(
                start,
                step,
                batches(data, size, data_key, window=window, start=start.position),
                goal,
                mask=mask,
                validate=validate,
                on_step=on_step,
                on_round=records.add,
            )
    tuned = end.good if stopped == NOT_FINITE else result_model(end.state, mask)
    if patience is not None and end.best is not None:
        tuned = end.best
    return Result(merge(tuned.net), tuned.readout, end.history, stopped)


def _on_devices(progress: Progress, mesh: jax.sharding.Mesh | None) -> Progress:
    """Return the progress with its arrays where the steps want them."""
    state = replicate(progress.state._replace(carry=None), mesh)
    return progress._replace(
        state=state._replace(carry=place(progress.state.carry, mesh)),
        good=replicate(progress.good, mesh),
        best=replicate(progress.best, mesh),
    )


def _no_bar(steps: int, position: Position, loss: float) -> None:
    return None
